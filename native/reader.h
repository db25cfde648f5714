/* Records in the usual spelling, read in one pass: see streams/transform/decode/compiled_reader.py. */
#ifndef LETHE_READER_H
#define LETHE_READER_H

#include "view.h"

enum { LEAF = 0, OBJECT = 1, LIST = 2, NEVER = 3, FIRST = 4 }; /* FIRST: a flag, of a list its first element */
enum { MOST_NODES = 256, MOST_MEMBERS = 64, MOST_LEAVES = 1024, GUESSES = 48, DEPTH = 16 };
enum { SLOTS = 4096, MOST_DISTINCT = 1024 };

typedef struct {
    const uint8_t *name;
    ptrdiff_t length;
    int kind, target; /* of a leaf: its number; of an object: its node */
} Member;

typedef struct {
    const uint8_t *key; /* up to and with its closing quote */
    uint32_t length;
    int member; /* -1: not declared */
} Guess;

typedef struct {
    Member members[MOST_MEMBERS];
    int count, guesses;
    Guess guess[GUESSES]; /* the names of the last object of this kind, in their order: mostly also those of the next */
} Node;

typedef struct {
    uint32_t slots[SLOTS]; /* code + 1 */
    View values[MOST_DISTINCT];
    int distinct; /* -1: too many, given up */
} Table;

typedef struct {
    const uint8_t *data; /* must not change while it is read */
    ptrdiff_t size;
    uint8_t *arena; /* nothing, or as large as the data */
    ptrdiff_t arena_size, arena_used;
    ptrdiff_t rows, row, bitmap;
    View *views;      /* leaves x rows */
    uint8_t *valid;   /* leaves x bitmap */
    uint32_t *codes;  /* leaves x rows */
    uint32_t *firsts; /* leaves x MOST_DISTINCT: the row a distinct value was first seen in */
    Node *nodes;
    Table *tables;
} Reader;

/* Read values into the buffers of a reader; `taken` gets 1 for each that is in the usual spelling, 0 for the others.
 *
 * Value i is `data[ends[i]:ends[i + 1]]`; one whose ends lie outside of the data is not taken. What rows of values that are
 * not taken hold means nothing. A plan may not lead beyond `nodes` and leaves; it may go in a circle. */
void read_rows(Reader *r, const int64_t *ends, uint8_t *taken);

#endif
