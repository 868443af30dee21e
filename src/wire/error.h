/* The error record as it travels: the numbers, then each text with its length. */
#ifndef WIRE_ERROR_H
#define WIRE_ERROR_H

#include "wire/wire.h"

#include <manta/error.h>

/* 0 for NULL. */
size_t wire_error_bytes(const manta_error *error);
/* Writes exactly wire_error_bytes. */
void wire_error_write(const manta_error *error, uint8_t *out);
/* Owned. NULL when there is none (nothing left to read), the bytes are broken, or memory is out. */
manta_error *wire_error_read(struct wire_reader *reader);

#endif
