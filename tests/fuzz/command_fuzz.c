/*
 * Fuzz target: the block that describes a command, as it comes from other ranks, and the value that
 * says what became of one. The first byte chooses. Whatever is in it, reading it stays inside, and
 * what is handed on is whole.
 */
#include "core/outside.h"
#include "fuzz.h"

static size_t touched;

static void touch(const char *text)
{
    touched += text ? strlen(text) : 0;
}

static void touch_bytes(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        touched += ((const uint8_t *)bytes)[i];
    }
}

static int take_command(void *self, const struct spawn_command *command,
                        const struct spawn_done *done, uint64_t *ret_handle, manta_error *ret_error)
{
    HOLDS(command->argv[0] && command->limits.tail_bytes <= MANTA_COMMAND_TAIL_MAX);
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
    touch_bytes(command->input, command->input_bytes);
    return MANTA_OK;
}

/* With the length that fits in front, or the bytes as they are. */
static void start(const struct fuzz_input *input, bool is_framed)
{
    const struct core_processes processes = {.command = take_command};
    struct rank *rank = base_alloc_aligned(MT_CACHE_LINE, MT_ALIGN_UP(sizeof *rank, 64u));
    uint64_t block_bytes = input->left;
    size_t front = is_framed ? sizeof block_bytes : 0, size = front + input->left;
    uint8_t *args = malloc(size ? size : 1);
    struct run run = {.function = command_function(), .args = args, .args_bytes = (uint32_t)size};
    struct outside outside = {.rank = rank, .run = &run};
    manta_error error = {0};
    HOLDS(rank && args);
    rank->outside.processes = &processes;
    memcpy(args, &block_bytes, front);
    if (input->left) {
        memcpy(args + front, input->at, input->left);
    }
    int code = command_start(&outside, NULL, &error);
    HOLDS(code == MANTA_OK || code == MANTA_E_TYPE);
    free(args);
    base_free(rank);
}

static void read_result(const struct fuzz_input *input)
{
    manta_command_result result;
    void *value = malloc(input->left + 1);
    HOLDS(value);
    memcpy(value, input->left ? input->at : (const uint8_t *)"", input->left);
    if (manta_command_read(value, input->left, &result) == MANTA_OK) {
        touch_bytes(result.out_tail, result.out_tail_bytes);
        touch_bytes(result.err_tail, result.err_tail_bytes);
        HOLDS(!result.out_tail[result.out_tail_bytes] && !result.err_tail[result.err_tail_bytes]);
    }
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint64_t live = base_alloc_live();
    uint8_t how = fuzz_byte(&input);
    if (how % 4 == 3) {
        read_result(&input);
    } else if (input.left < MANTA_INLINE_MAX) {
        start(&input, how % 4 != 0);
    }
    HOLDS(base_alloc_live() == live);
    return 0;
}
