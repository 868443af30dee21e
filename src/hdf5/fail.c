/*
 * What HDF5 says when it fails is a stack of its own functions, the innermost first, with the
 * system's words in the middle of a line. Here it becomes one sentence that begins with what the
 * program named.
 */
#include "h5.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int h5_fail(manta_error *ret_error, const manta_h5_place *place, int code, const char *format, ...)
{
    va_list args;
    if (!ret_error) {
        return code;
    }
    *ret_error = (manta_error){.code = code};
    int at = snprintf(ret_error->text, sizeof ret_error->text,
                      "%.80s, dataset %.40s: ", place->file ? place->file : "NULL",
                      place->dataset ? place->dataset : "NULL");
    va_start(args, format);
    vsnprintf(ret_error->text + at, sizeof ret_error->text - (size_t)at, format, args);
    va_end(args);
    return code;
}

struct said {
    char text[128];
    int system; /* errno; 0: it had no part in it */
};

/* "... errno = 28, error message = 'No space left on device', ..." */
static void take_system(struct said *said, const char *line)
{
    const char *code = strstr(line, "errno = ");
    const char *words = strstr(line, "error message = '");
    if (code && words && sscanf(code, "errno = %d", &said->system) == 1) {
        snprintf(said->text, sizeof said->text, "%.*s", (int)strcspn(words + 17, "'"), words + 17);
    }
}

static herr_t take_line(unsigned depth, const H5E_error2_t *error, void *arg)
{
    struct said *said = arg;
    if (!said->system && error->desc) {
        if (!said->text[0]) {
            snprintf(said->text, sizeof said->text, "%s", error->desc);
        }
        take_system(said, error->desc);
    }
    return 0;
}

int h5_fail_said(manta_error *ret_error, const manta_h5_place *place, int code, const char *doing)
{
    struct said said = {.text = ""};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_line, &said);
    if (said.system == ENOENT) {
        code = MANTA_E_NOTFOUND;
    } else if (said.system == ENOSPC || said.system == EDQUOT || said.system == EFBIG) {
        code = MANTA_E_LIMIT;
    }
    return h5_fail(ret_error, place, code, "%s: %s", doing,
                   said.text[0] ? said.text : "HDF5 does not say why");
}
