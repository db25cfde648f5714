/* Columns of text, row by row: put together of values, JSON objects made of them, times read from them.
 *
 * See streams/transform/text_columns.py. */
#ifndef LETHE_COLUMNS_H
#define LETHE_COLUMNS_H

#include "view.h"

enum { MOST_COLUMNS = 256, MOST_BUFFERS = 64 };

typedef struct {
    const uint8_t *start;
    ptrdiff_t size;
} Bytes;

typedef struct {
    const uint8_t *name; /* as JSON, with its colon */
    ptrdiff_t name_length;
    const uint8_t *valid; /* a bit a row; NULL where nothing is null */
    ptrdiff_t first;      /* bits before the first row's in `valid`; `views` begins with the first row */
    const View *views;
    Bytes data[MOST_BUFFERS];
    int count;
} Column;

typedef struct {
    const uint8_t *start; /* NULL where there is none */
    uint32_t length;
} Text;

typedef struct {
    const Column *columns;
    ptrdiff_t count, rows;
    const Text *given;    /* rows: what stands for a row's object, without `start` where nothing does */
    int32_t *ends;        /* rows + 1 */
    uint8_t *valid, *odd; /* a bit a row, a byte a row; both zero at first */
} Objects;

enum { TOO_MUCH = -1, NOWHERE = -2 };

/* Work out where each row's object ends; return the size of them all, TOO_MUCH, or NOWHERE for a view that leads nowhere. */
int64_t measure_objects(Objects *o);

/* Write the objects that were measured; return how many are not right, for a text in them that JSON escapes. */
ptrdiff_t write_objects(Objects *o, uint8_t *data);

/* Read texts spelt `YYYY-MM-DDTHH:MM:SS.mmm+ZZZZ` as microseconds since 1970 in UTC; `valid`, zero at first, says which are.
 *
 * Return false for a view that leads nowhere. */
bool read_times(const Column *column, ptrdiff_t rows, int64_t *micros, uint8_t *valid);

/* Copy values one after the other. `to` has room for all of them. */
void put_together(uint8_t *to, const Bytes *values, ptrdiff_t count);

#endif
