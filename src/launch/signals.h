/*
 * The handlers that manta_run installs: SIGTERM ends the job, SIGUSR2 reports, a stack
 * overflow is named before it kills. Undone by signals_restore.
 */
#ifndef LAUNCH_SIGNALS_H
#define LAUNCH_SIGNALS_H

#include "base/host.h"

/* fd is watch_signal_fd's. The calling thread is the driver's. rank and host_name (borrowed) are
 * for the overflow's line. */
int signals_install(int fd, const char *host_name);
void signals_set_rank(uint32_t rank);
void signals_restore(void);

/* A host whose threads have an alternate stack for the overflow's handler. */
struct base_host signals_host(const struct base_host *host);

#endif
