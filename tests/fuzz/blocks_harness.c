/* Blocks of tokens under sanitizers: texts are damaged at random, and nothing beyond any of them may be touched. */
#include "no_python.h"

#include "../../native/blocks.c"

enum { MOST_ROWS = 30, LONGEST = 40 };

static const char *const SEEDS[] = {
    "", "4", "923001234567", "fifteen bytes..", "sixteen bytes...", "01234567-89ab-1def-8123-456789abcdef",
    "ffffffff-ffff-8fff-ffff-ffffffffffff", "01234567-89AB-1def-8123-456789abcdef", "01234567-89ab-0def-8123-456789abcdef",
};
enum { SEEDED = sizeof SEEDS / sizeof *SEEDS };

int main(int count, char **arguments) {
    long wanted = count > 1 ? atol(arguments[1]) : 200000, done = 0, taken = 0;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) * 2 + 1 : 1;
    (void)blocks;
    while (done < wanted) {
        Py_ssize_t rows = (Py_ssize_t)drawn(MOST_ROWS);
        char texts[MOST_ROWS][LONGEST];
        int64_t *ends = sized((size_t)(rows + 1) * 8), first = (int64_t)drawn(1000), total = 0;
        for (Py_ssize_t row = 0; row < rows; row++) {
            const char *seed = SEEDS[drawn(SEEDED)];
            size_t length = strlen(seed);
            memcpy(texts[row], seed, length);
            if (length && !drawn(3)) texts[row][drawn(length)] = (char)drawn(256);
            if (!drawn(9)) length = drawn(length + 1);
            ends[row] = first + total;
            total += (int64_t)length;
        }
        ends[rows] = first + total;
        uint8_t *data = sized((size_t)total), *codes = sized((size_t)rows);
        for (Py_ssize_t row = 0; row < rows; row++) {
            memcpy(data + (ends[row] - first), texts[row], (size_t)(ends[row + 1] - ends[row]));
            codes[row] = (uint8_t)(1 + drawn(6));
        }
        for (int subjects = 0; subjects < 2; subjects++) {
            uint8_t *made = sized((size_t)rows * BLOCK), *plain = sized((size_t)rows);
            make_blocks(data, ends, subjects ? codes : NULL, rows, made, plain);
            for (Py_ssize_t row = 0; row < rows; row++) {
                const uint8_t *text = data + (ends[row] - first), *block = made + row * BLOCK;
                size_t length = (size_t)(ends[row + 1] - ends[row]);
                char again[UUID + 1];
                if (!plain[row]) {
                    for (int i = 0; i < BLOCK; i++)
                        if (block[i]) abort();
                } else if (subjects) {
                    if (block[0] != codes[row] || memcmp(block + 1, text, length)) abort();
                    for (size_t i = length + 1; i < BLOCK; i++)
                        if (block[i]) abort();
                } else {
                    snprintf(again, sizeof again,
                             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", block[0], block[1], block[2],
                             block[3], block[4], block[5], block[6], block[7], block[8], block[9], block[10], block[11],
                             block[12], block[13], block[14], block[15]);
                    if (length != UUID || memcmp(again, text, UUID) || again[14] < '1' || again[14] > '8') abort();
                }
                taken += plain[row];
            }
            free(made), free(plain);
        }
        free(data), free(codes), free(ends);
        done += rows;
    }
    printf("%ld values, %ld blocks\n", done, taken);
    return 0;
}
