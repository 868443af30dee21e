/*
 * One task per file, over any number of files: `find . -name '*.c' | files` prints the
 * lines, bytes and CRC-32 of each, in the order of the names. The submitter needs no
 * window of its own: with very many tasks outstanding, submitting waits for some of them.
 * A file that cannot be read is one failed ref, with the reason in its error record.
 */
#include <errno.h>
#include <inttypes.h>
#include <manta/manta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct digest {
    uint64_t lines;
    uint64_t bytes;
    uint32_t crc;
};

/* Names and what became of each, in the order of the input. */
struct list {
    char **names;
    manta_ref *refs;
    size_t count, room;
};

static uint32_t crc_add(uint32_t crc, unsigned char byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return crc;
}

MANTA_TASK(process_file, text(name), out(struct digest, digest))
{
    FILE *file = fopen(name, "rb");
    if (!file) {
        return manta_fail(MANTA_E_SYSTEM, "%s: %s", name, strerror(errno));
    }
    *digest = (struct digest){.crc = UINT32_MAX};
    for (int c; (c = getc_unlocked(file)) != EOF;) {
        digest->bytes++;
        digest->lines += c == '\n';
        digest->crc = crc_add(digest->crc, (unsigned char)c);
    }
    digest->crc = ~digest->crc;
    int broken = ferror(file);
    fclose(file);
    return broken ? manta_fail(MANTA_E_SYSTEM, "%s: cannot be read", name) : MANTA_OK;
}

static int append(struct list *list, const char *name)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 1024;
        char **names = realloc(list->names, room * sizeof *names);
        list->names = names ? names : list->names;
        manta_ref *refs = realloc(list->refs, room * sizeof *refs);
        list->refs = refs ? refs : list->refs;
        if (!names || !refs) {
            return MANTA_E_NOMEM;
        }
        list->room = room;
    }
    list->names[list->count] = strdup(name);
    if (!list->names[list->count]) {
        return MANTA_E_NOMEM;
    }
    list->refs[list->count++] = process_file_async(NULL, name);
    return MANTA_OK;
}

static int submit_all(FILE *input, struct list *list)
{
    char *name = NULL;
    size_t size = 0;
    int rc = MANTA_OK;
    while (rc == MANTA_OK && getline(&name, &size, input) > 0) {
        name[strcspn(name, "\n")] = '\0';
        rc = *name ? append(list, name) : MANTA_OK;
    }
    free(name);
    return rc;
}

/* Prints the results in order. The number of files that failed. */
static size_t print_all(const struct list *list)
{
    size_t failed = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct digest digest;
        if (process_file_get(list->refs[i], &digest) == MANTA_OK) {
            printf("%8" PRIu64 " %10" PRIu64 " %08" PRIx32 " %s\n", digest.lines, digest.bytes,
                   digest.crc, list->names[i]);
        } else {
            fprintf(stderr, "files: %s\n", manta_last_error()->text);
            failed++;
        }
    }
    return failed;
}

static int driver(int argc, char **argv)
{
    struct list list = {0};
    int rc = submit_all(stdin, &list);
    size_t failed = rc == MANTA_OK ? print_all(&list) : 0;
    for (size_t i = 0; i < list.count; i++) {
        free(list.names[i]);
    }
    free(list.names);
    free(list.refs);
    return rc != MANTA_OK ? rc : failed > 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
