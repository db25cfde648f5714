/* The canonical form of archive rows, and their hashes: see integrity/rows/canonical_rows.py and docs/integrity.md. */
#ifndef LETHE_ROWS_H
#define LETHE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOST_FIELDS = 256, WIDEST = 32, DIGEST = 32, LONG_TEXT = 255, WORD = 32, MOST_WORDS = 4096 };

/* A column: values of one width, or texts. */
typedef struct {
    uint8_t tag;
    ptrdiff_t width;       /* of a value, 1 to WIDEST; 0: texts */
    const uint8_t *values; /* the values, from number 0 on; the bytes of all texts */
    ptrdiff_t size;        /* bytes there are */
    const int32_t *ends;   /* of texts: where each ends, one more than `texts` */
    ptrdiff_t texts;
    const int32_t *codes;  /* which text is a row's; NULL: that of its own number */
    const uint8_t *valid;  /* a bit a value; NULL where nothing is null */
    ptrdiff_t first;       /* the number of the first row's value, in `values` or `ends`, `codes` and `valid` */
    const uint8_t *words;  /* WORD bytes for each text: its tag, its length and itself, as far as that; NULL: not made */
    const uint8_t *sizes;  /* how many of them; 0 for a text that does not fit */
    bool same;             /* every row has the first of them */
} Field;

enum { TOO_LARGE = -1, NO_TEXT = -2 };

/* Write the `words` (WORD bytes a text) and `sizes` (one) of texts that rows have codes of; NO_TEXT for an end that leads
 * nowhere, else 0. */
int make_words(const Field *field, uint8_t *words, uint8_t *sizes);

/* Say whether all rows have a field's only text, which fits into its word. */
bool all_same(const Field *field, ptrdiff_t rows);

/* Work out where each row's form ends (`bounds`: rows + 1); return the size of all, TOO_LARGE for more than 2 GiB, or
 * NO_TEXT for a code or an end that leads nowhere. Fixed values and validity bits must be there for every row. */
int64_t measure_forms(const Field *fields, ptrdiff_t count, ptrdiff_t rows, int32_t *bounds);

/* Write the forms that were measured, each between its two bounds; false if they do not fill them. */
bool write_forms(const Field *fields, ptrdiff_t count, ptrdiff_t rows, const int32_t *bounds, uint8_t *data);

/* Whether this processor has instructions for SHA-256. */
bool hashes_here(void);

/* Write SHA-256(prefix ‖ data from bound to bound) of every `group` rows, the last of those that are left.
 *
 * Only where `hashes_here`. False for bounds that do not rise or leave the data. */
bool hash_groups(uint8_t prefix, const uint8_t *data, ptrdiff_t size, const int32_t *bounds, ptrdiff_t rows, ptrdiff_t group,
                 uint8_t *digests);

/* Replace `count` hashes, one after the other, by the RFC 9162 nodes above them, `height` times or until one is left; return
 * how many are left. Only where `hashes_here`. */
ptrdiff_t climb(uint8_t *hashes, ptrdiff_t count, int height);

#endif
