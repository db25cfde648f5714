/* SHA-256 (FIPS 180-4) with the processor's own instructions, of many short pieces of one buffer.
 *
 * What is saved is a Python object and two calls a hash. Where there are no such instructions nothing here is called:
 * `hashlib` is used, whose code for other processors is better than any that would fit here.
 */
#include "rows.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

enum { CHUNK = 64, ROUNDS = 16, LENGTH = 8 };

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Words a, b, e, f and c, d, g, h, in the order in which the instructions take them. */
typedef struct {
    __m128i abef, cdgh;
} State;

static const uint32_t START[2][4] = {
    {0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667},
    {0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372},
};

#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))

/* `sha_ni` and what its state is turned with: leaf 7 says the one, leaf 1 the others. */
bool hashes_here(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}

/* Four rounds of one text, and its words for those that follow. */
WITH_SHA static inline __attribute__((always_inline)) void four_rounds(State *s, __m128i *w, const uint8_t *data, int i) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    if (i < 4) {
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), big_endian);
    } else {
        const __m128i nine = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
        w[i & 3] = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]), nine);
        w[i & 3] = _mm_sha256msg2_epu32(w[i & 3], w[(i + 3) & 3]);
    }
    const __m128i words = _mm_add_epi32(w[i & 3], _mm_load_si128((const __m128i *)(const void *)(K + 4 * i)));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, words);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(words, 0x0e));
}

WITH_SHA static inline void add_before(State *to, const State *before) {
    to->abef = _mm_add_epi32(to->abef, before->abef);
    to->cdgh = _mm_add_epi32(to->cdgh, before->cdgh);
}

WITH_SHA static void compress(State *state, const uint8_t *data, ptrdiff_t blocks) {
    State s = *state;
    for (; blocks > 0; blocks--, data += CHUNK) {
        const State before = s;
        __m128i w[4];
#pragma GCC unroll 16
        for (int i = 0; i < ROUNDS; i++) four_rounds(&s, w, data, i);
        add_before(&s, &before);
    }
    *state = s;
}

/* The same of two texts: while a round of the one is under way, one of the other begins. */
WITH_SHA static void compress_both(State *one, const uint8_t *data, State *other, const uint8_t *further, ptrdiff_t blocks) {
    State s = *one, t = *other;
    for (; blocks > 0; blocks--, data += CHUNK, further += CHUNK) {
        const State before = s, earlier = t;
        __m128i w[4], v[4];
#pragma GCC unroll 16
        for (int i = 0; i < ROUNDS; i++) {
            four_rounds(&s, w, data, i);
            four_rounds(&t, v, further, i);
        }
        add_before(&s, &before);
        add_before(&t, &earlier);
    }
    *one = s;
    *other = t;
}

/* One byte and what follows it, as blocks that lie in up to three places. */
typedef struct {
    State state;
    struct {
        const uint8_t *data;
        ptrdiff_t blocks;
    } places[3];
    int place, places_there;
    uint8_t first[CHUNK], last[2 * CHUNK];
} Text;

WITH_SHA static void begin(Text *t, uint8_t prefix, const uint8_t *data, ptrdiff_t size) {
    t->state = (State){_mm_loadu_si128((const __m128i *)(const void *)START[0]),
                       _mm_loadu_si128((const __m128i *)(const void *)START[1])};
    uint64_t bits = 8 * ((uint64_t)size + 1);
    ptrdiff_t used = 0; /* of `last` */
    t->place = t->places_there = 0;
    if (size >= CHUNK - 1) {
        t->first[0] = prefix;
        memcpy(t->first + 1, data, CHUNK - 1);
        t->places[t->places_there].data = t->first;
        t->places[t->places_there++].blocks = 1;
        data += CHUNK - 1;
        size -= CHUNK - 1;
        if (size >= CHUNK) {
            t->places[t->places_there].data = data;
            t->places[t->places_there++].blocks = size / CHUNK;
        }
        data += size / CHUNK * CHUNK;
        size %= CHUNK;
    } else t->last[used++] = prefix;
    if (size) memcpy(t->last + used, data, (size_t)size);
    used += size;
    ptrdiff_t whole = used + 1 + LENGTH <= CHUNK ? CHUNK : 2 * CHUNK;
    memset(t->last + used, 0, (size_t)(whole - used));
    t->last[used] = 0x80;
    for (int i = 0; i < LENGTH; i++) t->last[whole - 1 - i] = (uint8_t)(bits >> (8 * i));
    t->places[t->places_there].data = t->last;
    t->places[t->places_there++].blocks = whole / CHUNK;
}

