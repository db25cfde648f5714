/* Make the canonical form of archive rows, of whole columns: see integrity/rows/canonical_rows.py, which says what it is.
 *
 * Every form is measured, then written between its own two bounds. A text is found twice; if it were not the same both
 * times the row would not fill its bounds, and that is an answer, not a write beyond them.
 */
#include "rows.h"

#include <string.h>

enum { VERSION = 1, END = 0, TOGETHER = 128, COPIED = 16 };

static bool is_valid(const Field *f, ptrdiff_t at) { return !f->valid || f->valid[at >> 3] >> (at & 7) & 1; }

/* Find the text of value `at`; its length, or NO_TEXT. */
static inline int64_t find_text(const Field *f, ptrdiff_t at, const uint8_t **text) {
    int64_t which = f->codes ? f->codes[at] : at;
    if (which < 0 || which >= f->texts) return NO_TEXT;
    int64_t start = f->ends[which], end = f->ends[which + 1];
    if (start < 0 || end < start || end > f->size) return NO_TEXT;
    *text = f->values + start;
    return end - start;
}

static inline int64_t text_room(int64_t length) { return 1 + (length < LONG_TEXT ? 1 : 5) + length; }

int make_words(const Field *f, uint8_t *words, uint8_t *sizes) {
    for (ptrdiff_t which = 0; which < f->texts; which++, words += WORD) {
        int64_t start = f->ends[which], length = f->ends[which + 1] - start;
        if (start < 0 || length < 0 || length > f->size - start) return NO_TEXT;
        sizes[which] = 0;
        memset(words, 0, WORD);
        if (length > WORD - 2) continue;
        words[0] = f->tag;
        words[1] = (uint8_t)length;
        if (length) memcpy(words + 2, f->values + start, (size_t)length);
        sizes[which] = (uint8_t)(2 + length);
    }
    return 0;
}

bool all_same(const Field *f, ptrdiff_t rows) {
    if (f->texts != 1 || f->valid || !f->sizes[0]) return false;
    int32_t any = 0;
    for (ptrdiff_t row = 0; row < rows; row++) any |= f->codes[f->first + row];
    return any == 0;
}

/* The size that a column's values have in every row; 0 where it is to be measured. */
static inline int64_t fixed_size(const Field *f) {
    if (f->same) return f->sizes[0];
    return f->width && !f->valid ? 1 + f->width : 0;
}

/* Add the sizes of texts that follow each other, none of them null: without a branch, so that several go at once. */
static bool measure_texts(const Field *f, ptrdiff_t at, ptrdiff_t many, int64_t *sizes) {
    if (at + many > f->texts) return false;
    const int32_t *ends = f->ends + at;
    int64_t wrong = 0; /* negative as soon as one of these is */
    for (ptrdiff_t row = 0; row < many; row++) {
        int64_t start = ends[row], length = ends[row + 1] - start;
        sizes[row] += text_room(length);
        wrong |= start | length | (f->size - start - length);
    }
    return wrong >= 0;
}

/* Add the sizes of a column's values to those of the rows; false for a text that is not there. */
static inline bool measure_field(const Field *f, ptrdiff_t at, ptrdiff_t many, int64_t *sizes) {
    if (!f->width && !f->codes && !f->valid) return measure_texts(f, at, many, sizes);
    for (ptrdiff_t row = 0; row < many; row++, at++) {
        const uint8_t *text;
        if (!is_valid(f, at)) continue;
        if (f->width) {
            sizes[row] += 1 + f->width;
            continue;
        }
        if (f->words) {
            if (f->codes[at] < 0 || f->codes[at] >= f->texts) return false;
            uint8_t size = f->sizes[f->codes[at]];
            sizes[row] += size;
            if (size) continue;
        }
        int64_t length = find_text(f, at, &text);
        if (length < 0) return false;
        sizes[row] += text_room(length);
    }
    return true;
}

int64_t measure_forms(const Field *fields, ptrdiff_t count, ptrdiff_t rows, int32_t *bounds) {
    int64_t total = 0, fixed = 2; /* version and end */
    for (const Field *f = fields; f < fields + count; f++) fixed += fixed_size(f);
    bounds[0] = 0;
    for (ptrdiff_t from = 0; from < rows; from += TOGETHER) {
        ptrdiff_t many = rows - from < TOGETHER ? rows - from : TOGETHER;
        int64_t sizes[TOGETHER];
        for (ptrdiff_t row = 0; row < many; row++) sizes[row] = fixed;
        for (const Field *f = fields; f < fields + count; f++)
            if (!fixed_size(f) && !measure_field(f, f->first + from, many, sizes)) return NO_TEXT;
        for (ptrdiff_t row = 0; row < many; row++) {
            total += sizes[row];
            if (total > INT32_MAX) return TOO_LARGE;
            bounds[from + row + 1] = (int32_t)total;
        }
    }
    return total;
}

