#!/usr/bin/env bash
# A server that speaks MongoDB's protocol, for tests.
#
#   mongo_server.sh kind                     mongod | java | none: what this machine can run
#   mongo_server.sh prepare CACHE            fetches and builds into CACHE what `java` needs; again: nothing to do
#   mongo_server.sh run CACHE FOLDER PORT    the server in the foreground (exec), its data in FOLDER; PORT 0: a
#                                            free one; prints "ready PORT" on stdout when it serves; SIGTERM stops
#                                            it cleanly
#
# `mongod` is used when it is on the PATH. Else mongo-java-server with its H2 backend, data on disk, from Maven
# Central, with Debian's openjdk-17-jdk-headless and maven. It has no sessions or transactions, and commits to
# disk about once a second: a kill -9 of it may lose the last second. KV_MONGO_OFFLINE=1: fetch nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

kind() {
    if command -v mongod >/dev/null; then
        echo mongod
    elif command -v java >/dev/null && command -v javac >/dev/null && command -v mvn >/dev/null; then
        echo java
    else
        echo none
    fi
}

prepare() {
    local cache=$1
    [ "$(kind)" = java ] || return 0
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [ ! -e "$cache/complete" ]; then
        echo "== fetching mongo-java-server (once)" >&2
        local offline=()
        [ -z "${KV_MONGO_OFFLINE:-}" ] || offline=(-o)
        mvn -q -B "${offline[@]}" -f "$here/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$cache/jars" >&2
        javac -cp "$cache/jars/*" -d "$cache" "$here/TestServer.java" >&2
        touch "$cache/complete"
    fi
    flock -u 9
}

# A port of loopback that nobody listens on: mongod does not tell which one it took.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

run() {
    local cache=$1 folder=$2 port=$3
    mkdir -p "$folder"
    case "$(kind)" in
    java)
        exec java -Xmx256m -cp "$cache:$cache/jars/*" TestServer "$folder/data" "$port"
        ;;
    mongod)
        [ "$port" -ne 0 ] || port=$(free_port)
        (
            for _ in $(seq 300); do
                if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                    echo "ready $port"
                    exit 0
                fi
                sleep 0.1
            done
        ) &
        exec mongod --quiet --bind_ip 127.0.0.1 --port "$port" --dbpath "$folder" \
            --logpath "$folder/mongod.log" >/dev/null
        ;;
    *)
        echo "neither mongod nor java, javac and mvn are here" >&2
        exit 77
        ;;
    esac
}

case "${1:-}" in
kind) kind ;;
prepare) prepare "$2" ;;
run) run "$2" "$3" "$4" ;;
*)
    sed -n '2,/^set/p' "$0" | sed -e '$d' -e 's/^# \{0,1\}//' >&2
    exit 2
    ;;
esac
