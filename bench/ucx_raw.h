/*
 * The raw limits between hosts: active messages of UCX with nothing of Manta's above them, on a
 * worker of their own. One side calls raw_ucx_ping and raw_ucx_stream, the other one serves; both
 * poll without pause, as UCX's own benchmarks do. The transport is chosen as Manta chooses it:
 * by the user's UCX_ variables, without shared memory.
 */
#ifndef BENCH_UCX_RAW_H
#define BENCH_UCX_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_UCX_ADDRESS_MAX 1024

struct raw_ucx;

/* 0, or MANTA_E_SYSTEM. */
int raw_ucx_open(struct raw_ucx **ret_raw);
void raw_ucx_close(struct raw_ucx *raw);
/* Of this side. Its length. */
size_t raw_ucx_address(struct raw_ucx *raw, uint8_t address[RAW_UCX_ADDRESS_MAX]);
int raw_ucx_connect(struct raw_ucx *raw, const uint8_t *address);

/* Round trips with messages of so many bytes both ways: mean ns of one. */
int raw_ucx_ping(struct raw_ucx *raw, uint32_t rounds, uint32_t bytes, double *ret_ns);
/* One-way messages, of which at most 64 are unsent, and a word back after the last: mean ns. */
int raw_ucx_stream(struct raw_ucx *raw, uint32_t count, uint32_t bytes, double *ret_ns);
/* One value of so many bytes from the other side, asked for by a message: ns until it lies in the
 * memory of this one, which is used again and again. At most RAW_UCX_VALUE_MAX bytes. */
#define RAW_UCX_VALUE_MAX (64u << 20)
int raw_ucx_fetch(struct raw_ucx *raw, uint32_t bytes, double *ret_ns);
/* Ends the other side's serving. */
int raw_ucx_dismiss(struct raw_ucx *raw);
int raw_ucx_serve(struct raw_ucx *raw);

#endif
