#!/bin/sh
# elsewhere.sh ARCHIVE HEADER SOURCE: a driver of the task-graph benchmark outside of the tree, with nothing but copies of
# the archive and the header, in C17 and C++17 with every compiler there is.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$1" "$work/libtaskbench.a"
cp "$2" "$3" "$work"
cd "$work"
fail() { echo "FAILED: $*"; exit 1; }
# Objects are in the archive, not their paths.
[ "$(head -c 7 libtaskbench.a)" = '!<arch>' ] || fail "a thin archive"

tried=0
for one in 'gcc -x c -std=c17' 'clang -x c -std=c17' 'g++ -x c++ -std=c++17' 'clang++ -x c++ -std=c++17'; do
    command -v "${one%% *}" > /dev/null || continue
    # shellcheck disable=SC2086 # several words
    $one -Wall -Wextra -Werror elsewhere.c -x none -L. -ltaskbench -lpthread -lm -o driver || fail "$one does not link"
    ./driver -steps 7 -width 5 -type stencil_1d -kernel compute_bound -iter 3 > out || fail "$one: the driver ended with $?"
    grep -q '^Total Tasks 35$' out || fail "$one: $(cat out)"
    tried=$((tried + 1))
    echo "ok       $one"
done
[ "$tried" -gt 0 ] || { echo "skipped: neither gcc nor clang by that name"; exit 77; }
