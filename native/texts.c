/* Columns of text, row by row: put together of values, JSON objects made of them, times read from them. See streams/transform/text_columns.py.
 *
 * Columns come as Arrow's string views. Whatever is not plainly right is left alone and reported, never guessed at: slower
 * code sees it then. Every read is bounded by the buffer it is in, every write by sizes worked out before.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define SOON(at) __builtin_prefetch(at)
#else
#define SOON(at) ((void)(at))
#endif

enum { AHEAD = 6, LINE = 64, LOOKED_AT = 1024 };
enum { MOST_COLUMNS = 256, MOST_BUFFERS = 64, INLINED = 12, TIME_WIDTH = 28 };

typedef struct {
    uint32_t length;
    union {
        uint8_t inlined[INLINED];
        struct {
            uint8_t prefix[4];
            uint32_t buffer, offset;
        };
    };
} View;

typedef struct {
    const uint8_t *name; /* as JSON, with its colon */
    Py_ssize_t name_length;
    Py_buffer valid, views; /* valid.buf is NULL where nothing is null */
    Py_ssize_t first;       /* bits before the first row's in `valid`; `views` begins with the first row */
    Py_buffer data[MOST_BUFFERS];
    int count;
} Column;

typedef struct {
    const uint8_t *start;
    uint32_t length;
} Text;

static void release(Column *c) {
    if (c->valid.obj) PyBuffer_Release(&c->valid);
    if (c->views.obj) PyBuffer_Release(&c->views);
    for (int i = 0; i < c->count; i++) PyBuffer_Release(&c->data[i]);
    c->count = 0;
}

/* described: (name, validity or None, first, views, list of data buffers). */
static bool open_column(PyObject *described, Column *c, Py_ssize_t rows) {
    PyObject *valid, *data;
    if (!PyArg_ParseTuple(described, "y#Ony*O!", &c->name, &c->name_length, &valid, &c->first, &c->views, &PyList_Type,
                          &data))
        return false;
    if (valid != Py_None && PyObject_GetBuffer(valid, &c->valid, PyBUF_SIMPLE) < 0) return false;
    Py_ssize_t count = PyList_Size(data);
    bool fits = c->first >= 0 && c->first <= INT32_MAX && rows <= INT32_MAX && count <= MOST_BUFFERS
                && (uintptr_t)c->views.buf % 4 == 0 && c->views.len / (Py_ssize_t)sizeof(View) >= rows
                && (!c->valid.obj || c->valid.len >= (c->first + rows + 7) / 8);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a column does not fit its rows");
        return false;
    }
    for (; c->count < count; c->count++)
        if (PyObject_GetBuffer(PyList_GetItem(data, c->count), &c->data[c->count], PyBUF_SIMPLE) < 0) return false;
    return true;
}

static bool is_null(const Column *c, Py_ssize_t row) {
    Py_ssize_t bit = c->first + row;
    return c->valid.obj && !(((const uint8_t *)c->valid.buf)[bit >> 3] >> (bit & 7) & 1);
}

/* The text of a row that is not null; no `start` where a view leads nowhere. */
static Text text_of(const Column *c, Py_ssize_t row) {
    const View *v = (const View *)c->views.buf + row;
    if (v->length <= INLINED) return (Text){v->inlined, v->length};
    if (v->buffer >= (uint32_t)c->count) return (Text){NULL, 0};
    const Py_buffer *data = &c->data[v->buffer];
    if ((uint64_t)v->offset + v->length > (uint64_t)data->len) return (Text){NULL, 0};
    return (Text){(const uint8_t *)data->buf + v->offset, v->length};
}

/* Ask the memory for a text: each is in another record. Where the view leads nowhere, for nothing. */
static void soon(const Column *c, Py_ssize_t row) {
    const View *v = (const View *)c->views.buf + row;
    if (v->length > INLINED && v->buffer < (uint32_t)c->count && (Py_ssize_t)v->offset < c->data[v->buffer].len)
        SOON((const uint8_t *)c->data[v->buffer].buf + v->offset);
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

static void *nowhere(void) {
    PyErr_SetString(PyExc_ValueError, "a view leads nowhere");
    return NULL;
}

/* The size of a row's object; 0 for none, -1 for a view that leads nowhere. */
static int64_t object_size(const Column *columns, Py_ssize_t count, Py_ssize_t row) {
    int64_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (is_null(columns + i, row)) continue;
        Text text = text_of(columns + i, row);
        if (!text.start) return -1;
        size += 1 + columns[i].name_length + 2 + (int64_t)text.length; /* { or a comma, name, quotes, text */
    }
    return size ? size + 1 : 0;
}

static bool write_object(const Column *columns, Py_ssize_t count, Py_ssize_t row, uint8_t *to) {
    bool plain = true, first = true;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (is_null(columns + i, row)) continue;
        Text text = text_of(columns + i, row);
        *to++ = first ? '{' : ',';
        first = false;
        memcpy(to, columns[i].name, (size_t)columns[i].name_length);
        to += columns[i].name_length;
        *to++ = '"';
        plain &= copied(to, text);
        to += text.length;
        *to++ = '"';
    }
    if (!first) *to = '}';
    return plain;
}

