/* Single values taken out of the pages of a Parquet column chunk: see tiers/window/_picked.py and docs/native.md. */
#ifndef LETHE_PAGES_H
#define LETHE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LARGEST_PAGE = 1 << 26 }; /* bytes, unpacked: a header that says more is not believed */

/* What values are: `width` bytes each, or texts with their length before them, or bits. */
typedef enum { BITS = 0, INT32 = 4, INT64 = 8, TEXTS = -1 } Kind; /* any other number: bytes of that width */

enum { PLAIN = 0, DELTA = 5, DICTIONARY = 8 };

typedef struct {
    bool dictionary;
    int encoding;
    int64_t rows;          /* of them `nulls` are null */
    int64_t nulls;
    const uint8_t *levels; /* one bit a row in runs: which rows have a value */
    int64_t levels_size;
    const uint8_t *body;   /* the values, `packed` by the chunk's compression or not */
    int64_t size, unpacked;
    bool packed;
} Page;

/* Read the page at `*at` and go on behind it; false for what is no dictionary and no data page of version 2 with all of
 * its bytes there. `packed`: whether the chunk is compressed. */
bool next_page(const uint8_t **at, const uint8_t *end, bool packed, Page *page);

/* A text or value of fixed width, where it lies. */
typedef struct {
    const uint8_t *at;
    int64_t size;
} Value;

/* Say for each row, in ascending order, whether it has a value, and the number of that among those of the page (-1: null).
 *
 * False for levels that lead nowhere or say another number of nulls up to the last row than there can be. */
bool number_values(const Page *page, const int64_t *rows, ptrdiff_t count, int64_t *numbers);

/* Find where values lie in plain pages or dictionaries: `numbers` ascend and those below 0 are left out. False for a number
 * behind the last value, and for a text that leaves the page. */
bool plain_values(const uint8_t *body, int64_t size, Kind kind, const int64_t *numbers, ptrdiff_t count, Value *values);

/* Read numbers of a dictionary's entries; `numbers` as above, and -1 stays -1. False for runs that end too early. */
bool dictionary_numbers(const uint8_t *body, int64_t size, const int64_t *numbers, ptrdiff_t count, int64_t *entries);

/* Read integers that are written as differences; `numbers` as above. False for differences that end too early. */
bool delta_values(const uint8_t *body, int64_t size, const int64_t *numbers, ptrdiff_t count, int64_t *values);

/* Find the rows whose integers are among some, given in ascending order, in a page without nulls of `rows` rows; `found` and
 * `values` have room for each row. Return how many there are, -1 for differences that end too early. */
int64_t rows_among(const uint8_t *body, int64_t size, int64_t rows, const int64_t *wanted, ptrdiff_t count, int64_t *found,
                   int64_t *values);

/* Find the values of `width` bytes (at least 8) that are among some, given in the order of their bytes; `prefixes` are theirs
 * (see `prefix_of`), and `found` has room for each value. Return how many there are. */
int64_t bytes_among(const uint8_t *body, int64_t size, int64_t width, const uint8_t *wanted, const int64_t *prefixes,
                    ptrdiff_t count, int64_t *found);

/* The same where values are in the order of their bytes, by halving: the numbers ascend if they are. */
int64_t bytes_in_order(const uint8_t *body, int64_t size, int64_t width, const uint8_t *wanted, ptrdiff_t count, int64_t *found);

/* Return the first eight bytes as a number; in the order of bytes numbers ascend. */
int64_t prefix_of(const uint8_t *at);

/* Make rows of the numbers of values in a page, in place; they ascend. False for levels that end too early. */
bool rows_of_values(const Page *page, int64_t *numbers, int64_t count);

#endif
