#!/usr/bin/env bash
# Shows kvnode at work on this machine's own package index: installs what is missing, builds, starts
# an arbiter, a primary and two secondaries, one of them on Berkeley DB, imports about 60,000 real
# pairs while the primary is killed with -9, another takes over, and the first comes back and is
# handed its place again; reads some pairs on each node, and shows that all agree.
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

# Nodes of an earlier run that was left with --keep; the arbiter last, since the others tell it.
for name in n3 n2 n1 a; do
    [ -e "$demo/$name.pid" ] || continue
    pid=$(cat "$demo/$name.pid")
    program=$(readlink "/proc/$pid/exe" 2>/dev/null || true)
    if [ "${program% (deleted)}" = "$(readlink -f "$bin/kvnode")" ]; then
        echo "stopping process $pid of an earlier demo"
        kill "$pid" 2>/dev/null || true
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    fi
done
rm -rf "$demo"
mkdir -p "$demo"

# The first of four ports in a row that nobody listens on (with TCP; a UDP port that is taken ends
# the demo with a clear message).
port=7400
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
    (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null ||
    (exec 3<>"/dev/tcp/127.0.0.1/$((port + 2))") 2>/dev/null ||
    (exec 3<>"/dev/tcp/127.0.0.1/$((port + 3))") 2>/dev/null; do
    port=$((port + 10))
done
export KV_ARBITER=$scheme://127.0.0.1:$port

start_node() { # start_node NAME: a, the arbiter; n1, n2, n3, replicas
    local name=$1 number=0 roles=arbiter store=
    if [ "$name" != a ]; then
        number=${name#n} roles=replica
        store="persistence = { plugin = \"persist-file\"; path = \"data/$name/store\"; };"
        [ "$name" != n3 ] ||
            store="persistence = { plugin = \"persist-bdb\"; path = \"data/$name/bdb\"; };"
    fi
    cat >"$demo/$name.cfg" <<CONFIG
node = { name = "$name"; roles = [ "$roles" ]; arbiter = "$KV_ARBITER"; };
transports = ( { plugin = "transport-$scheme"; listen = "$scheme://127.0.0.1:$((port + number))"; } );
$store
CONFIG
    : >"$demo/$name.out"
    (cd "$demo" && exec "$bin/kvnode" -c "$name.cfg") >"$demo/$name.out" 2>>"$demo/$name.log" &
    echo $! >"$demo/$name.pid"
}

wait_ready() { # wait_ready NAME
    local name=$1
    for _ in $(seq 300); do
        if grep -q '^ready ' "$demo/$name.out"; then
            cat "$demo/$name.out"
            return
        fi
        kill -0 "$(cat "$demo/$name.pid")" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name does not become ready; its log ends with:" >&2
    tail -n 20 "$demo/$name.log" >&2
    exit 1
}

primary() { "$bin/kvctl" status --json | sed -n 's/.*"primary": *"\([^"]*\)".*/\1/p'; }

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

say "2/7 an arbiter (a), a primary (n1) and a secondary (n2) on file stores, a secondary (n3) on Berkeley DB"
for name in a n1 n2 n3; do
    start_node $name
    wait_ready $name
done

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

say "4/7 import; meanwhile the primary is killed with -9, and comes back"
"$bin/kvctl" import "$demo/packages.tsv" --progress &
import=$!
updates_at() { # updates_at NODE: how many it has seen committed; 0 when it does not say
    "$bin/kvctl" digest --node "$1" --json 2>/dev/null |
        sed -n 's/.*"committed_index": *\([0-9]*\).*/\1/p' | grep . || echo 0
}
third=$(($(wc -l <"$demo/packages.tsv") / 3))
while kill -0 $import 2>/dev/null && [ "$(updates_at n1)" -lt "$third" ]; do sleep 0.05; done
kill -9 "$(cat "$demo/n1.pid")"
wait "$(cat "$demo/n1.pid")" 2>/dev/null || true
printf '\n   n1, the primary, killed with -9\n'
next=n1
while [ "${next:-n1}" = n1 ]; do
    sleep 0.05
    next=$(primary)
done
printf '\n   %s has become the primary; the import goes on\n' "$next"
start_node n1
wait_ready n1
printf '\n   n1 is back, and is handed its place again: '
"$bin/kvctl" handover n1
wait $import

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
  kvctl handover n2
  kill -9 \$(cat build/demo/n2.pid); sleep 1; kvctl status
  tail -f build/demo/n1.log
Stop it with: kill \$(cat build/demo/{n3,n2,n1,a}.pid)
TRY
    exit 0
fi

say "7/7 stopping cleanly, the arbiter last"
for name in n3 n2 n1 a; do
    pid=$(cat "$demo/$name.pid")
    kill "$pid"
    status=0
    wait "$pid" || status=$?
    rm "$demo/$name.pid"
    echo "$name left with exit status $status"
    [ $status -eq 0 ]
done
say "done: $(wc -l <"$demo/packages.tsv") pairs went in, all nodes agreed, all stopped cleanly"
