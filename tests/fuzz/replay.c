/*
 * The main function of a fuzz target that replays files and folders of files:
 *
 *     csv_fuzz tests/fuzz/corpus/csv
 *
 * A campaign is the same target linked to libFuzzer instead of this file: tools/fuzz.sh.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

/* Each file in a block of just its size, so that a sanitizer sees the first byte beyond it. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        return 1;
    }
    size_t size = (size_t)ftell(file);
    uint8_t *data = malloc(size ? size : 1);
    rewind(file);
    int rc = data && fread(data, 1, size, file) == size ? 0 : 1;
    fclose(file);
    if (rc == 0) {
        LLVMFuzzerTestOneInput(data, size);
        replayed++;
    } else {
        perror(path);
    }
    free(data);
    return rc;
}

static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        perror(path);
        return 1;
    }
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(folder));) {
        char name[4096];
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            rc = replay_file(name);
        }
    }
    closedir(folder);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;
    for (int i = 1; i < argc && rc == 0; i++) {
        struct stat status;
        rc = stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode) ? replay_folder(argv[i])
                                                                    : replay_file(argv[i]);
    }
    printf("%u files replayed\n", replayed);
    return rc != 0 || replayed == 0;
}
