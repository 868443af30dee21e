/*
 * The allocator of the store: random work against a model that knows every byte and every page,
 * and writers that are killed at any moment, whose range an heir then takes over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/heap.h"

#include <manta/error.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

enum { SLOTS = 400, STEPS = 8000 };

/* What the range holds, page by page; a page that is not held must not be touched. */
struct model {
    uint8_t *base;
    uint64_t size, held, bound;
    uint8_t *is_held;
};

static int reserve(void *arg, uint64_t bytes)
{
    struct model *model = arg;
    if (model->held + bytes > model->bound) {
        return MANTA_E_NOMEM;
    }
    model->held += bytes;
    return MANTA_OK;
}

static int populate(void *arg, uint64_t offset, uint64_t bytes)
{
    struct model *model = arg;
    assert_int_equal(offset % HEAP_PAGE + bytes % HEAP_PAGE, 0);
    for (uint64_t page = offset / HEAP_PAGE; page < (offset + bytes) / HEAP_PAGE; page++) {
        assert_false(model->is_held[page]);
        model->is_held[page] = 1;
    }
    assert_int_equal(mprotect(model->base + offset, bytes, PROT_READ | PROT_WRITE), 0);
    return MANTA_OK;
}

static void release(void *arg, uint64_t offset, uint64_t bytes)
{
    struct model *model = arg;
    memset(model->is_held + offset / HEAP_PAGE, 0, bytes / HEAP_PAGE);
    assert_int_equal(madvise(model->base + offset, bytes, MADV_REMOVE), 0);
    assert_int_equal(mprotect(model->base + offset, bytes, PROT_NONE), 0);
    model->held -= bytes;
}

static struct heap_pages pages_of(struct model *model)
{
    return (struct heap_pages){reserve, populate, release, model};
}

/* As the store does: with all its pages. */
static int take(struct heap *heap, uint64_t bytes, struct heap_block **ret_block)
{
    struct heap_raw raw;
    int code = heap_take(heap, bytes, ret_block, &raw);
    if (code == MANTA_OK && raw.bytes) {
        assert_int_equal(heap->pages.populate(heap->pages.arg, raw.offset, raw.bytes), MANTA_OK);
    }
    return code;
}

static struct model make_model(uint64_t size, uint64_t bound)
{
    struct model model = {.size = size, .bound = bound};
    model.base = mmap(NULL, size, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(model.base, MAP_FAILED);
    model.is_held = calloc(size / HEAP_PAGE, 1);
    return model;
}

static void free_model(struct model *model)
{
    munmap(model->base, model->size);
    free(model->is_held);
}

static void assert_sound(const struct heap *heap, const struct model *model)
{
    const char *wrong = heap_check(heap);
    if (wrong) {
        fail_msg("%s", wrong);
    }
    assert_int_equal(heap->held, model->held);
}

static uint64_t draw(uint64_t *state, uint64_t n)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state % n;
}

/* Mostly small, now and then large: log-uniform between 1 byte and `max`. */
static uint64_t draw_bytes(uint64_t *state, uint64_t max)
{
    uint64_t bits = 1 + draw(state, 63 - (uint64_t)__builtin_clzll(max));
    return 1 + draw(state, UINT64_C(1) << bits);
}

static void fill(struct heap_block *block, uint8_t with)
{
    memset(heap_data(block), with, block->payload);
}

static void assert_filled(struct heap_block *block, uint8_t with)
{
    const uint8_t *data = heap_data(block);
    uint64_t size = block->payload;
    assert_true(data[0] == with && memcmp(data, data + 1, size - 1) == 0);
}

