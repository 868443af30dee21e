#!/bin/sh
# The program in the README compiles as C17 and as C++17, the files that it names are there, and
# its table of variables is that of the settings.
#
#     readme.sh README SETTINGS INCLUDE C-COMPILER CXX-COMPILER
set -eu
. "$(dirname "$0")/lib.sh"
readme=$(absolute "$1") settings=$(absolute "$2") include=$(absolute "$3") cc=$4 cxx=$5

awk '/^```/ { inside = $0 == "```c"; next } inside' "$readme" >program.c
grep -q 'manta_run' program.c || fail "no program in the README"
lines=$(grep -vcE '^ *$|^#include' program.c)
[ "$lines" -le 20 ] || fail "the program has $lines lines, more than 20"
# Words, not strings: a compiler may come with arguments.
$cc -std=c17 -pedantic -Wall -Wextra -Werror -Wno-unused-parameter -I"$include" -c program.c \
    2>err || fail "the README's program is not C17"
$cxx -std=c++17 -x c++ -Wall -Wextra -Werror -Wno-unused-parameter -I"$include" -c program.c \
    2>err || fail "the README's program is not C++17"

# shellcheck disable=SC2016 # Markdown
grep -oE '\]\([a-zA-Z0-9_./-]+\)' "$readme" | tr -d '()' | sed 's/^\]//' | while read -r path; do
    [ -e "$(dirname "$readme")/$path" ] || fail "the README names $path, which is not there"
done

sed -n 's/^ *ROW("\([a-z_]*\)".*/MANTA_\1/p' "$settings" | tr "[:lower:]" "[:upper:]" | sort >expected
grep -oE '"MANTA_[A-Z_]*"' "$settings" | tr -d '"' | sort - expected >known # texts that are read elsewhere too
# shellcheck disable=SC2016 # Markdown
grep -oE '^\| `MANTA_[A-Z_]*`' "$readme" | tr -d '|` ' | sort >found
comm -23 expected found >out
[ ! -s out ] || fail "variables of $settings are not in the README"
comm -13 known found >out
[ ! -s out ] || fail "variables of the README are not in $settings"
[ -s expected ] || fail "no variables in $settings"
