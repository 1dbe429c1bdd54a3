#!/usr/bin/env bash
# Shows kvnode at work on this machine's own package index: installs what is missing, builds, starts
# an arbiter with a primary and two secondaries, one of them on Berkeley DB, imports about 60,000 real
# pairs while that one is killed with -9 and comes back, reads some on each node, and shows that all
# agree.
#
# Usage: demo.sh [--udp] [--keep]
#   --udp    nodes and kvctl talk over UDP instead of TCP
#   --keep   leave the nodes running at the end and print what to try
# Everything it makes lies in build/release and build/demo. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=no
scheme=tcp
for argument in "$@"; do
    case $argument in
    --keep) keep=yes ;;
    --udp) scheme=udp ;;
    -h | --help)
        sed -n '2,11s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "demo.sh: unknown argument '$argument'; try --help" >&2
        exit 2
        ;;
    esac
done

say() { printf '\n== %s\n' "$*"; }

say "1/7 packages and build"
scripts/deps.sh build
cmake --preset release -Wno-dev >/dev/null
cmake --build --preset release
bin=$PWD/build/release/bin
demo=$PWD/build/demo

# Nodes of an earlier run that was left with --keep.
for pid_file in "$demo"/*.pid; do
    [ -e "$pid_file" ] || continue
    pid=$(cat "$pid_file")
    if [ "$(readlink "/proc/$pid/exe" 2>/dev/null || true)" = "$bin/kvnode" ]; then
        echo "stopping process $pid of an earlier demo"
        kill "$pid" 2>/dev/null || true
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    fi
done
rm -rf "$demo"
mkdir -p "$demo"

# The first of three ports in a row that nobody listens on (with TCP; a UDP port that is taken ends
# the demo with a clear message).
port=7400
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
    (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null ||
    (exec 3<>"/dev/tcp/127.0.0.1/$((port + 2))") 2>/dev/null; do
    port=$((port + 10))
done
export KV_ARBITER=$scheme://127.0.0.1:$port

start_node() { # start_node NUMBER
    local n=$1 store=()
    [ "$n" -ne 3 ] || store=(--set persistence.plugin=persist-bdb --set persistence.path=data/n3/bdb)
    : >"$demo/n$n.out"
    (cd "$demo" && exec "$bin/kvnode" -c "$OLDPWD/etc/three-nodes/n$n.cfg" \
        --set "node.arbiter=$KV_ARBITER" \
        --set "transports.[0].plugin=transport-$scheme" \
        --set "transports.[0].listen=$scheme://127.0.0.1:$((port + n - 1))" "${store[@]}") \
        >"$demo/n$n.out" 2>>"$demo/n$n.log" &
    echo $! >"$demo/n$n.pid"
}

wait_ready() { # wait_ready NUMBER
    local n=$1
    for _ in $(seq 300); do
        if grep -q '^ready ' "$demo/n$n.out"; then
            cat "$demo/n$n.out"
            return
        fi
        kill -0 "$(cat "$demo/n$n.pid")" 2>/dev/null || break
        sleep 0.1
    done
    echo "n$n does not become ready; its log ends with:" >&2
    tail -n 20 "$demo/n$n.log" >&2
    exit 1
}

finish() {
    local status=$?
    if [ $status -ne 0 ]; then
        for pid_file in "$demo"/*.pid; do
            [ -e "$pid_file" ] && kill -9 "$(cat "$pid_file")" 2>/dev/null
        done
        echo "demo.sh: failed; the logs are in build/demo" >&2
    fi
}
trap finish EXIT

say "2/7 an arbiter with a primary (n1) and a secondary (n2) on file stores, a secondary (n3) on Berkeley DB"
start_node 1
wait_ready 1
start_node 2
start_node 3
wait_ready 2
wait_ready 3

say "3/7 the package index of this machine as key TAB value lines"
if [ "$(apt-cache dumpavail | grep -c '^Package:')" -lt 1000 ]; then
    echo "the index is nearly empty: apt-get update"
    if [ "$(id -u)" -eq 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
fi
apt-cache dumpavail | awk '
    function flush_stanza() { if (name != "") print name "/" arch "\t" stanza; name = arch = stanza = "" }
    /^$/ { flush_stanza(); next }
    {
        line = $0
        gsub(/\\/, "\\\\", line); gsub(/\t/, "\\t", line); gsub(/\r/, "\\r", line)
        stanza = stanza line "\\n"
        if ($1 == "Package:") name = $2
        if ($1 == "Architecture:") arch = $2
    }
    END { flush_stanza() }' >"$demo/packages.tsv"
echo "$(wc -l <"$demo/packages.tsv") pairs, $(du -h "$demo/packages.tsv" | cut -f1)"

say "4/7 import; meanwhile n3 is killed with -9 and comes back"
"$bin/kvctl" import "$demo/packages.tsv" --progress &
import=$!
keys_on_primary() { "$bin/kvctl" status --json | grep -o '"keys": *[0-9]*' | head -n 1 | grep -o '[0-9]*$' || echo 0; }
third=$(($(wc -l <"$demo/packages.tsv") / 3))
while kill -0 $import 2>/dev/null && [ "$(keys_on_primary)" -lt "$third" ]; do sleep 0.05; done
kill -9 "$(cat "$demo/n3.pid")"
wait "$(cat "$demo/n3.pid")" 2>/dev/null || true
printf '\n   n3 killed with -9\n'
sleep 1
start_node 3
printf '\n   n3 started again\n'
wait $import
wait_ready 3

say "5/7 some pairs, read back on each node"
for key in $(cut -f1 "$demo/packages.tsv" | awk 'NR % 20000 == 1' | head -n 3); do
    for node in n1 n2 n3; do
        printf '%s %-28s %s\n' "$node" "$key" \
            "$("$bin/kvctl" get "$key" --node $node | grep -m 1 '^Version:')"
    done
done

say "6/7 status, and the digest of each node's content"
"$bin/kvctl" status
"$bin/kvctl" digest

if [ $keep = yes ]; then
    say "7/7 left running. Try:"
    cat <<TRY
  export KV_ARBITER=$KV_ARBITER PATH=$bin:\$PATH
  kvctl status
  kvctl put hello world; kvctl get hello --node n3
  kvctl scan --prefix bash --limit 5
  kvctl bench --seconds 5
  kill -9 \$(cat build/demo/n2.pid); kvctl status
  tail -f build/demo/n1.log
Stop it with: kill \$(cat build/demo/n{3,2,1}.pid)
TRY
    exit 0
fi

say "7/7 stopping cleanly, secondaries first"
for n in 3 2 1; do
    pid=$(cat "$demo/n$n.pid")
    kill "$pid"
    status=0
    wait "$pid" || status=$?
    rm "$demo/n$n.pid"
    echo "n$n left with exit status $status"
    [ $status -eq 0 ]
done
say "done: $(wc -l <"$demo/packages.tsv") pairs went in, all nodes agreed, all stopped cleanly"