static void work(uint64_t seed, uint64_t bound)
{
    struct model model = make_model(64 * MIB, bound);
    struct heap_pages pages = pages_of(&model);
    struct heap_block *blocks[SLOTS] = {0};
    struct heap heap;
    uint64_t state = seed, refused = 0;
    assert_int_equal(heap_init(&heap, model.base, model.size, &pages), MANTA_OK);
    for (int step = 0; step < STEPS; step++) {
        uint32_t slot = (uint32_t)draw(&state, SLOTS);
        struct heap_block **block = &blocks[slot];
        uint64_t what = draw(&state, 100);
        if (what == 0) {
            heap_trim(&heap, draw(&state, 8 * MIB));
        } else if (*block) {
            assert_filled(*block, (uint8_t)slot);
            (what < 5 ? heap_give_hollow : heap_give)(&heap, *block);
            *block = NULL;
        } else if (take(&heap, draw_bytes(&state, 3 * MIB), block) == MANTA_OK) {
            assert_int_equal((uintptr_t)heap_data(*block) % HEAP_LINE, 0);
            fill(*block, (uint8_t)slot);
            if (what < 10) {
                heap_shorten(&heap, *block, 1 + draw(&state, (*block)->payload));
            }
            heap_seal(*block);
        } else {
            refused++;
        }
        if (step % 500 == 0) {
            assert_sound(&heap, &model);
        }
    }
    assert_true(bound >= 64 * MIB || refused > 0);
    for (int slot = 0; slot < SLOTS; slot++) {
        if (blocks[slot]) {
            assert_filled(blocks[slot], (uint8_t)slot);
            heap_give(&heap, blocks[slot]);
        }
    }
    assert_sound(&heap, &model);
    assert_int_equal(heap.taken, 0);
    assert_int_equal(heap.blocks, 0);
    heap_trim(&heap, UINT64_MAX);
    assert_sound(&heap, &model);
    assert_true(heap.held <= 2 * HEAP_PAGE);
    free_model(&model);
}

static void random_work_keeps_every_byte_and_every_page(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        work(seed, 64 * MIB);
    }
}

static void at_the_bound_it_refuses_and_goes_on(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        work(seed, 12 * MIB);
    }
}

/* For ranges of which only headers are touched: pages are counted, not kept. */
static int populate_nothing(void *arg, uint64_t offset, uint64_t bytes)
{
    return MANTA_OK;
}

static void count_release(void *arg, uint64_t offset, uint64_t bytes)
{
    ((struct model *)arg)->held -= bytes;
}

/* Blocks of 1 KiB to 1 GiB come and go while up to 4 GiB are in use: 2 % more of memory are always
 * enough, and four times as much of address space. */
static void fragmentation_is_bounded(void **state)
{
    enum { ROUNDS = 200000, BLOCKS = 1 << 16 };
    uint64_t target = UINT64_C(4) << 30, random = 7;
    struct model model = {.size = 4 * target, .bound = target + target / 50};
    struct heap_pages pages = {reserve, populate_nothing, count_release, &model};
    struct heap_block **blocks = calloc(BLOCKS, sizeof *blocks);
    uint32_t count = 0;
    struct heap heap;
    model.base = mmap(NULL, model.size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_int_equal(heap_init(&heap, model.base, model.size, &pages), MANTA_OK);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t bytes = MT_MIN(1024 + draw_bytes(&random, 1024 * MIB), 1024 * MIB);
        while (heap.taken + bytes > target || count == BLOCKS) {
            uint32_t at = (uint32_t)draw(&random, count);
            heap_give(&heap, blocks[at]);
            blocks[at] = blocks[--count];
        }
        if (take(&heap, bytes, &blocks[count]) != MANTA_OK) {
            heap_trim(&heap, bytes);
            assert_int_equal(take(&heap, bytes, &blocks[count]), MANTA_OK);
        }
        count++;
    }
    print_message("grown to %.2f of what may be in use\n", (double)heap.top / (double)target);
    assert_null(heap_check(&heap));
    free(blocks);
    munmap(model.base, model.size);
}

static void what_cannot_be_is_refused(void **state)
{
    struct model model = make_model(4 * MIB, 4 * MIB);
    struct heap_pages pages = pages_of(&model);
    struct heap_block *block;
    struct heap heap;
    assert_int_equal(heap_init(&heap, model.base, HEAP_PAGE, &pages), MANTA_E_INVALID);
    assert_int_equal(heap_init(&heap, model.base, model.size, &pages), MANTA_OK);
    assert_int_equal(take(&heap, 4 * MIB, &block), MANTA_E_TOOBIG);
    assert_int_equal(take(&heap, UINT64_MAX, &block), MANTA_E_TOOBIG);
    assert_int_equal(take(&heap, 4 * MIB - header_first(4 * MIB) - HEAP_LINE, &block), MANTA_OK);
    struct heap_block *more;
    assert_int_equal(take(&heap, 1, &more), MANTA_E_LIMIT);
    heap_give(&heap, block);
    assert_int_equal(take(&heap, 0, &more), MANTA_OK);
    heap_give(&heap, more);
    assert_sound(&heap, &model);
    free_model(&model);
}

/* ---- Spilling ------------------------------------------------------------------------------- */

/* Of a place: blocks are named by offsets here, because headers move. */
struct slot {
    uint64_t offset;
    bool is_spilled;
};

static struct heap_block *header(const struct heap *heap, const struct slot *slot)
{
    return header_at(heap_head(heap), slot->offset);
}

