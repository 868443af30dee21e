#include "ucx_raw.h"

#include "bench.h"

#include <manta/error.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

enum { WINDOW = 64, BYTES_MAX = 4096 };
/* What a message is for; its id, too. */
enum kind { PING = 1, PONG, STREAM, STREAM_END, STREAM_DONE, DISMISS, ASK, VALUE, KINDS };

struct raw_ucx {
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h endpoint;
    uint32_t got[KINDS]; /* messages */
    uint32_t unsent;
    bool is_broken;
    struct raw_kind {
        struct raw_ucx *raw;
        enum kind kind;
    } kinds[KINDS];
    uint8_t bytes[BYTES_MAX];
    uint32_t last_bytes; /* of the last message */
    uint8_t *value;      /* RAW_UCX_VALUE_MAX; NULL: none asked for yet */
    uint32_t asked;      /* bytes, in the last ASK */
};

static void on_value(void *request, ucs_status_t status, size_t length, void *arg)
{
    struct raw_ucx *raw = arg;
    raw->got[VALUE]++;
    raw->is_broken |= status != UCS_OK;
    ucp_request_free(request);
}

/* Into place. */
static ucs_status_t take_value(struct raw_ucx *raw, void *data, size_t bytes, bool is_here)
{
    ucp_request_param_t param = {.op_attr_mask =
                                     UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                 .cb.recv_am = on_value,
                                 .user_data = raw};
    ucs_status_ptr_t request = NULL;
    if (is_here) {
        memcpy(raw->value, data, bytes);
    } else {
        request = ucp_am_recv_data_nbx(raw->worker, data, raw->value, bytes, &param);
    }
    raw->got[VALUE] += request == NULL;
    raw->is_broken |= UCS_PTR_IS_ERR(request);
    return UCS_OK;
}

static ucs_status_t on_message(void *arg, const void *header, size_t header_bytes, void *data,
                               size_t bytes, const ucp_am_recv_param_t *param)
{
    struct raw_kind *kind = arg;
    bool is_here = !(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV);
    if (kind->kind == VALUE) {
        return take_value(kind->raw, data, bytes, is_here);
    }
    if (kind->kind == ASK && bytes == sizeof kind->raw->asked) {
        memcpy(&kind->raw->asked, data, bytes);
    }
    kind->raw->got[kind->kind]++;
    kind->raw->last_bytes = (uint32_t)bytes;
    return UCS_OK;
}

static void on_sent(void *request, ucs_status_t status, void *arg)
{
    struct raw_ucx *raw = arg;
    raw->unsent--;
    raw->is_broken |= status != UCS_OK;
    ucp_request_free(request);
}

static int make_worker(struct raw_ucx *raw)
{
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM};
    ucp_worker_params_t worker = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucp_config_t *config;
    if (ucp_config_read(NULL, NULL, &config) != UCS_OK) {
        return MANTA_E_SYSTEM;
    }
    if (!getenv("UCX_TLS")) {
        (void)ucp_config_modify(config, "TLS", "^shm");
    }
    ucs_status_t status = ucp_init(&params, config, &raw->context);
    ucp_config_release(config);
    return status == UCS_OK && ucp_worker_create(raw->context, &worker, &raw->worker) == UCS_OK
               ? MANTA_OK
               : MANTA_E_SYSTEM;
}

int raw_ucx_open(struct raw_ucx **ret_raw)
{
    struct raw_ucx *raw = calloc(1, sizeof *raw);
    int code = raw ? make_worker(raw) : MANTA_E_NOMEM;
    for (enum kind kind = PING; code == MANTA_OK && kind < KINDS; kind++) {
        raw->kinds[kind] = (struct raw_kind){raw, kind};
        ucp_am_handler_param_t handler = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                                                        UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                        UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                          .id = kind,
                                          .cb = on_message,
                                          .arg = &raw->kinds[kind]};
        code = ucp_worker_set_am_recv_handler(raw->worker, &handler) == UCS_OK ? MANTA_OK
                                                                               : MANTA_E_SYSTEM;
    }
    if (code != MANTA_OK) {
        raw_ucx_close(raw);
        return code;
    }
    *ret_raw = raw;
    return MANTA_OK;
}

void raw_ucx_close(struct raw_ucx *raw)
{
    if (raw && raw->worker) {
        ucp_worker_destroy(raw->worker);
    }
    if (raw && raw->context) {
        ucp_cleanup(raw->context);
    }
    free(raw ? raw->value : NULL);
    free(raw);
}

size_t raw_ucx_address(struct raw_ucx *raw, uint8_t address[RAW_UCX_ADDRESS_MAX])
{
    ucp_address_t *own;
    size_t bytes;
    if (ucp_worker_get_address(raw->worker, &own, &bytes) != UCS_OK) {
        return 0;
    }
    memcpy(address, own, bytes <= RAW_UCX_ADDRESS_MAX ? bytes : 0);
    ucp_worker_release_address(raw->worker, own);
    return bytes <= RAW_UCX_ADDRESS_MAX ? bytes : 0;
}

