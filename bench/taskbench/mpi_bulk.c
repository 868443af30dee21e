/* Task graphs in MPI, bulk-synchronous: all compute, all exchange, all wait for all. */
#include "mpi_job.h"

static void exchange(struct job *job, uint32_t step)
{
    for (uint32_t i = 0; i < job->app.graph_count; i++) {
        if (step < job->parts[i].graph->steps) {
            mpi_receive(job, &job->parts[i], step + 1);
            mpi_send(job, &job->parts[i], step);
        }
    }
    for (uint32_t i = 0; i < job->app.graph_count; i++) {
        mpi_wait_received(&job->parts[i]);
        mpi_wait_sent(&job->parts[i], step);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void pass(struct job *job)
{
    for (uint32_t step = 0; step < tb_most_steps(&job->app); step++) {
        for (uint32_t i = 0; i < job->app.graph_count; i++) {
            if (step < job->parts[i].graph->steps) {
                mpi_execute(job, &job->parts[i], step);
            }
        }
        exchange(job, step);
    }
}

int main(int argc, char **argv)
{
    return mpi_run(argc, argv, pass);
}
