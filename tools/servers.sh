#!/bin/sh
# The servers that the tests start for themselves: installs those that are missing, where it may. Says nothing when all are
# there. Only the programs are wanted; the tests run them on free ports with their data in a temporary directory.
set -eu

missing() {
    command -v redis-server >/dev/null 2>&1 || echo redis-server
    # Debian keeps PostgreSQL's programs off the PATH, one folder for each version
    PATH="$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)" command -v initdb >/dev/null 2>&1 || echo postgresql
    PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null 2>&1 || echo pgbouncer
}

[ -n "$(missing)" ] || exit 0

if [ "$(id -u)" = 0 ]; then as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"
else as_root=none; fi

if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests need servers that are not on the PATH: $(missing | tr '\n' ' ')" >&2
    echo "On Debian or Ubuntu, ask an administrator for: apt-get install $(missing | tr '\n' ' ')" >&2
    exit 1
fi

# one at a time: every worker of the test suite may come here at once
exec 9>"${TMPDIR:-/tmp}/clew-servers.$(id -u).lock"
flock 9
packages=$(missing)
[ -n "$packages" ] || exit 0

echo "Installing for the tests: $packages ..." >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
get() { # the lists of packages of a fresh machine are empty, and those of an old one out of date
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 9>&-
}
# shellcheck disable=SC2086
get install -y --no-install-recommends $packages || { get update && get install -y --no-install-recommends $packages; } ||
    { cat "$log" >&2; echo "Could not install $packages: see above." >&2; exit 1; }
