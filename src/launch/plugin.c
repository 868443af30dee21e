/* See plugin.h. */
#include "launch/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of this library, with the last slash; empty where that is not known. */
static void find_own_directory(char *path, size_t size)
{
    Dl_info self;
    bool is_known = dladdr((void *)(uintptr_t)plugin_load, &self) && self.dli_fname;
    const char *slash = is_known ? strrchr(self.dli_fname, '/') : NULL;
    int length = slash ? (int)(slash - self.dli_fname) + 1 : 0;
    snprintf(path, size, "%.*s", length, is_known ? self.dli_fname : "");
}

/* A file that is there but cannot be loaded is the answer: its reason is the one to tell. */
static void *load(const struct plugin *plugin, const char *own)
{
    const char *subdirectories[] = {"", plugin->directory};
    const char *named = getenv(plugin->variable);
    int flags = RTLD_NOW | (plugin->reach == PLUGIN_GLOBAL ? RTLD_GLOBAL : RTLD_LOCAL);
    char path[PATH_MAX];
    if (named && *named) {
        return dlopen(named, flags);
    }
    for (int i = 0; *own && i < 2; i++) {
        int length = snprintf(path, sizeof path, "%s%s%s%s", own, subdirectories[i], i ? "/" : "",
                              plugin->file);
        if (length < (int)sizeof path && access(path, R_OK) == 0) {
            return dlopen(path, flags);
        }
    }
    return dlopen(plugin->file, flags);
}

const void *plugin_load(const struct plugin *plugin, char *text, size_t text_size)
{
    char own[PATH_MAX];
    find_own_directory(own, sizeof own);
    void *library = load(plugin, own);
    const uint32_t *found = library ? dlsym(library, plugin->symbol) : NULL;
    if (!found) {
        const char *reason = dlerror();
        snprintf(text, text_size,
                 "cannot load %s (%.160s): build Manta with %s and install the file beside "
                 "libmanta.so (%.120s), or name it in %s",
                 plugin->file, reason ? reason : "it is not Manta's", plugin->part,
                 *own ? own : "by the loader's search", plugin->variable);
        return NULL;
    }
    if (*found != plugin->version) {
        snprintf(text, text_size,
                 "%s is of another build (%#x, not %#x): install it and libmanta.so from one",
                 plugin->file, *found, plugin->version);
        return NULL;
    }
    return found;
}
