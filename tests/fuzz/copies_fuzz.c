/*
 * Fuzz target: the protocol of copies between nodes. Rank 0 is the shipped core with a store and a
 * value of its own in it; rank 1 shares its node, rank 2 does not. Both send whatever the input
 * says: that they want to read values of rank 2 or do not any more, chunks of those, lent and not,
 * requests for chunks of what rank 0 has or is getting, and that values are freed. Then they die.
 *
 * Whatever they sent, rank 0 reads and writes nothing outside of a block, and when they are dead
 * every copy and every loan comes to its end: the job ends, and its share holds nothing.
 *
 * Input: operations of 8 bytes: kind and sender; which of four values; the token; which chunk; how
 * long it is; a byte for flags and offsets; the rank named as source; what is broken on purpose.
 */
#include "core/message.h"
#include "senders.h"
#include "store/store.h"

#include <sys/mman.h>
#include <unistd.h>

enum { OPERATIONS_MAX = 100, CHUNK = 256 * 1024, STORE = 8 << 20 };

/* Of the four values; the last one is rank 0's own. */
static const uint64_t value_bytes[4] = {70000, CHUNK, 2 * CHUNK + 100, CHUNK + 9};

struct operation {
    uint8_t kind, value, token, chunk, length, flags, source, broken;
};

struct input {
    const uint8_t *data;
    size_t size;
    struct senders senders;
    struct store *store;
    struct store_entry own; /* rank 0's block */
    uint8_t bytes[CHUNK + 64];
    struct comm_loan loans[OPERATIONS_MAX];
    struct core_counts left;
    bool has_ended;
};

/* ---- Those who send ------------------------------------------------------------------------- */

static struct location place_of(const struct input *input, const struct operation *what)
{
    uint32_t value = what->value % 4;
    struct location of = {.parent = 1000 + value,
                          .position = value,
                          .rank = value == 3 ? 0 : 2,
                          .offset = value == 3 ? input->own.place : 4096 * (uint64_t)value,
                          .bytes = value_bytes[value]};
    if (value == 3) {
        of.parent = input->own.tag.parent;
        of.position = input->own.tag.position;
    }
    of.bytes += what->broken & 1 ? what->length : 0;
    of.rank = what->broken & 2 ? what->source : of.rank;
    of.offset += what->broken & 4 ? what->flags : 0;
    return of;
}

static void send_body(struct comm *comm, const struct location *of, uint32_t kind, uint32_t token,
                      const void *body, size_t bytes)
{
    struct wire_header *header = comm_prepare(comm, 0, bytes);
    if (header) {
        *header = (struct wire_header){
            .parent = of->parent, .position = of->position, .token = token, .kind = (uint8_t)kind};
        if (bytes) {
            memcpy(comm_body(header), body, bytes);
        }
        comm_commit(comm);
    }
}

static void send_chunk(struct input *input, struct comm *comm, const struct operation *what,
                       const struct location *of, struct comm_loan *loan)
{
    uint64_t from = (uint64_t)what->chunk % 4 * CHUNK;
    size_t bytes = from < of->bytes ? MT_MIN(of->bytes - from, (uint64_t)CHUNK) : what->length;
    struct message_chunk chunk = {
        .from = from + (what->broken & 8), .kind = what->flags % 4, .source = what->source % 4};
    struct comm_lent lent = {
        .header = {.parent = of->parent, .position = of->position, .kind = MESSAGE_CHUNK},
        .data = input->bytes,
        .bytes = bytes};
    bytes = chunk.kind == CHUNK_DATA ? bytes - (what->broken & 16 ? MT_MIN(bytes, 3u) : 0) : 0;
    memcpy(lent.head, &chunk, sizeof chunk);
    if (what->flags & 64) {
        lent.bytes = bytes;
        (void)comm_lend(comm, 0, &lent, loan);
        return;
    }
    memcpy(input->bytes, &chunk, sizeof chunk);
    send_body(comm, of, MESSAGE_CHUNK, what->token, input->bytes, sizeof chunk + bytes);
}

