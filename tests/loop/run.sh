#!/usr/bin/env bash
# The long loop, see README.md. Usage: tests/loop/run.sh [ROUNDS=300] [SEED]
# KV_LOOP_BUILD: a folder in which cmake was run with tests; default: build/sim, made when missing.
# Exit status: 0 nothing was wrong.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${KV_LOOP_BUILD:-$PWD/build/sim}
[ -f "$build/build.ninja" ] || cmake --preset sim -Wno-dev >/dev/null
cmake --build "$build" --target loop test_loop_check >/dev/null

"$build/bin/test_loop_check"
if command -v go >/dev/null; then
    export KV_LOOP_LINEARIZABLE=$build/linearizable
    (cd tests/loop/linearizable && go test ./... && go build -o "$KV_LOOP_LINEARIZABLE" .)
else
    echo "SKIPPED: linearizability, for there is no Go (Debian: golang-go)"
fi

export KV_LOOP_ROUNDS=${1:-${KV_LOOP_ROUNDS:-300}}
[ $# -lt 2 ] || export KV_LOOP_SEED=$2
exec "$build/bin/loop"
