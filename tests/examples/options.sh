#!/bin/sh
# options: the same table on any number of ranks, European rows confirmed, attributes there.
#
#     options.sh PROGRAM
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1")
command -v h5dump >/dev/null || skip "h5dump is not installed"

cat >grid.csv <<'GRID'
kind,style,spot,strike,rate,volatility,maturity,steps,samples
call,european,100,100,0.05,0.2,1,1,400000
put,european,100,110,0.05,0.3,2,4,100000
call,asian,100,100,0.05,0.2,1,12,100000
"put", asian ,100,90,0.01,0.5,0.5,50,30000
call,european,100,1000,0.05,0.2,1,1,1000
GRID

for count in $(counts 1 2 7); do
    ranks "$count" "$program" --seed 11 --output "prices$count.h5" grid.csv ||
        fail "options on $count ranks ended with $?"
    h5dump "prices$count.h5" | tail -n +2 >"dump$count"
    cmp "prices$count.h5" prices0.h5 || fail "options on $count ranks wrote other bytes"
    cmp "dump$count" dump0 || fail "options on $count ranks wrote other data"
    grep -q 'European rows: 2 of 2 within 5 standard errors' out || fail "no check of the rows"
    grep -q '1 not checked, fewer than 100 draws paid' out || fail "the unclear row is not told"
    grep -q '^100 %' err || fail "no plain progress line"
    ! grep -q "$(printf '\r')" err || fail "a progress bar in a file"
done

for name in seed samples antithetic version units; do
    h5dump -a "/options/$name" prices0.h5 >attribute || fail "no attribute $name"
done
h5dump -a /options/seed prices0.h5 | grep -q '(0): 11$' || fail "another seed"
h5dump -a /options/samples prices0.h5 | grep -q '(0): 631000$' || fail "other samples"
[ ! -e prices0.h5.part ] || fail "a part file is left"

ranks 0 "$program" --seed 12 --output other.h5 grid.csv || fail "seed 12 ended with $?"
! cmp -s other.h5 prices0.h5 || fail "the seed has no effect"
ranks 0 "$program" --antithetic --progress none --output paired.h5 grid.csv ||
    fail "--antithetic ended with $?"
[ ! -s err ] || fail "--progress none printed something"
ranks 0 "$program" --progress bar --output bar.h5 grid.csv || fail "--progress bar ended with $?"
grep -q "$(printf '\r')\\[" err || fail "no progress bar"
