/*
 * What is particular to comm over UCX: who is let in, what garbage does, how packets are
 * filled, how a rank leaves, and what is said about transports.
 *
 * All ends of a test live in one thread and are moved on in turns. The forger is a plain
 * user of UCX who knows an end's address, and in some tests the job's secret.
 */
#include "../../folder.h"
#include "comm/ucx.h"
#include "ucx_world.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { RANKS = 3, FORGED_RANK = 2 };

struct seat {
    struct comm *comm;
    uint32_t received, downs[RANKS];
    uint64_t last;
};

static struct seat seats[RANKS];

static void take_message(void *owner, uint32_t from, const struct wire_header *header,
                         const void *body)
{
    struct seat *seat = owner;
    seat->received++;
    seat->last = header->parent;
}

static void take_down(void *owner, uint32_t peer)
{
    struct seat *seat = owner;
    seat->downs[peer]++;
}

static void open_seat(uint32_t rank)
{
    struct comm_sink sink = {take_message, take_down, &seats[rank]};
    assert_int_equal(exchange_create(rank, RANKS, &seats[rank].comm), 0);
    comm_set_sink(seats[rank].comm, &sink);
    assert_true(exchange_publish(seats[rank].comm));
    comm_ucx_set_table(seats[rank].comm, &the_exchange->table);
}

/* Ends 0 and 1; rank 2 exists in the table only, as what the forger says it is. */
static int open_world(void **state)
{
    memset(seats, 0, sizeof seats);
    exchange_reset();
    open_seat(0);
    open_seat(1);
    the_exchange->entries[FORGED_RANK] = the_exchange->entries[1];
    the_exchange->entries[FORGED_RANK].incarnation = 7 + FORGED_RANK;
    return 0;
}

static void *close_seat(void *arg)
{
    comm_destroy(arg);
    return NULL;
}

/* All at once: each lingers as long as another may need it. */
static int close_world(void **state)
{
    pthread_t threads[RANKS];
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        assert_int_equal(pthread_create(&threads[rank], NULL, close_seat, seats[rank].comm), 0);
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        pthread_join(threads[rank], NULL);
    }
    return 0;
}

static void turn_all(void)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        if (seats[rank].comm) {
            comm_flush(seats[rank].comm);
            comm_progress(seats[rank].comm, 64);
        }
    }
    base_host_real.yield(NULL);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ns = base_now_ns(&base_host_real) + SLEPT_THROUGH_NS;                       \
        while (!(condition)) {                                                                     \
            assert_true(base_now_ns(&base_host_real) < until_ns);                                  \
            turn_all();                                                                            \
        }                                                                                          \
    } while (0)

static void say(uint32_t from, uint32_t to, uint64_t what, size_t bytes)
{
    struct wire_header *header = comm_prepare(seats[from].comm, to, bytes);
    assert_non_null(header);
    *header = (struct wire_header){.parent = what};
    memset(comm_body(header), 0x5a, bytes);
    comm_commit(seats[from].comm);
}

/* 0 and 1 still understand each other. */
static void assert_talk(void)
{
    uint32_t before[] = {seats[0].received, seats[1].received};
    say(0, 1, 1, 100);
    say(1, 0, 2, 100);
    TURN_UNTIL(seats[0].received > before[0] && seats[1].received > before[1]);
    assert_int_equal(seats[0].received, before[0] + 1);
    assert_int_equal(seats[0].last, 2);
    assert_int_equal(seats[0].downs[1] + seats[1].downs[0], 0);
}

/* The forger */

struct forger {
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h endpoint;
    uint64_t session;
    uint32_t sequence;
};

static void on_forger_error(void *arg, ucp_ep_h endpoint, ucs_status_t status)
{
}

static void forger_init(struct forger *forger)
{
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM};
    ucp_worker_params_t worker = {.field_mask = UCP_WORKER_PARAM_FIELD_FLAGS,
                                  .flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK};
    ucp_ep_params_t endpoint = {
        .field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR |
                      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER,
        .sockaddr = {(const struct sockaddr *)the_exchange->bytes[0], 16},
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler.cb = on_forger_error};
    *forger = (struct forger){.session = 0x1234567890abcdef};
    assert_int_equal(ucp_init(&params, NULL, &forger->context), UCS_OK);
    assert_int_equal(ucp_worker_create(forger->context, &worker, &forger->worker), UCS_OK);
    assert_int_equal(ucp_ep_create(forger->worker, &endpoint, &forger->endpoint), UCS_OK);
}

