#!/usr/bin/env bash
# Installs what is missing, builds with AddressSanitizer and UBSan, and runs all tests.
# Safe to run again. Usage: test.sh [ctest arguments, for example -L unit or -R store]
set -euo pipefail
cd "$(dirname "$0")/.."

started=$SECONDS
scripts/deps.sh test
echo "== configure (preset asan)"
cmake --preset asan -Wno-dev >/dev/null
echo "== build"
cmake --build --preset asan
echo "== test: unit, scenario, abi, crash, simulator and cluster tests"
export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=detect_stack_use_after_return=1
ctest --preset asan --parallel 2 "$@"
echo "== done in $((SECONDS - started)) s"
