/* Read where column chunks are out of a Parquet footer: see footer.h.
 *
 * A merged month has hundreds of row groups with forty columns each. The library makes objects of all that is said of them,
 * which takes longer than a look-up; of each a few numbers are wanted. Numbers of members are those of `parquet.thrift`.
 */
#include "footer.h"

#include <stddef.h>

#include "thrift.h"

enum { SMALLEST_CHUNK = 16 }; /* bytes that a chunk's members take at least: a list that says more of them is not believed */

/* Go to the first element of a list of objects, and say how many there are; false for a list of anything else. */
static bool objects(Cursor *c, uint64_t *many) { return (list_of(c, many) == STRUCT || *many == 0) && !c->wrong; }

static void statistics(Cursor *c, const uint8_t *data, int64_t *said) {
    int64_t id = 0;
    for (int i = LEAST_AT; i < FIELDS; i++) said[i] = -1; /* of those that come twice the last ones count */
    for (int type; (type = member(c, &id)) != STOP;) {
        if (type == BINARY && (id == 5 || id == 6)) { /* max_value, min_value */
            int64_t *place = said + (id == 5 ? GREATEST_AT : LEAST_AT);
            place[1] = text_of(c);
            place[0] = c->at - data;
            if (!c->wrong) c->at += place[1];
        } else {
            skip(c, type, 0, false);
        }
    }
}

static bool column_metadata(Cursor *c, const uint8_t *data, int64_t *said) {
    int64_t id = 0, size = -1, values = -1, dictionary = -1;
    for (int type; (type = member(c, &id)) != STOP;) {
        if (type == I32 && id == 4) said[CODEC] = zigzag(varint(c));
        else if (type == I64 && id == 7) size = zigzag(varint(c));
        else if (type == I64 && id == 9) values = zigzag(varint(c));
        else if (type == I64 && id == 11) dictionary = zigzag(varint(c));
        else if (type == I64 && id == 14) said[BLOOM_START] = zigzag(varint(c));
        else if (type == I32 && id == 15) said[BLOOM_SIZE] = zigzag(varint(c));
        else if (type == STRUCT && id == 12) statistics(c, data, said);
        else skip(c, type, 0, false);
    }
    /* Some writers say that a dictionary is at 0 where there is none. */
    said[CHUNK_START] = dictionary > 0 && dictionary < values ? dictionary : values;
    if (size < 0 || values < 0 || __builtin_add_overflow(said[CHUNK_START], size, said + CHUNK_END)) return false;
    return !c->wrong;
}

static bool column_chunk(Cursor *c, const uint8_t *data, int64_t *said) {
    int64_t id = 0;
    bool there = false;
    for (int i = 0; i < FIELDS; i++) said[i] = -1;
    for (int type; (type = member(c, &id)) != STOP;) {
        if (id == 1 || id == 8 || id == 9) return false; /* in another file, or encrypted */
        if (type == STRUCT && id == 3) {
            if (there || !column_metadata(c, data, said)) return false;
            there = true;
        } else {
            skip(c, type, 0, false);
        }
    }
    return there && !c->wrong;
}

/* Read a row group into `rows` and `chunks`, or, where these are NULL, only how many columns it has. */
static bool row_group(Cursor *c, const uint8_t *data, int64_t *columns, int64_t *rows, int64_t *chunks) {
    int64_t id = 0, many_rows = -1;
    uint64_t many = 0;
    bool listed = false;
    for (int type; (type = member(c, &id)) != STOP;) {
        if (type == LIST && id == 1) {
            if (listed || !objects(c, &many)) return false;
            if (!chunks) return *columns = (int64_t)many, true;
            if ((int64_t)many != *columns) return false;
            for (uint64_t i = 0; i < many; i++)
                if (!column_chunk(c, data, chunks + FIELDS * (int64_t)i)) return false;
            listed = true;
        } else if (type == I64 && id == 3) {
            many_rows = zigzag(varint(c));
        } else {
            skip(c, type, 0, false);
        }
    }
    if (c->wrong || !listed || many_rows < 0) return false;
    *rows = many_rows;
    return true;
}

bool footer_shape(const uint8_t *data, int64_t size, Shape *shape) {
    Cursor c = {data, data + size, false};
    int64_t id = 0;
    for (int type; (type = member(&c, &id)) != STOP;) {
        if (id != 4) {
            skip(&c, type, 0, false);
            continue;
        }
        uint64_t many;
        *shape = (Shape){.start = c.at - data};
        if (type != LIST || !objects(&c, &many)) return false;
        shape->groups = (int64_t)many;
        if (many && !row_group(&c, data, &shape->columns, NULL, NULL)) return false;
        int64_t chunks;
        return !__builtin_mul_overflow(shape->groups, shape->columns, &chunks) && chunks <= size / SMALLEST_CHUNK;
    }
    return false;
}

bool footer_chunks(const uint8_t *data, int64_t size, Shape *shape, int64_t *rows, int64_t *chunks) {
    Cursor c = {data + shape->start, data + size, false};
    uint64_t many;
    if (!objects(&c, &many) || (int64_t)many != shape->groups) return false;
    for (int64_t group = 0; group < shape->groups; group++)
        if (!row_group(&c, data, &shape->columns, rows + group, chunks + FIELDS * shape->columns * group)) return false;
    shape->end = c.at - data;
    return true;
}
