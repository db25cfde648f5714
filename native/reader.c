/* Read records in the usual spelling in one pass: see streams/transform/decode/compiled_reader.py, which says what is taken and why.
 *
 * Whatever is not plainly right is left alone ("not taken"), never guessed at: the general reader sees it then. Nothing
 * is copied but texts with escapes; all other leaves are views of the values themselves (Arrow's string-view layout).
 * Every read is bounded by the end of its value, every write by the sizes that the caller has checked.
 */
#include "reader.h"

#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define FIRST_MARK(marks) (__builtin_ctzll(marks) / 8)
#else
static int FIRST_MARK(uint64_t marks) {
    int place = 0;
    while (!(marks >> (8 * place) & 0x80)) place++;
    return place;
}
#endif

enum { PROBES = 16, TRIAL = 256 };

typedef struct {
    const uint8_t *at, *end;
} Cursor;

typedef struct {
    const uint8_t *start;
    ptrdiff_t length;
    bool escaped;
} Text;

/* memcmp for short pieces: a call costs more than what it compares. */
static bool same(const uint8_t *a, const uint8_t *b, size_t length) {
    uint64_t x, y;
    for (; length >= 8; a += 8, b += 8, length -= 8) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y) return false;
    }
    for (; length; a++, b++, length--)
        if (*a != *b) return false;
    return true;
}

