#include "mpi_job.h"

#include <stdio.h>
#include <stdlib.h>

static int rank_of(const struct job *job, const struct tb_graph *graph, uint32_t point)
{
    return (int)((uint64_t)point * (uint32_t)job->size / graph->width);
}

static void *must(void *memory)
{
    if (!memory) {
        fprintf(stderr, "no memory\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return memory;
}

/* ---- Before the clock starts ---------------------------------------------------------------- */

static bool has_message(const struct message *messages, uint32_t count, uint32_t point, int rank)
{
    for (uint32_t i = 0; i < count; i++) {
        if (messages[i].point == point && messages[i].rank == rank) {
            return true;
        }
    }
    return false;
}

static void add_message(struct message **messages, uint32_t *count, uint32_t point, int rank)
{
    if (has_message(*messages, *count, point, rank)) {
        return;
    }
    *messages = must(realloc(*messages, (*count + 1) * sizeof **messages));
    (*messages)[(*count)++] = (struct message){point, rank};
}

static void list_messages(const struct job *job, const struct tb_graph *graph,
                          const struct tb_row *row, struct exchange *exchange)
{
    for (uint32_t i = 0; i < row->width; i++) {
        int own = rank_of(job, graph, row->offset + i);
        for (uint32_t k = row->input_at[i]; own == job->rank && k < row->input_at[i + 1]; k++) {
            int from = rank_of(job, graph, row->inputs[k]);
            if (from != own) {
                add_message(&exchange->receives, &exchange->receive_count, row->inputs[k], from);
            }
        }
        for (uint32_t k = row->consumer_at[i]; own == job->rank && k < row->consumer_at[i + 1];
             k++) {
            int to = rank_of(job, graph, row->consumers[k]);
            if (to != own) {
                add_message(&exchange->sends, &exchange->send_count, row->offset + i, to);
            }
        }
    }
}

static void need_column(struct part *part, uint32_t point)
{
    for (int i = 0; i < TB_BUFFERS && !part->buffers[i][point]; i++) {
        part->buffers[i][point] = must(malloc(part->graph->output_bytes));
    }
}

static void need_columns(const struct job *job, struct part *part)
{
    const struct tb_graph *graph = part->graph;
    for (uint32_t point = 0; point < graph->width; point++) {
        if (rank_of(job, graph, point) == job->rank) {
            need_column(part, point);
        }
    }
    for (uint32_t step = 0; step < graph->steps; step++) {
        for (uint32_t i = 0; i < part->exchanges[step].receive_count; i++) {
            need_column(part, part->exchanges[step].receives[i].point);
        }
    }
}

static struct exchange *find_exchange(const struct part *part, uint32_t step)
{
    uint32_t sets = tb_dependence_sets(part->graph);
    bool is_shared = step >= sets && part->plan.rows[step] == part->plan.rows[step - sets];
    return is_shared ? &part->exchanges[step - sets] : NULL;
}

static void make_part(const struct job *job, const struct tb_graph *graph, struct part *part)
{
    uint32_t receives = 0, sends = 0;
    part->graph = graph;
    if (tb_plan_make(graph, &part->plan) != 0) {
        must(NULL);
    }
    part->exchanges = must(calloc(graph->steps, sizeof *part->exchanges));
    for (uint32_t step = 0; step < graph->steps; step++) {
        struct exchange *exchange = &part->exchanges[step], *same = find_exchange(part, step);
        if (same) {
            *exchange = *same;
        } else {
            list_messages(job, graph, part->plan.rows[step], exchange);
        }
        receives = exchange->receive_count > receives ? exchange->receive_count : receives;
        sends = exchange->send_count > sends ? exchange->send_count : sends;
    }
    part->inputs = must(calloc(graph->width, sizeof *part->inputs));
    part->receiving = must(calloc(receives + 1, sizeof *part->receiving));
    for (int i = 0; i < TB_BUFFERS; i++) {
        part->sending[i] = must(calloc(sends + 1, sizeof *part->sending[i]));
        part->buffers[i] = must(calloc(graph->width, sizeof *part->buffers[i]));
    }
    need_columns(job, part);
}

static void free_part(struct part *part)
{
    for (uint32_t step = part->graph->steps; step-- > 0;) {
        if (!find_exchange(part, step)) {
            free(part->exchanges[step].receives);
            free(part->exchanges[step].sends);
        }
    }
    for (int i = 0; i < TB_BUFFERS; i++) {
        for (uint32_t point = 0; point < part->graph->width; point++) {
            free(part->buffers[i][point]);
        }
        free(part->buffers[i]);
        free(part->sending[i]);
    }
    free(part->receiving);
    free(part->inputs);
    free(part->exchanges);
    tb_plan_free(&part->plan);
}

/* ---- While it runs -------------------------------------------------------------------------- */

static int tag_of(const struct part *part, uint32_t point)
{
    return (int)(point * TB_GRAPHS_MAX + part->graph->index);
}

void mpi_receive(const struct job *job, struct part *part, uint32_t step)
{
    if (step >= part->graph->steps) {
        return;
    }
    const struct exchange *exchange = &part->exchanges[step];
    for (uint32_t i = 0; i < exchange->receive_count; i++) {
        const struct message *message = &exchange->receives[i];
        MPI_Irecv(part->buffers[(step - 1) % TB_BUFFERS][message->point],
                  (int)part->graph->output_bytes, MPI_BYTE, message->rank,
                  tag_of(part, message->point), MPI_COMM_WORLD,
                  &part->receiving[part->receiving_count++]);
    }
}

void mpi_send(const struct job *job, struct part *part, uint32_t step)
{
    const struct exchange *exchange = &part->exchanges[step];
    int buffer = step % TB_BUFFERS;
    for (uint32_t i = 0; i < exchange->send_count; i++) {
        const struct message *message = &exchange->sends[i];
        MPI_Isend(part->buffers[buffer][message->point], (int)part->graph->output_bytes, MPI_BYTE,
                  message->rank, tag_of(part, message->point), MPI_COMM_WORLD,
                  &part->sending[buffer][part->sending_count[buffer]++]);
    }
}

void mpi_wait_received(struct part *part)
{
    MPI_Waitall(part->receiving_count, part->receiving, MPI_STATUSES_IGNORE);
    part->receiving_count = 0;
}

void mpi_wait_sent(struct part *part, uint32_t step)
{
    int buffer = step % TB_BUFFERS;
    MPI_Waitall(part->sending_count[buffer], part->sending[buffer], MPI_STATUSES_IGNORE);
    part->sending_count[buffer] = 0;
}

static void execute_point(struct job *job, struct part *part, uint32_t step, uint32_t index)
{
    const struct tb_row *row = part->plan.rows[step];
    uint32_t first = row->input_at[index], count = row->input_at[index + 1] - first;
    char why[TB_WHY_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        part->inputs[i] = part->buffers[(step - 1) % TB_BUFFERS][row->inputs[first + i]];
    }
    uint32_t point = row->offset + index;
    if (tb_execute(part->graph, step, point, part->buffers[step % TB_BUFFERS][point], part->inputs,
                   count, why) != 0 &&
        job->failures++ == 0) {
        fprintf(stderr, "%s\n", why);
    }
}

void mpi_execute(struct job *job, struct part *part, uint32_t step)
{
    const struct tb_row *row = part->plan.rows[step];
    for (uint32_t i = 0; i < row->width; i++) {
        if (rank_of(job, part->graph, row->offset + i) == job->rank) {
            execute_point(job, part, step, i);
        }
    }
}

static int time_pass(void *arg, double *ret_seconds)
{
    struct job *job = arg;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = tb_now();
    job->pass(job);
    MPI_Barrier(MPI_COMM_WORLD);
    *ret_seconds = tb_now() - start;
    return 0;
}

static void run(struct job *job)
{
    for (uint32_t i = 0; i < job->app.graph_count; i++) {
        make_part(job, &job->app.graphs[i], &job->parts[i]);
    }
    if (job->rank == 0) {
        tb_display(&job->app);
    }
    tb_measure(&job->app, job->rank == 0, time_pass, job);
    for (uint32_t i = 0; i < job->app.graph_count; i++) {
        free_part(&job->parts[i]);
    }
}

int mpi_run(int argc, char **argv, void (*pass)(struct job *job))
{
    static struct job job;
    job.pass = pass;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &job.size);
    int code = tb_open(&job.app, argc, argv) ? 2 : 0;
    if (code == 0) {
        run(&job);
        MPI_Allreduce(MPI_IN_PLACE, &job.failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        code = job.failures ? 1 : 0;
    }
    MPI_Finalize();
    return code;
}
