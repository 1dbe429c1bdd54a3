#!/bin/sh
# check_frozen.sh COMPILER INCLUDE_FOLDER FROZEN_FOLDER: as long as the ABI is 1.0 the public headers
# say what their frozen copy says; only comments may differ. A member or a constant more is a new
# minor; before the first release refresh the copy with
#     cp sdk/include/kvnode/{abi,host,persist,transport,status}.h tests/abi/v1.0/kvnode/
set -u
compiler=$1
include=$2
frozen=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

printf '#include <kvnode/abi.h>\nmajor_minor KV_ABI_MAJOR KV_ABI_MINOR\n' > "$folder/version.c"
version=$("$compiler" -E -P -I "$include" "$folder/version.c" | grep '^major_minor')
if [ "$version" != "major_minor 1 0" ]; then
    echo "the ABI is not 1.0 any more ($version): the copy stays as it is"
    exit 0
fi
failed=0
for header in "$frozen"/kvnode/*.h; do
    name=$(basename "$header")
    printf '#include <kvnode/%s>\n' "$name" > "$folder/one.c"
    "$compiler" -E -P -dD -I "$include" "$folder/one.c" | grep -v '^[[:space:]]*$' > "$folder/now"
    "$compiler" -E -P -dD -I "$frozen" "$folder/one.c" | grep -v '^[[:space:]]*$' > "$folder/then"
    diff "$folder/then" "$folder/now" || { echo "$name differs from ABI 1.0"; failed=1; }
done
exit $failed
