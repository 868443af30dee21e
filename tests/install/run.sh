#!/bin/sh
# run.sh BUILD_DIRECTORY: installs the build below a temporary root as a package would, and uses
# nothing else from then on: headers, pkg-config file, exported symbols and their version, the
# reference, and a program outside of the tree in C17 and C++17 with every compiler there is.
build=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
root=$work/root
fail() { echo "FAILED: $*"; exit 1; }

command -v pkg-config >/dev/null || { echo "skipped: no pkg-config"; exit 77; }
meson install -C "$build" --destdir "$root" --no-rebuild >"$work/log" 2>&1 || { tail -20 "$work/log"; fail "meson install"; }

# What is there.
headers=$(dirname "$(find "$root" -path '*/include/manta/manta.h')")
library=$(find "$root" -name libmanta.so)
[ -n "$library" ] || fail "libmanta.so is not installed"
libraries=$(dirname "$library")
core='manta task array rng error command graph'
parts= # libraries of their own
for part in hdf5 cuda; do
    [ ! -f "$libraries/libmanta_$part.so" ] || parts="$parts $part"
done
for header in $core $parts; do
    [ -f "$headers/$header.h" ] || fail "$header.h is not installed"
done
expected=$(echo $core $parts | wc -w)
[ "$(find "$headers" -type f | wc -l)" -eq "$expected" ] || fail "there are other headers: $(ls "$headers")"
description=$(find "$root" -name manta.pc)
[ -n "$description" ] || fail "manta.pc is not installed"
find "$root" -name reference.html -size +10k | grep -q . || fail "reference.html is not installed"
find "$root" -path '*/man1/manta.1*' | grep -q . || fail "the man page of the program is not installed"
find "$root" -path '*/man3/manta_run.3*' | grep -q . || fail "the man pages are not installed"

# What only some jobs need is loaded, not linked; and the parts that are loaded show themselves only.
if command -v ldd >/dev/null; then
    ldd "$library" | grep -E 'libuc[pstm]|libmpi|libopen-' && fail "libmanta.so brings MPI or UCX along"
fi
for part in mpi ucx; do
    plugin=$libraries/libmanta_$part.so
    [ -f "$plugin" ] || continue
    shown=$(nm -D --defined-only "$plugin" | awk '{print $3}' | tr '\n' ' ')
    [ "$shown" = "manta_${part}_plugin " ] || fail "$plugin shows $shown"
done

# Each exports what its headers declare, no more and no less, under a version.
exported() { nm -D --defined-only --with-symbol-versions "$1" | awk '$2 != "A" {print $3}'; }
exports_what_it_declares() { # library, headers
    exported "$1" | grep -v '@@MANTA_[0-9.]*$' >"$work/bare" && fail "$1 without a version: $(cat "$work/bare")"
    exported "$1" | sed 's/@@.*//' | sort -u >"$work/exported"
    [ -s "$work/exported" ] || fail "$1 exports nothing"
    shift
    for header in "$@"; do
        sed -n 's/^MANTA_API \([^(]*\)(.*/\1/p' "$headers/$header.h"
    done | sed 's/.*[ *]//' | sort -u >"$work/declared"
    undeclared=$(comm -23 "$work/exported" "$work/declared" | tr '\n' ' ')
    [ -z "$undeclared" ] || fail "exported but not in $*: $undeclared"
    missing=$(comm -13 "$work/exported" "$work/declared" | tr '\n' ' ')
    [ -z "$missing" ] || fail "declared in $* but not exported: $missing"
}
# shellcheck disable=SC2086
exports_what_it_declares "$library" $core
for part in $parts; do
    exports_what_it_declares "$libraries/libmanta_$part.so" "$part"
done

# Someone else's program.
PKG_CONFIG_PATH=$(dirname "$description")
PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
cflags=$(pkg-config --cflags manta) && libs=$(pkg-config --libs manta) || fail "pkg-config does not know manta"
version=$(pkg-config --modversion manta)
cp "$(dirname "$0")/outside.c" "$work/outside.c"
cd "$work" || exit 1

use() { # compiler, options
    command -v "$1" >/dev/null || { echo "not here: $1"; return; }
    compiler=$1
    shift
    # shellcheck disable=SC2086
    "$compiler" "$@" -Wall -Wextra -Werror -pedantic $cflags outside.c -o outside $libs 2>"$work/said" ||
        { cat "$work/said"; fail "$compiler $* does not build the program"; }
    LD_LIBRARY_PATH=$libraries timeout 60 ./outside >"$work/printed" 2>"$work/said" ||
        { cat "$work/said"; fail "the program of $compiler $* ended with $?"; }
    [ "$(cat "$work/printed")" = '49 1 E_TIMEOUT 5' ] || fail "the program of $compiler $* printed $(cat "$work/printed")"
    echo "$compiler $*: ok, against manta $version"
}
use gcc -x c -std=c17
use g++ -x c++ -std=c++17
use clang -x c -std=c17
use clang++ -x c++ -std=c++17
exit 0
