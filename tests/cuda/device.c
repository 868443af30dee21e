/*
 * libmanta_cuda on a real device: values there and back, and a buffer that another process opens.
 * Skipped (77) where there is no device.
 *
 *     device            the test
 *     device opened     the other process: opens the name that it reads
 */
#include <manta/cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NUMBERS = 20 << 20 };

static manta_gpu *gpu;

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, gpu ? manta_gpu_error(gpu) : "no context");
    return 1;
}

static int check_opened(void)
{
    manta_gpu_share_name name;
    manta_gpu_buffer buffer;
    double *x = malloc(NUMBERS * sizeof *x);
    if (fread(&name, sizeof name, 1, stdin) != 1 ||
        manta_gpu_open(gpu, &name, &buffer) != MANTA_OK || buffer.count != NUMBERS ||
        manta_gpu_store(gpu, &buffer, x) != MANTA_OK) {
        return failed("opening");
    }
    int bad = x[0] != 0 || x[NUMBERS - 1] != NUMBERS - 1;
    free(x);
    return manta_gpu_free(gpu, &buffer) != MANTA_OK || bad ? failed("what is opened") : 0;
}

static int check_sharing(const char *program, const manta_gpu_buffer *buffer)
{
    manta_gpu_share_name name;
    char command[512];
    if (manta_gpu_share(gpu, buffer, &name) != MANTA_OK) {
        return failed("sharing");
    }
    snprintf(command, sizeof command, "'%s' opened", program);
    FILE *other = popen(command, "w");
    if (!other || fwrite(&name, sizeof name, 1, other) != 1 || pclose(other) != 0) {
        return failed("the other process");
    }
    return manta_gpu_unshare(gpu, buffer) != MANTA_OK ? failed("ending that") : 0;
}

static int check_values(const char *program)
{
    manta_gpu_buffer buffer;
    manta_array array;
    manta_ref back;
    manta_room room;
    double *x = manta_put_alloc(double, &room, NUMBERS / 4, 4);
    for (int i = 0; x && i < NUMBERS; i++) {
        x[i] = i;
    }
    if (!x || manta_gpu_view(gpu, manta_put_end(room), &buffer) != MANTA_OK) {
        return failed("to the device");
    }
    if (manta_gpu_put(gpu, &buffer, &back) != MANTA_OK ||
        manta_view_array(double, back, &array, NUMBERS / 4, 4) != MANTA_OK) {
        return failed("from the device");
    }
    for (int i = 0; i < NUMBERS; i++) {
        if (((const double *)array.data)[i] != i) {
            return failed("what came back");
        }
    }
    return check_sharing(program, &buffer) || manta_gpu_free(gpu, &buffer) != MANTA_OK;
}

static int check_refusal(void)
{
    const manta_layout huge = MANTA_LAYOUT(double, UINT64_C(1) << 44);
    manta_gpu_buffer buffer;
    int code = manta_gpu_alloc(gpu, &huge, &buffer);
    return code == MANTA_E_NOMEM && strstr(manta_gpu_error(gpu), "memory") ? 0 : failed("too much");
}

int main(int argc, char **argv)
{
    if (manta_gpu_count() == 0) {
        puts("skipped: no GPU, or no driver for one");
        return 77;
    }
    if (manta_init(NULL) != MANTA_OK || manta_gpu_create(0, &gpu) != MANTA_OK) {
        return failed("the start");
    }
    int bad = argc > 1 ? check_opened() : check_values(argv[0]) || check_refusal();
    manta_gpu_destroy(gpu);
    return manta_fini() != MANTA_OK || bad;
}