/* Note that blocks of a text have been taken in. */
static inline void pass(Text *t, ptrdiff_t blocks) {
    t->places[t->place].data += CHUNK * blocks;
    t->places[t->place].blocks -= blocks;
    if (!t->places[t->place].blocks) t->place++;
}

WITH_SHA static void finish(Text *t, uint8_t *digest) {
    for (; t->place < t->places_there; t->place++) compress(&t->state, t->places[t->place].data, t->places[t->place].blocks);
    uint32_t f[4], h[4]; /* f, e, b, a and h, g, d, c */
    _mm_storeu_si128((__m128i *)(void *)f, t->state.abef);
    _mm_storeu_si128((__m128i *)(void *)h, t->state.cdgh);
    const uint32_t words[8] = {f[3], f[2], h[3], h[2], f[1], f[0], h[1], h[0]};
    for (int i = 0; i < DIGEST; i++) digest[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
}

/* Hash one byte and what follows it. */
static void hash_one(uint8_t prefix, const uint8_t *data, ptrdiff_t size, uint8_t *digest) {
    Text t;
    begin(&t, prefix, data, size);
    finish(&t, digest);
}

/* Hash the byte and what follows it in two places: the digests lie one after the other. */
static void hash_two(uint8_t prefix, const uint8_t *data, ptrdiff_t size, const uint8_t *further, ptrdiff_t length,
                     uint8_t *digests) {
    Text s, t;
    begin(&s, prefix, data, size);
    begin(&t, prefix, further, length);
    while (s.place < s.places_there && t.place < t.places_there) {
        ptrdiff_t mine = s.places[s.place].blocks, others = t.places[t.place].blocks, both = mine < others ? mine : others;
        compress_both(&s.state, s.places[s.place].data, &t.state, t.places[t.place].data, both);
        pass(&s, both);
        pass(&t, both);
    }
    finish(&s, digests);
    finish(&t, digests + DIGEST);
}
#else
bool hashes_here(void) { return false; }

static void hash_one(uint8_t prefix, const uint8_t *data, ptrdiff_t size, uint8_t *digest) {
    (void)prefix, (void)data, (void)size;
    memset(digest, 0, DIGEST); /* never called */
}

static void hash_two(uint8_t prefix, const uint8_t *data, ptrdiff_t size, const uint8_t *further, ptrdiff_t length,
                     uint8_t *digests) {
    hash_one(prefix, data, size, digests);
    hash_one(prefix, further, length, digests + DIGEST);
}
#endif

/* Find a group's bytes; false for bounds that do not rise or leave the data. */
static inline bool find_group(const int32_t *bounds, ptrdiff_t rows, ptrdiff_t row, ptrdiff_t group, ptrdiff_t size,
                              int64_t *start, int64_t *length) {
    int64_t end = bounds[rows - row < group ? rows : row + group];
    *start = bounds[row];
    *length = end - *start;
    return *start >= 0 && *length >= 0 && end <= size;
}

bool hash_groups(uint8_t prefix, const uint8_t *data, ptrdiff_t size, const int32_t *bounds, ptrdiff_t rows, ptrdiff_t group,
                 uint8_t *digests) {
    int64_t start, length, next, further;
    ptrdiff_t row = 0;
    for (; rows - row > group; row += 2 * group, digests += 2 * DIGEST) {
        if (!find_group(bounds, rows, row, group, size, &start, &length)
            || !find_group(bounds, rows, row + group, group, size, &next, &further))
            return false;
        hash_two(prefix, data + start, length, data + next, further, digests);
    }
    if (row >= rows) return true;
    if (!find_group(bounds, rows, row, group, size, &start, &length)) return false;
    hash_one(prefix, data + start, length, digests);
    return true;
}

ptrdiff_t climb(uint8_t *hashes, ptrdiff_t count, int height) {
    enum { PAIR = 2 * DIGEST };
    for (; count > 1 && height > 0; height--) {
        ptrdiff_t pairs = count / 2, i = 0;
        for (; i + 2 <= pairs; i += 2) {
            uint8_t nodes[PAIR];
            hash_two(1, hashes + PAIR * i, PAIR, hashes + PAIR * (i + 1), PAIR, nodes);
            memcpy(hashes + DIGEST * i, nodes, PAIR);
        }
        if (i < pairs) {
            uint8_t node[DIGEST];
            hash_one(1, hashes + PAIR * i, PAIR, node);
            memcpy(hashes + DIGEST * i, node, DIGEST);
        }
        if (count & 1) memmove(hashes + DIGEST * pairs, hashes + DIGEST * (count - 1), DIGEST);
        count -= pairs;
    }
    return count;
}
