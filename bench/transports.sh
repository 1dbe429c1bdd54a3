#!/usr/bin/env bash
# kvnode's writes on three nodes over TCP, over UDP, and over UDP with datagrams lost at random each
# way, in alternating rounds on this machine. Prints a table of min, median, max, the ratio of UDP to
# TCP, and that of each loss to UDP without.
# Usage: bench/transports.sh [ROUNDS=5] [SECONDS_PER_RUN=3] [SYNC=always] [LOSSES_PERMILLE="10 50 200"]
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
seconds=${2:-3}
sync=${3:-always}
losses=${4-10 50 200}
build=$PWD/build/sim
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

cmake --preset sim >/dev/null
cmake --build --preset sim --target kvnode kvctl transport-tcp transport-udp persist-file lossy-transport-udp

# with_network NETWORK COMMAND...: NETWORK is tcp, udp, or the permille of datagrams that udp loses.
with_network() {
    local network=$1
    shift
    case $network in
    tcp | udp) "$@" ;;
    *) KV_PLUGINS=$build/lossy-plugins.d KV_TEST_DATAGRAM_FAULTS=seed=1,drop=$network "$@" ;;
    esac
}

declare -A arbiter
start_nodes() { # start_nodes NETWORK
    local network=$1 scheme=udp n address config
    [ "$network" = tcp ] && scheme=tcp
    # A port that is free now; nobody else is expected to take it.
    local port=$((20000 + (RANDOM + $$) % 10000))
    arbiter[$network]=$scheme://127.0.0.1:$port
    for n in 1 2 3; do
        config=$work/$network-n$n.cfg
        address=$scheme://127.0.0.1:0
        [ $n = 1 ] && address=${arbiter[$network]}
        cat >"$config" <<CONFIG
node = { name = "n$n"; roles = [ $([ $n = 1 ] && echo '"arbiter", ')"replica" ];
         arbiter = "${arbiter[$network]}"; data = "$work/$network-n$n"; };
transports = ( { plugin = "transport-$scheme"; listen = "$address"; } );
persistence = { plugin = "persist-file"; sync = "$sync"; };
CONFIG
        with_network "$network" "$build/bin/kvnode" -c "$config" >"$config.out" 2>"$config.log" &
        pids+=($!)
        for _ in $(seq 100); do
            grep -q '^ready ' "$config.out" && break
            sleep 0.1
        done
        grep -q '^ready ' "$config.out" || { tail -5 "$config.log" >&2; exit 1; }
    done
}

run() { # run NETWORK CONNECTIONS DEPTH -> writes per second
    with_network "$1" "$build/bin/kvctl" -a "${arbiter[$1]}" bench --read 0 --connections "$2" \
        --depth "$3" --seconds "$seconds" | awk '$1 == "writes" { print $3; exit }'
}

row() { # row NAME FORMAT: of the numbers on stdin
    sort -n | awk -v name="$1" -v format="$2" '
        { v[NR] = $1 }
        END { printf "%-28s " format " " format " " format "\n", name, v[1], v[int((NR + 1) / 2)], v[NR] }'
}

networks="tcp udp $losses"
for network in $networks; do start_nodes "$network"; done
printf '%-28s %10s %10s %10s\n' "writes/s, sync = $sync" min median max
for workload in "50 1" "50 16" "200 1" "1 1"; do
    set -- $workload
    for network in $networks; do : >"$work/$network.txt"; done
    for _ in $(seq "$rounds"); do
        for network in $networks; do run "$network" "$1" "$2" >>"$work/$network.txt"; done
    done
    for network in $networks; do
        name=$network
        [[ $network =~ ^[0-9] ]] && name="udp, $network permille lost"
        row "$1 x $2, $name" %10d <"$work/$network.txt"
    done
    paste "$work/udp.txt" "$work/tcp.txt" | awk '{ print $1 / $2 }' | row "  udp / tcp" %10.2f
    for loss in $losses; do
        paste "$work/$loss.txt" "$work/udp.txt" | awk '{ print $1 / $2 }' | row "  $loss permille / udp" %10.2f
    done
done
for network in $networks; do
    with_network "$network" "$build/bin/kvctl" -a "${arbiter[$network]}" digest |
        awk -v network="$network" '{ seen[$2] = 1 } END { n = length(seen); print network ": the digests are " (n == 1 ? "equal" : "NOT EQUAL"); exit n != 1 }'
done
