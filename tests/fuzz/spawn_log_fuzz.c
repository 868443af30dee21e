/*
 * Fuzz target: any bytes as the index of a log. Reading ends, moves on, stays within, and a whole
 * record that is appended to any rubbish is found behind it: a torn end hides nothing that follows.
 */
#include "fuzz.h"
#include "spawn/log.h"

static size_t count_records(const uint8_t *index, size_t size, struct spawn_log_part *ret_last)
{
    size_t count = 0;
    for (size_t at = 0, before = 0; log_next(index, size, &at, ret_last); before = at) {
        HOLDS(at >= before + sizeof(struct log_record) && at <= size);
        count++;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spawn_log_part last,
        added = {.id = 7, .attempt = 3, .stream = SPAWN_STDERR, .bytes = 9, .offset = 11};
    struct log_record record;
    size_t count = count_records(data, size, &last);
    uint8_t *longer = malloc(size + sizeof record);
    HOLDS(longer);
    log_record_fill(&added, &record);
    if (size) {
        memcpy(longer, data, size);
    }
    memcpy(longer + size, &record, sizeof record);
    HOLDS(count_records(longer, size + sizeof record, &last) == count + 1);
    HOLDS(last.id == 7 && last.attempt == 3 && last.bytes == 9 && last.offset == 11);
    free(longer);
    return 0;
}
