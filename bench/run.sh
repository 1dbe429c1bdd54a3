#!/usr/bin/env bash
# First figures: kvnode's writes, acknowledged durable on three nodes, beside Redis (when redis-server is
# installed) with its append-only file synced at each write on a primary and two replicas, in
# alternating rounds on this machine. Prints a table of min, median, max and the median of the ratios.
# Usage: bench/run.sh [ROUNDS=5] [SECONDS_PER_RUN=4]
# Redis is measured without waiting for its replicas: that is less than kvnode promises.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
seconds=${2:-4}
bin=$PWD/build/release/bin
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

[ -x "$bin/kvnode" ] || { cmake --preset release >/dev/null && cmake --build --preset release; }

free_port() { # the first port from $1 on that nobody listens on
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

start_kvnode() {
    local arbiter n port
    arbiter=$(free_port 17400)
    export KV_ARBITER=tcp://127.0.0.1:$arbiter
    for n in 1 2 3; do
        port=0
        [ $n = 1 ] && port=$arbiter
        (cd "$work" && exec "$bin/kvnode" -c "$OLDPWD/etc/three-nodes/n$n.cfg" \
            --set "node.arbiter=$KV_ARBITER" \
            --set "transports.[0].listen=tcp://127.0.0.1:$port" >"$work/n$n.out" 2>"$work/n$n.log") &
        pids+=($!)
        for _ in $(seq 100); do
            grep -q '^ready ' "$work/n$n.out" 2>/dev/null && break
            sleep 0.1
        done
    done
}

start_redis() {
    local n port
    redis_port=$(free_port 17500)
    for n in 0 1 2; do
        port=$((redis_port + n))
        mkdir -p "$work/redis$n"
        redis-server --port $port --bind 127.0.0.1 --dir "$work/redis$n" --save '' \
            --appendonly yes --appendfsync always --daemonize no \
            $([ $n -gt 0 ] && echo --replicaof 127.0.0.1 "$redis_port") >"$work/redis$n.log" &
        pids+=($!)
    done
    sleep 3
}

run_kvnode() { # run_kvnode CONNECTIONS DEPTH -> writes per second
    "$bin/kvctl" bench --read 0 --connections "$1" --depth "$2" --seconds "$seconds" |
        awk '$1 == "writes" { print $3 }'
}

run_redis() { # run_redis CONNECTIONS DEPTH REQUESTS
    redis-benchmark -p "$redis_port" -t set -r 100000 -d 100 -c "$1" -P "$2" -n "$3" --csv |
        awk -F'"' '$2 == "SET" { printf "%d\n", $4 }'
}

start_kvnode
with_redis=no
if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    with_redis=yes
    start_redis
else
    echo "redis-server is not installed: kvnode is measured alone" >&2
fi

printf '%-34s %10s %10s %10s\n' "writes/s, 16+100 bytes" min median max
for workload in "50 1" "50 16" "200 1" "1 1"; do
    set -- $workload
    : >"$work/kvnode.txt"
    : >"$work/redis.txt"
    requests=$((100000 * $2))
    [ "$1" = 1 ] && requests=5000
    for _ in $(seq "$rounds"); do
        run_kvnode "$1" "$2" >>"$work/kvnode.txt"
        [ $with_redis = no ] || run_redis "$1" "$2" "$requests" >>"$work/redis.txt"
    done
    for system in kvnode redis; do
        [ -s "$work/$system.txt" ] || continue
        sort -n "$work/$system.txt" | awk -v name="$system ${1} connections x ${2}" '
            { v[NR] = $1 } END { printf "%-34s %10d %10d %10d\n", name, v[1], v[int((NR + 1) / 2)], v[NR] }'
    done
    if [ $with_redis = yes ]; then
        paste "$work/kvnode.txt" "$work/redis.txt" | awk '{ printf "%.4f\n", $1 / $2 }' | sort -n |
            awk '{ v[NR] = $1 } END { printf "%-34s %10.2f %10.2f %10.2f\n", "  ratio kvnode/redis", v[1], v[int((NR + 1) / 2)], v[NR] }'
    fi
done
"$bin/kvctl" digest
