/*
 * Fuzz target: any messages to a rank of a running job. Rank 0 is the shipped core with tasks
 * of its own under way, a map, a queue and refs handed around; ranks 1 and 2 send whatever
 * the input says. Then they die, as a broken peer would be made to. Whatever they sent, rank 0
 * reads nothing that is not there, breaks no invariant of its own, and marks the sender of
 * a message that is too short or names a rank that there is not as down. A well-formed lie
 * (somebody else's task is done) is believed: peers are authenticated, so it may well end in a
 * wait that never ends, which is no finding here.
 *
 * Input: messages one after the other. Byte 0 is the kind; byte 1 & 1 the sender; byte 2
 * says whom it is about: high nibble 0, the 16 bytes that follow (parent, position, token);
 * else one of the jobs under way, by low nibble; byte 3 the attempt; bytes 4 and 5
 * the length of the body, little-endian; then the body.
 */
#include "core/message.h"
#include "core/object.h"
#include "senders.h"

/* A run that does not end frees nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
void __lsan_enable(void) __attribute__((weak));
void __lsan_disable(void) __attribute__((weak));
#define LEAKS(what) (__lsan_##what ? __lsan_##what() : (void)0)
#else
#define LEAKS(what) (void)0
#endif

enum { MESSAGES_MAX = 64, LEASE_MAX = 40, REFS = 8 };

MANTA_TASK(fuzz_add, in(int64_t, a), val(int64_t, b), out(int64_t, y))
{
    *y = (a_len ? a[0] : 0) + b;
    return MANTA_OK;
}

MANTA_TASK(fuzz_texts, text(name), span(int32_t, xs), refs(parts), outv(char, copy), outrefs(same))
{
    size_t length = name ? strlen(name) : 0;
    char *letters = (char *)manta_outv_alloc(copy, length);
    manta_ref *refs = (manta_ref *)manta_outv_alloc(same, parts_len);
    if (letters) {
        memcpy(letters, name ? name : "", length);
    }
    for (size_t i = 0; refs && i < parts_len; i++) {
        refs[i] = parts[i];
    }
    return xs_len > 3 ? manta_fail(7, "too many") : MANTA_OK;
}

MANTA_TASK(fuzz_parent, val(int32_t, n), out(int64_t, y))
{
    manta_ref zero = fuzz_add_async(NULL, (manta_ref){0}, 1);
    for (int32_t i = 0; i < n % 4; i++) {
        (void)fuzz_add_async(NULL, zero, i);
    }
    (void)manta_wait(&zero, 1, 1, 1000000, NULL);
    return MANTA_OK;
}

MANTA_TASK(fuzz_index, out(uint64_t, y))
{
    core_work(1000);
    *y = manta_map_index();
    return MANTA_OK;
}

struct input {
    const uint8_t *data;
    size_t size;
    struct senders senders;
};

/* ---- Those who send ------------------------------------------------------------------------- */

/* A lease of very many runs is no broken message, but would take its time. */
static void bound_lease(uint8_t *body, size_t length)
{
    struct message_task task;
    struct message_lease lease;
    if (length < sizeof task) {
        return;
    }
    memcpy(&task, body, sizeof task);
    size_t at = sizeof task + (task.flags & TASK_MESSAGE_ROOT ? 0 : 8) +
                (task.flags & TASK_MESSAGE_AGAIN ? 8 : 0) +
                (task.flags & TASK_MESSAGE_OPTIONS ? sizeof(struct message_options) : 0);
    if (task.flags & TASK_MESSAGE_LEASE && length >= at + sizeof lease) {
        memcpy(&lease, body + at, sizeof lease);
        lease.count %= LEASE_MAX;
        memcpy(body + at, &lease, sizeof lease);
    }
}

static void choose_subject(uint8_t which, uint32_t sender, struct wire_header *header)
{
    uint32_t k = which & 15;
    header->position = k;
    header->token = k + 1;
    switch (which >> 4) {
    case 1: /* what rank 0's driver submitted */
        header->parent = CORE_ROOT_BIT;
        break;
    case 2: /* what the sender's driver submitted */
        header->parent = CORE_ROOT_BIT | sender;
        break;
    case 3: /* a child of a task of rank 0 */
        header->parent = core_task_id(CORE_ROOT_BIT, k);
        header->position = 0;
        break;
    default: /* a child of a task of the sender */
        header->parent = core_task_id(CORE_ROOT_BIT | sender, k);
        header->position = 0;
        break;
    }
}

