/* A temporary folder of a test's own, below TMPDIR, and files in it. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[256];

/* A fixture. */
static inline int folder_make(void **state)
{
    const char *below = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/manta_test_XXXXXX", below && *below ? below : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

/* Of what has that name in it; until the next call. */
static inline const char *folder_path(const char *name)
{
    static char path[sizeof folder + 256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* With the folders on the way. */
static inline void folder_write(const char *name, const char *text)
{
    char path[sizeof folder + 256];
    strcpy(path, folder_path(name));
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static inline int folder_remove_one(const char *path, const struct stat *info, int type,
                                    struct FTW *at)
{
    return remove(path);
}

/* A fixture: with all that is in it. */
static inline int folder_remove(void **state)
{
    return nftw(folder, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
