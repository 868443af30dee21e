/* The C half of test_cplusplus.cpp. */
#include "spawn/spawn.h"

#include <stdio.h>
#include <string.h>

int run_and_expect(const char *expected);

struct expectation {
    const char *text;
    int answers;
    bool is_met;
};

static void check(void *arg, const struct spawn_result *result)
{
    struct expectation *expectation = arg;
    size_t size = strlen(expectation->text);
    expectation->answers++;
    expectation->is_met = result->has_returned && result->returned == 0 &&
                          result->reply_bytes == size &&
                          memcmp(result->reply, expectation->text, size) == 0;
    if (!expectation->is_met) {
        fprintf(stderr, "end %d, signal %d, %zu bytes: %s\n", (int)result->end, result->signal,
                result->reply_bytes, result->error.text);
    }
}

int run_and_expect(const char *expected)
{
    struct spawn *spawn = NULL;
    struct expectation expectation = {.text = expected};
    manta_error error = {0};
    const struct spawn_done done = {.ended = check, .arg = &expectation};
    int code = spawn_create(&(struct spawn_options){.host = &base_host_real}, &spawn, &error);
    code =
        code ? code : spawn_isolated(spawn, &(struct spawn_isolated){.id = 1}, &done, NULL, &error);
    if (code != MANTA_OK) {
        fprintf(stderr, "%s\n", error.text);
    }
    while (code == MANTA_OK && !expectation.answers) {
        spawn_poll(spawn, BASE_FOREVER);
    }
    spawn_destroy(spawn);
    return expectation.is_met && expectation.answers == 1 ? 0 : 1;
}
