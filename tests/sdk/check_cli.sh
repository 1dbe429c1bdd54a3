#!/bin/sh
# check_cli.sh KVPLUGIN GOOD_PLUGIN STORE_PLUGIN REFUSED_FILE: exit status and output of each verb.
set -u
kvplugin=$1
good=$2
store=$3
refused=$4
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failed=0
# expect STATUS PATTERN COMMAND...: stdout and stderr together match.
expect() {
    wanted=$1
    pattern=$2
    shift 2
    output=$("$@" 2>&1)
    status=$?
    if [ $status -ne "$wanted" ] || ! echo "$output" | grep -q -- "$pattern"; then
        echo "$*: expected $wanted and \"$pattern\", found $status and:"
        echo "$output"
        failed=1
    fi
}
expect 0 'ABI 1.' "$kvplugin" --version
for verb in info check new dump get; do
    expect 0 "kvplugin $verb" "$kvplugin" "$verb" --help
    expect 2 "kvplugin $verb" "$kvplugin" "$verb"
done
expect 2 'kvplugin info' "$kvplugin"
expect 2 'kvplugin info' "$kvplugin" nonsense x
expect 2 'unknown option "--nonsense"' "$kvplugin" info x --nonsense
expect 2 'name=value' "$kvplugin" check "$good" nonsense
expect 2 'needs a number' "$kvplugin" check "$good" --rounds x
expect 2 'needs a value' "$kvplugin" check "$good" --rounds
expect 2 'no group "nonsense"' "$kvplugin" check "$good" --only nonsense
expect 0 'capabilities .*LOAD' "$kvplugin" info "$good"
expect 0 '"capabilities":\["LOAD' "$kvplugin" info "$good" --json
expect 0 'required' "$kvplugin" info "$store"
expect 3 'kvplugin: ' "$kvplugin" info "$refused"
expect 3 'kvplugin: ' "$kvplugin" check "$refused"
expect 3 'no plugin nowhere.so' "$kvplugin" info nowhere
expect 0 'order: the last record' "$kvplugin" check "$good" --list
expect 1 'unknown setting' "$kvplugin" check "$store" pth=x --only open
expect 0 '^1\.\.4$' "$kvplugin" check "$store" --only open
expect 1 'there is no store at' "$kvplugin" dump "$store" "path=$folder/store"
expect 1 'there is no store at' "$kvplugin" get "$store" key "path=$folder/store"
expect 2 'no name of a plugin' "$kvplugin" new Bad_Name --dir "$folder"
expect 2 'no name of a plugin' "$kvplugin" new \
    a234567890123456789012345678901234567890123456789012345678901234 --dir "$folder"
expect 0 'is ready' "$kvplugin" new my-store --dir "$folder"
expect 1 'exists' "$kvplugin" new my-store --dir "$folder"
# The content of a store that a check left behind is given out.
kept=$("$kvplugin" check "$store" --only open --keep | sed -n 's/^# the stores are kept in //p')
expect 0 '{"key":"first","value":"value"}' "$kvplugin" dump "$store" "path=$kept/4/place-1/store"
expect 0 '^value$' "$kvplugin" get "$store" first "path=$kept/4/place-1/store"
rm -rf "$kept"
exit $failed