typedef struct {
    const Column *columns;
    Py_ssize_t count, rows;
    const Text *given; /* `start`: NULL where nothing is given */
    int32_t *ends;
    uint8_t *valid, *odd;
} Objects;

/* Where each row ends; -1 for too much, -2 for a view that leads nowhere. */
static int64_t measure(Objects *o) {
    int64_t total = 0;
    for (Py_ssize_t row = 0; row < o->rows; row++) {
        o->ends[row] = (int32_t)total;
        int64_t size = o->given[row].start ? o->given[row].length : object_size(o->columns, o->count, row);
        if (size < 0) return -2;
        if (size || o->given[row].start) o->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
        total += size;
        if (total > INT32_MAX) return -1;
    }
    o->ends[o->rows] = (int32_t)total;
    return total;
}

/* How many rows were not written right, for a text in them that JSON escapes. */
static Py_ssize_t fill(Objects *o, uint8_t *data) {
    Py_ssize_t odd = 0;
    for (Py_ssize_t row = 0; row < o->rows; row++) {
        for (Py_ssize_t i = 0; row + AHEAD < o->rows && i < o->count; i++) soon(o->columns + i, row + AHEAD);
        Text given = o->given[row];
        if (given.start) memcpy(data + o->ends[row], given.start, given.length);
        else odd += o->odd[row] = !write_object(o->columns, o->count, row, data + o->ends[row]);
    }
    return odd;
}

static bool take_given(PyObject *given, Text *texts, Py_ssize_t rows) {
    for (Py_ssize_t i = 0; i < rows; i++) {
        PyObject *one = PyList_GetItem(given, i);
        if (one == Py_None) continue;
        char *start;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(one, &start, &length) < 0) return false;
        if (length > INT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "more than Arrow's short offsets can count");
            return false;
        }
        texts[i] = (Text){(const uint8_t *)start, (uint32_t)length};
    }
    return true;
}

PyDoc_STRVAR(objects_doc,
             "objects(columns, given)\n--\n\n"
             "One JSON object a row of the columns' texts that are not null, or the bytes that are given for it. Returns\n"
             "offsets (int32), data, validity bits, and one byte a row: 1 where a text needs escapes and the row is wrong.\n"
             "Raises OverflowError for more than 2 GiB, ValueError for columns that do not fit.");

static PyObject *objects(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *described, *given, *result = NULL, *parts[4] = {NULL};
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &described, &PyList_Type, &given)) return NULL;
    Py_ssize_t count = PyList_Size(described), rows = PyList_Size(given);
    if (count > MOST_COLUMNS) return PyErr_SetString(PyExc_ValueError, "too many columns"), NULL;
    Column *columns = PyMem_Calloc((size_t)count + 1, sizeof(Column));
    Text *texts = PyMem_Calloc((size_t)rows + 1, sizeof(Text));
    if (!columns || !texts) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (!open_column(PyList_GetItem(described, i), columns + i, rows)) goto done;
    if (!take_given(given, texts, rows)) goto done;
    const Py_ssize_t sizes[] = {(rows + 1) * 4, 0, (rows + 7) / 8, rows};
    Objects o = {.columns = columns, .count = count, .rows = rows, .given = texts};
    int64_t total;
    for (int i = 0; i < 4; i++)
        if (i != 1 && !(parts[i] = PyBytes_FromStringAndSize(NULL, sizes[i]))) goto done;
    o.ends = (int32_t *)PyBytes_AsString(parts[0]);
    o.valid = memset(PyBytes_AsString(parts[2]), 0, (size_t)sizes[2]);
    o.odd = memset(PyBytes_AsString(parts[3]), 0, (size_t)sizes[3]);
    Py_BEGIN_ALLOW_THREADS
    total = measure(&o);
    Py_END_ALLOW_THREADS
    if (total == -2) nowhere();
    else if (total == -1) PyErr_SetString(PyExc_OverflowError, "more than Arrow's short offsets can count");
    if (total < 0 || !(parts[1] = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total))) goto done;
    uint8_t *data = (uint8_t *)PyBytes_AsString(parts[1]);
    Py_ssize_t odd;
    Py_BEGIN_ALLOW_THREADS
    odd = fill(&o, data);
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("OOOO", parts[0], parts[1], parts[2], odd ? parts[3] : Py_None);
done:
    for (int i = 0; i < 4; i++) Py_XDECREF(parts[i]);
    for (Py_ssize_t i = 0; columns && i < count; i++) release(columns + i);
    PyMem_Free(columns);
    PyMem_Free(texts);
    return result;
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