static void forger_fini(struct forger *forger)
{
    ucp_worker_destroy(forger->worker);
    ucp_cleanup(forger->context);
}

static void forge(struct forger *forger, const void *data, size_t bytes)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                 .flags = UCP_AM_SEND_FLAG_EAGER};
    ucs_status_ptr_t request =
        ucp_am_send_nbx(forger->endpoint, UCX_AM_ID, NULL, 0, data, bytes, &param);
    assert_false(UCS_PTR_IS_ERR(request));
    while (request && ucp_request_check_status(request) == UCS_INPROGRESS) {
        ucp_worker_progress(forger->worker);
        turn_all();
    }
    if (request) {
        ucp_request_free(request);
    }
}

static void forge_hello(struct forger *forger, struct ucx_hello hello, const uint8_t *secret)
{
    struct {
        struct ucx_head head;
        struct ucx_hello hello;
    } packet = {.head = {.session = forger->session, .from = FORGED_RANK, .kind = UCX_KIND_HELLO}};
    hello.session = forger->session;
    ucx_hello_sign(&hello, secret);
    packet.hello = hello;
    forge(forger, &packet, sizeof packet);
    forger->sequence = 1;
}

static struct ucx_hello right_hello(void)
{
    return (struct ucx_hello){.from = FORGED_RANK, .to = 0, .incarnation = 7 + FORGED_RANK};
}

/* A packet with one frame, of whose body there are `bytes`, whatever info and length say. */
static void forge_frame(struct forger *forger, uint32_t info, uint32_t length, int bytes)
{
    struct {
        struct ucx_head head;
        struct ucx_frame frame;
        uint8_t body[256];
    } packet = {.head = {.session = forger->session,
                         .from = FORGED_RANK,
                         .sequence = forger->sequence++,
                         .kind = UCX_KIND_FRAMES},
                .frame = {.info = info, .header = {.parent = 77, .length = length}}};
    forge(forger, &packet, sizeof packet.head + sizeof packet.frame + (size_t)bytes);
}

static void settle_refusals(uint64_t wanted)
{
    TURN_UNTIL(comm_ucx_refused(seats[0].comm) >= wanted);
    assert_int_equal(comm_ucx_refused(seats[0].comm), wanted);
}

static void test_no_bit_of_a_hello_can_be_changed(void **state)
{
    struct ucx_hello hello = right_hello(), copy;
    uint8_t other[COMM_SECRET_BYTES];
    ucx_hello_sign(&hello, the_exchange->secret);
    assert_true(ucx_hello_is_genuine(&hello, the_exchange->secret));
    for (size_t bit = 0; bit < 8 * sizeof hello; bit++) {
        copy = hello;
        ((uint8_t *)&copy)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(ucx_hello_is_genuine(&copy, the_exchange->secret));
    }
    for (size_t bit = 0; bit < 8 * sizeof other; bit++) {
        memcpy(other, the_exchange->secret, sizeof other);
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(ucx_hello_is_genuine(&hello, other));
    }
}

static void test_without_the_secret_nothing_is_accepted(void **state)
{
    struct forger forger;
    uint8_t wrong[COMM_SECRET_BYTES] = {1};
    assert_talk();
    forger_init(&forger);
    forge_hello(&forger, right_hello(), wrong);
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    settle_refusals(2);
    assert_int_equal(seats[0].received, 1);
    assert_false(comm_is_down(seats[0].comm, FORGED_RANK));
    assert_talk();
    forger_fini(&forger);
    assert_talk();
}

static void test_a_packet_in_anothers_name_is_dropped(void **state)
{
    struct forger forger;
    assert_talk();
    forger_init(&forger);
    for (uint32_t from = 0; from < 300; from++) { /* itself, a friend, nobody */
        struct ucx_head head = {.session = from, .from = from, .sequence = 2, .kind = 2};
        forge(&forger, &head, sizeof head);
    }
    settle_refusals(300);
    assert_talk();
    forger_fini(&forger);
}

