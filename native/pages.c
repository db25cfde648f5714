/* Take single values out of the pages of a Parquet column chunk: see tiers/window/_picked.py, which says what for.
 *
 * What is here is what this house's files have: data pages of version 2 without lists, plain values, differences and
 * dictionaries. Of anything else, and of what does not add up, nothing is taken, and the general reader sees it. Every
 * read is bounded by the end of its page, where it is made.
 */
#include "pages.h"

#include <string.h>

#include "thrift.h"

/* --- Headers of pages ------------------------------------------------------------------------------------------------ */

enum { MOST_IDS = 9 };

/* Read an object's integers and booleans by their numbers, those below MOST_IDS; `inner` is told of each object in it. */
static void integers(Cursor *c, int64_t *found, int depth, int64_t inner[][MOST_IDS]) {
    int64_t id = 0;
    for (int type; (type = member(c, &id)) != STOP;) {
        bool known = id > 0 && id < MOST_IDS;
        if (known && (type == I16 || type == I32 || type == I64)) found[id] = zigzag(varint(c));
        else if (known && (type == YES || type == NO)) found[id] = type == YES;
        else if (known && type == STRUCT && inner) integers(c, inner[id], depth + 1, NULL);
        else skip(c, type, depth, false);
    }
}

enum { DATA_PAGE_2 = 3, DICTIONARY_PAGE = 2, MISSING = -1 };

bool next_page(const uint8_t **at, const uint8_t *end, bool packed, Page *page) {
    Cursor c = {*at, end, false};
    int64_t header[MOST_IDS], inner[MOST_IDS][MOST_IDS];
    memset(header, 0xff, sizeof header); /* MISSING */
    memset(inner, 0xff, sizeof inner);
    integers(&c, header, 0, inner);
    int64_t type = header[1], unpacked = header[2], size = header[3];
    if (c.wrong || unpacked < 0 || unpacked > LARGEST_PAGE || size < 0 || size > c.end - c.at) return false;
    *page = (Page){.dictionary = type == DICTIONARY_PAGE, .body = c.at, .size = size, .unpacked = unpacked, .packed = packed};
    if (page->dictionary) {
        page->rows = inner[7][1];
        page->encoding = (int)inner[7][2];
        if (page->encoding != PLAIN && page->encoding != 2) return false; /* 2: as earlier writers call it */
        page->encoding = PLAIN;
    } else {
        const int64_t *said = inner[8];
        int64_t levels = said[5], lists = said[6];
        if (type != DATA_PAGE_2 || lists != 0 || levels < 0 || levels > size || levels > unpacked) return false;
        if (said[1] != said[3] || said[2] < 0 || said[2] > said[1]) return false;
        page->rows = said[1];
        page->nulls = said[2];
        page->encoding = said[4] == 2 ? DICTIONARY : (int)said[4];
        page->levels = c.at;
        page->levels_size = levels;
        page->body = c.at + levels;
        page->size = size - levels;
        page->unpacked = unpacked - levels;
        page->packed = packed && said[7] != 0;
    }
    if (page->rows < 0 || page->rows > INT32_MAX || (!page->packed && page->size != page->unpacked)) return false;
    *at = c.at + size;
    return true;
}

/* --- Runs of small numbers, each as often as it comes or bit by bit -------------------------------------------------- */

typedef struct {
    Cursor c;
    int width;
    int64_t first, count; /* the run that is open: the number of its first value, and how many there are */
    const uint8_t *bits;  /* NULL: all of them are `value` */
    uint32_t value;
} Runs;

static bool next_run(Runs *r) {
    uint64_t head = varint(&r->c), bytes;
    if (r->c.wrong || head >> 1 == 0 || head >> 1 > INT32_MAX) return false;
    r->first += r->count;
    if (head & 1) {
        r->count = (int64_t)(head >> 1) * 8;
        bytes = (head >> 1) * (uint64_t)r->width;
        r->bits = r->c.at;
    } else {
        r->count = (int64_t)(head >> 1);
        bytes = (uint64_t)(r->width + 7) / 8;
        r->bits = NULL;
    }
    if (bytes > (uint64_t)(r->c.end - r->c.at)) return false;
    if (!r->bits) {
        r->value = 0;
        for (uint64_t i = 0; i < bytes; i++) r->value |= (uint32_t)r->c.at[i] << (8 * i);
    }
    r->c.at += bytes;
    return true;
}

