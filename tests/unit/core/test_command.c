/*
 * The block that describes a command comes from other ranks: whatever is in it, reading it stays
 * inside, and what is handed on is whole. (The address sanitizer says so.)
 */
#include "core/outside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 300000, BLOCK_MAX = 160 };

static unsigned accepted;
static size_t touched;

static void touch(const char *text)
{
    touched += text ? strlen(text) : 0;
}

static int take_command(void *self, const struct spawn_command *command,
                        const struct spawn_done *done, uint64_t *ret_handle, manta_error *ret_error)
{
    assert_non_null(command->argv[0]);
    for (size_t i = 0; command->argv[i]; i++) {
        touch(command->argv[i]);
    }
    for (size_t i = 0; command->environment[i]; i++) {
        touch(command->environment[i]);
    }
    touch(command->directory);
    touch(command->input_path);
    touch(command->out.path);
    touch(command->err.path);
    for (size_t i = 0; i < command->input_bytes; i++) {
        touched += ((const uint8_t *)command->input)[i];
    }
    assert_in_range(command->limits.tail_bytes, 0, MANTA_COMMAND_TAIL_MAX);
    accepted++;
    return MANTA_OK;
}

/* Mostly zeros and small numbers: counts and lengths that nearly fit. */
static uint8_t draw_byte(void)
{
    int dice = rand() % 16;
    return dice < 9 ? 0 : dice < 14 ? (uint8_t)(rand() % 4) : (uint8_t)rand();
}

static void any_block_is_read_within_its_bounds(void **state)
{
    const struct core_processes processes = {.command = take_command};
    struct rank *rank = base_alloc_aligned(MT_CACHE_LINE, MT_ALIGN_UP(sizeof *rank, 64u));
    rank->outside.processes = &processes;
    srand(1);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t block_bytes = (uint64_t)(rand() % BLOCK_MAX);
        size_t size = sizeof block_bytes + block_bytes;
        uint8_t *args = malloc(size);
        struct run run = {.function = command_function(), .args = args};
        struct outside outside = {.rank = rank, .run = &run};
        manta_error error = {0};
        for (size_t i = 0; i < size; i++) {
            args[i] = draw_byte();
        }
        if (rand() % 8) {
            memcpy(args, &block_bytes, sizeof block_bytes);
        }
        run.args_bytes = (uint32_t)size;
        int code = command_start(&outside, NULL, &error);
        assert_true(code == MANTA_OK || code == MANTA_E_TYPE);
        free(args);
    }
    assert_in_range(accepted, 100, ROUNDS);
    base_free(rank);
}

static void no_value_is_taken_for_a_result_that_is_none(void **state)
{
    manta_command_result result;
    uint8_t bytes[200];
    for (size_t size = 0; size <= sizeof bytes; size++) {
        memset(bytes, (int)size, sizeof bytes);
        assert_int_equal(manta_command_read(bytes, size, &result), MANTA_E_TYPE);
    }
    assert_int_equal(manta_command_read(NULL, 5, &result), MANTA_E_INVALID);
    assert_int_equal(manta_command_read(bytes, 5, NULL), MANTA_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_block_is_read_within_its_bounds),
        cmocka_unit_test(no_value_is_taken_for_a_result_that_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
