/*
 * The sizes that the design counts on. A failure here is a decision to make, not a number to
 * raise: each line says what it costs to grow.
 */
#include "comm/shm.h"
#include "core/message.h"
#include "core/rank.h"
#include "wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_queued_task_takes_256_bytes(void **state)
{
    /* A million live tasks are 256 MB; the record starts on a line of its own. */
    assert_int_equal(sizeof(struct task), 256);
}

static void the_small_area_of_a_task_ends_its_record(void **state)
{
    /* Arguments and value share the last lines; nothing else may slip behind them. */
    assert_int_equal(offsetof(struct task, small) + 2 * CORE_SMALL_BYTES, sizeof(struct task));
}

static void a_run_takes_at_most_eight_lines(void **state)
{
    assert_in_range(sizeof(struct run), 1, 8 * MT_CACHE_LINE);
}

static void a_message_header_takes_24_bytes(void **state)
{
    assert_int_equal(sizeof(struct wire_header), 24);
}

static void a_no_op_and_its_result_take_one_line_each(void **state)
{
    /* What lies beside the header in a line of a ring is all that costs no second line. */
    assert_in_range(sizeof(struct message_task), 1, SHM_BODY_INLINE);
    assert_in_range(sizeof(struct message_result), 1, SHM_BODY_INLINE);
    assert_int_equal(sizeof(struct shm_line), MT_CACHE_LINE);
}

static void a_no_op_leaves_room_for_two_words_of_arguments_and_one_of_result(void **state)
{
    assert_in_range(sizeof(struct message_task) + 2 * sizeof(uint64_t), 1, SHM_BODY_INLINE);
    assert_in_range(sizeof(struct message_result) + sizeof(uint64_t), 1, SHM_BODY_INLINE);
}

static void what_reader_and_writer_of_a_ring_write_lies_on_lines_of_their_own(void **state)
{
    assert_int_equal(offsetof(struct shm_ring, waits) / MT_CACHE_LINE -
                         offsetof(struct shm_ring, head) / MT_CACHE_LINE,
                     1);
    assert_int_equal(offsetof(struct shm_ring, lines) % MT_CACHE_LINE, 0);
    assert_int_equal(offsetof(struct shm_control, doorbell) % MT_CACHE_LINE, 0);
}

static void public_structs_keep_their_sizes(void **state)
{
    /* Programs built against an older header pass them to a newer library. */
    assert_int_equal(sizeof(manta_ref), 16);
    assert_int_equal(sizeof(manta_slot), 16);
    assert_int_equal(sizeof(manta_param), 32);
    assert_int_equal(sizeof(manta_function), 96);
    assert_int_equal(sizeof(manta_options), 72);
    assert_int_equal(sizeof(manta_config), 88);
    assert_int_equal(sizeof(manta_world), 32);
    assert_int_equal(sizeof(manta_stats), 160);
    assert_int_equal(sizeof(manta_command_setup), 144);
    assert_int_equal(sizeof(manta_command_result), 104);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queued_task_takes_256_bytes),
        cmocka_unit_test(the_small_area_of_a_task_ends_its_record),
        cmocka_unit_test(a_run_takes_at_most_eight_lines),
        cmocka_unit_test(a_message_header_takes_24_bytes),
        cmocka_unit_test(a_no_op_and_its_result_take_one_line_each),
        cmocka_unit_test(a_no_op_leaves_room_for_two_words_of_arguments_and_one_of_result),
        cmocka_unit_test(what_reader_and_writer_of_a_ring_write_lies_on_lines_of_their_own),
        cmocka_unit_test(public_structs_keep_their_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