/* Read `width` (at most 64) bits from bit number `bit` on; they must be there. */
static uint64_t bits_at(const uint8_t *bits, uint64_t bit, int width) {
    uint64_t found = 0;
    int got = 0;
    for (const uint8_t *at = bits + bit / 8; got < width; at++) {
        int from = got ? 0 : (int)(bit % 8), room = 8 - from, take = width - got < room ? width - got : room;
        found |= (uint64_t)((*at >> from) & ((1u << take) - 1)) << got;
        got += take;
    }
    return found;
}

static int64_t ones(const Runs *r, int64_t from, int64_t to) {
    if (!r->bits) return r->value ? to - from : 0;
    int64_t found = 0;
    for (; from < to && from % 8; from++) found += r->bits[from / 8] >> (from % 8) & 1;
    for (; to - from >= 8; from += 8) found += __builtin_popcount(r->bits[from / 8]);
    for (; from < to; from++) found += r->bits[from / 8] >> (from % 8) & 1;
    return found;
}

bool number_values(const Page *page, const int64_t *rows, ptrdiff_t count, int64_t *numbers) {
    if (count && (rows[0] < 0 || rows[count - 1] >= page->rows)) return false;
    Runs r = {.c = {page->levels, page->levels + page->levels_size, false}, .width = 1};
    int64_t at = 0, before = 0; /* how many of the first `at` rows have a value */
    for (ptrdiff_t i = 0; i < count; i++) {
        if (!page->nulls) {
            numbers[i] = rows[i];
            continue;
        }
        while (rows[i] >= r.first + r.count) {
            before += ones(&r, at - r.first, r.count);
            if (!next_run(&r)) return false;
            at = r.first;
        }
        before += ones(&r, at - r.first, rows[i] - r.first);
        at = rows[i];
        bool here = ones(&r, at - r.first, at - r.first + 1);
        if (here && before >= page->rows - page->nulls) return false;
        numbers[i] = here ? before : -1;
    }
    return true;
}

/* --- Values ---------------------------------------------------------------------------------------------------------- */

