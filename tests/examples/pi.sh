#!/bin/sh
# pi: the same digits on any number of ranks, right within its stated error, a short program.
#
#     pi.sh PROGRAM SOURCE
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1") source=$(absolute "$2")

lines=$(grep -vcE '^ *$|^#include|^ ?/?\*' "$source")
[ "$lines" -le 20 ] || fail "pi.c has $lines lines of program, more than 20"

for count in $(counts 1 2 7 64); do
    ranks "$count" "$program" || fail "pi on $count ranks ended with $?"
    [ -f first ] || cp out first
    cmp -s out first || fail "pi on $count ranks printed other digits: $(cat out first)"
    grep -q 'million samples/s' err || fail "pi on $count ranks did not print its speed"
done
grep -qxE 'Pi estimate: 3\.14[0-9]+ \+- 0\.00016[0-9]+' first || fail "$(cat first)"
awk '{ off = $3 - 3.14159265; if (off < 0) off = -off; exit !(off < 4 * $5) }' first ||
    fail "more than four standard errors from pi: $(cat first)"
