/*
 * report: the driver's process tells `manta run` how the job ended.
 *
 * Launchers return what they like: 0 whatever happened, the code of a rank whose death was
 * survived, or nothing at all because they linger. So `manta run` listens on an ephemeral port
 * and gives the way to it to the ranks in one variable; rank 0 calls at its start and says the
 * driver's code at its end. The connection stays open until the process is gone, so its end is
 * seen too.
 */
#ifndef LAUNCH_REPORT_H
#define LAUNCH_REPORT_H

#include "launch/card.h"

#include <stdbool.h>

#define REPORT_VARIABLE "MANTA_RUN"
#define REPORT_MAGIC UINT64_C(0x6d616e746172756e)
#define REPORT_VERSION 1
#define REPORT_ADDRESSES 6

enum report_kind { REPORT_HELLO = 1, REPORT_PLACES, REPORT_END };

/* Who shares cores: the group of ranks on one node with the fewest cores for each of them. */
struct report_places {
    uint32_t ranks, nodes;   /* of the job */
    uint32_t sharers, cores; /* of the group: ranks, and the cores that they were granted */
    uint32_t near;           /* ranks on the group's node */
    char host[MANTA_ERROR_HOST_MAX];
};

/* As it travels, a whole one each time. The fields of other kinds are zero. */
struct report_message {
    uint64_t magic;
    uint32_t version, kind;
    uint8_t secret[32]; /* HELLO, which is the first one and the only one that is doubted */
    uint64_t pid_space; /* HELLO: pid means the same where these are equal */
    uint32_t pid, is_guest;
    int32_t code;    /* END */
    uint32_t deaths; /* END: of ranks that the job survived */
    struct report_places places;
    char text[MANTA_ERROR_TEXT_MAX]; /* END */
};

/* Where to call: REPORT_VARIABLE is "ADDRESS[,ADDRESS...]:PORT:SECRET". */
struct report_target {
    uint32_t address_count;
    uint16_t port;
    uint8_t addresses[REPORT_ADDRESSES][16]; /* IPv6, or version 4 mapped */
    uint8_t secret[32];
};
enum { REPORT_VALUE_MAX = 512 };
int report_read_target(const char *value, struct report_target *ret_target); /* MANTA_E_INVALID */
void report_write_target(const struct report_target *target, char value[REPORT_VALUE_MAX]);

/* Equal where a pid means the same process: one pid namespace of one running kernel. */
uint64_t report_pid_space(void);

enum report_owner { REPORT_RUN, REPORT_GUEST };

struct report;

/*
 * Rank 0: calls and says hello. value is the variable's, NULL: nobody listens, *ret_report is NULL.
 * MANTA_E_INVALID, MANTA_E_NOMEM, MANTA_E_TIMEOUT (within a second); all of them harmless, with
 * *ret_report NULL.
 */
int report_open(const char *value, enum report_owner owner, struct report **ret_report);

/* Once the cards are there. Accepts NULL. */
void report_places(struct report *report, const union card_page *cards, uint32_t size);
struct report_places report_find_places(const union card_page *cards, uint32_t size);

/* Says the code and frees the report; the connection lives on until the process has ended. At most
 * a second. Accepts NULL; text may be NULL. */
void report_end(struct report *report, int code, uint32_t deaths, const char *text);

#endif