static void spill(struct heap *heap, struct slot *slot)
{
    heap_leave(header(heap, slot));
    heap_spill(heap, header(heap, slot));
    slot->is_spilled = true;
}

/* As the store does, with the bytes that it had. */
static bool refill(struct heap *heap, struct slot *slot, uint8_t with)
{
    if (heap_refill(heap, header(heap, slot)) != MANTA_OK) {
        return false;
    }
    struct heap_raw raw = heap_inside(heap, header(heap, slot));
    if (raw.bytes) {
        assert_int_equal(heap->pages.populate(heap->pages.arg, raw.offset, raw.bytes), MANTA_OK);
    }
    fill(header(heap, slot), with);
    heap_refilled(header(heap, slot));
    slot->is_spilled = false;
    return true;
}

static void spill_or_refill_or_free(struct heap *heap, struct slot *slot, uint8_t with,
                                    uint64_t what)
{
    if (!slot->is_spilled) {
        assert_filled(header(heap, slot), with);
    }
    if (what < 40) {
        heap_give(heap, header(heap, slot));
        *slot = (struct slot){0};
    } else if (!slot->is_spilled) {
        spill(heap, slot);
    } else if (what < 95) {
        (void)refill(heap, slot, with);
    } else if (heap_refill(heap, header(heap, slot)) == MANTA_OK) {
        heap_spill(heap, header(heap, slot));
    }
}

static void make(struct heap *heap, struct slot *slot, uint8_t with, uint64_t bytes)
{
    struct heap_block *block;
    if (take(heap, bytes, &block) == MANTA_OK ||
        (heap_trim(heap, UINT64_MAX) && take(heap, bytes, &block) == MANTA_OK)) {
        fill(block, with);
        block->tag[0] = with;
        heap_seal(block);
        slot->offset = heap_offset(heap, block);
    }
}

/* Sizes of which neighbours share pages, and small ones in between. */
static void work_with_spilled(uint64_t seed, uint64_t bound)
{
    struct model model = make_model(256 * MIB, bound);
    struct heap_pages pages = pages_of(&model);
    struct slot slots[SLOTS] = {0};
    struct heap heap;
    uint64_t state = seed;
    assert_int_equal(heap_init(&heap, model.base, model.size, &pages), MANTA_OK);
    for (int step = 0; step < STEPS; step++) {
        uint32_t at = (uint32_t)draw(&state, SLOTS);
        uint64_t what = draw(&state, 100);
        if (what == 0) {
            heap_trim(&heap, draw(&state, 8 * MIB));
        } else if (slots[at].offset) {
            spill_or_refill_or_free(&heap, &slots[at], (uint8_t)at, what);
        } else {
            make(&heap, &slots[at], (uint8_t)at,
                 what < 10 ? 1 + draw(&state, 9000) : 65600 + draw(&state, 300000));
        }
        if (step % 100 == 0) {
            assert_sound(&heap, &model);
        }
    }
    for (int at = 0; at < SLOTS; at++) {
        if (slots[at].offset) {
            heap_give(&heap, header(&heap, &slots[at]));
        }
    }
    assert_int_equal(heap.taken, 0);
    heap_trim(&heap, UINT64_MAX);
    assert_sound(&heap, &model);
    free_model(&model);
}

static void random_work_with_spilled_blocks_keeps_every_byte_and_every_page(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        work_with_spilled(seed, seed % 2 ? 256 * MIB : 20 * MIB);
    }
}

static void what_is_spilled_keeps_no_page(void **state)
{
    enum { COUNT = 300 };
    struct model model = make_model(64 * MIB, MIB);
    struct heap_pages pages = pages_of(&model);
    struct slot slots[COUNT] = {0};
    struct heap heap;
    assert_int_equal(heap_init(&heap, model.base, model.size, &pages), MANTA_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        make(&heap, &slots[i], (uint8_t)i, 100000);
        assert_int_not_equal(slots[i].offset, 0);
        spill(&heap, &slots[i]);
    }
    heap_trim(&heap, UINT64_MAX);
    assert_sound(&heap, &model);
    assert_true(model.held < COUNT * HEAP_PAGE / 10);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t at = i * 7 % COUNT;
        assert_true(refill(&heap, &slots[at], (uint8_t)at));
        assert_filled(header(&heap, &slots[at]), (uint8_t)at);
        heap_give(&heap, header(&heap, &slots[at]));
        heap_trim(&heap, UINT64_MAX);
    }
    assert_sound(&heap, &model);
    free_model(&model);
}

/* ---- Heirs ---------------------------------------------------------------------------------- */

