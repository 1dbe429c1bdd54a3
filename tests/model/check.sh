#!/bin/bash
# Checks the model of the change of primary: check.sh short (about a minute), check.sh full
# (about half an hour, 1 GB). Exits 77, loudly, when spin or a C compiler is not there.
set -u
here=$(cd "$(dirname "$0")" && pwd)
mode=${1:-short}
for tool in spin gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "SKIPPED: $tool is not installed; the model of the change of primary was NOT checked"
        exit 77
    fi
done
work=$(mktemp -d "${TMPDIR:-/tmp}/kvnode-model.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

# run NAME SPIN_OPTIONS GCC_OPTIONS PAN_OPTIONS: builds and runs one configuration; output: $work/out.
run() {
    mkdir -p "$work/$1" && cd "$work/$1" || exit 1
    # shellcheck disable=SC2086
    if ! spin $2 -a "$here/view_change.pml" >"$work/out" 2>&1 ||
        ! gcc -O2 -w -DSAFETY -DNOREDUCE $3 -o pan pan.c >>"$work/out" 2>&1; then
        echo "FAILED: $1 does not build"
        cat "$work/out"
        exit 1
    fi
    # shellcheck disable=SC2086
    ./pan -E -m100000 $4 >"$work/out" 2>&1
    grep -E "depth reached|states, stored|total actual|elapsed" "$work/out" | sed "s/^ */    /"
}

# Nothing may be found, and the search must have come to its end.
sound() {
    echo "sound: $1"
    run "$@"
    if ! grep -q "errors: 0" "$work/out" ||
        grep -qE "error: max|out of memory|not completed" "$work/out"; then
        echo "FAILED: $1"
        grep -E "assertion|error" "$work/out"
        failed=1
    fi
}

# Too many states to see them all: nothing may be found in ten minutes.
searched() {
    echo "searched: $1"
    run "$1" "$2" "-DBITSTATE -DMEMLIM=8000" "-w33 -h3 -Q10"
    if ! grep -q "errors: 0" "$work/out"; then
        echo "FAILED: $1"
        grep -E "assertion|error" "$work/out"
        failed=1
    fi
}

# The mistake must be found.
mistake() {
    echo "mistake: $1"
    run "$1" "-D$1 $2" "-DBITSTATE -DMEMLIM=2000" "-w28"
    if ! grep -q "assertion violated" "$work/out"; then
        echo "FAILED: the mistake $1 is not found"
        failed=1
    fi
}

case $mode in
short)
    sound two-views "-DVIEWS=2 -DRECORDS=1 -DSLOW_READS" "-DHC4 -DMEMLIM=2000" "-w24"
    mistake LEASE_AFTER_WORD "-DVIEWS=3 -DRECORDS=1"
    mistake ACK_AFTER_ASK "-DVIEWS=3 -DRECORDS=1"
    mistake ELECT_UNASKED "-DVIEWS=3 -DRECORDS=1"
    mistake ELECT_CANDIDATE "-DVIEWS=3 -DRECORDS=1 -DSTART_CANDIDATE"
    mistake ELECT_DROPPED "-DVIEWS=4 -DRECORDS=1"
    mistake VOUCH_EARLY "-DVIEWS=3 -DRECORDS=1"
    mistake READ_UNSETTLED "-DVIEWS=3 -DRECORDS=1"
    mistake COUNT_LATE "-DVIEWS=4 -DRECORDS=1 -DSTART_CANDIDATE"
    mistake STALE_ASK "-DVIEWS=4 -DRECORDS=1"
    mistake NO_RETURN_WAIT "-DVIEWS=3 -DRECORDS=1"
    ;;
full)
    sound three-views "-DVIEWS=3 -DRECORDS=1" "-DHC4 -DMEMLIM=8000" "-w28"
    searched four-views "-DVIEWS=4 -DRECORDS=2"
    searched power-cut "-DVIEWS=4 -DRECORDS=2 -DCRASHES=3"
    searched candidate "-DVIEWS=4 -DRECORDS=2 -DSTART_CANDIDATE -DSLOW_READS"
    ;;
*)
    echo "usage: check.sh [short|full]"
    exit 2
    ;;
esac
exit $failed
