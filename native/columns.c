/* Put columns of text together, make JSON objects of them and read times in them: see streams/transform/text_columns.py.
 *
 * Columns come as Arrow's string views. Whatever is not plainly right is left alone and reported, never guessed at: slower
 * code sees it then. Every read is bounded by the buffer it is in, every write by sizes worked out before.
 */
#include "columns.h"

#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define SOON(at) __builtin_prefetch(at)
#else
#define SOON(at) ((void)(at))
#endif

enum { AHEAD = 6, LINE = 64, LOOKED_AT = 1024, TIME_WIDTH = 28 };

static bool is_null(const Column *c, ptrdiff_t row) {
    ptrdiff_t bit = c->first + row;
    return c->valid && !(c->valid[bit >> 3] >> (bit & 7) & 1);
}

/* The text a view stands for; no `start` where it leads nowhere. */
static Text text_of(const Column *c, const View *v) {
    const uint32_t length = v->length;
    if (length <= INLINED) return (Text){v->inlined, length};
    if (v->buffer >= (uint32_t)c->count) return (Text){NULL, 0};
    const Bytes *data = &c->data[v->buffer];
    const uint32_t offset = v->offset;
    if ((uint64_t)offset + length > (uint64_t)data->size) return (Text){NULL, 0};
    return (Text){data->start + offset, length};
}

/* Where a text lies that is no part of its view; NULL where the view leads nowhere.
 *
 * The memory is asked for it where this is called: a function that did nothing else would have no effect in the eyes of
 * the compiler, which left such calls out.
 */
static const uint8_t *place_of(const Column *c, const View *v) {
    if (v->length <= INLINED || v->buffer >= (uint32_t)c->count) return NULL;
    return (ptrdiff_t)v->offset < c->data[v->buffer].size ? c->data[v->buffer].start + v->offset : NULL;
}

/* Copy a text; whether it holds nothing that JSON writes with an escape. */
static bool copied(uint8_t *to, Text text) {
    uint8_t odd = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t c = text.start[i];
        odd |= (c < ' ') | (c == '"') | (c == '\\') | (c == 0x7F);
        to[i] = c;
    }
    return !odd;
}

/* The size of a row's object; 0 for none, NOWHERE for a view that leads nowhere. */
static int64_t object_size(const Column *columns, ptrdiff_t count, ptrdiff_t row) {
    int64_t size = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        if (is_null(columns + i, row)) continue;
        Text text = text_of(columns + i, columns[i].views + row);
        if (!text.start) return NOWHERE;
        size += 1 + columns[i].name_length + 2 + (int64_t)text.length; /* { or a comma, name, quotes, text */
    }
    return size ? size + 1 : 0;
}

/* Write a row's object between two places; false where a text needs escapes, or the row is no longer what was measured. */
static bool write_object(const Column *columns, ptrdiff_t count, ptrdiff_t row, uint8_t *to, const uint8_t *end) {
    bool plain = true, first = true;
    for (ptrdiff_t i = 0; i < count; i++) {
        if (is_null(columns + i, row)) continue;
        Text text = text_of(columns + i, columns[i].views + row);
        if (!text.start || end - to < columns[i].name_length + (int64_t)text.length + 4) return false;
        *to++ = first ? '{' : ',';
        first = false;
        memcpy(to, columns[i].name, (size_t)columns[i].name_length);
        to += columns[i].name_length;
        *to++ = '"';
        plain &= copied(to, text);
        to += text.length;
        *to++ = '"';
    }
    if (!first) *to++ = '}';
    return plain && to == end;
}

int64_t measure_objects(Objects *o) {
    int64_t total = 0;
    for (ptrdiff_t row = 0; row < o->rows; row++) {
        o->ends[row] = (int32_t)total;
        int64_t size = o->given[row].start ? o->given[row].length : object_size(o->columns, o->count, row);
        if (size < 0) return size;
        if (size || o->given[row].start) o->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
        total += size;
        if (total > INT32_MAX) return TOO_MUCH;
    }
    o->ends[o->rows] = (int32_t)total;
    return total;
}

