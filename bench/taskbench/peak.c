/*
 * What the kernel gets through when nothing manages it: each of -worker threads runs the first
 * graph's steps, one after the other, without inputs or outputs. The shared reference of METG.
 */
#include "core.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct thread {
    pthread_t id;
    const struct tb_graph *graph;
    uint32_t point;
    int code;
};

struct job {
    struct thread *threads;
    uint32_t count;
};

static pthread_barrier_t together;

static void *run(void *arg)
{
    struct thread *thread = arg;
    pthread_barrier_wait(&together);
    for (uint32_t step = 0; step < thread->graph->steps; step++) {
        thread->code |= tb_kernel_run(thread->graph, step, thread->point);
    }
    return NULL;
}

static int run_all(void *arg, double *ret_seconds)
{
    struct thread *threads = ((struct job *)arg)->threads;
    uint32_t count = ((struct job *)arg)->count;
    int code = 0;
    double start = tb_now();
    pthread_barrier_init(&together, NULL, count);
    for (uint32_t i = 0; i < count; i++) {
        if (pthread_create(&threads[i].id, NULL, run, &threads[i]) != 0) {
            fprintf(stderr, "no more threads\n");
            exit(1);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i].id, NULL);
        code |= threads[i].code;
    }
    pthread_barrier_destroy(&together);
    *ret_seconds = tb_now() - start;
    return code;
}

int main(int argc, char **argv)
{
    struct tb_app app;
    if (tb_open(&app, argc, argv) != 0) {
        return 2;
    }
    uint32_t count = app.workers ? app.workers : 1;
    struct thread *threads = calloc(count, sizeof *threads);
    if (!threads) {
        return 1;
    }
    app.graph_count = 1;
    app.graphs[0].width = count;
    app.graphs[0].pattern = TB_TRIVIAL;
    for (uint32_t i = 0; i < count; i++) {
        threads[i] = (struct thread){.graph = &app.graphs[0], .point = i};
    }
    tb_display(&app);
    struct job job = {threads, count};
    int code = tb_measure(&app, true, run_all, &job);
    free(threads);
    return code ? 1 : 0;
}
