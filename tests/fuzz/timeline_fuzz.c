/*
 * Fuzz target: the files of a timeline, as `manta trace` reads and draws them. The first byte
 * chooses: the bytes are the file; or they say what blocks it has, which get the marks of sound
 * ones, since otherwise none would be read. Reading them twice gives the same, nothing is counted
 * that is not there, and drawing comes to its end.
 *
 * A block: what it is, its track, how many words of 8 bytes it has, and a byte for what is changed
 * after it was marked as sound; then the words.
 */
#include "base/alloc.h"
#include "base/timeline_file.h"
#include "cli/trace_draw.h"
#include "fuzz.h"

#include <manta/error.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS_MAX = 64, FILE_MAX = 1 << 18, TRACKS = 2 };

static char folder[] = "/tmp/manta-fuzz-XXXXXX", path[64];

struct file {
    uint8_t bytes[FILE_MAX];
    size_t size;
};

/* ---- Making --------------------------------------------------------------------------------- */

static void add_block(struct file *file, struct timeline_block_head head, const void *body)
{
    if (file->size + sizeof head + head.bytes > sizeof file->bytes) {
        return;
    }
    head.magic = TIMELINE_MAGIC;
    head.digest = timeline_digest(&head, body);
    memcpy(file->bytes + file->size, &head, sizeof head);
    memcpy(file->bytes + file->size + sizeof head, body, head.bytes);
    file->size += sizeof head + head.bytes;
}

static void add_head(struct file *file)
{
    const struct base_timeline_head head = {
        .version = TIMELINE_VERSION, .rank = 0, .size = 2, .tracks = TRACKS, .host = "here"};
    add_block(file, (struct timeline_block_head){.what = BASE_TIMELINE_HEAD, .bytes = sizeof head},
              &head);
}

static void add_from(struct file *file, struct fuzz_input *input)
{
    uint8_t words[256 * 8];
    struct timeline_block_head head = {.what = fuzz_byte(input) % 6,
                                       .track = fuzz_byte(input) % (TRACKS + 1),
                                       .bytes = 8u * fuzz_byte(input)};
    uint8_t change = fuzz_byte(input);
    size_t begin = file->size;
    fuzz_take(input, words, head.bytes);
    head.ticks = head.now_ns = begin;
    add_block(file, head, words);
    if (change && file->size > begin) {
        file->bytes[begin + change % (file->size - begin)] ^= change;
    }
}

static void make(struct file *file, struct fuzz_input *input)
{
    uint8_t how = fuzz_byte(input);
    file->size = 0;
    if (how & 1) {
        file->size = MT_MIN(input->left, sizeof file->bytes);
        fuzz_take(input, file->bytes, file->size);
        return;
    }
    if (!(how & 2)) {
        add_head(file);
    }
    for (int i = 0; i < BLOCKS_MAX && input->left; i++) {
        add_from(file, input);
    }
}

static void write_file(const struct file *file)
{
    if (!path[0]) {
        HOLDS(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/rank-0.timeline", folder);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    HOLDS(fd >= 0 && write(fd, file->bytes, file->size) == (ssize_t)file->size);
    close(fd);
}

__attribute__((destructor)) static void clean_up(void)
{
    if (path[0]) {
        unlink(path);
        rmdir(folder);
    }
}

/* ---- Reading -------------------------------------------------------------------------------- */

struct seen {
    uint64_t blocks, names, bytes, sum;
};

static void see_bytes(struct seen *seen, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        seen->sum = seen->sum * 31 + ((const uint8_t *)bytes)[i];
    }
    seen->bytes += size;
}

static struct seen read_all(struct base_timeline_reader *reader)
{
    struct seen seen = {0};
    struct base_timeline_block block;
    struct base_timeline_name name;
    uint32_t tracks = base_timeline_get_head(reader)->tracks;
    for (; base_timeline_next(reader, &block); seen.blocks++) {
        HOLDS(block.what != BASE_TIMELINE_PART || block.track < tracks);
        see_bytes(&seen, block.records, block.count * sizeof *block.records);
        see_bytes(&seen, block.bytes, block.size);
        seen.bytes += sizeof(struct timeline_block_head);
        for (uint32_t at = 0; base_timeline_next_name(&block, &at, &name); seen.names++) {
            struct seen of_names = {0};
            HOLDS(name.name + name.length <= (const char *)block.bytes + block.size);
            see_bytes(&of_names, name.name, name.length);
        }
    }
    return seen;
}

static void read_twice(const struct file *file)
{
    struct base_timeline_reader *reader;
    int code = base_timeline_open(path, &reader);
    if (code != MANTA_OK) {
        HOLDS(code == MANTA_E_TYPE);
        return;
    }
    struct seen first = read_all(reader);
    HOLDS(first.blocks > 0 && first.bytes + base_timeline_skipped(reader) == file->size);
    base_timeline_rewind(reader);
    struct seen again = read_all(reader);
    HOLDS(memcmp(&first, &again, sizeof first) == 0);
    base_timeline_close(reader);
}

static void draw(bool has_messages)
{
    static FILE *nowhere;
    const struct trace_options options = {.has_messages = has_messages, .has_arrows = true};
    struct trace_set set;
    struct trace_counts counts;
    char text[512];
    nowhere = nowhere ? nowhere : fopen("/dev/null", "we");
    HOLDS(nowhere);
    if (trace_ranks_find(folder, &set, text, sizeof text) == MANTA_OK) {
        HOLDS(trace_draw(&set, &options, nowhere, &counts) == MANTA_OK);
        trace_ranks_fini(&set);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct file file;
    struct fuzz_input input = {data, size};
    uint64_t live = base_alloc_live();
    make(&file, &input);
    write_file(&file);
    read_twice(&file);
    draw(size % 2);
    HOLDS(base_alloc_live() == live);
    return 0;
}
