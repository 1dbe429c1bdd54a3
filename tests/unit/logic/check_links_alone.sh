#!/bin/sh
# core/logic and core/base need nothing but libc, and of that nothing that reaches the outside: no
# files, sockets, clocks, threads, random numbers of the system, no libuv, no libconfig.
#
#     check_links_alone.sh LIB.a...
#
# Whoever needs one more function adds it to `allowed`, if it is as harmless as those.
set -eu

allowed='abort|calloc|free|malloc|realloc|qsort|mem[a-z]+|str(n?cmp|n?len|r?chr|str)'
allowed="$allowed|v?snprintf|fprintf|fflush|stderr" # the last words of check.c and alloc.c
allowed="$allowed|pthread_once"                     # tables that are filled once (crc32c.c)
# What compilers add: position independence, hardening, sanitizers, coverage.
allowed="$allowed|_GLOBAL_OFFSET_TABLE_|__cpu_model|__cpu_indicator_init|__stack_chk_fail"
allowed="$allowed|__(mem[a-z]+|v?snprintf|fprintf)_chk"
allowed="$allowed|__(asan|ubsan|tsan|sanitizer|gcov|llvm)_[A-Za-z0-9_]+|_{1,2}sancov_[a-z_]+"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

nm -A -u "$@" | awk '{print $NF}' | sort -u >"$folder/needed"
nm -A --defined-only "$@" | awk '{print $NF}' | sort -u >"$folder/defined"
grep -q '^node_step$' "$folder/defined" || {
    echo "node_step is in none of: $*: the wrong libraries?"
    exit 1
}
comm -23 "$folder/needed" "$folder/defined" >"$folder/outside"
grep -q '^memcpy$' "$folder/outside" || {
    echo "not even memcpy is needed: nm says nothing useful"
    exit 1
}
if grep -E -v -x "($allowed)" "$folder/outside" >"$folder/wrong"; then
    echo "not from the harmless part of libc:"
    nm -A -u "$@" | grep -w -F -f "$folder/wrong"
    exit 1
fi
echo "$(wc -l <"$folder/outside") symbols from outside, all of them harmless"