static int64_t length_at(const uint8_t *at) {
    return (int64_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

bool plain_values(const uint8_t *body, int64_t size, Kind kind, const int64_t *numbers, ptrdiff_t count, Value *values) {
    int64_t number = 0, at = 0; /* of texts: which one begins where */
    for (ptrdiff_t i = 0; i < count; i++) {
        int64_t wanted = numbers[i];
        if (wanted < 0) {
            values[i] = (Value){NULL, 0};
        } else if (kind == BITS) {
            if (wanted / 8 >= size) return false;
            values[i] = (Value){body + wanted / 8, wanted % 8};
        } else if (kind > 0) {
            if (wanted >= size / kind) return false;
            values[i] = (Value){body + wanted * kind, kind};
        } else {
            if (wanted < number) return false;
            for (;; number++) {
                if (size - at < 4) return false;
                int64_t length = length_at(body + at);
                if (length > size - at - 4) return false;
                if (number == wanted) {
                    values[i] = (Value){body + at + 4, length};
                    break;
                }
                at += 4 + length;
            }
        }
    }
    return true;
}

bool dictionary_numbers(const uint8_t *body, int64_t size, const int64_t *numbers, ptrdiff_t count, int64_t *entries) {
    if (size && body[0] > 32) return false;
    Runs r = {.c = {body + (size > 0), body + size, false}, .width = size ? body[0] : 0};
    for (ptrdiff_t i = 0; i < count; i++) {
        entries[i] = -1;
        if (numbers[i] < 0) continue;
        if (numbers[i] < r.first) return false;
        while (numbers[i] >= r.first + r.count)
            if (!size || !next_run(&r)) return false;
        uint64_t bit = (uint64_t)(numbers[i] - r.first) * (uint64_t)r.width;
        entries[i] = r.bits ? (int64_t)bits_at(r.bits, bit, r.width) : (int64_t)r.value;
    }
    return true;
}

enum { LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ };

/* --- Differences ------------------------------------------------------------------------------------------------------ */

typedef struct {
    Cursor c;
    int64_t left, minis, in_mini; /* values that follow; small blocks of a block, and values of each */
    uint64_t value, least;
    const uint8_t *widths;
    int64_t mini, at; /* which small block is open, and which of its values comes next */
    const uint8_t *bits;
    int width;
} Deltas;

static bool open_deltas(Deltas *d, const uint8_t *body, int64_t size) {
    *d = (Deltas){.c = {body, body + size, false}};
    uint64_t block = varint(&d->c), minis = varint(&d->c), total = varint(&d->c);
    d->value = (uint64_t)zigzag(varint(&d->c));
    if (d->c.wrong || !block || block > 1 << 20 || !minis || minis > 256 || block % minis || block / minis % 8) return false;
    if (total > INT32_MAX) return false;
    d->left = (int64_t)total;
    d->minis = d->mini = (int64_t)minis;
    d->in_mini = d->at = (int64_t)(block / minis);
    return true;
}

static bool open_mini(Deltas *d) {
    if (d->mini >= d->minis) {
        d->least = (uint64_t)zigzag(varint(&d->c));
        if (d->c.wrong || d->minis > d->c.end - d->c.at) return false;
        d->widths = d->c.at;
        d->c.at += d->minis;
        d->mini = 0;
    }
    d->width = d->widths[d->mini++];
    int64_t bytes = d->in_mini / 8 * d->width;
    if (d->width > 64 || bytes > d->c.end - d->c.at) return false;
    d->bits = d->c.at;
    d->c.at += bytes;
    d->at = 0;
    return true;
}

/* Add up so many numbers of `width` bits, of which the first is at the first bit; all their bytes are there. */
static uint64_t sum_of(const uint8_t *bits, int64_t many, int width, const uint8_t *end) {
    uint64_t sum = 0, bit = 0, mask = width < 64 ? ((uint64_t)1 << width) - 1 : UINT64_MAX;
    if (!width) return 0;
    if (LITTLE && width <= 56 && end - bits - (many * width + 7) / 8 >= 8) { /* the last of eight bytes may lie behind */
        for (int64_t i = 0; i < many; i++, bit += (uint64_t)width) {
            uint64_t word;
            memcpy(&word, bits + bit / 8, 8);
            sum += word >> (bit % 8) & mask;
        }
        return sum;
    }
    for (int64_t i = 0; i < many; i++, bit += (uint64_t)width) sum += bits_at(bits, bit, width);
    return sum;
}

/* Go over whole small blocks that follow, of `most` values at most; return how many values that were, -1 if they end too early. */
static int64_t stride(Deltas *d, int64_t most) {
    int64_t over = 0;
    while (d->at >= d->in_mini && most - over >= d->in_mini) {
        if (!open_mini(d)) return -1;
        d->value += d->least * (uint64_t)d->in_mini + sum_of(d->bits, d->in_mini, d->width, d->c.end);
        d->at = d->in_mini;
        over += d->in_mini;
    }
    return over;
}

/* Go to the value after the one in `value`. */
static bool step(Deltas *d) {
    if (d->at >= d->in_mini && !open_mini(d)) return false;
    uint64_t bit = (uint64_t)d->at++ * (uint64_t)d->width, more = 0;
    if (d->width) {
        const uint8_t *at = d->bits + bit / 8;
        if (LITTLE && d->width <= 56 && d->c.end - at >= 8) {
            uint64_t word;
            memcpy(&word, at, 8);
            more = word >> (bit % 8) & (((uint64_t)1 << d->width) - 1);
        } else {
            more = bits_at(d->bits, bit, d->width);
        }
    }
    d->value += d->least + more;
    return true;
}

bool delta_values(const uint8_t *body, int64_t size, const int64_t *numbers, ptrdiff_t count, int64_t *values) {
    Deltas d;
    if (!open_deltas(&d, body, size)) return false;
    int64_t number = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        values[i] = 0;
        if (numbers[i] < 0) continue;
        if (numbers[i] < number || numbers[i] >= d.left) return false;
        while (number < numbers[i]) {
            int64_t over = stride(&d, numbers[i] - number);
            if (over < 0 || (!over && !step(&d))) return false;
            number += over ? over : 1;
        }
        values[i] = (int64_t)d.value;
    }
    return true;
}

/* Integers of which none is wanted: from the one to the other. */
typedef struct {
    int64_t from, to;
} Gap;

static bool within(const Gap *gap, int64_t value) { return gap->from <= value && value <= gap->to; }

/* Return where an integer first is among some, given in ascending order; -1 if it is not, and the gap it lies in. */
static ptrdiff_t among(const int64_t *wanted, ptrdiff_t count, int64_t value, Gap *gap) {
    ptrdiff_t low = 0, high = count;
    while (low < high) {
        ptrdiff_t middle = low + (high - low) / 2;
        if (wanted[middle] < value) low = middle + 1;
        else high = middle;
    }
    if (low < count && wanted[low] == value) return low;
    *gap = (Gap){low ? wanted[low - 1] + 1 : INT64_MIN, low < count ? wanted[low] - 1 : INT64_MAX};
    return -1;
}

/* Go over the values that follow in this small block, if all are as far from each other and lie in a gap; return how many. */
static int64_t leap(Deltas *d, const Gap *gap) {
    int64_t many = d->in_mini - d->at, last;
    if (d->width || many <= 0 || __builtin_mul_overflow((int64_t)d->least, many, &last)
        || __builtin_add_overflow(last, (int64_t)d->value, &last) || !within(gap, last))
        return 0;
    d->at += many;
    d->value = (uint64_t)last;
    return many;
}

int64_t rows_among(const uint8_t *body, int64_t size, int64_t rows, const int64_t *wanted, ptrdiff_t count, int64_t *found,
                   int64_t *values) {
    Deltas d;
    Gap gap = {1, 0};
    if (!open_deltas(&d, body, size) || d.left != rows) return -1;
    int64_t many = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (row && !step(&d)) return -1;
        int64_t value = (int64_t)d.value;
        if (within(&gap, value) || among(wanted, count, value, &gap) < 0) {
            row += row ? leap(&d, &gap) : 0; /* behind the last row there may be room in the block: nothing is found there */
        } else {
            found[many] = row;
            values[many++] = value;
        }
    }
    return many;
}

