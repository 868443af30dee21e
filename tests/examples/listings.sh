#!/bin/sh
# The listings print what they promise, alone and on several ranks.
#
#     listings.sh NAME PROGRAM
set -eu
. "$(dirname "$0")/lib.sh"
name=$1 program=$(absolute "$2")

expect()
{
    printf '%s\n' "$@" | cmp -s - out || fail "$name on $count ranks printed something else"
}

check_squares()
{
    for count in $(counts 10); do
        ranks "$count" "$program" || fail "squares on $count ranks ended with $?"
        expect '[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]'
    done
    [ "$count" = 10 ] || return 0
    awk '{ exit !($(NF - 1) < 5) }' err || fail "ten ranks took as long as half of them would"
}

check_fibonacci()
{
    for count in $(counts 1 2 7); do
        ranks "$count" "$program" || fail "fibonacci on $count ranks ended with $?"
        expect 55
        grep -qx '177 tasks' err || fail "not 177 tasks"
    done
    count="one worker of 0"
    ranks 0 taskset -c "$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')" "$program" ||
        fail "fibonacci on one core ended with $?"
    expect 55
}

# Thousands of names, some of one file, one missing; the order and the digests are known.
check_files()
{
    mkdir data
    for i in 0 1 2 3 4 5 6 7 8 9; do
        i=$i awk 'BEGIN { for (k = 0; k < 100; k++) print ENVIRON["i"], k }' >data/$i
    done
    printf '123456789' >data/check
    awk 'BEGIN { for (i = 0; i < 5000; i++) print "data/" i % 10; print "data/check" }' >names
    for count in $(counts 1 3); do
        if [ "$count" = 0 ]; then
            "$program" <names >out 2>err || fail "files ended with $?"
        else
            mpirun -n "$count" "$program" <names >out 2>err ||
                fail "files on $count ranks ended with $?"
        fi
        awk '{ print $4 }' out | cmp - names || fail "files on $count ranks: another order"
        awk '/check$/ { exit !($1 == 0 && $2 == 9 && $3 == "cbf43926") }' out ||
            fail "files on $count ranks: wrong CRC-32"
        awk '/[0-9]$/ && $1 != 100 { exit 1 }' out || fail "files on $count ranks: wrong lines"
    done
    printf 'data/1\nnowhere\ndata/2\n' >names
    code=0
    "$program" <names >out 2>err || code=$?
    [ "$code" = 1 ] || fail "files with a missing one: code $code, not 1"
    [ "$(wc -l <out)" = 2 ] || fail "files: a missing one hides others"
    grep -q 'nowhere: No such file' err || fail "files: the missing one is not named"
}

check_batches()
{
    for count in $(counts 1 2); do
        ranks "$count" "$program" 100000 || fail "batches on $count ranks ended with $?"
        grep -qE '^single : 100000 tasks in .* tasks/s' out || fail "no rate of single tasks"
        grep -qE '^batches: 100 tasks in .* additions/s' out || fail "no rate of batches"
        grep -qx 'same list: yes, last sum 299997' out || fail "another list"
    done
}

check_retries()
{
    for count in $(counts 1 3); do
        ranks "$count" "$program" 0.5 || fail "retries on $count ranks ended with $?"
        expect 'Task failed after 4 attempts: no luck with 42' 'Task timeout'
    done
}

check_primes()
{
    for count in $(counts 1 3); do
        ranks "$count" "$program" || fail "primes on $count ranks ended with $?"
        expect 2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97
    done
}

check_resources()
{
    ranks 0 "$program" || fail "resources ended with $?"
    grep -qE '^cores: ([0-9]+), hwloc: \1$' out || fail "not hwloc's number of cores"
    for count in $(counts 3); do
        ranks "$count" "$program" || fail "resources on $count ranks ended with $?"
    done
    [ "$count" = 0 ] || [ "$(grep -c '^rank [0-2] on ' out)" = 3 ] || fail "not three ranks"
}

# Ten means of the same numbers, within three deviations of 0.5, the same on every count.
check_mean()
{
    for count in $(counts 1 2 4); do
        ranks "$count" "$program" || fail "mean on $count ranks ended with $?"
        tr -d '[]' <out | tr ',' '\n' | awk '{ gsub(/ /, "") } NR == 1 { first = $1 }
            $1 != first || $1 < 0.4991 || $1 > 0.5009 { exit 1 } END { if (NR != 10) exit 1 }' ||
            fail "mean on $count ranks: not ten times the same near 0.5: $(cat out)"
        [ ! -f first ] || cmp -s first out || fail "mean on $count ranks: another value"
        cp out first
    done
}

# The noise is a 2000th of the variance; the score is the same on every count.
check_pipeline()
{
    for count in $(counts 1 2 4); do
        ranks "$count" "$program" || fail "pipeline on $count ranks ended with $?"
        grep -qx 'score: 0\.99[0-9]*' out || fail "pipeline on $count ranks: $(cat out)"
        [ ! -f first ] || cmp -s first out || fail "pipeline on $count ranks: another score"
        cp out first
    done
}

"check_$name"