static void blank(Cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool is(const Cursor *c, uint8_t byte) { return c->at < c->end && *c->at == byte; }

static int hexadecimal(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Four hexadecimal digits; -1 where there are none. */
static int32_t unit(const uint8_t *at, const uint8_t *end) {
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hexadecimal(at[i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Length of one character of several bytes (RFC 3629: shortest form, no surrogates); 0 where it is none. */
static int character(const uint8_t *at, const uint8_t *end) {
    uint8_t first = *at;
    int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC2 || first > 0xF4 || end - at <= more) return 0;
    for (int i = 1; i <= more; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if (first == 0xE0 && at[1] < 0xA0) return 0;
    if (first == 0xED && at[1] > 0x9F) return 0;
    if (first == 0xF0 && at[1] < 0x90) return 0;
    if (first == 0xF4 && at[1] > 0x8F) return 0;
    return more + 1;
}

/* The character a backslash begins, and how many bytes it takes to write it; 0 where it is wrong, NUL or half a pair. */
static int escape(const uint8_t *at, const uint8_t *end, uint32_t *code) {
    if (end - at < 2) return 0;
    switch (at[1]) {
    case '"': case '\\': case '/': *code = at[1]; return 2;
    case 'b': *code = '\b'; return 2;
    case 'f': *code = '\f'; return 2;
    case 'n': *code = '\n'; return 2;
    case 'r': *code = '\r'; return 2;
    case 't': *code = '\t'; return 2;
    case 'u': break;
    default: return 0;
    }
    int32_t high = unit(at + 2, end);
    if (high <= 0 || (high >= 0xDC00 && high <= 0xDFFF)) return 0;
    *code = (uint32_t)high;
    if (high < 0xD800 || high > 0xDBFF) return 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u') return 0;
    int32_t low = unit(at + 8, end);
    if (low < 0xDC00 || low > 0xDFFF) return 0;
    *code = 0x10000 + (((uint32_t)high - 0xD800) << 10 | ((uint32_t)low - 0xDC00));
    return 12;
}

/* Where the first of eight bytes stands that is a quote, a backslash, a control character or beyond ASCII; 8: nowhere. */
static int special(const uint8_t *at) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t eight = 0;
    for (int i = 0; i < 8; i++) eight |= (uint64_t)at[i] << (8 * i); /* one load, on most machines */
    uint64_t quote = eight ^ ones * '"', slash = eight ^ ones * '\\';
    uint64_t found = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | (eight - ones * 0x20) | eight;
    /* What is borrowed from a byte can only mark those above it, so the lowest mark is right. */
    return (found & tops) ? FIRST_MARK(found & tops) : 8;
}

/* A text behind its opening quote; the cursor ends behind the closing one. */
static bool text(Cursor *c, Text *out) {
    const uint8_t *at = c->at, *end = c->end;
    out->start = at;
    out->escaped = false;
    for (;;) {
        int step = 8;
        while (end - at >= 8 && (step = special(at)) == 8) at += 8;
        if (step < 8)
            at += step;
        else
            while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') at++;
        if (at == end || *at < 0x20) return false;
        if (*at == '"') break;
        uint32_t code;
        int length = *at == '\\' ? escape(at, end, &code) : character(at, end);
        if (!length) return false;
        out->escaped |= *at == '\\';
        at += length;
    }
    out->length = at - out->start;
    c->at = at + 1;
    return true;
}

static int digits(Cursor *c) {
    const uint8_t *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return c->at - start > 64 ? 64 : (int)(c->at - start);
}

/* A number whose shortest spelling is its own, but for zeros at its end. No exponent, at most fifteen digits or eighteen
 * in a whole number, nothing below 0.0001 and no zero with a sign: those have other spellings. */
static bool number(Cursor *c, Text *out) {
    out->start = c->at;
    out->escaped = false;
    bool negative = is(c, '-');
    if (negative) c->at++;
    bool zero = is(c, '0');
    int whole = digits(c);
    if (whole == 0 || (zero && whole > 1) || whole > 18) return false;
    out->length = c->at - out->start;
    if (is(c, '.')) {
        c->at++;
        const uint8_t *fraction = c->at;
        int places = digits(c);
        if (places == 0 || whole + places > 15) return false;
        int kept = places, zeros = 0;
        while (kept > 1 && fraction[kept - 1] == '0') kept--;
        while (zeros < kept && fraction[zeros] == '0') zeros++;
        bool nothing = zero && zeros == kept;
        if ((zero && zeros > 3 && !nothing) || (nothing && negative)) return false;
        out->length = fraction + kept - out->start;
    } else if (zero && negative) {
        return false;
    }
    return !(is(c, 'e') || is(c, 'E'));
}

static bool word(Cursor *c, const char *expected, Text *out) {
    ptrdiff_t length = (ptrdiff_t)strlen(expected);
    if (c->end - c->at < length || memcmp(c->at, expected, (size_t)length) != 0) return false;
    out->start = c->at;
    out->length = length;
    out->escaped = false;
    c->at += length;
    return true;
}

/* Any value, looked at and left out. */
static bool skip(Cursor *c, int depth) {
    Text ignored;
    if (c->at == c->end || depth > DEPTH) return false;
    switch (*c->at) {
    case '"': c->at++; return text(c, &ignored);
    case 't': return word(c, "true", &ignored);
    case 'f': return word(c, "false", &ignored);
    case 'n': return word(c, "null", &ignored);
    case '{': case '[': break;
    default: return number(c, &ignored);
    }
    bool object = *c->at == '{';
    uint8_t closing = object ? '}' : ']';
    c->at++;
    blank(c);
    if (is(c, closing)) return c->at++, true;
    for (;;) {
        if (object) {
            if (!is(c, '"')) return false;
            c->at++;
            if (!text(c, &ignored)) return false;
            blank(c);
            if (!is(c, ':')) return false;
            c->at++;
            blank(c);
        }
        if (!skip(c, depth + 1)) return false;
        blank(c);
        if (is(c, closing)) return c->at++, true;
        if (!is(c, ',')) return false;
        c->at++;
        blank(c);
    }
}

static uint8_t *written(uint8_t *to, uint32_t code) {
    if (code < 0x80) return *to++ = (uint8_t)code, to;
    if (code < 0x800) {
        *to++ = (uint8_t)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (uint8_t)(0xE0 | code >> 12);
        } else {
            *to++ = (uint8_t)(0xF0 | code >> 18);
            *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    }
    *to++ = (uint8_t)(0x80 | (code & 0x3F));
    return to;
}

/* Copy a text with its escapes resolved: never longer than it was, as the caller makes the arena as large as the values. */
static bool resolve(Reader *r, Text *t) {
    if (t->length > r->arena_size - r->arena_used) return false;
    uint8_t *start = r->arena + r->arena_used, *to = start;
    const uint8_t *at = t->start, *end = at + t->length;
    while (at < end) {
        uint32_t code;
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        int length = escape(at, end, &code);
        if (!length) return false; /* never: `text` has found it to be right */
        at += length;
        to = written(to, code);
    }
    t->start = start;
    t->length = to - start;
    r->arena_used += to - start;
    return true;
}

static const uint8_t *bytes_of(const Reader *r, const View *v) {
    return v->length <= 12 ? v->inlined : (v->buffer ? r->arena : r->data) + v->offset;
}

static uint32_t hash(const View *v, const uint8_t *bytes) {
    uint64_t first = 0, last = 0;
    if (v->length <= 12) {
        memcpy(&first, v->inlined, 8);
        memcpy(&last, v->inlined + 8, 4);
    } else {
        memcpy(&first, bytes, 8);
        memcpy(&last, bytes + v->length - 8, 8);
    }
    uint64_t mixed = (first ^ (last << 29 | last >> 35) ^ v->length) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(mixed >> 40);
}

static bool alike(const Reader *r, const View *a, const View *b, const uint8_t *of_b) {
    if (a->length <= 12) return same((const uint8_t *)a, (const uint8_t *)b, sizeof(View)); /* zeros behind the text */
    return a->length == b->length && same(bytes_of(r, a), of_b, b->length);
}

/* Give the row's value its number among the distinct ones of the leaf. With many of them the table is of no use. */
static void encode(Reader *r, int leaf, const View *v) {
    Table *table = r->tables + leaf;
    const uint8_t *bytes = bytes_of(r, v);
    uint32_t *firsts = r->firsts + (ptrdiff_t)leaf * MOST_DISTINCT;
    uint32_t slot = hash(v, bytes) % SLOTS;
    for (int probe = 0; probe < PROBES; probe++, slot = (slot + 1) % SLOTS) {
        uint32_t known = table->slots[slot];
        if (known == 0) {
            int distinct = table->distinct;
            if (distinct == MOST_DISTINCT || (distinct >= TRIAL && distinct > r->row / 4)) break;
            firsts[distinct] = (uint32_t)r->row;
            table->values[distinct] = *v;
            r->codes[leaf * r->rows + r->row] = (uint32_t)distinct;
            table->slots[slot] = (uint32_t)++table->distinct;
            return;
        }
        const View *other = table->values + known - 1;
        if (alike(r, other, v, bytes)) {
            r->codes[leaf * r->rows + r->row] = known - 1;
            return;
        }
    }
    table->distinct = -1;
}

static bool keep(Reader *r, int leaf, Text *t) {
    bool copied = t->escaped;
    if (copied && !resolve(r, t)) return false;
    View *v = r->views + leaf * r->rows + r->row;
    v->length = (uint32_t)t->length;
    if (t->length <= 12) {
        memset(v->inlined, 0, 12);
        memcpy(v->inlined, t->start, (size_t)t->length);
    } else {
        memcpy(v->prefix, t->start, 4);
        v->buffer = copied;
        v->offset = (uint32_t)(t->start - (copied ? r->arena : r->data));
    }
    r->valid[leaf * r->bitmap + r->row / 8] |= (uint8_t)(1u << (r->row % 8));
    if (r->tables[leaf].distinct >= 0) encode(r, leaf, v);
    return true;
}

/* Which member a name is, the cursor behind its closing quote; -1: none that is declared, -2: not taken. */
static int name(Cursor *c, Node *node, int place) {
    Guess *guess = place < GUESSES ? node->guess + place : NULL;
    if (guess && place < node->guesses && c->end - c->at >= guess->length
        && same(c->at, guess->key, guess->length)) {
        c->at += guess->length;
        return guess->member;
    }
    Text key;
    if (!text(c, &key) || key.escaped) return -2;
    int found = -1;
    for (int i = 0; i < node->count && found < 0; i++)
        if (node->members[i].length == key.length
            && same(node->members[i].name, key.start, (size_t)key.length))
            found = i;
    if (guess && place <= node->guesses) {
        *guess = (Guess){key.start, (uint32_t)key.length + 1, found};
        if (place == node->guesses) node->guesses++;
    }
    return found;
}

static bool object(Reader *r, Cursor *c, Node *node, int depth);

static bool member(Reader *r, Cursor *c, const Member *m, int depth);

/* A list: of its first element what is declared, the others left out. */
static bool first(Reader *r, Cursor *c, const Member *one, int depth) {
    c->at++;
    blank(c);
    if (is(c, ']')) return c->at++, true;
    if (!member(r, c, one, depth)) return false;
    for (;;) {
        blank(c);
        if (is(c, ']')) return c->at++, true;
        if (!is(c, ',')) return false;
        c->at++;
        blank(c);
        if (!skip(c, depth)) return false;
    }
}

static bool member(Reader *r, Cursor *c, const Member *m, int depth) {
    Text value;
    if (m->kind == NEVER || c->at == c->end) return false;
    if (*c->at == 'n') return word(c, "null", &value);
    if (m->kind & FIRST) {
        Member one = {.kind = m->kind & ~FIRST, .target = m->target};
        return *c->at == '[' ? first(r, c, &one, depth + 1) : member(r, c, &one, depth);
    }
    if (m->kind == LIST) return false;
    if (m->kind == OBJECT) {
        if (*c->at != '{') return false;
        c->at++;
        return object(r, c, r->nodes + m->target, depth + 1);
    }
    switch (*c->at) {
    case '"': c->at++; return text(c, &value) && keep(r, m->target, &value);
    case 't': return word(c, "true", &value) && keep(r, m->target, &value);
    case 'f': return word(c, "false", &value) && keep(r, m->target, &value);
    default: return number(c, &value) && keep(r, m->target, &value); /* objects and lists among them */
    }
}

/* An object behind its opening bracket. */
static bool object(Reader *r, Cursor *c, Node *node, int depth) {
    uint64_t seen = 0;
    if (depth > DEPTH) return false;
    blank(c);
    if (is(c, '}')) return c->at++, true;
    for (int place = 0;; place++) {
        if (!is(c, '"')) return false;
        c->at++;
        int which = name(c, node, place);
        if (which == -2) return false;
        blank(c);
        if (!is(c, ':')) return false;
        c->at++;
        blank(c);
        if (which < 0) {
            if (!skip(c, depth + 1)) return false;
        } else {
            if (seen >> which & 1) return false; /* twice: which one counts is for the general reader to say */
            seen |= (uint64_t)1 << which;
            if (!member(r, c, node->members + which, depth)) return false;
        }
        blank(c);
        if (is(c, '}')) return c->at++, true;
        if (!is(c, ',')) return false;
        c->at++;
        blank(c);
    }
}

static bool value(Reader *r, const uint8_t *start, const uint8_t *end) {
    Cursor c = {start, end};
    if (!is(&c, '{')) return false;
    c.at++;
    if (!object(r, &c, r->nodes, 0)) return false;
    blank(&c);
    return c.at == c.end;
}

void read_rows(Reader *r, const int64_t *ends, uint8_t *taken) {
    for (r->row = 0; r->row < r->rows; r->row++) {
        int64_t start = ends[r->row], end = ends[r->row + 1];
        taken[r->row] = start >= 0 && start <= end && end <= r->size && value(r, r->data + start, r->data + end);
    }
}
