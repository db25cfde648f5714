/* SHA3-512 of many texts at a time: what the rows of commits are hashed with beside SHA-256, see docs/integrity.md. */
#ifndef LETHE_SHA3_H
#define LETHE_SHA3_H

#include <stddef.h>
#include <stdint.h>

enum { SHA3_DIGEST = 64, MOST_LANES = 8 };

/* Some bytes of a text, which is made of several pieces one after the other. */
typedef struct {
    const uint8_t *data;
    ptrdiff_t size;
} Piece;

/* A text: `count` pieces. */
typedef struct {
    const Piece *pieces;
    ptrdiff_t count;
} Pieces;

/* How many texts this processor hashes side by side: 8, 4, or 0 where nothing is gained. */
int lanes_here(void);

/* Write the SHA3-512 of each text. Only where `lanes_here` is not 0, with that many lanes or with fewer. */
void sha3_each(const Pieces *texts, ptrdiff_t count, int lanes, uint8_t *digests);

#endif
