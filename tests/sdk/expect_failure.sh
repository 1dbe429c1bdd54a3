#!/bin/sh
# expect_failure.sh KVPLUGIN PLUGIN GROUP PATTERN: `kvplugin check` must end with 1, with a "not ok"
# of that group, and with a diagnostic that matches the pattern.
set -u
output=$("$1" check "$2" --only "$3" --timeout 4 --rounds 6 2>&1)
status=$?
if [ $status -ne 1 ]; then
    echo "$output"
    echo "expected exit status 1, found $status"
    exit 1
fi
echo "$output" | grep -q "^not ok [0-9]* - $3: " || { echo "$output"; echo "no check failed"; exit 1; }
echo "$output" | grep -q "^# .*$4" || { echo "$output"; echo "no diagnostic says: $4"; exit 1; }
echo "$output" | grep -A 1 "^not ok"
