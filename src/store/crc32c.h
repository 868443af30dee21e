/*
 * CRC-32C (Castagnoli), as iSCSI, ext4 and Btrfs use it: by the processor's own instruction where
 * there is one, which is faster than any disk, else by a table.
 */
#ifndef STORE_CRC32C_H
#define STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t bytes);

#endif