int raw_ucx_connect(struct raw_ucx *raw, const uint8_t *address)
{
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                              .address = (const ucp_address_t *)address};
    return ucp_ep_create(raw->worker, &params, &raw->endpoint) == UCS_OK ? MANTA_OK
                                                                         : MANTA_E_SYSTEM;
}

static int say_this(struct raw_ucx *raw, enum kind kind, const void *data, uint32_t bytes)
{
    ucp_request_param_t param = {.op_attr_mask =
                                     UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                 .cb.send = on_sent,
                                 .user_data = raw};
    ucs_status_ptr_t request = ucp_am_send_nbx(raw->endpoint, kind, NULL, 0, data, bytes, &param);
    if (UCS_PTR_IS_ERR(request)) {
        raw->is_broken = true;
    }
    raw->unsent += UCS_PTR_IS_PTR(request);
    while (raw->unsent >= WINDOW && !raw->is_broken) {
        ucp_worker_progress(raw->worker);
    }
    return raw->is_broken ? MANTA_E_SYSTEM : MANTA_OK;
}

static int say(struct raw_ucx *raw, enum kind kind, uint32_t bytes)
{
    return say_this(raw, kind, raw->bytes, bytes);
}

static int await(struct raw_ucx *raw, enum kind kind, uint32_t count)
{
    while (raw->got[kind] < count && !raw->is_broken) {
        ucp_worker_progress(raw->worker);
    }
    return raw->is_broken ? MANTA_E_SYSTEM : MANTA_OK;
}

int raw_ucx_ping(struct raw_ucx *raw, uint32_t rounds, uint32_t bytes, double *ret_ns)
{
    uint64_t start_ns = bench_now_ns();
    raw->got[PONG] = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        int code = say(raw, PING, bytes);
        code = code ? code : await(raw, PONG, i + 1);
        if (code != MANTA_OK) {
            return code;
        }
    }
    *ret_ns = (double)(bench_now_ns() - start_ns) / rounds;
    return MANTA_OK;
}

int raw_ucx_stream(struct raw_ucx *raw, uint32_t count, uint32_t bytes, double *ret_ns)
{
    uint64_t start_ns = bench_now_ns();
    int code = MANTA_OK;
    raw->got[STREAM_DONE] = 0;
    for (uint32_t i = 1; i < count && code == MANTA_OK; i++) {
        code = say(raw, STREAM, bytes);
    }
    code = code ? code : say(raw, STREAM_END, bytes);
    code = code ? code : await(raw, STREAM_DONE, 1);
    *ret_ns = (double)(bench_now_ns() - start_ns) / count;
    return code;
}

/* Touched before. */
static int make_value(struct raw_ucx *raw)
{
    if (!raw->value && (raw->value = malloc(RAW_UCX_VALUE_MAX))) {
        memset(raw->value, 1, RAW_UCX_VALUE_MAX);
    }
    return raw->value ? MANTA_OK : MANTA_E_NOMEM;
}

int raw_ucx_fetch(struct raw_ucx *raw, uint32_t bytes, double *ret_ns)
{
    int code = make_value(raw);
    uint64_t start_ns = bench_now_ns();
    raw->got[VALUE] = 0;
    code = code ? code : say_this(raw, ASK, &bytes, sizeof bytes);
    code = code ? code : await(raw, VALUE, 1);
    *ret_ns = (double)(bench_now_ns() - start_ns);
    return code;
}

int raw_ucx_dismiss(struct raw_ucx *raw)
{
    int code = say(raw, DISMISS, 0);
    while (raw->unsent && !raw->is_broken) {
        ucp_worker_progress(raw->worker);
    }
    return code;
}

int raw_ucx_serve(struct raw_ucx *raw)
{
    uint32_t pongs = 0, ends = 0, values = 0;
    int code = make_value(raw);
    while (!raw->got[DISMISS] && !raw->is_broken && code == MANTA_OK) {
        ucp_worker_progress(raw->worker);
        for (; pongs < raw->got[PING] && code == MANTA_OK; pongs++) {
            code = say(raw, PONG, raw->last_bytes);
        }
        for (; ends < raw->got[STREAM_END] && code == MANTA_OK; ends++) {
            code = say(raw, STREAM_DONE, raw->last_bytes);
        }
        for (; values < raw->got[ASK] && code == MANTA_OK; values++) {
            code = say_this(raw, VALUE, raw->value, raw->asked);
        }
    }
    raw->got[DISMISS] = 0;
    raw->got[PING] = raw->got[STREAM_END] = raw->got[ASK] = 0;
    return code;
}
