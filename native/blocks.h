/* The blocks that tokens are made of: see keys/tokens.py. */
#ifndef LETHE_BLOCKS_H
#define LETHE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

enum { BLOCK = 16 };

/* Make a block of 16 bytes for each text: of subjects where `codes` has the code of each one's kind, else of message ids.
 *
 * `ends` (one more than texts, each no smaller than the one before, the last `size` more than the first) say where texts
 * begin and end. `blocks` must be zero. `plain` gets 1 for each block made; the others stay zero. */
void make_blocks(const uint8_t *data, ptrdiff_t size, const int64_t *ends, const uint8_t *codes, ptrdiff_t rows,
                 uint8_t *blocks, uint8_t *plain);

#endif
