#!/bin/sh
# check_man.sh MAN_FOLDER KV_CFG KVNODE KVCTL KVPLUGIN: what the programs say of themselves and what
# the man pages say agree: every option and verb of --help, every setting of etc/kv.cfg, is in its
# page, and every option of a page is in --help.
set -u
man=$1
cfg=$2
failed=0

# words TEXT: the long options in it, each once.
words() {
    grep -o -e '--[a-z][a-z-]*' | sort -u
}

# page NAME: its text without roff escapes and requests.
page() {
    sed -e 's/\\-/-/g' -e 's/\\f[A-Z]//g' "$man/$1"
}

# compare NAME: reads the help text from stdin.
compare() {
    words > "$folder/help"
    page "$1" | words > "$folder/page"
    if ! diff "$folder/help" "$folder/page" > "$folder/diff"; then
        echo "$1 and the help differ (<: only in the help, >: only in the page):"
        grep '^[<>]' "$folder/diff"
        failed=1
    fi
}

# contains PAGE WORD...
contains() {
    checked=$1
    shift
    for word in "$@"; do
        if ! page "$checked" | grep -qw -e "$word"; then
            echo "$checked does not mention $word"
            failed=1
        fi
    done
}

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

"$3" --help | compare kvnode.1
for program in "$4" "$5"; do
    name=$(basename "$program")
    verbs=$("$program" --help | sed -n -e "s/^  $name / /" -e 's/^ \{1,2\}\([a-z][a-z]*\) .*/\1/p' |
        grep -vx "$name" | sort -u)
    if [ -z "$verbs" ]; then
        echo "$name --help shows no verbs"
        failed=1
    fi
    # shellcheck disable=SC2086
    contains "$name.1" $verbs
    {
        "$program" --help
        for verb in $verbs; do
            "$program" "$verb" --help
        done
    } | compare "$name.1"
done

settings=$(sed -n -e 's/#.*//' -e 's/^ *\([a-z_]*\) = .*/\1/p' "$cfg" | sort -u)
# shellcheck disable=SC2086
contains kv.cfg.5 $settings
exit $failed
