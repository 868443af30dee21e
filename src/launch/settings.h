/* launch's options: one table, read from MANTA_* variables before anything starts. */
#ifndef LAUNCH_SETTINGS_H
#define LAUNCH_SETTINGS_H

#include "base/config.h"

struct settings {
    uint64_t workers; /* 0: one per core of the share */
    uint64_t stack_bytes;
    uint64_t parked_max;
    uint64_t window_max;
    uint64_t spin_ns;
    uint64_t store_bytes; /* 0: by the machine */
    uint64_t store_patience_ns;
    uint64_t lineage_bytes;
    uint64_t log_level;
    uint64_t launch_timeout_ns;
    uint64_t stop_timeout_ns;
    uint64_t silence_ns;
    uint64_t is_pinned;
    uint64_t is_alone;
    uint64_t expects_rdma;
    uint64_t commands;       /* 0: as many as workers */
    uint64_t memory_reserve; /* percent; 0: none */
};

const struct base_config_row *settings_rows(size_t *ret_count);

/* Defaults, then the environment block. On failure the reason is in text and *ret_settings is
 * untouched. */
int settings_read(const char *const *environment, struct settings *ret_settings, char *text,
                  size_t text_size);

#endif