static void test_strangers_garbage_of_any_length_is_dropped(void **state)
{
    enum { COUNT = 400 };
    static uint8_t garbage[3 * UCX_PACKET_BYTES];
    struct forger forger;
    uint32_t random = 5;
    assert_talk();
    forger_init(&forger);
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t bytes = i < 100 ? i : next_random(&random) % sizeof garbage;
        for (size_t at = 0; at < bytes; at++) {
            garbage[at] = (uint8_t)next_random(&random);
        }
        forge(&forger, garbage, bytes);
    }
    settle_refusals(COUNT);
    assert_talk();
    forger_fini(&forger);
}

static void test_a_genuine_hello_lets_in(void **state)
{
    struct forger forger;
    forger_init(&forger);
    forge_hello(&forger, right_hello(), the_exchange->secret);
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    TURN_UNTIL(seats[0].received == 1);
    assert_int_equal(seats[0].last, 77);
    assert_int_equal(comm_ucx_refused(seats[0].comm), 0);
    forger_fini(&forger);
}

/* A way that was opened rightly, then broken by one frame; nobody else suffers. */
static void assert_breaks(uint32_t info, uint32_t length, int bytes)
{
    struct forger forger;
    open_world(NULL);
    forger_init(&forger);
    forge_hello(&forger, right_hello(), the_exchange->secret);
    forge_frame(&forger, info, length, bytes);
    TURN_UNTIL(seats[0].downs[FORGED_RANK]);
    assert_int_equal(seats[0].received, 0);
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8); /* too late */
    assert_talk();
    assert_int_equal(seats[0].downs[FORGED_RANK], 1);
    forger_fini(&forger);
    close_world(NULL);
}

static void test_malformed_frames_end_the_way(void **state)
{
    assert_breaks(UCX_INFO(COMM_FRAME_WHOLE, 9), 9, 8);          /* longer than it is */
    assert_breaks(UCX_INFO(COMM_FRAME_WHOLE, 0x0fffffff), 8, 8); /* far longer */
    assert_breaks(UCX_INFO(COMM_FRAME_END + 1, 8), 8, 8);        /* no such kind */
    assert_breaks(UCX_INFO(COMM_FRAME_WHOLE, 8), 16, 8);         /* header and frame differ */
    assert_breaks(UCX_INFO(COMM_FRAME_MORE, 8), 8, 8);           /* the middle of nothing */
    assert_breaks(UCX_INFO(COMM_FRAME_BEGIN, 8), UINT32_MAX, 8); /* the beginning of too much */
    assert_breaks(UCX_INFO(COMM_FRAME_WHOLE, 0), 0, -8);         /* not even a header */
}

static void test_garbage_behind_a_genuine_hello_ends_the_way_only(void **state)
{
    for (uint32_t seed = 1; seed <= 8; seed++) {
        struct forger forger;
        uint32_t random = seed;
        uint64_t garbage[128];
        open_world(NULL);
        forger_init(&forger);
        forge_hello(&forger, right_hello(), the_exchange->secret);
        for (uint32_t i = 0; i < 100; i++) {
            for (size_t at = 0; at < MT_COUNT(garbage); at++) {
                garbage[at] = next_random(&random) % (seed % 2 ? 64 : UINT32_MAX);
            }
            struct ucx_head head = {forger.session, FORGED_RANK, forger.sequence++,
                                    next_random(&random) % 5, 0};
            memcpy(garbage, &head, sizeof head);
            forge(&forger, garbage, sizeof head + next_random(&random) % 900);
        }
        TURN_UNTIL(seats[0].downs[FORGED_RANK]);
        assert_talk();
        forger_fini(&forger);
        close_world(NULL);
    }
}

static void test_a_gap_in_the_packets_ends_the_way(void **state)
{
    struct forger forger;
    forger_init(&forger);
    forge_hello(&forger, right_hello(), the_exchange->secret);
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    forger.sequence++;
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    TURN_UNTIL(seats[0].downs[FORGED_RANK]);
    assert_int_equal(seats[0].received, 1);
    forger_fini(&forger);
}

