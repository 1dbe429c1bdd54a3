#!/usr/bin/env bash
# What a return costs: time and bytes until a replica is in sync, for an empty one against one that was
# away while a hundredth of the pairs changed, (a) with the primary's log still reaching back that
# far, (b) with so little log that only digests can find the difference. The time is counted from
# when it has loaded its own store, which is told as well: that costs the same whatever it missed.
# Three nodes; the one that comes and goes is in a network namespace of its own, whose bytes are
# counted. Needs root. Usage: bench/rejoin.sh [PAIRS=1000000]
# KV_BENCH_BUILD: the build, default build/release, made when missing.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "SKIPPED: it makes a network namespace and needs root" >&2; exit 77; }
    exec unshare --net --mount "$0" --inside "${1:-1000000}"
fi
pairs=$2
build=${KV_BENCH_BUILD:-$PWD/build/release}
[ -x "$build/bin/kvnode" ] || { cmake --preset release >/dev/null && cmake --build --preset release; }
bin=$build/bin
work=$(mktemp -d)
declare -A pids=()
finish() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# The joiner's network: one cable to it. Names of namespaces are files in /run/netns, here our own.
mount -t tmpfs none /run
ip link set lo up
ip netns add joiner
ip link add cable type veth peer name eth0 netns joiner
ip address add 10.77.0.1/24 dev cable
ip link set cable up
ip -n joiner address add 10.77.0.2/24 dev eth0
ip -n joiner link set lo up
ip -n joiner link set eth0 up

export KV_ARBITER=tcp://10.77.0.1:7400
log_bytes= # what is set; empty: the default

start() { # start NAME ROLES LISTEN [COMMAND...]
    local name=$1 roles=$2 listen=$3
    shift 3
    cat >"$work/$name.cfg" <<CFG
node = { name = "$name"; roles = [$roles]; arbiter = "$KV_ARBITER"; data = "$work/$name"; };
transports = ( { plugin = "transport-tcp"; listen = "$listen"; } );
replication = { operation_timeout_ms = 5000; };
$log_bytes
CFG
    "$@" "$bin/kvnode" -c "$work/$name.cfg" >"$work/$name.out" 2>>"$work/$name.log" &
    pids[$name]=$!
    disown $!
}

start_others() {
    start n1 '"arbiter", "replica"' "$KV_ARBITER"
    start n2 '"replica"' tcp://10.77.0.1:0
    wait_in_sync 2
}

start_joiner() {
    start n3 '"replica"' tcp://10.77.0.2:7400 ip netns exec joiner
}

stop() { # with -9
    local name
    for name in "$@"; do
        kill -9 "${pids[$name]}"
        while kill -0 "${pids[$name]}" 2>/dev/null; do sleep 0.01; done
        unset "pids[$name]"
    done
}

wait_in_sync() { # until a primary and $1 - 1 secondaries are there
    for _ in $(seq 6000); do
        "$bin/kvctl" --json --timeout 1000 status 2>/dev/null | tr -d ' \n' >"$work/status" || true
        [ "$(grep -o '"role":"secondary","state":"up"' "$work/status" | wc -l)" = $(($1 - 1)) ] &&
            grep -q '"role":"primary","state":"up"' "$work/status" && return
        sleep 0.02
    done
    echo "not in sync: $(cat "$work/status")" >&2
    exit 1
}

make_pairs() { # make_pairs COUNT STEP SEED: 16-byte keys, 100-byte values
    awk -v count="$1" -v step="$2" -v seed="$3" 'BEGIN {
        srand(seed)
        for (i = 0; i < count; i++) {
            value = ""
            while (length(value) < 100) value = value sprintf("%08x", int(rand() * 4294967296))
            printf "key-%012d\t%s\n", i * step, substr(value, 1, 100)
        }
    }'
}

cable_bytes() { # to the joiner, from it
    awk '$1 == "cable:" { print $10, $2 }' /proc/net/dev
}

count() { # count COUNTER: its sum over all nodes
    "$bin/kvctl" --json --timeout 5000 status | grep -oE "\"$1\": *[0-9]+" |
        awk '{ sub(/.*:/, ""); sum += $1 } END { print sum + 0 }'
}

log_time() { # log_time NAME TEXT: when it was last said in the log of that node, in nanoseconds
    date -d "$(grep -- "$2" "$work/$1.log" | tail -n 1 | sed 's,time=\([^ ]*\).*,\1,')" +%s%N
}

measure() { # measure NAME: starts the joiner and waits
    local before after begin loaded end tails transfers
    tails=$(count tails_resumed)
    transfers=$(count transfers_started)
    before=$(cable_bytes)
    begin=$(date +%s%N)
    start_joiner
    wait_in_sync 3
    after=$(cable_bytes)
    loaded=$(log_time n3 "event=loaded keys=")
    end=$(log_time n3 "event=role role=secondary")
    echo "$before $after $begin $loaded $end" | awk -v name="$1" -v file="$work/results" '{
        printf "%-42s %7.3f s %12d B to it %10d B from it (started and loaded in %.3f s)\n", name,
            ($7 - $6) / 1e9, $3 - $1, $4 - $2, ($6 - $5) / 1e9
        print $3 - $1 + $4 - $2, ($7 - $6) / 1e9 >>file }'
    echo "    sessions begun meanwhile: $(($(count tails_resumed) - tails)) with the log's tail," \
        "$(($(count transfers_started) - transfers)) by fetching; ranges fetched: $(count ranges_fetched)"
    "$bin/kvctl" --timeout 10000 digest >"$work/digests" ||
        { echo "the contents differ: $(cat "$work/digests")" >&2; exit 1; }
}

change() { # a hundredth of the pairs get new values
    make_pairs $((pairs / 100)) 100 "$1" >"$work/change.tsv"
    "$bin/kvctl" --timeout 10000 import "$work/change.tsv" 2>/dev/null >/dev/null
}

start_others
make_pairs "$pairs" 1 1 >"$work/all.tsv"
"$bin/kvctl" --timeout 10000 import "$work/all.tsv" 2>/dev/null >/dev/null
echo "$pairs pairs of 16+100 bytes"
measure "empty joiner: full transfer"
stop n3
change 2
measure "1 % changed, the log reaches back"
stop n3 n2 n1
log_bytes="limits = { log_bytes = 4096; };"
start_others
change 3
measure "1 % changed, the log does not reach back"
awk '{ bytes[NR] = $1; time[NR] = $2 } END {
    for (i = 2; i <= NR; i++)
        printf "%s: %.1f times fewer bytes, %.1f times faster than the full transfer\n",
            i == 2 ? "by the log" : "by digests", bytes[1] / bytes[i], time[1] / time[i] }' "$work/results"
