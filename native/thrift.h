/* Read Thrift's compact protocol, in which Parquet writes footers and the headers of pages: with one cursor and one end. */
#ifndef LETHE_THRIFT_H
#define LETHE_THRIFT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const uint8_t *at, *end;
    bool wrong;
} Cursor;

enum { STOP = 0, YES = 1, NO = 2, BYTE = 3, I16 = 4, I32 = 5, I64 = 6, DOUBLE = 7, BINARY = 8, LIST = 9, SET = 10, STRUCT = 12, DEEPEST = 8 };

static inline uint64_t varint(Cursor *c) {
    uint64_t found = 0;
    for (int shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        uint8_t byte = *c->at++;
        found |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return found;
    }
    c->wrong = true;
    return 0;
}

static inline int64_t zigzag(uint64_t number) { return (int64_t)(number >> 1) ^ -(int64_t)(number & 1); }

/* Go to the next member of an object: its type, and its number in `*id`. */
static inline int member(Cursor *c, int64_t *id) {
    if (c->wrong || c->at >= c->end) return c->wrong = true, STOP;
    uint8_t head = *c->at++;
    if (head == STOP) return STOP;
    *id = head >> 4 ? *id + (head >> 4) : zigzag(varint(c));
    if (*id < 0 || *id > INT16_MAX) return c->wrong = true, STOP;
    return head & 15;
}

/* Go to the first element of a list: their type, and in `*many` how many; each takes a byte or more. */
static inline int list_of(Cursor *c, uint64_t *many) {
    *many = 0;
    if (c->wrong || c->at >= c->end) return c->wrong = true, STOP;
    uint8_t head = *c->at++;
    *many = head >> 4 < 15 ? head >> 4 : varint(c);
    if (c->wrong || *many > (uint64_t)(c->end - c->at)) return *many = 0, c->wrong = true, STOP;
    return head & 15;
}

/* Go to the first byte of a text: how many it has, all of them there. */
static inline int64_t text_of(Cursor *c) {
    uint64_t size = varint(c);
    if (c->wrong || size > (uint64_t)(c->end - c->at)) return c->wrong = true, 0;
    return (int64_t)size;
}

/* Go behind a member, or an element of a list, that is of no use. Maps are in nothing that is read here. */
static inline void skip(Cursor *c, int type, int depth, bool element) {
    uint64_t size = 0;
    if (depth >= DEEPEST) c->wrong = true;
    if (c->wrong) return;
    switch (type) {
    case YES: case NO: size = element; break; /* of a member the type is the value */
    case BYTE: size = 1; break;
    case I16: case I32: case I64: varint(c); return;
    case DOUBLE: size = 8; break;
    case BINARY: size = (uint64_t)text_of(c); break;
    case LIST: case SET: {
        uint64_t many;
        int inner = list_of(c, &many);
        for (; many && !c->wrong; many--) skip(c, inner, depth + 1, true);
        return;
    }
    case STRUCT: {
        int64_t id = 0;
        for (int inner; (inner = member(c, &id)) != STOP;) skip(c, inner, depth + 1, false);
        return;
    }
    default: c->wrong = true; return;
    }
    if (size > (uint64_t)(c->end - c->at)) c->wrong = true;
    else c->at += size;
}

#endif
