/* manta run's end of launch/report.h: what the driver's process says, and its end. */
#ifndef CLI_LISTENER_H
#define CLI_LISTENER_H

#include "launch/report.h"

#include <poll.h>

enum listener_reach { LISTENER_NEAR, LISTENER_FAR }; /* this host only; others too */

enum { LISTENER_POLLS = 18 };

/* What is known of the driver's process. */
struct driver {
    bool has_come, is_connected, has_reported, has_places, has_status, is_guest;
    int32_t code;
    uint32_t deaths, pid; /* pid 0: on another host, or beyond reach */
    int status;           /* as wait gives it, when it ended without a report */
    struct report_places places;
    char text[MANTA_ERROR_TEXT_MAX];
};

struct listener;

/* value is the environment variable's. */
int listener_open(enum listener_reach reach, struct listener **ret_listener,
                  char value[REPORT_VALUE_MAX]);

/* What to sleep on. Returns how many. */
uint32_t listener_polls(const struct listener *listener, struct pollfd polls[LISTENER_POLLS]);

/* Takes what has come. Never blocks. */
void listener_hear(struct listener *listener);

const struct driver *listener_driver(const struct listener *listener);

/* Accepts NULL. */
void listener_close(struct listener *listener);

#endif
