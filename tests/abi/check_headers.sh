#!/bin/sh
# check_headers.sh COMPILER INCLUDE_FOLDER: each public header compiles alone, as C99 and as C++11,
# without a warning. Skipped (77) in part when the compiler knows no C++.
set -u
compiler=$1
include=$2
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
skipped=0
failed=0

printf 'int main() { return 0; }\n' > "$folder/try.cpp"
if ! "$compiler" -x c++ -std=c++11 -fsyntax-only "$folder/try.cpp" 2> "$folder/why"; then
    echo "SKIPPED: $compiler compiles no C++: $(head -n 1 "$folder/why")"
    skipped=1
fi

found=0
for header in "$include"/kvnode/*.h; do
    found=$((found + 1))
    name=$(basename "$header")
    printf '#include <kvnode/%s>\nint main(void) { return 0; }\n' "$name" > "$folder/one.c"
    warnings='-Wall -Wextra -Wpedantic -pedantic-errors -Werror'
    "$compiler" -x c -std=c99 $warnings -I "$include" -fsyntax-only "$folder/one.c" ||
        { echo "$name is no C99"; failed=1; }
    "$compiler" -x c -std=c11 $warnings -I "$include" -fsyntax-only "$folder/one.c" ||
        { echo "$name is no C11"; failed=1; }
    [ "$skipped" = 1 ] ||
        "$compiler" -x c++ -std=c++11 $warnings -I "$include" -fsyntax-only "$folder/one.c" ||
        { echo "$name is no C++11"; failed=1; }
done
[ "$found" -gt 0 ] || { echo "no headers in $include"; exit 1; }
[ "$failed" = 0 ] || exit 1
echo "$found headers are fine"
[ "$skipped" = 0 ] || exit 77
