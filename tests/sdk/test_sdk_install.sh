#!/bin/sh
# test_sdk_install.sh BUILD_FOLDER CMAKE CC: installs the build tree under a prefix of its own, moves
# it, and uses it with nothing else on the paths, as somebody who has the package only.
set -u
build=$1
cmake=$2
cc=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
die() {
    echo "$*"
    exit 1
}
DESTDIR= "$cmake" --install "$build" --prefix "$folder/first" > "$folder/log" 2>&1 || {
    cat "$folder/log"
    die "cmake --install failed"
}
mv "$folder/first" "$folder/prefix" # it may be moved
prefix=$folder/prefix
pc=$(find "$prefix" -name kvnode-sdk.pc)
[ -n "$pc" ] || die "no kvnode-sdk.pc is installed"

# Only this prefix; LSan and the like keep their options.
clean() {
    env -i HOME="$folder" PATH="$prefix/bin:/usr/bin:/bin" CMAKE_PREFIX_PATH="$prefix" \
        PKG_CONFIG_PATH="$(dirname "$pc")" TMPDIR="$folder" CC="$cc" "$@"
}
cd "$folder" || exit 1
clean kvplugin new third-party || die "kvplugin new failed"
clean "$cmake" -S third-party -B out > log 2>&1 || { cat log; die "the project is not configured"; }
clean "$cmake" --build out > log 2>&1 || { cat log; die "the project does not build"; }
grep -i warning log && die "the project has warnings"
clean "$(dirname "$cmake")/ctest" --test-dir out --output-on-failure > log 2>&1 || {
    cat log
    die "the untouched project does not pass"
}
flags=$(clean pkg-config --cflags kvnode-sdk) || die "pkg-config does not know kvnode-sdk"
for header in "$prefix"/include/kvnode/*.h; do
    printf '#include <kvnode/%s>\nint main(void) { return 0; }\n' "$(basename "$header")" > one.c
    # shellcheck disable=SC2086
    clean "$cc" -x c -std=c99 -pedantic-errors -Wall -Werror $flags -fsyntax-only one.c ||
        die "$header is no C99"
    # shellcheck disable=SC2086
    clean "$cc" -x c++ -std=c++11 -pedantic-errors -Wall -Werror $flags -fsyntax-only one.c ||
        die "$header is no C++11"
done
# shellcheck disable=SC2086
clean "$cc" -shared -fPIC $flags -o direct.so third-party/third-party.c || die "pkg-config: no .so"
clean kvplugin info ./direct.so > log 2>&1 || { cat log; die "the plugin is refused"; }
clean kvplugin info persist-file > log 2>&1 || { cat log; die "installed plugins are not found"; }
cat > kv.cfg <<END
node = { name = "n1"; roles = ["arbiter", "replica"]; arbiter = "tcp://127.0.0.1:0"; data = "$folder/data"; };
transports = ( { plugin = "transport-tcp"; listen = "tcp://127.0.0.1:0"; } );
persistence = { plugin = "$folder/out/third-party.so"; path = "$folder/store"; };
END
clean kvnode -c kv.cfg --check > log 2>&1 || { cat log; die "the installed kvnode refuses it"; }
echo "the SDK works from $prefix alone"