/* One message; returns how many bytes it took. */
static size_t send_one(struct comm *comm, uint32_t sender, const uint8_t *data, size_t size)
{
    size_t at = 6;
    struct wire_header subject = {0};
    if (size < at) {
        return size;
    }
    if (data[2] >> 4 == 0) {
        if (size < at + 16) {
            return size;
        }
        memcpy(&subject, data + at, 16);
        at += 16;
    } else {
        choose_subject(data[2], sender, &subject);
    }
    size_t length = MT_MIN((size_t)data[4] | (size_t)data[5] << 8, size - at);
    struct wire_header *header =
        1 + (data[1] & 1u) == sender ? comm_prepare(comm, 0, length) : NULL;
    if (header) {
        uint8_t *body = comm_body(header);
        subject.length = header->length;
        *header = subject;
        header->kind = data[0] & 63;
        header->attempt = data[3];
        header->length = (uint32_t)length;
        if (length) {
            memcpy(body, data + at, length);
        }
        if (header->kind == MESSAGE_TASK) {
            bound_lease(body, length);
        }
        comm_commit(comm);
        comm_flush(comm);
    }
    return at + length;
}

static void send_all(void *arg, struct comm *comm, const struct base_host *host, uint32_t number)
{
    const struct input *input = arg;
    size_t at = 0;
    for (int i = 0; i < MESSAGES_MAX && at < input->size; i++) {
        at += send_one(comm, number, input->data + at, input->size - at);
        host->work(host->self, 3000);
        while (comm_progress(comm, 64)) {}
    }
}

/* ---- The rank under test -------------------------------------------------------------------- */

static void drive(void)
{
    const int32_t xs[2] = {1, 2};
    manta_ref refs[REFS];
    manta_queue *queue = NULL;
    manta_options on[RANKS] = {{.rank = MANTA_ON(0)}, {.rank = MANTA_ON(1)}, {.rank = MANTA_ON(2)}};
    refs[0] = fuzz_parent_async(&on[1], 3);
    refs[1] = fuzz_add_async(&on[2], refs[0], 4);
    refs[2] = fuzz_parent_async(&on[0], 2);
    struct fuzz_texts_refs texts = fuzz_texts_async(&on[2], "abc", xs, 2, refs, 2);
    refs[3] = texts.copy;
    refs[4] = texts.same;
    refs[5] = fuzz_index_map(NULL, 60);
    refs[6] = fuzz_add_async(NULL, refs[2], 5);
    refs[7] = fuzz_add_async(NULL, manta_map_at(refs[5], 59), 6);
    (void)manta_queue_create(&queue);
    for (int i = 0; i < REFS; i++) {
        (void)manta_queue_add(queue, refs[i], NULL);
    }
    (void)manta_wait(refs, REFS, REFS, 3000000, NULL);
    for (int i = 0; i < REFS; i++) {
        const void *data;
        size_t bytes;
        (void)manta_view(refs[i], &data, &bytes);
    }
    manta_queue_destroy(queue);
}

static void rank_main(void *arg)
{
    struct input *input = arg;
    struct rank *rank;
    manta_error error;
    struct core_options options = {.host = sim_host(input->senders.sim, 0),
                                   .comm = sim_comm(input->senders.sim, 0),
                                   .workers = 1,
                                   .cores = 1,
                                   .node_ranks = RANKS,
                                   .host_name = "virtual",
                                   .stack_bytes = 64 * 1024};
    HOLDS(core_rank_create(&options, &rank, &error) == MANTA_OK);
    HOLDS(core_attach(rank) == MANTA_OK);
    drive();
    core_detach(rank);
    (void)core_finish(rank, 0);
    core_rank_destroy(rank);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size, {rank_main, send_all, &input, .die_at_ns = 1000000}};
    struct sim *sim = senders_create(&input.senders);
    LEAKS(disable);
    int code = sim_run(sim);
    LEAKS(enable);
    HOLDS(code == MANTA_OK || code == MANTA_E_TIMEOUT || code == MANTA_E_DEADLOCK);
    sim_destroy(sim);
    return 0;
}
