#!/bin/sh
# check_frozen.sh COMPILER INCLUDE_FOLDER FROZEN_FOLDER: FROZEN_FOLDER is named after the ABI that it
# holds (v1.1). When the public headers are of that ABI they say what the frozen copy says; only
# comments may differ: a member or a constant more is a new minor, which gets a copy of its own:
#     cp sdk/include/kvnode/{abi,host,persist,transport,status}.h tests/abi/v1.N/kvnode/
# When they are of a later minor, all that the frozen copy defines is still there with its value.
set -u
compiler=$1
include=$2
frozen=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

printf '#include <kvnode/abi.h>\nmajor_minor KV_ABI_MAJOR KV_ABI_MINOR\n' > "$folder/version.c"
version=$("$compiler" -E -P -I "$include" "$folder/version.c" | grep '^major_minor')
is_current=no
[ "$version" = "major_minor $(basename "$frozen" | sed 's/^v//; s/\./ /')" ] && is_current=yes
failed=0
for header in "$frozen"/kvnode/*.h; do
    name=$(basename "$header")
    printf '#include <kvnode/%s>\n' "$name" > "$folder/one.c"
    "$compiler" -E -P -dD -I "$include" "$folder/one.c" | grep -v '^[[:space:]]*$' > "$folder/now"
    "$compiler" -E -P -dD -I "$frozen" "$folder/one.c" | grep -v '^[[:space:]]*$' > "$folder/then"
    if [ $is_current = yes ]; then
        diff "$folder/then" "$folder/now" || { echo "$name differs from $frozen"; failed=1; }
        continue
    fi
    # Constants of an earlier minor; its version and the last status code are meant to move on.
    grep '^#define KV_' "$folder/then" | grep -v -E 'KV_ABI_MINOR|KV_STATUS_TABLE' > "$folder/kept"
    while IFS= read -r line; do
        grep -qxF -- "$line" "$folder/now" || { echo "$name lost or changed: $line"; failed=1; }
    done < "$folder/kept"
done
exit $failed