static void send_fetch(struct comm *comm, const struct operation *what, const struct location *of)
{
    uint64_t from = (uint64_t)what->chunk % 4 * CHUNK;
    struct message_fetch fetch = {
        .offset = of->offset,
        .value_bytes = of->bytes,
        .from = from + (what->broken & 8),
        .bytes = from < of->bytes ? MT_MIN(of->bytes - from, (uint64_t)CHUNK) : what->length,
        .share = of->rank,
        .may_point = what->flags & 1};
    send_body(comm, of, MESSAGE_FETCH, what->token, &fetch,
              sizeof fetch - (what->broken & 32 ? 1 : 0));
}

static void send_one(struct input *input, struct comm *comm, const struct operation *what,
                     struct comm_loan *loan)
{
    struct location of = place_of(input, what);
    struct message_want want = {of};
    struct message_freed freed = {of.offset};
    struct message_here here = {.offset = of.offset, .code = what->flags};
    switch (what->kind >> 1) {
    case 0:
    case 1:
        send_body(comm, &of, MESSAGE_WANT, what->token, &want, sizeof want);
        break;
    case 2:
        send_body(comm, &of, MESSAGE_UNWANT, what->token, NULL, 0);
        break;
    case 3:
        send_fetch(comm, what, &of);
        break;
    case 4:
        send_body(comm, &of, MESSAGE_FREED, what->token, &freed, sizeof freed);
        break;
    case 5:
        send_body(comm, &of, MESSAGE_HERE, what->token, &here, sizeof here);
        break;
    default:
        send_chunk(input, comm, what, &of, loan);
        break;
    }
}

static void send_all(void *arg, struct comm *comm, const struct base_host *host, uint32_t number)
{
    struct input *input = arg;
    struct operation what;
    for (size_t i = 0; i < OPERATIONS_MAX && (i + 1) * sizeof what <= input->size; i++) {
        memcpy(&what, input->data + i * sizeof what, sizeof what);
        if (1u + (what.kind & 1u) == number) {
            what.kind &= 15;
            send_one(input, comm, &what, &input->loans[i]);
        }
        comm_flush(comm);
        host->work(host->self, 3000);
        while (comm_progress(comm, 64)) {}
    }
}

/* ---- The rank under test -------------------------------------------------------------------- */

static void note_own(void *arg, const struct store_entry *entry)
{
    ((struct input *)arg)->own = *entry;
}

static void rank_main(void *arg)
{
    static const uint32_t nodes[RANKS] = {0, 0, 2};
    static uint8_t own[CHUNK + 9];
    struct input *input = arg;
    struct rank *rank;
    manta_error error;
    struct core_options options = {.host = sim_host(input->senders.sim, 0),
                                   .comm = sim_comm(input->senders.sim, 0),
                                   .workers = 1,
                                   .cores = 1,
                                   .node_ranks = 2,
                                   .nodes = nodes,
                                   .store = input->store,
                                   .host_name = "virtual",
                                   .stack_bytes = 64 * 1024};
    HOLDS(core_rank_create(&options, &rank, &error) == MANTA_OK);
    HOLDS(core_attach(rank) == MANTA_OK);
    manta_ref ref = manta_put(own, sizeof own);
    store_each(input->store, note_own, input);
    (void)manta_wait(&ref, 1, 1, MANTA_FOREVER, NULL);
    options.host->work(options.host->self, 600000);
    core_detach(rank);
    (void)core_finish(rank, 0);
    input->left = core_count(rank);
    input->has_ended = true;
    core_rank_destroy(rank);
}

static struct store *open_store(void)
{
    uint64_t bytes = store_bytes(2, STORE);
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct store *store = NULL;
    struct store_options options = {fd, 0, 0, 2};
    HOLDS(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    HOLDS(store_format(fd, 0, 2, STORE) == MANTA_OK);
    HOLDS(store_open(&options, &store) == MANTA_OK);
    close(fd);
    return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input *input = calloc(1, sizeof *input);
    HOLDS(input);
    input->data = data;
    input->size = size;
    input->store = open_store();
    input->senders =
        (struct senders){rank_main, send_all, input, .node_ranks = 2, .die_at_ns = 800000};
    struct sim *sim = senders_create(&input->senders);
    HOLDS(sim_run(sim) == MANTA_OK && input->has_ended);
    HOLDS(input->left.blocks == 0 && input->left.copies == 0 && input->left.values == 0);
    sim_destroy(sim);
    store_close(input->store);
    free(input);
    return 0;
}
