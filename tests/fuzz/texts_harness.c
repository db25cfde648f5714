/* Columns of text under sanitizers: texts and views are damaged at random, and nothing beyond any buffer may be touched. */
#include "no_python.h"

#include "../../native/texts.c"

enum { MOST_ROWS = 40, COLUMNS = 3, BUFFERS = 3 };

static const char *const SEEDS[] = {
    "", "a", "twelve bytes", "thirteen byte", "2019-11-09T16:00:00.000+0000", "2020-02-29T23:59:59.999-2359",
    "0001-01-01T00:00:00.000+0000", "2019-11-09T16:00:00.000", "a \"quoted\" text, longer than a view", "\\", "\x7f", "\n",
    "\xc3\xa9\xe2\x82\xac, and more than is inlined",
};
enum { SEEDED = sizeof SEEDS / sizeof *SEEDS };

/* A column of exact allocations. Returns false where some view leads nowhere. */
static bool make(Column *c, Py_ssize_t rows) {
    bool sound = true;
    c->name = (const uint8_t *)"\"name\":";
    c->name_length = (Py_ssize_t)drawn(8);
    c->first = (Py_ssize_t)drawn(9);
    c->count = (int)drawn(BUFFERS + 1);
    for (int i = 0; i < c->count; i++) {
        const char *seed = SEEDS[drawn(SEEDED)];
        c->data[i].len = (Py_ssize_t)strlen(seed);
        c->data[i].buf = sized(strlen(seed));
        memcpy(c->data[i].buf, seed, strlen(seed));
        if (c->data[i].len && !drawn(4)) ((uint8_t *)c->data[i].buf)[drawn((uint64_t)c->data[i].len)] = (uint8_t)drawn(256);
    }
    c->valid.len = (c->first + rows + 7) / 8;
    c->valid.buf = sized((size_t)c->valid.len);
    c->valid.obj = drawn(3) ? c->valid.buf : NULL;
    for (Py_ssize_t i = 0; i < c->valid.len; i++) ((uint8_t *)c->valid.buf)[i] = (uint8_t)drawn(256);
    c->views.len = rows * (Py_ssize_t)sizeof(View);
    c->views.buf = sized((size_t)c->views.len);
    for (Py_ssize_t row = 0; row < rows; row++) {
        View *v = (View *)c->views.buf + row;
        uint64_t buffer = drawn(BUFFERS + 1);
        if (drawn(3) && buffer < (uint64_t)c->count && c->data[buffer].len > INLINED) {
            uint64_t length = INLINED + 1 + drawn((uint64_t)c->data[buffer].len - INLINED);
            v->buffer = (uint32_t)buffer;
            v->offset = (uint32_t)drawn((uint64_t)c->data[buffer].len - length + 1);
            v->length = (uint32_t)length;
        } else if (drawn(50)) {
            v->length = (uint32_t)drawn(INLINED + 1);
            for (uint32_t i = 0; i < v->length; i++) v->inlined[i] = (uint8_t)drawn(256);
        } else { /* anywhere */
            v->length = (uint32_t)drawn(1 << 20);
            v->buffer = (uint32_t)buffer;
            v->offset = (uint32_t)(drawn(2) ? drawn(64) : 0xFFFFFFFFu - drawn(64));
            sound &= v->length <= INLINED || (v->buffer < (uint32_t)c->count
                     && (uint64_t)v->offset + v->length <= (uint64_t)c->data[v->buffer].len) || is_null(c, row);
        }
    }
    return sound;
}

static void unmake(Column *c) {
    for (int i = 0; i < c->count; i++) free(c->data[i].buf);
    free(c->valid.buf);
    free(c->views.buf);
}

/* Values of exact allocations, put together in one. */
static void join_some(void) {
    Py_ssize_t count = (Py_ssize_t)drawn(20);
    Value values[20];
    int64_t ends[21] = {0};
    for (Py_ssize_t i = 0; i < count; i++) {
        size_t size = (size_t)drawn(drawn(9) ? 200 : 3000);
        values[i] = (Value){NULL, memset(sized(size), (int)i + 1, size)};
        ends[i + 1] = ends[i] + (int64_t)size;
    }
    char *whole = sized((size_t)ends[count]);
    put_together(whole, values, ends, count);
    for (Py_ssize_t i = 0; i < count; i++) {
        for (int64_t at = ends[i]; at < ends[i + 1]; at++)
            if (whole[at] != i + 1) abort();
        free((void *)values[i].start);
    }
    free(whole);
}

int main(int count, char **arguments) {
    long wanted = count > 1 ? atol(arguments[1]) : 200000, done = 0, times_read = 0, written = 0;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) * 2 + 1 : 1;
    (void)objects, (void)times, (void)joined;
    while (done < wanted) {
        join_some();
        Column columns[COLUMNS] = {0};
        Py_ssize_t rows = (Py_ssize_t)drawn(MOST_ROWS);
        bool sound = true;
        for (int i = 0; i < COLUMNS; i++) sound &= make(columns + i, rows);
        Text *given = sized((size_t)rows * sizeof *given);
        for (Py_ssize_t row = 0; row < rows; row++)
            if (!drawn(4)) {
                const char *seed = SEEDS[drawn(SEEDED)];
                given[row] = (Text){(const uint8_t *)seed, (uint32_t)strlen(seed)};
                for (int i = 0; i < COLUMNS; i++) /* what is given is all that counts */
                    ((View *)columns[i].views.buf + row)->length = 0;
            }
        Objects o = {.columns = columns, .count = COLUMNS, .rows = rows, .given = given,
                     .ends = sized((size_t)(rows + 1) * 4), .valid = sized((size_t)(rows + 7) / 8), .odd = sized((size_t)rows)};
        int64_t total = measure(&o);
        if (sound && total < 0) abort();
        if (total >= 0) {
            uint8_t *data = sized((size_t)total);
            fill(&o, data);
            for (Py_ssize_t row = 0; row < rows; row++) {
                if (o.ends[row] > o.ends[row + 1] || (o.ends[row] < o.ends[row + 1]) > (o.valid[row >> 3] >> (row & 7) & 1)) abort();
                if (!given[row].start && o.ends[row] < o.ends[row + 1])
                    if (data[o.ends[row]] != '{' || data[o.ends[row + 1] - 1] != '}') abort();
            }
            written += rows;
            free(data);
        }
        Last last = {.known = false};
        for (int i = 0; i < COLUMNS; i++)
            for (Py_ssize_t row = 0; row < rows; row++) {
                int64_t micros, alone;
                if (is_null(columns + i, row)) continue;
                Text text = text_of(columns + i, row);
                bool read = text.start && time_of(text, &last, &micros);
                if (!text.start) continue;
                if (read != time_of(text, &(Last){.known = false}, &alone) || (read && micros != alone)) abort();
                times_read += read;
            }
        for (int i = 0; i < COLUMNS; i++) unmake(columns + i);
        free(given), free(o.ends), free(o.valid), free(o.odd);
        done += rows;
    }
    printf("%ld values, %ld taken, %ld times\n", done, written, times_read);
    return times_read ? 0 : 1;
}
