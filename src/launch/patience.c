/* See patience.h. */
#include "launch/patience.h"

#include <manta/error.h>

#include <unistd.h>

#define GRACE_NS UINT64_C(1000000000)

static void wait_main(void *arg)
{
    struct patience *patience = arg;
    uint64_t deadline_ns = base_deadline_after(patience->deadline_ns, GRACE_NS);
    if (base_park_wait(patience->host, &patience->park, deadline_ns)) {
        return;
    }
    if (patience->is_speaker) {
        base_log(&patience->log, BASE_LOG_ERROR,
                 "MPI did not bring the ranks together in time (MANTA_LAUNCH_TIMEOUT); has one of "
                 "them died? %s (%s)",
                 manta_error_text(MANTA_E_LAUNCH), manta_error_name(MANTA_E_LAUNCH));
    }
    _exit(1);
}

void patience_start(struct patience *patience)
{
    const struct base_thread_options options = {.name = "manta-patience"};
    patience->is_started = patience->host->thread_start(patience->host->self, &patience->thread,
                                                        &options, wait_main, patience) == 0;
}

void patience_stop(struct patience *patience)
{
    if (patience->is_started) {
        base_park_wake(patience->host, &patience->park);
        patience->host->thread_join(patience->host->self, &patience->thread);
        patience->is_started = false;
    }
}
