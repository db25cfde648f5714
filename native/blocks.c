/* Make the blocks that tokens are made of, of whole columns: see keys/tokens.py, which says what they are.
 *
 * What has no plain block is left zero and reported: its hash is made elsewhere. Every read is bounded by ends that are
 * checked where they are used, every write by the number of rows.
 */
#include "blocks.h"

#include <stdbool.h>
#include <string.h>

enum { ROOM = BLOCK - 1, UUID = 36 };

/* Hexadecimal digits in lower case; 16 for anything else. By a table: which digit comes next no processor can guess. */
static const uint8_t DIGIT[256] = {
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
};

/* Write the 16 bytes of a UUID in lower case, of version 1 to 8; zeros and false for any other text. */
static bool uuid_block(const uint8_t *text, int64_t length, uint8_t *block) {
    static const uint8_t places[BLOCK] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    if (length != UUID) return false;
    unsigned wrong = 0;
    for (int i = 0; i < BLOCK; i++) {
        unsigned high = DIGIT[text[places[i]]], low = DIGIT[text[places[i] + 1]];
        wrong |= high | low;
        block[i] = (uint8_t)(high << 4 | (low & 15));
    }
    bool dashes = text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-';
    int version = block[6] >> 4;
    if (!dashes || wrong > 15 || version < 1 || version > 8) return memset(block, 0, BLOCK), false;
    return true;
}

/* Write the code of its kind and a value of 1 to 15 bytes without NUL, NULs behind it. */
static bool subject_block(const uint8_t *text, int64_t length, uint8_t code, uint8_t *block) {
    if (length < 1 || length > ROOM || memchr(text, 0, (size_t)length)) return false;
    block[0] = code;
    memcpy(block + 1, text, (size_t)length);
    return true;
}

void make_blocks(const uint8_t *data, ptrdiff_t size, const int64_t *ends, const uint8_t *codes, ptrdiff_t rows,
                 uint8_t *blocks, uint8_t *plain) {
    const int64_t base = ends[0];
    for (ptrdiff_t row = 0; row < rows; row++) {
        int64_t start = ends[row] - base, end = ends[row + 1] - base;
        if (start < 0 || end < start || end > size) continue; /* changed since they were checked */
        const uint8_t *text = data + start;
        uint8_t *block = blocks + row * BLOCK;
        plain[row] = codes ? subject_block(text, end - start, codes[row], block) : uuid_block(text, end - start, block);
    }
}
