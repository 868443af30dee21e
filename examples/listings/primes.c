/*
 * A sieve of streams: a task that counts without end, and behind it one task for each of 2, 3, 5
 * and 7 that lets through what is no multiple of it. All run at the same time, on any ranks; what
 * comes out at the end below 11 * 11 is prime. The driver stops reading, and all of them stop.
 */
#include <inttypes.h>
#include <manta/manta.h>
#include <stdio.h>

MANTA_TASK(count_from, val(uint64_t, first), stream(uint64_t, numbers))
{
    for (uint64_t n = first;; n++) {
        MANTA_TRY(manta_yield(numbers, &n, 1));
    }
}

/* The next number of a stream. */
static int take(manta_ref stream, uint64_t *ret_number)
{
    manta_ref item;
    MANTA_TRY(manta_next(stream, MANTA_FOREVER, &item));
    MANTA_TRY(manta_get(item, ret_number, sizeof *ret_number));
    return manta_drop(item);
}

MANTA_TASK(without_multiples, ref(numbers), val(uint64_t, prime), stream(uint64_t, rest))
{
    uint64_t n;
    int code;
    while ((code = take(numbers, &n)) == MANTA_OK) {
        if (n == prime || n % prime != 0) {
            MANTA_TRY(manta_yield(rest, &n, 1));
        }
    }
    return code == MANTA_E_END ? MANTA_OK : code;
}

static int driver(int argc, char **argv)
{
    static const uint64_t primes[] = {2, 3, 5, 7};
    manta_ref numbers = count_from_async(NULL, 2);
    for (size_t i = 0; i < sizeof primes / sizeof *primes; i++) {
        manta_ref all = numbers;
        numbers = without_multiples_async(NULL, all, primes[i]);
        MANTA_TRY(manta_drop(all));
    }
    for (;;) {
        uint64_t n;
        MANTA_TRY(take(numbers, &n));
        if (n >= 100) {
            break;
        }
        printf("%" PRIu64 "\n", n);
    }
    return manta_drop(numbers);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