/* --- Tokens ------------------------------------------------------------------------------------------------------------ */

int64_t prefix_of(const uint8_t *at) {
    uint64_t found = 0;
    for (int i = 0; i < 8; i++) found = found << 8 | at[i];
    return (int64_t)(found ^ (uint64_t)1 << 63);
}

/* Return the number of the first of values, in the order of their bytes, that is not before one that is wanted. */
static int64_t first_from(const uint8_t *body, int64_t many, int64_t width, const uint8_t *wanted) {
    int64_t low = 0, high = many;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (memcmp(body + middle * width, wanted, (size_t)width) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

int64_t bytes_in_order(const uint8_t *body, int64_t size, int64_t width, const uint8_t *wanted, ptrdiff_t count, int64_t *found) {
    int64_t many = 0, values = size / width;
    if (!values) return 0;
    /* Of thousands of tokens few lie between the first one and the last. */
    for (ptrdiff_t i = first_from(wanted, count, width, body); i < count; i++) {
        const uint8_t *one = wanted + i * width;
        if (memcmp(one, body + (values - 1) * width, (size_t)width) > 0) break;
        if (i && memcmp(one - width, one, (size_t)width) >= 0) continue;
        for (int64_t at = first_from(body, values, width, one); at < values; at++) {
            if (many >= values || memcmp(body + at * width, one, (size_t)width) != 0) break;
            found[many++] = at;
        }
    }
    return many;
}

int64_t bytes_among(const uint8_t *body, int64_t size, int64_t width, const uint8_t *wanted, const int64_t *prefixes,
                    ptrdiff_t count, int64_t *found) {
    Gap gap = {1, 0};
    int64_t many = 0;
    for (int64_t number = 0; number < size / width; number++) {
        const uint8_t *value = body + number * width;
        int64_t prefix = prefix_of(value);
        ptrdiff_t at = within(&gap, prefix) ? -1 : among(prefixes, count, prefix, &gap);
        for (; at >= 0 && at < count && prefixes[at] == prefix; at++) {
            if (memcmp(wanted + at * width, value, (size_t)width) != 0) continue;
            found[many++] = number;
            break;
        }
    }
    return many;
}

bool rows_of_values(const Page *page, int64_t *numbers, int64_t count) {
    if (!page->nulls) return true;
    Runs r = {.c = {page->levels, page->levels + page->levels_size, false}, .width = 1};
    int64_t row = 0, number = 0; /* the next row, and the number of its value if it has one */
    for (int64_t i = 0; i < count; i++) {
        for (;; row++) {
            while (row >= r.first + r.count)
                if (!next_run(&r)) return false;
            if (!ones(&r, row - r.first, row - r.first + 1)) continue;
            if (number++ == numbers[i]) break;
        }
        if (row >= page->rows) return false;
        numbers[i] = row++;
    }
    return true;
}