/* Copy a text of which few bytes are to be copied: sixteen at once where there is room for them, what is too many is
 * written over by what follows in the row. */
static inline void copy_text(uint8_t *to, ptrdiff_t room, const uint8_t *from, ptrdiff_t left, int64_t length) {
    if (length <= COPIED && room >= COPIED && left >= COPIED) memcpy(to, from, COPIED);
    else memcpy(to, from, (size_t)length);
}

static bool write_texts(const Field *f, ptrdiff_t at, ptrdiff_t many, uint8_t **to, uint8_t *const *ends) {
    for (ptrdiff_t row = 0; row < many; row++, at++) {
        const uint8_t *text;
        uint8_t *here = to[row];
        if (!is_valid(f, at)) continue;
        if (f->words) {
            if (f->codes[at] < 0 || f->codes[at] >= f->texts) return false;
            uint8_t size = f->sizes[f->codes[at]];
            const uint8_t *word = f->words + (ptrdiff_t)f->codes[at] * WORD;
            ptrdiff_t room = ends[row] - here;
            if (size > room) return false;
            if (room >= WORD) memcpy(here, word, WORD); /* what is too many is written over */
            else memcpy(here, word, size);
            to[row] = here + size;
            if (size) continue;
        }
        int64_t length = find_text(f, at, &text);
        if (length < 0 || text_room(length) > ends[row] - here) return false;
        *here++ = f->tag;
        if (length < LONG_TEXT) *here++ = (uint8_t)length;
        else {
            *here++ = LONG_TEXT;
            for (int i = 0; i < 4; i++) *here++ = (uint8_t)((uint64_t)length >> (8 * i));
        }
        copy_text(here, ends[row] - here, text, f->values + f->size - text, length);
        to[row] = here + length;
    }
    return true;
}

/* `width` is a constant where this is called, so that each copy is one instruction. */
static inline bool write_values(const Field *f, ptrdiff_t at, ptrdiff_t many, uint8_t **to, uint8_t *const *ends,
                                ptrdiff_t width) {
    const uint8_t *value = f->values + at * width;
    for (ptrdiff_t row = 0; row < many; row++, at++, value += width) {
        if (!is_valid(f, at)) continue;
        if (ends[row] - to[row] < 1 + width) return false;
        to[row][0] = f->tag;
        memcpy(to[row] + 1, value, (size_t)width);
        to[row] += 1 + width;
    }
    return true;
}

static bool write_same(const Field *f, ptrdiff_t many, uint8_t **to, uint8_t *const *ends) {
    const ptrdiff_t size = f->sizes[0];
    for (ptrdiff_t row = 0; row < many; row++) {
        ptrdiff_t room = ends[row] - to[row];
        if (size > room) return false;
        if (room >= WORD) memcpy(to[row], f->words, WORD); /* what is too many is written over */
        else memcpy(to[row], f->words, (size_t)size);
        to[row] += size;
    }
    return true;
}

static bool write_field(const Field *f, ptrdiff_t at, ptrdiff_t many, uint8_t **to, uint8_t *const *ends) {
    if (f->same) return write_same(f, many, to, ends);
    switch (f->width) {
        case 0: return write_texts(f, at, many, to, ends);
        case 4: return write_values(f, at, many, to, ends, 4);
        case 8: return write_values(f, at, many, to, ends, 8);
        default: return write_values(f, at, many, to, ends, f->width);
    }
}

bool write_forms(const Field *fields, ptrdiff_t count, ptrdiff_t rows, const int32_t *bounds, uint8_t *data) {
    for (ptrdiff_t from = 0; from < rows; from += TOGETHER) {
        ptrdiff_t many = rows - from < TOGETHER ? rows - from : TOGETHER;
        uint8_t *to[TOGETHER], *ends[TOGETHER];
        for (ptrdiff_t row = 0; row < many; row++) {
            to[row] = data + bounds[from + row];
            ends[row] = data + bounds[from + row + 1] - 1; /* before the end */
            *to[row]++ = VERSION;
        }
        for (const Field *f = fields; f < fields + count; f++)
            if (!write_field(f, f->first + from, many, to, ends)) return false;
        for (ptrdiff_t row = 0; row < many; row++) {
            if (to[row] != ends[row]) return false;
            *to[row] = END;
        }
    }
    return true;
}
