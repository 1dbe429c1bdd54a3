#!/bin/sh
# check_plugin.sh NAME PLUGIN: the shared object exports kv_plugin and nothing else, and needs no
# library of kvnode. Skipped (77), and said, when the plugin was not built.
set -u
name=$1
plugin=${2:-}
if [ -z "$plugin" ] || [ ! -f "$plugin" ]; then
    echo "SKIPPED: the plugin $name is not built here"
    exit 77
fi
for tool in nm readelf; do
    command -v "$tool" > /dev/null || { echo "SKIPPED: there is no $tool here"; exit 77; }
done
# What the linker, a sanitizer or a coverage build adds is not the plugin's.
exported=$(nm -D --defined-only "$plugin" | awk '{ print $NF }' | sed 's/@.*//' |
    grep -v -E '^(_init|_fini|__bss_start|_edata|_end|__odr_asan.*|__asan.*|__ubsan.*|__gcov.*|__llvm.*|__start_.*|__stop_.*)$')
if [ "$exported" != "kv_plugin" ]; then
    echo "$name must export kv_plugin only; it exports:"
    echo "$exported"
    exit 1
fi
needed=$(readelf -d "$plugin" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
if echo "$needed" | grep -E 'kvnode|libkv|transport-|persist-'; then
    echo "$name must not link against anything of kvnode"
    exit 1
fi
echo "$name exports kv_plugin only; it needs:" $needed
