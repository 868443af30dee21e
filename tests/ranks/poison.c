/*
 * A map of which one element kills every rank that runs it, and a task that does: only these
 * fail, and whatever else the dead ranks had comes out right. Rank 0 spares itself. Prints what
 * became of the two, and "right" when all others are. `poison away` keeps rank 0 busy until the
 * element has an end, so that it runs on others only.
 */
#include <manta/manta.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ELEMENTS = 2000, POISON = 700, TASKS = 200, PLACES = 64 };

static int die_elsewhere(void)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    return world.rank ? raise(SIGSEGV) : MANTA_OK;
}

MANTA_TASK(element, out(int64_t, y))
{
    int64_t x = (int64_t)manta_map_index();
    if (x == POISON) {
        MANTA_TRY(die_elsewhere());
    }
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(deadly, out(int64_t, y))
{
    MANTA_TRY(die_elsewhere());
    *y = -1;
    return MANTA_OK;
}

MANTA_TASK(harmless, val(int64_t, x), out(int64_t, y))
{
    *y = x + 1;
    return MANTA_OK;
}

MANTA_TASK(stay)
{
    while (!manta_cancelled()) {
        usleep(1000);
    }
    return MANTA_E_CANCELLED;
}

static void tell(const char *what, int code)
{
    const manta_error *error = manta_last_error();
    if (code == MANTA_OK) {
        printf("%s: spared\n", what);
    } else {
        printf("%s: %s, attempt %u, %s\n", what, manta_error_name(code), error->attempt,
               strstr(error->text, "died while it ran") ? "blamed" : error->text);
    }
}

/* More tasks than rank 0 has places for, until the element has an end. */
static manta_ref map_elsewhere(void)
{
    manta_ref busy[PLACES];
    for (int i = 0; i < PLACES; i++) {
        busy[i] = stay_async(MANTA_OPTIONS(.rank = MANTA_ON(0)));
    }
    manta_ref map = element_map(MANTA_OPTIONS(.retries = 1), ELEMENTS);
    manta_ref element = manta_map_at(map, POISON);
    (void)manta_wait(&element, 1, 1, MANTA_FOREVER, NULL);
    for (int i = 0; i < PLACES; i++) {
        (void)manta_cancel(busy[i]);
    }
    return map;
}

static int check_map(bool is_away)
{
    static int64_t values[ELEMENTS];
    static int32_t codes[ELEMENTS];
    manta_ref map = is_away ? map_elsewhere() : element_map(MANTA_OPTIONS(.retries = 1), ELEMENTS);
    (void)manta_map_get(map, values, sizeof values[0], ELEMENTS, codes);
    for (int64_t i = 0; i < ELEMENTS; i++) {
        if (i != POISON && (codes[i] != MANTA_OK || values[i] != i * i)) {
            printf("element %d: code %d, value %lld\n", (int)i, codes[i], (long long)values[i]);
            return 1;
        }
    }
    int64_t value;
    tell("element", element_get(manta_map_at(map, POISON), &value));
    return 0;
}

static int check_tasks(void)
{
    manta_ref refs[TASKS], poison = deadly_async(MANTA_OPTIONS(.retries = 1));
    int64_t value;
    for (int64_t i = 0; i < TASKS; i++) {
        refs[i] = harmless_async(NULL, i);
    }
    for (int64_t i = 0; i < TASKS; i++) {
        if (harmless_get(refs[i], &value) != MANTA_OK || value != i + 1) {
            printf("task %d: %s\n", (int)i, manta_last_error()->text);
            return 1;
        }
    }
    tell("task", deadly_get(poison, &value));
    return 0;
}

static int driver(int argc, char **argv)
{
    bool is_away = argc > 1 && !strcmp(argv[1], "away");
    if (check_map(is_away) || check_tasks()) {
        return 1;
    }
    puts("right");
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
