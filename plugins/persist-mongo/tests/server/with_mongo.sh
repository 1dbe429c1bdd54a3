#!/usr/bin/env bash
# with_mongo.sh CACHE COMMAND...: runs COMMAND with a server that speaks MongoDB's protocol:
#
#   KV_MONGO_URI     where it is; if this is set already, that server is used and nothing is started
#   KV_MONGO_KIND    given | mongod | java
#   KV_MONGO_RUN     "mongo_server.sh run CACHE", for tests that start and stop one of their own; not with `given`
#
# The server's data is in a folder that is removed afterwards; the server is ended by its pid. Where none can be had
# it says so and exits with 77, which ctest shows as skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$1
shift

if [ -n "${KV_MONGO_URI:-}" ]; then
    export KV_MONGO_KIND=given
    exec "$@"
fi
KV_MONGO_KIND=$("$here/mongo_server.sh" kind)
if [ "$KV_MONGO_KIND" = none ] || ! "$here/mongo_server.sh" prepare "$cache"; then
    echo "SKIPPED: no MongoDB server can be had (no KV_MONGO_URI, no mongod, no mongo-java-server): $* was NOT run" >&2
    exit 77
fi

folder=$(mktemp -d)
server=
stop() {
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 143' TERM INT HUP

"$here/mongo_server.sh" run "$cache" "$folder/data" 0 >"$folder/out" 2>"$folder/err" &
server=$!
for _ in $(seq 600); do
    if grep -q '^ready' "$folder/out" || ! kill -0 "$server" 2>/dev/null; then
        break
    fi
    sleep 0.1
done
port=$(sed -n 's/^ready //p' "$folder/out")
if [ -z "$port" ]; then
    echo "the MongoDB test server ($KV_MONGO_KIND) did not start:" >&2
    tail -n 20 "$folder/err" >&2
    exit 1
fi
export KV_MONGO_KIND
export KV_MONGO_URI="mongodb://127.0.0.1:$port"
export KV_MONGO_RUN="$here/mongo_server.sh run $cache"
"$@"