static void test_an_older_incarnation_is_not_heard(void **state)
{
    struct forger forger;
    struct ucx_hello hello = right_hello();
    hello.incarnation--;
    forger_init(&forger);
    forge_hello(&forger, hello, the_exchange->secret);
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    settle_refusals(2);
    assert_int_equal(seats[0].received + seats[0].downs[FORGED_RANK], 0);
    forger_fini(&forger);
}

static void test_a_newer_incarnation_ends_the_known_one(void **state)
{
    struct forger forger;
    struct ucx_hello hello = right_hello();
    hello.incarnation++;
    forger_init(&forger);
    forge_hello(&forger, hello, the_exchange->secret);
    forge_frame(&forger, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    TURN_UNTIL(seats[0].downs[FORGED_RANK]);
    assert_int_equal(seats[0].received, 0);
    forger_fini(&forger);
}

static void test_two_that_claim_one_rank_are_both_ended(void **state)
{
    struct forger first, second;
    forger_init(&first);
    forger_init(&second);
    second.session++;
    forge_hello(&first, right_hello(), the_exchange->secret);
    TURN_UNTIL(comm_peer_find(seats[0].comm, FORGED_RANK));
    forge_hello(&second, right_hello(), the_exchange->secret);
    TURN_UNTIL(seats[0].downs[FORGED_RANK]);
    forge_frame(&first, UCX_INFO(COMM_FRAME_WHOLE, 8), 8, 8);
    assert_talk();
    assert_int_equal(seats[0].received, 1);
    forger_fini(&first);
    forger_fini(&second);
}

static void test_a_hello_to_somebody_else_is_of_no_use(void **state)
{
    struct forger forger;
    struct ucx_hello hello = right_hello();
    hello.to = 1;
    forger_init(&forger);
    forge_hello(&forger, hello, the_exchange->secret);
    settle_refusals(1);
    forger_fini(&forger);
}

static void test_what_is_committed_between_flushes_shares_packets(void **state)
{
    assert_talk();
    struct ucx_peer *peer = ucx_peer_of(comm_peer_find(seats[0].comm, 1));
    uint32_t before = peer->sequence_out;
    for (uint32_t i = 0; i < 100; i++) {
        say(0, 1, i, 20); /* 56 bytes each: one packet holds 144 of them */
    }
    comm_flush(seats[0].comm);
    assert_int_equal(peer->sequence_out, before + 1);
    TURN_UNTIL(seats[1].received == 101);
    assert_int_equal(seats[1].last, 99);
}

static void test_who_leaves_is_silent_not_dead(void **state)
{
    assert_talk();
    for (uint32_t i = 0; i < 50; i++) {
        say(0, 1, 100 + i, 5000); /* still delivered */
    }
    comm_flush(seats[0].comm);
    TURN_UNTIL(!comm_is_congested(seats[0].comm, 1));
    pthread_t leaver;
    assert_int_equal(pthread_create(&leaver, NULL, close_seat, seats[0].comm), 0);
    seats[0].comm = NULL;
    TURN_UNTIL(seats[1].received == 51);
    pthread_join(leaver, NULL);
    uint64_t until_ns = base_now_ns(&base_host_real) + 100000000;
    while (base_now_ns(&base_host_real) < until_ns) {
        turn_all();
    }
    assert_int_equal(seats[1].last, 149);
    assert_int_equal(seats[1].downs[0], 0);
    say(1, 0, 0, 10);
    turn_all();
    assert_false(comm_is_down(seats[1].comm, 0));
}

static void test_messages_wait_for_the_table(void **state)
{
    comm_ucx_set_table(seats[0].comm, NULL);
    say(0, 1, 42, 10);
    for (int i = 0; i < 10; i++) {
        turn_all();
    }
    assert_true(comm_is_congested(seats[0].comm, 1));
    comm_ucx_set_table(seats[0].comm, &the_exchange->table);
    TURN_UNTIL(seats[1].received == 1);
}

static void test_the_way_to_a_peer_is_told(void **state)
{
    struct comm_ucx_way way;
    char text[256];
    assert_false(comm_ucx_way(seats[0].comm, 1, &way));
    assert_talk();
    assert_true(comm_ucx_way(seats[0].comm, 1, &way));
    assert_string_equal(way.transport, "tcp");
    assert_true(way.device[0] && !way.is_rdma);
    assert_false(comm_ucx_way(seats[0].comm, RANKS, &way));
    assert_false(comm_ucx_take_warning(seats[0].comm, text, sizeof text));
}

static void test_the_named_network_is_listened_on(void **state)
{
    struct sockaddr_storage address, other;
    assert_true(ucx_address_is_named("eth0", "eth0"));
    assert_true(ucx_address_is_named("eth1", "mlx5_0:1,eth1"));
    assert_false(ucx_address_is_named("eth1", "eth10,eth,"));
    assert_false(ucx_address_is_named("eth1", NULL));
    assert_false(ucx_address_is_named("eth1", ":1"));
    assert_int_equal(ucx_address_find("lo", &address), MANTA_OK);
    assert_int_equal(ucx_address_find("no-such-one", &other), MANTA_E_NOTFOUND);
    setenv("UCX_NET_DEVICES", "mlx5_9:1", 1); /* none here: the same as without */
    assert_int_equal(ucx_address_find(NULL, &address), MANTA_OK);
    unsetenv("UCX_NET_DEVICES");
    assert_int_equal(ucx_address_find(NULL, &other), MANTA_OK);
    assert_memory_equal(&address, &other, ucx_address_bytes(&other));
}

static void test_lanes_are_read_as_ucx_writes_them(void **state)
{
    static const char text[] =
        "#\n# UCP endpoint \n#\n#               peer: <no debug data>\n"
        "#                 lane[0]:  5:rc_verbs/mlx5_0:1.0 md[2]   -> md[2]/ib/sysdev[0] rma_bw#0\n"
        "#                 lane[1]: 12:dc_mlx5/mlx5_1:1.2 md[3]    -> md[3]/ib/sysdev[0] am "
        "am_bw#0 "
        "wireup\n";
    struct comm_ucx_way way;
    assert_true(ucx_way_parse(text, &way));
    assert_string_equal(way.transport, "dc_mlx5");
    assert_string_equal(way.device, "mlx5_1:1");
    assert_true(way.is_rdma);
    assert_true(ucx_way_parse("# lane[0]:  1:tcp/eth0.100.0 md[1] -> md[1]/tcp am", &way));
    assert_string_equal(way.device, "eth0.100");
    assert_false(way.is_rdma);
    assert_false(ucx_way_parse("", &way));
    assert_false(ucx_way_parse("lane[0]: am\nlane[1]: 1:tcp -> am \n-> am lane[", &way));
}

static void test_tcp_beside_an_active_device_is_warned_about_once(void **state)
{
    char text[256];
    assert_int_equal(folder_make(state), 0);
    folder_write("mlx5_0/ports/1/state", "1: DOWN\n");
    assert_false(ucx_way_has_active_device(folder));
    assert_false(ucx_way_has_active_device("/nowhere"));
    folder_write("mlx5_1/ports/1/state", "4: ACTIVE\n");
    assert_true(ucx_way_has_active_device(folder));
    ucx_of(seats[0].comm)->devices = folder;
    assert_talk();
    assert_true(comm_ucx_take_warning(seats[0].comm, text, sizeof text));
    assert_non_null(strstr(text, "rank 0 reaches rank 1 by tcp over "));
    say(0, FORGED_RANK, 0, 0);
    turn_all();
    assert_false(comm_ucx_take_warning(seats[0].comm, text, sizeof text));
    assert_int_equal(folder_remove(state), 0);
}

static void test_the_users_own_settings_win_and_no_way_is_a_death_with_a_reason(void **state)
{
    char text[256];
    struct comm *friend = seats[0].comm;
    setenv("UCX_TLS", "self", 1);
    open_seat(2);
    unsetenv("UCX_TLS");
    say(2, 0, 0, 0);
    TURN_UNTIL(seats[2].downs[0]);
    assert_true(comm_ucx_take_warning(seats[2].comm, text, sizeof text));
    assert_non_null(strstr(text, "rank 2 finds no way to rank 0: "));
    assert_false(comm_is_down(friend, 2));
}

static void test_a_reported_death_is_told_to_a_sleeper(void **state)
{
    assert_talk();
    while (!comm_arm(seats[0].comm)) {
        turn_all();
    }
    comm_report_death(seats[0].comm, 1);
    comm_report_death(seats[0].comm, 0); /* nobody is told of its own */
    comm_report_death(seats[0].comm, RANKS);
    comm_sleep(seats[0].comm, BASE_FOREVER);
    while (!seats[0].downs[1]) {
        comm_progress(seats[0].comm, 64);
    }
    uint32_t received = seats[0].received;
    say(1, 0, 3, 10); /* lives after all, but is not heard any more */
    for (int i = 0; i < 100; i++) {
        turn_all();
    }
    assert_int_equal(seats[0].received, received);
    assert_int_equal(comm_ucx_refused(seats[0].comm), 0);
}

static void test_making_an_end_fails_cleanly(void **state)
{
    struct comm *comm = NULL;
    uint64_t live = base_alloc_live();
    struct comm_ucx_options options = {.host = &base_host_real, .rank = 3, .ranks = 3};
    assert_int_equal(comm_create_ucx(&options, &comm), MANTA_E_INVALID);
    for (uint64_t k = 1; !comm; k++) {
        base_alloc_fail_at(k);
        int rc = exchange_create(2, RANKS, &comm);
        base_alloc_fail_at(0);
        assert_true(comm ? rc == 0 : rc == MANTA_E_NOMEM && base_alloc_live() == live);
    }
    comm_destroy(comm);
    setenv("UCX_TLS", "nonsense", 1);
    comm = NULL;
    int rc = exchange_create(2, RANKS, &comm);
    unsetenv("UCX_TLS");
    assert_int_equal(rc, MANTA_E_SYSTEM);
    assert_null(comm);
    assert_int_equal(base_alloc_live(), live);
}

/* As they were before cmocka and the sanitizers set their own. */
static struct sigaction hup_at_start, segv_at_start;

static void test_loading_ucx_leaves_signals_alone(void **state)
{
    bool is_left_alone = hup_at_start.sa_handler == SIG_DFL || hup_at_start.sa_handler == SIG_IGN;
    assert_true(is_left_alone); /* ignored: under nohup */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(segv_at_start.sa_handler == SIG_DFL);
#endif
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    sigaction(SIGHUP, NULL, &hup_at_start);
    sigaction(SIGSEGV, NULL, &segv_at_start);
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_no_bit_of_a_hello_can_be_changed),
        IN_WORLD(test_without_the_secret_nothing_is_accepted),
        IN_WORLD(test_a_packet_in_anothers_name_is_dropped),
        IN_WORLD(test_strangers_garbage_of_any_length_is_dropped),
        IN_WORLD(test_a_genuine_hello_lets_in),
        cmocka_unit_test(test_malformed_frames_end_the_way),
        cmocka_unit_test(test_garbage_behind_a_genuine_hello_ends_the_way_only),
        IN_WORLD(test_a_gap_in_the_packets_ends_the_way),
        IN_WORLD(test_an_older_incarnation_is_not_heard),
        IN_WORLD(test_a_newer_incarnation_ends_the_known_one),
        IN_WORLD(test_two_that_claim_one_rank_are_both_ended),
        IN_WORLD(test_a_hello_to_somebody_else_is_of_no_use),
        IN_WORLD(test_what_is_committed_between_flushes_shares_packets),
        IN_WORLD(test_who_leaves_is_silent_not_dead),
        IN_WORLD(test_messages_wait_for_the_table),
        IN_WORLD(test_the_way_to_a_peer_is_told),
        cmocka_unit_test(test_the_named_network_is_listened_on),
        cmocka_unit_test(test_lanes_are_read_as_ucx_writes_them),
        IN_WORLD(test_tcp_beside_an_active_device_is_warned_about_once),
        IN_WORLD(test_the_users_own_settings_win_and_no_way_is_a_death_with_a_reason),
        IN_WORLD(test_a_reported_death_is_told_to_a_sleeper),
        IN_WORLD(test_making_an_end_fails_cleanly),
        cmocka_unit_test(test_loading_ucx_leaves_signals_alone),
    };
    return cmocka_run_group_tests_name("comm ucx", tests, NULL, NULL);
}
