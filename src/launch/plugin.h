/*
 * Parts of Manta that are loaded only where they are needed, because of what they bring along:
 * libmanta_mpi and libmanta_ucx.
 *
 * A plugin is looked for where its variable says, beside the library this code is in, in its own
 * directory below that (a build directory), and last by the loader's own search. It is never
 * unloaded, because what it brings along could not be.
 */
#ifndef LAUNCH_PLUGIN_H
#define LAUNCH_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

enum plugin_reach {
    PLUGIN_LOCAL,
    PLUGIN_GLOBAL, /* its libraries load components that expect to find their symbols */
};

struct plugin {
    const char *file, *directory, *variable;
    const char *symbol; /* of a struct that begins with its version, a uint32_t */
    const char *part;   /* what Manta must have been built with */
    uint32_t version;
    enum plugin_reach reach;
};

/* The symbol; NULL: it cannot be, and why, and what to do, is in text. */
const void *plugin_load(const struct plugin *plugin, char *text, size_t text_size);

#endif
