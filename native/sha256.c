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

WITH_SHA static inline void compress(State *state, const uint8_t *data, ptrdiff_t blocks) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i abef = state->abef, cdgh = state->cdgh, w[4];
    for (; blocks > 0; blocks--, data += CHUNK) {
        const __m128i before[2] = {abef, cdgh};
#pragma GCC unroll 16
        for (int i = 0; i < ROUNDS; i++) { /* four rounds each */
            if (i < 4) {
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), big_endian);
            } else {
                const __m128i nine = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
                w[i & 3] = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]), nine);
                w[i & 3] = _mm_sha256msg2_epu32(w[i & 3], w[(i + 3) & 3]);
            }
            const __m128i words = _mm_add_epi32(w[i & 3], _mm_load_si128((const __m128i *)(const void *)(K + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0e));
        }
        abef = _mm_add_epi32(abef, before[0]);
        cdgh = _mm_add_epi32(cdgh, before[1]);
    }
    state->abef = abef;
    state->cdgh = cdgh;
}

/* Hash one byte and what follows it. */
WITH_SHA static void hash_one(uint8_t prefix, const uint8_t *data, ptrdiff_t size, uint8_t *digest) {
    State state = {_mm_loadu_si128((const __m128i *)(const void *)START[0]),
                   _mm_loadu_si128((const __m128i *)(const void *)START[1])};
    uint8_t last[2 * CHUNK] = {prefix};
    uint64_t bits = 8 * ((uint64_t)size + 1);
    ptrdiff_t used = 1; /* of `last` */
    if (size >= CHUNK - 1) {
        memcpy(last + 1, data, CHUNK - 1);
        compress(&state, last, 1);
        data += CHUNK - 1;
        size -= CHUNK - 1;
        compress(&state, data, size / CHUNK);
        data += size / CHUNK * CHUNK;
        size %= CHUNK;
        used = 0;
    }
    memcpy(last + used, data, (size_t)size);
    used += size;
    ptrdiff_t whole = used + 1 + LENGTH <= CHUNK ? CHUNK : 2 * CHUNK;
    memset(last + used, 0, (size_t)(whole - used));
    last[used] = 0x80;
    for (int i = 0; i < LENGTH; i++) last[whole - 1 - i] = (uint8_t)(bits >> (8 * i));
    compress(&state, last, whole / CHUNK);
    uint32_t f[4], h[4]; /* f, e, b, a and h, g, d, c */
    _mm_storeu_si128((__m128i *)(void *)f, state.abef);
    _mm_storeu_si128((__m128i *)(void *)h, state.cdgh);
    const uint32_t words[8] = {f[3], f[2], h[3], h[2], f[1], f[0], h[1], h[0]};
    for (int i = 0; i < DIGEST; i++) digest[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
}
#else
bool hashes_here(void) { return false; }

static void hash_one(uint8_t prefix, const uint8_t *data, ptrdiff_t size, uint8_t *digest) {
    (void)prefix, (void)data, (void)size;
    memset(digest, 0, DIGEST); /* never called */
}
#endif

bool hash_groups(uint8_t prefix, const uint8_t *data, ptrdiff_t size, const int32_t *bounds, ptrdiff_t rows, ptrdiff_t group,
                 uint8_t *digests) {
    for (ptrdiff_t row = 0; row < rows; row += group, digests += DIGEST) {
        int64_t start = bounds[row], end = bounds[rows - row < group ? rows : row + group];
        if (start < 0 || end < start || end > size) return false;
        hash_one(prefix, data + start, end - start, digests);
    }
    return true;
}

ptrdiff_t climb(uint8_t *hashes, ptrdiff_t count, int height) {
    for (; count > 1 && height > 0; height--) {
        ptrdiff_t pairs = count / 2;
        for (ptrdiff_t i = 0; i < pairs; i++) {
            uint8_t node[DIGEST];
            hash_one(1, hashes + 2 * DIGEST * i, 2 * DIGEST, node);
            memcpy(hashes + DIGEST * i, node, DIGEST);
        }
        if (count & 1) memmove(hashes + DIGEST * pairs, hashes + DIGEST * (count - 1), DIGEST);
        count -= pairs;
    }
    return count;
}