PyDoc_STRVAR(times_doc,
             "times(column, rows)\n--\n\n"
             "Microseconds since 1970 in UTC (int64) of texts spelt `YYYY-MM-DDTHH:MM:SS.mmm+ZZZZ`, 0 for others, and\n"
             "validity bits: which those are. Raises ValueError for a column that does not fit.");

static PyObject *times(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *described, *micros = NULL, *valid = NULL, *result = NULL;
    Py_ssize_t rows;
    if (!PyArg_ParseTuple(args, "O!n", &PyTuple_Type, &described, &rows)) return NULL;
    if (rows < 0 || rows > INT32_MAX) return PyErr_SetString(PyExc_ValueError, "not a number of rows"), NULL;
    Column *column = PyMem_Calloc(1, sizeof(Column));
    if (!column) return PyErr_NoMemory();
    if (!open_column(described, column, rows)) goto done;
    micros = PyBytes_FromStringAndSize(NULL, rows * 8);
    valid = PyBytes_FromStringAndSize(NULL, (rows + 7) / 8);
    if (!micros || !valid) goto done;
    int64_t *found = (int64_t *)PyBytes_AsString(micros);
    uint8_t *sound = memset(PyBytes_AsString(valid), 0, (size_t)((rows + 7) / 8));
    bool fits = true;
    Last last = {.known = false};
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < rows && fits; row++) {
        found[row] = 0;
        if (row + AHEAD < rows) soon(column, row + AHEAD);
        if (is_null(column, row)) continue;
        Text text = text_of(column, row);
        fits = text.start != NULL;
        if (fits && time_of(text, &last, found + row)) sound[row >> 3] |= (uint8_t)(1 << (row & 7));
    }
    Py_END_ALLOW_THREADS
    result = fits ? Py_BuildValue("OO", micros, valid) : nowhere();
done:
    Py_XDECREF(micros);
    Py_XDECREF(valid);
    release(column);
    PyMem_Free(column);
    return result;
}

typedef struct {
    PyObject *owner;
    const char *start;
} Value;

/* One after the other. They lie wherever they were received, each a wait for the memory unless it is asked for in time. */
static void put_together(char *to, const Value *values, const int64_t *ends, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            int64_t size = ends[i + AHEAD + 1] - ends[i + AHEAD];
            for (int64_t at = 0; at < size && at < LOOKED_AT; at += LINE) SOON(values[i + AHEAD].start + at);
        }
        memcpy(to + ends[i], values[i].start, (size_t)(ends[i + 1] - ends[i]));
    }
}

PyDoc_STRVAR(joined_doc,
             "joined(values, ends, least, most)\n--\n\n"
             "The bytes of a list's values one after the other, and where each ends (int64, one more than values).\n"
             "None where one is no bytes or has fewer than `least` or more than `most` of them.");

static PyObject *joined(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *given, *result = NULL;
    Py_buffer ends = {0};
    Py_ssize_t least, most, known = 0;
    Value *values = NULL;
    if (!PyArg_ParseTuple(args, "O!w*nn", &PyList_Type, &given, &ends, &least, &most)) return NULL;
    Py_ssize_t count = PyList_Size(given);
    int64_t *end = ends.buf, total = 0;
    if (ends.len != (count + 1) * 8 || (uintptr_t)ends.buf % 8) {
        PyErr_SetString(PyExc_ValueError, "the ends are not as many as values");
        goto done;
    }
    if (!(values = PyMem_Calloc((size_t)count + 1, sizeof *values))) {
        PyErr_NoMemory();
        goto done;
    }
    for (end[0] = 0; known < count; known++) {
        char *start;
        Py_ssize_t size;
        PyObject *one = PyList_GetItem(given, known);
        if (!one) goto done;
        if (!PyBytes_Check(one)) break;
        if (PyBytes_AsStringAndSize(one, &start, &size) < 0) goto done;
        if (size < least || size > most) break;
        Py_IncRef(one); /* the list may change while others run */
        values[known] = (Value){one, start};
        end[known + 1] = total += size;
    }
    if (known < count) {
        result = Py_BuildValue("");
        goto done;
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, total))) goto done;
    char *to = PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    put_together(to, values, end, count);
    Py_END_ALLOW_THREADS
done:
    for (Py_ssize_t i = 0; i < known; i++) Py_DecRef(values[i].owner);
    PyMem_Free(values);
    PyBuffer_Release(&ends);
    return result;
}

static PyMethodDef methods[] = {
    {"joined", joined, METH_VARARGS, joined_doc},
    {"objects", objects, METH_VARARGS, objects_doc},
    {"times", times, METH_VARARGS, times_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_texts", "Columns of text: put together, JSON objects of them, times in them.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__texts(void) {
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddIntConstant(made, "MOST_COLUMNS", MOST_COLUMNS) < 0) Py_CLEAR(made);
    if (made && PyModule_AddIntConstant(made, "MOST_BUFFERS", MOST_BUFFERS) < 0) Py_CLEAR(made);
    return made;
}