static bool all_stay(void *arg, const struct heap_block *block)
{
    ++*(uint32_t *)arg;
    return true;
}

static int reserve_any(void *arg, uint64_t bytes)
{
    return MANTA_OK;
}

static void remove_pages(void *arg, uint64_t offset, uint64_t bytes)
{
    assert_int_equal(madvise((uint8_t *)arg + offset, bytes, MADV_REMOVE), 0);
}

/* Side by side mostly, so that the header between them is put away. */
static void spill_and_refill_two(struct heap *heap)
{
    struct slot slots[2] = {0};
    make(heap, &slots[0], 1, 200000);
    make(heap, &slots[1], 1, 200000);
    spill(heap, &slots[0]);
    spill(heap, &slots[1]);
    for (int i = 0; i < 2; i++) {
        (void)refill(heap, &slots[i], 1);
        heap_give(heap, header(heap, &slots[i]));
    }
}

/* Works on for ever; every sealed block is filled with the low byte of its tag. */
MT_NORETURN static void be_a_writer(void *base, uint64_t size, uint64_t seed)
{
    struct heap_pages pages = {reserve_any, populate_nothing, remove_pages, base};
    struct heap_block *blocks[SLOTS] = {0};
    struct heap heap;
    if (heap_init(&heap, base, size, &pages) != MANTA_OK) {
        _exit(1);
    }
    for (uint64_t serial = 1;; serial++) {
        struct heap_block **block = &blocks[draw(&seed, SLOTS)];
        if (*block) {
            heap_give(&heap, *block);
            *block = NULL;
        } else if (draw(&seed, 4) == 0) {
            spill_and_refill_two(&heap);
        } else if (take(&heap, draw_bytes(&seed, 2 * MIB), block) == MANTA_OK) {
            (*block)->tag[0] = serial;
            fill(*block, (uint8_t)serial);
            heap_seal(*block);
        }
        if (draw(&seed, 200) == 0) {
            heap_trim(&heap, draw(&seed, MIB));
        }
    }
}

static void an_heir_takes_over_whatever_the_writer_was_doing(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t size = 64 * MIB, random = seed;
        uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct heap_pages pages = {reserve_any, populate_nothing, remove_pages, base};
        struct heap heap;
        uint32_t stayed = 0, found = 0, spilled = 0;
        pid_t pid = fork();
        if (pid == 0) {
            be_a_writer(base, size, seed);
        }
        while (!atomic_load(&((struct heap_head *)base)->magic)) {
            usleep(100);
        }
        usleep((useconds_t)draw(&random, 8000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(heap_adopt(&heap, base, size, &pages, all_stay, &stayed), MANTA_OK);
        assert_null(heap_check(&heap));
        const struct heap_block *block = NULL;
        while ((block = heap_next(base, size, block))) {
            if (heap_state(block) == HEAP_SEALED) {
                assert_filled((struct heap_block *)(uintptr_t)block, (uint8_t)block->tag[0]);
                found++;
            }
            spilled += heap_state(block) == HEAP_SPILLED;
        }
        assert_int_equal(found + spilled, stayed);
        assert_int_equal(heap.blocks, stayed);
        struct heap_block *more;
        assert_int_equal(take(&heap, 100000, &more), MANTA_OK);
        assert_null(heap_check(&heap));
        munmap(base, size);
    }
}

static bool none_stays(void *arg, const struct heap_block *block)
{
    return false;
}

static void damage_is_not_taken_over(void **state)
{
    struct model model = make_model(4 * MIB, 4 * MIB);
    struct heap_pages pages = pages_of(&model);
    struct heap_block *block;
    struct heap heap, heir;
    assert_int_equal(heap_init(&heap, model.base, model.size, &pages), MANTA_OK);
    assert_int_equal(take(&heap, 1000, &block), MANTA_OK);
    heap_seal(block);
    atomic_store(&block->word, 3 * HEAP_LINE | HEAP_SEALED); /* into the middle of data */
    memset(heap_data(block), 0xff, 1000);
    assert_int_equal(heap_adopt(&heir, model.base, model.size, &pages, none_stays, NULL),
                     MANTA_E_INVALID);
    free_model(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_work_keeps_every_byte_and_every_page),
        cmocka_unit_test(at_the_bound_it_refuses_and_goes_on),
        cmocka_unit_test(fragmentation_is_bounded),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(random_work_with_spilled_blocks_keeps_every_byte_and_every_page),
        cmocka_unit_test(what_is_spilled_keeps_no_page),
        cmocka_unit_test(an_heir_takes_over_whatever_the_writer_was_doing),
        cmocka_unit_test(damage_is_not_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
