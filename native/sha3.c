/* SHA3-512 (FIPS 202) of many texts at a time: a lane of a wide register for each, so that one permutation serves all.
 *
 * A text of its own is not hashed faster here than by `hashlib`: the commits of a batch are, side by side.
 */
#include "sha3.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

enum { RATE = 72, TAKEN = RATE / 8, WORDS = 25, ROUNDS = 24, ALONE = 4 };

static const uint64_t IOTA[ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b, 0x0000000080000001,
    0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003, 0x8000000000008002, 0x8000000000000080,
    0x000000000000800a, 0x800000008000000a, 0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

#define TURN(x, n) ((x) << (n) | (x) >> (64 - (n)))

/* One row of chi, of what theta, rho and pi have made of five words: numbers of words, and how far each is turned. */
#define ROW(to, from, y, w0, w1, r1, w2, r2, w3, r3, w4, r4, r0)                                                        \
    {                                                                                                                  \
        b0 = from[w0] ^ d[w0 % 5];                                                                                     \
        if (r0) b0 = TURN(b0, (r0) ? (r0) : 1);                                                                        \
        b1 = from[w1] ^ d[w1 % 5], b1 = TURN(b1, r1);                                                                  \
        b2 = from[w2] ^ d[w2 % 5], b2 = TURN(b2, r2);                                                                  \
        b3 = from[w3] ^ d[w3 % 5], b3 = TURN(b3, r3);                                                                  \
        b4 = from[w4] ^ d[w4 % 5], b4 = TURN(b4, r4);                                                                  \
        to[5 * y] = b0 ^ (~b1 & b2);                                                                                   \
        to[5 * y + 1] = b1 ^ (~b2 & b3);                                                                               \
        to[5 * y + 2] = b2 ^ (~b3 & b4);                                                                               \
        to[5 * y + 3] = b3 ^ (~b4 & b0);                                                                               \
        to[5 * y + 4] = b4 ^ (~b0 & b1);                                                                               \
    }

#define ROUND(WORD, to, from, constant)                                                                                \
    {                                                                                                                  \
        WORD c[5], d[5], b0, b1, b2, b3, b4;                                                                           \
        c[0] = from[0] ^ from[5] ^ from[10] ^ from[15] ^ from[20];                                                     \
        c[1] = from[1] ^ from[6] ^ from[11] ^ from[16] ^ from[21];                                                     \
        c[2] = from[2] ^ from[7] ^ from[12] ^ from[17] ^ from[22];                                                     \
        c[3] = from[3] ^ from[8] ^ from[13] ^ from[18] ^ from[23];                                                     \
        c[4] = from[4] ^ from[9] ^ from[14] ^ from[19] ^ from[24];                                                     \
        d[0] = c[4] ^ TURN(c[1], 1);                                                                                   \
        d[1] = c[0] ^ TURN(c[2], 1);                                                                                   \
        d[2] = c[1] ^ TURN(c[3], 1);                                                                                   \
        d[3] = c[2] ^ TURN(c[4], 1);                                                                                   \
        d[4] = c[3] ^ TURN(c[0], 1);                                                                                   \
        ROW(to, from, 0, 0, 6, 44, 12, 43, 18, 21, 24, 14, 0)                                                          \
        ROW(to, from, 1, 3, 9, 20, 10, 3, 16, 45, 22, 61, 28)                                                          \
        ROW(to, from, 2, 1, 7, 6, 13, 25, 19, 8, 20, 18, 1)                                                            \
        ROW(to, from, 3, 4, 5, 36, 11, 10, 17, 15, 23, 56, 27)                                                         \
        ROW(to, from, 4, 2, 8, 55, 14, 39, 15, 41, 21, 2, 62)                                                          \
        to[0] ^= constant;                                                                                             \
    }

/* Keccak-f[1600] of the states in the lanes of a word: each word of all of them, then the next. */
#define PERMUTATION(NAME, WORD, LANES, TARGET)                                                                         \
    TARGET static void NAME(uint64_t *states) {                                                                        \
        WORD a[WORDS], e[WORDS];                                                                                       \
        memcpy(a, states, sizeof a);                                                                                   \
        for (int round = 0; round < ROUNDS; round += 2) {                                                              \
            ROUND(WORD, e, a, IOTA[round])                                                                             \
            ROUND(WORD, a, e, IOTA[round + 1])                                                                         \
        }                                                                                                              \
        memcpy(states, a, sizeof a);                                                                                   \
    }

typedef uint64_t Four __attribute__((vector_size(32)));
typedef uint64_t Eight __attribute__((vector_size(64)));

PERMUTATION(permute_one, uint64_t, 1, )
PERMUTATION(permute_four, Four, 4, __attribute__((target("avx2"))))
PERMUTATION(permute_eight, Eight, 8, __attribute__((target("avx512f"))))

int lanes_here(void) { return __builtin_cpu_supports("avx512f") ? 8 : __builtin_cpu_supports("avx2") ? 4 : 0; }

/* How far a text has been read. */
typedef struct {
    const Piece *piece, *end;
    ptrdiff_t read;       /* of the piece */
    uint8_t *digest;      /* where it goes; NULL: the lane is idle */
    bool whole;           /* the last block has been taken */
    uint8_t block[RATE];  /* one that lies in several pieces, or the last one */
} Cursor;

/* Return the next block of a text, the last one with its padding. */
static const uint8_t *next_block(Cursor *c) {
    while (c->piece < c->end && c->read == c->piece->size) c->piece++, c->read = 0;
    if (c->piece < c->end && c->piece->size - c->read >= RATE) {
        const uint8_t *found = c->piece->data + c->read;
        c->read += RATE;
        return found;
    }
    ptrdiff_t used = 0;
    while (c->piece < c->end && used < RATE) {
        ptrdiff_t left = c->piece->size - c->read, taken = left < RATE - used ? left : RATE - used;
        if (taken) memcpy(c->block + used, c->piece->data + c->read, (size_t)taken);
        used += taken;
        c->read += taken;
        if (c->read == c->piece->size) c->piece++, c->read = 0;
    }
    if (used < RATE) {
        memset(c->block + used, 0, (size_t)(RATE - used));
        c->block[used] = 0x06;
        c->block[RATE - 1] |= 0x80;
        c->whole = true;
    }
    return c->block;
}

/* Take one block in, of the text in each lane that has one. */
static void step(Cursor *cursors, int lanes, uint64_t *states) {
    for (int lane = 0; lane < lanes; lane++) {
        if (!cursors[lane].digest) continue;
        uint64_t words[TAKEN];
        memcpy(words, next_block(cursors + lane), RATE);
        for (int i = 0; i < TAKEN; i++) states[i * lanes + lane] ^= words[i];
    }
    if (lanes == 8) permute_eight(states);
    else if (lanes == 4) permute_four(states);
    else permute_one(states);
    for (int lane = 0; lane < lanes; lane++) {
        if (!cursors[lane].whole) continue;
        for (int i = 0; i < SHA3_DIGEST / 8; i++) memcpy(cursors[lane].digest + 8 * i, states + i * lanes + lane, 8);
        cursors[lane] = (Cursor){0};
    }
}

void sha3_each(const Pieces *texts, ptrdiff_t count, int lanes, uint8_t *digests) {
    uint64_t states[WORDS * MOST_LANES] = {0};
    Cursor cursors[MOST_LANES] = {{0}};
    ptrdiff_t begun = 0;
    for (;;) {
        int busy = 0;
        for (int lane = 0; lane < lanes; lane++) {
            Cursor *c = cursors + lane;
            if (!c->digest && begun < count) {
                c->piece = texts[begun].pieces;
                c->end = c->piece + texts[begun].count;
                c->digest = digests + SHA3_DIGEST * begun++;
                for (int i = 0; i < WORDS; i++) states[i * lanes + lane] = 0;
            }
            busy += c->digest != NULL;
        }
        if (busy * ALONE <= lanes) break; /* what is left is done sooner one by one */
        step(cursors, lanes, states);
    }
    for (int lane = 0; lane < lanes; lane++) {
        uint64_t one[WORDS];
        for (int i = 0; i < WORDS; i++) one[i] = states[i * lanes + lane];
        while (cursors[lane].digest) step(cursors + lane, 1, one);
    }
}
#else
int lanes_here(void) { return 0; }

void sha3_each(const Pieces *texts, ptrdiff_t count, int lanes, uint8_t *digests) {
    (void)texts, (void)lanes;
    memset(digests, 0, (size_t)(SHA3_DIGEST * count)); /* never called */
}
#endif
