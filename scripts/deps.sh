#!/usr/bin/env bash
# Installs, with apt, the Debian packages that building and testing need, when one is missing.
# Usage: deps.sh build | test
set -euo pipefail

build_packages=(gcc cmake ninja-build pkg-config libc6-dev libuv1-dev libconfig-dev libjansson-dev
                libsodium-dev libxxhash-dev libdb5.3-dev libmongoc-dev)
# Networks that tests make (iproute2); the model checker (spin); examples (SQLite); a server that
# speaks MongoDB's protocol, in Java, fetched with Maven.
test_packages=(libcmocka-dev g++ binutils make iproute2 spin libsqlite3-dev openjdk-17-jdk-headless
               maven)

case "${1:-}" in
build) packages=("${build_packages[@]}") ;;
test) packages=("${build_packages[@]}" "${test_packages[@]}") ;;
*)
    echo "usage: deps.sh build | test" >&2
    exit 2
    ;;
esac

missing=()
for package in "${packages[@]}"; do
    if ! dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "== packages: all ${#packages[@]} are installed"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
echo "== packages: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
