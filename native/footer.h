/* Where the column chunks of a Parquet file are, as its footer says: see tiers/window/_footer_table.py and docs/native.md. */
#ifndef LETHE_FOOTER_H
#define LETHE_FOOTER_H

#include <stdbool.h>
#include <stdint.h>

/* What is told of a column chunk, in this order; -1 where nothing is said. Places of the least and the greatest value are
 * places in the footer, all others in the file. */
enum { CHUNK_START, CHUNK_END, CODEC, BLOOM_START, BLOOM_SIZE, LEAST_AT, LEAST_SIZE, GREATEST_AT, GREATEST_SIZE, FIELDS };

typedef struct {
    int64_t start, end;      /* the list of row groups in the footer: from its first byte to the one behind it */
    int64_t groups, columns; /* all row groups have as many columns */
} Shape;

/* Find the list of row groups, and how much room is needed; its end is not known yet. False for what is no footer, or one that
 * says more than it can hold. */
bool footer_shape(const uint8_t *data, int64_t size, Shape *shape);

/* Fill in the rows of each row group, FIELDS numbers for each of its columns, and the end of the list. False for what does not
 * add up, and for chunks that are encrypted or in another file. */
bool footer_chunks(const uint8_t *data, int64_t size, Shape *shape, int64_t *rows, int64_t *chunks);

#endif