ptrdiff_t write_objects(Objects *o, uint8_t *data) {
    ptrdiff_t odd = 0;
    for (ptrdiff_t row = 0; row < o->rows; row++) {
        for (ptrdiff_t i = 0; row + AHEAD < o->rows && i < o->count; i++)
            SOON(place_of(o->columns + i, o->columns[i].views + row + AHEAD));
        Text given = o->given[row];
        uint8_t *to = data + o->ends[row], *end = data + o->ends[row + 1];
        if (given.start) memcpy(to, given.start, given.length);
        else odd += o->odd[row] = !write_object(o->columns, o->count, row, to, end);
    }
    return odd;
}

/* Decimal digits; -1 where one is none. */
static int number(const uint8_t *at, int digits) {
    int found = 0;
    for (int i = 0; i < digits; i++) {
        unsigned digit = at[i] - (unsigned)'0';
        if (digit > 9) return -1;
        found = found * 10 + (int)digit;
    }
    return found;
}

/* Days from 1970-01-01 to the first of a month of the proleptic Gregorian calendar; years from 1 on. */
static int64_t first_day(int year, int month, bool leap) {
    static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t past = year - 1;
    return 365 * past + past / 4 - past / 100 + past / 400 - 719162 + before[month - 1] + (leap && month > 2);
}

/* The last time that was read: its neighbours are mostly of the same minute. */
typedef struct {
    uint8_t text[TIME_WIDTH];
    int64_t minutes; /* since 1970, in UTC */
    bool known;
} Last;

enum { MINUTE = 17, ZONE = 23 }; /* `YYYY-MM-DDTHH:MM:`, and where `+ZZZZ` begins */

/* Minutes since 1970 of a time, in UTC; false where it is none. Separators have been looked at, seconds have not. */
static bool minutes_of(const uint8_t *s, int64_t *minutes) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = number(s, 4), month = number(s + 5, 2), day = number(s + 8, 2);
    int hour = number(s + 11, 2), minute = number(s + 14, 2);
    int zone_hour = number(s + 24, 2), zone_minute = number(s + 26, 2);
    if ((year | month | day | hour | minute | zone_hour | zone_minute) < 0) return false;
    if (year < 1 || month < 1 || month > 12 || hour > 23 || minute > 59) return false;
    if (zone_hour > 23 || zone_minute > 59) return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day < 1 || day > days[month - 1] + (leap && month == 2)) return false;
    int zone = zone_hour * 60 + zone_minute;
    *minutes = (first_day(year, month, leap) + day - 1) * 1440 + hour * 60 + minute - (s[ZONE] == '-' ? -zone : zone);
    return true;
}

static bool time_of(Text t, Last *last, int64_t *micros) {
    const uint8_t *s = t.start;
    if (t.length != TIME_WIDTH || s[19] != '.') return false;
    int second = number(s + MINUTE, 2), milli = number(s + 20, 3);
    if ((second | milli) < 0 || second > 59) return false;
    if (!last->known || memcmp(s, last->text, MINUTE) || memcmp(s + ZONE, last->text + ZONE, TIME_WIDTH - ZONE)) {
        last->known = false;
        if (s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':') return false;
        if ((s[ZONE] != '+' && s[ZONE] != '-') || !minutes_of(s, &last->minutes)) return false;
        memcpy(last->text, s, TIME_WIDTH);
        last->known = true;
    }
    *micros = ((last->minutes * 60 + second) * 1000 + milli) * 1000;
    return true;
}

bool read_times(const Column *column, ptrdiff_t rows, int64_t *micros, uint8_t *valid) {
    Last last = {.known = false};
    for (ptrdiff_t row = 0; row < rows; row++) {
        micros[row] = 0;
        if (row + AHEAD < rows) SOON(place_of(column, column->views + row + AHEAD));
        if (is_null(column, row)) continue;
        Text text = text_of(column, column->views + row);
        if (!text.start) return false;
        if (time_of(text, &last, micros + row)) valid[row >> 3] |= (uint8_t)(1 << (row & 7));
    }
    return true;
}

/* They lie wherever they were received, each a wait for the memory unless it is asked for in time. */
void put_together(uint8_t *to, const Bytes *values, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            const Bytes *ahead = values + i + AHEAD;
            for (ptrdiff_t at = 0; at < ahead->size && at < LOOKED_AT; at += LINE) SOON(ahead->start + at);
        }
        memcpy(to, values[i].start, (size_t)values[i].size);
        to += values[i].size;
    }
}
