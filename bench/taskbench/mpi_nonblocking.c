/*
 * Task graphs in MPI as one writes it for speed: receives are posted a step ahead, an output leaves
 * when its row is done, and nothing waits but for what it needs.
 */
#include "mpi_job.h"

static void pass(struct job *job)
{
    for (uint32_t step = 0; step < tb_most_steps(&job->app); step++) {
        for (uint32_t i = 0; i < job->app.graph_count; i++) {
            struct part *part = &job->parts[i];
            if (step < part->graph->steps) {
                mpi_wait_received(part);
                mpi_wait_sent(part, step);
                mpi_receive(job, part, step + 1);
                mpi_execute(job, part, step);
                mpi_send(job, part, step);
            }
        }
    }
    for (uint32_t i = 0; i < job->app.graph_count; i++) {
        for (uint32_t buffer = 0; buffer < TB_BUFFERS; buffer++) {
            mpi_wait_sent(&job->parts[i], buffer);
        }
    }
}

int main(int argc, char **argv)
{
    return mpi_run(argc, argv, pass);
}
