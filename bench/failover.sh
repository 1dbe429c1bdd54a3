#!/usr/bin/env bash
# How long there is no primary: kills the primary with -9 again and again, with all settings at their
# defaults, and measures from a client's last acknowledged update to its first one after the kill.
# An arbiter and three replicas on this machine's loopback; ten sessions update all the time.
# Usage: bench/failover.sh [KILLS=20]
# It needs a build with tests: KV_BENCH_BUILD, default build/sim, made when missing.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=${1:-20}
build=${KV_BENCH_BUILD:-$PWD/build/sim}
if [ -z "${KV_BENCH_BUILD:-}" ]; then
    [ -f "$build/build.ninja" ] || cmake --preset sim -Wno-dev >/dev/null
    cmake --build "$build" --target kvnode kvctl loop-load transport-tcp persist-file >/dev/null
fi
bin=$build/bin
work=$(mktemp -d)
declare -A pids=()
finish() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

free_port() { # the first port from $1 on that nobody listens on
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

KV_ARBITER=tcp://127.0.0.1:$(free_port 17400)
export KV_ARBITER

start() { # start NAME ROLE LISTEN
    cat >"$work/$1.cfg" <<CFG
node = { name = "$1"; roles = ["$2"]; arbiter = "$KV_ARBITER"; data = "$work/$1"; };
transports = ( { plugin = "transport-tcp"; listen = "$3"; } );
CFG
    "$bin/kvnode" -c "$work/$1.cfg" >"$work/$1.out" 2>>"$work/$1.log" &
    pids[$1]=$!
    disown $! # its end by kill -9 is not to be told
}

in_sync() { # whether all three replicas are
    "$bin/kvctl" --json --timeout 1000 status 2>/dev/null | tr -d ' \n' >"$work/status" || return 1
    [ "$(grep -o '"role":"secondary","state":"up"' "$work/status" | wc -l)" = 2 ] &&
        [ "$(grep -o '"role":"primary","state":"up"' "$work/status" | wc -l)" = 1 ]
}

wait_in_sync() {
    for _ in $(seq 600); do
        in_sync && return
        sleep 0.05
    done
    echo "not in sync within a minute: $(cat "$work/status")" >&2
    exit 1
}

now_ns() { # of CLOCK_MONOTONIC, to a hundredth of a second
    awk '{ printf "%.0f\n", $1 * 1e9 }' /proc/uptime
}

start a arbiter "$KV_ARBITER"
for n in n1 n2 n3; do start $n replica tcp://127.0.0.1:0; done
wait_in_sync
"$bin/loop-load" "$KV_ARBITER" "$work/history" 1 k 100 10 5000 >/dev/null &
load=$!
pids[load]=$load
sleep 1
for _ in $(seq "$kills"); do
    primary=$(grep -o '"primary":"[^"]*"' "$work/status" | cut -d'"' -f4)
    now_ns >>"$work/kills"
    kill -9 "${pids[$primary]}"
    sleep 1.5
    start "$primary" replica tcp://127.0.0.1:0
    sleep 0.5
    wait_in_sync
    sleep "0.$((RANDOM % 900 + 100))"
done
kill "$load"
wait "$load"

# The longest time between two acknowledgements, from one kill to the next.
awk '$2 != "get" && $10 == "ok" { print $9, "ack" }' "$work/history" >"$work/events"
awk '{ print $1, "kill" }' "$work/kills" >>"$work/events"
sort -n "$work/events" | awk '
    $2 == "kill" { if (seen) print gap; seen = 1; gap = 0; next }
    { if (seen && last && ($1 - last) / 1e6 > gap) gap = ($1 - last) / 1e6; last = $1 }
    END { print gap }' | sort -n >"$work/gaps"
awk '{ v[NR] = $1 } END {
    printf "%d kills of the primary: ms without an acknowledgement: min %.0f median %.0f max %.0f\n",
        NR, v[1], v[int((NR + 1) / 2)], v[NR] }' "$work/gaps"
awk '$2 != "get" { n[$10]++ } END {
    printf "updates: %d acknowledged, %d of unknown outcome, %d rejected\n",
        n["ok"], n["unknown"], n["rejected"] }' "$work/history"
