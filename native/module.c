/* lethe._native: what Python calls. The algorithms are in the other files, which know nothing of Python.
 *
 * This file takes arguments apart, checks every size and index that the algorithms rely on, holds what they read, lets
 * other threads run meanwhile, and gives back what they made. docs/native.md says why each step of it is safe.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <string.h>

#include "blocks.h"
#include "columns.h"
#include "footer.h"
#include "pick.h"
#include "reader.h"
#include "rows.h"
#include "sha3.h"

static void *refused(const char *text) { return PyErr_SetString(PyExc_ValueError, text), NULL; }

/* Numbers are read and written as such, which need not work where none of their size begins. */
static bool aligned(const Py_buffer *b, uintptr_t size) { return (uintptr_t)b->buf % size == 0; }

/* --- Blocks of tokens ------------------------------------------------------------------------------------------- */

static bool blocks_fit(const Py_buffer *data, const Py_buffer *ends, const Py_buffer *codes) {
    Py_ssize_t rows = ends->len / 8 - 1;
    const int64_t *end = ends->buf;
    if (rows < 0 || ends->len % 8 || !aligned(ends, 8) || rows > INT32_MAX) return false;
    if (codes->obj && codes->len != rows) return false;
    for (Py_ssize_t row = 0; row < rows; row++)
        if (end[row] > end[row + 1]) return false;
    return end[0] >= 0 && end[rows] - end[0] == data->len;
}

PyDoc_STRVAR(blocks_doc,
             "blocks(data, ends, codes=None)\n--\n\n"
             "Make the blocks (16 bytes each) of texts that lie one after the other, and one byte each: 1 where it has a\n"
             "plain block, else its block is zero. Of subjects if `codes` has the code of each one's kind, else of message\n"
             "ids. `ends` (int64, one more than texts) count from any number. Raises ValueError when sizes do not fit.");

static PyObject *blocks(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *made = NULL, *plain = NULL, *result = NULL, *kinds = Py_None;
    Py_buffer data = {0}, ends = {0}, codes = {0};
    if (!PyArg_ParseTuple(args, "y*y*|O", &data, &ends, &kinds)) return NULL;
    if (kinds != Py_None && PyObject_GetBuffer(kinds, &codes, PyBUF_SIMPLE) < 0) goto done;
    if (!blocks_fit(&data, &ends, &codes)) {
        refused("texts, ends and codes do not fit together");
        goto done;
    }
    Py_ssize_t rows = ends.len / 8 - 1;
    made = PyBytes_FromStringAndSize(NULL, rows * BLOCK);
    plain = PyBytes_FromStringAndSize(NULL, rows);
    if (!made || !plain) goto done;
    uint8_t *block = memset(PyBytes_AsString(made), 0, (size_t)rows * BLOCK);
    uint8_t *is_plain = memset(PyBytes_AsString(plain), 0, (size_t)rows);
    Py_BEGIN_ALLOW_THREADS
    make_blocks(data.buf, data.len, ends.buf, codes.buf, rows, block, is_plain);
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("OO", made, plain);
done:
    Py_XDECREF(made);
    Py_XDECREF(plain);
    PyBuffer_Release(&codes);
    PyBuffer_Release(&ends);
    PyBuffer_Release(&data);
    return result;
}

/* --- Records in the usual spelling ------------------------------------------------------------------------------ */

/* Follow a plan: `described` has one entry an object, of lists of (name: bytes, kind: int, target: int).
 *
 * `held` gets a tuple of the members of each object, which keeps the names that nodes point to. */
static int plan(PyObject *described, Node *nodes, PyObject **held, Py_ssize_t count, Py_ssize_t leaves) {
    for (Py_ssize_t n = 0; n < count; n++) {
        if (!(held[n] = PySequence_Tuple(PyTuple_GetItem(described, n)))) return -1;
        Py_ssize_t size = PyTuple_Size(held[n]);
        if (size > MOST_MEMBERS) goto wrong;
        nodes[n].count = (int)size;
        for (Py_ssize_t i = 0; i < size; i++) {
            Member *m = nodes[n].members + i;
            PyObject *one = PyTuple_GetItem(held[n], i);
            const char *name;
            Py_ssize_t length;
            if (!PyTuple_Check(one)) goto wrong;
            if (!PyArg_ParseTuple(one, "y#ii", &name, &length, &m->kind, &m->target)) return -1;
            m->name = (const uint8_t *)name;
            m->length = length;
            int kind = m->kind & ~FIRST;
            if (kind < LEAF || kind > NEVER || m->target < 0 || (kind != m->kind && kind > OBJECT)) goto wrong;
            if ((kind == LEAF && m->target >= leaves) || (kind == OBJECT && m->target >= count)) goto wrong;
        }
    }
    return 0;
wrong:
    refused("not a plan that can be followed");
    return -1;
}

enum { DATA, ENDS, TAKEN, ARENA, VIEWS, VALID, CODES, FIRSTS, BUFFERS };

static bool sizes_fit(const Py_buffer *b, Py_ssize_t rows, Py_ssize_t leaves) {
    const int64_t *ends = b[ENDS].buf;
    Py_ssize_t bitmap = (rows + 7) / 8;
    if (!aligned(b + ENDS, 8) || !aligned(b + VIEWS, 4)) return false;
    if (!aligned(b + CODES, 4) || !aligned(b + FIRSTS, 4)) return false;
    if (b[ENDS].len != (rows + 1) * 8 || b[TAKEN].len != rows || b[DATA].len > INT32_MAX) return false;
    if (b[ARENA].len != 0 && b[ARENA].len < b[DATA].len) return false;
    if (b[VIEWS].len != leaves * rows * (Py_ssize_t)sizeof(View) || b[VALID].len != leaves * bitmap) return false;
    if (b[CODES].len != leaves * rows * 4 || b[FIRSTS].len != leaves * MOST_DISTINCT * 4) return false;
    if (ends[0] < 0 || ends[rows] > b[DATA].len) return false;
    for (Py_ssize_t i = 0; i < rows; i++)
        if (ends[i] > ends[i + 1]) return false;
    return b[DATA].readonly; /* a text that is copied is looked at twice */
}

PyDoc_STRVAR(read_doc,
             "read(plan, leaves, data, ends, taken, arena, views, valid, codes, firsts)\n--\n\n"
             "Fill the buffers; return how many bytes of the arena are used and the distinct values of each leaf\n"
             "(-1: too many). See streams/transform/decode/compiled_reader.py for the layouts. Raises ValueError when sizes\n"
             "do not fit, or when `data` can be written to.");

static PyObject *read_values(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *listed, *described = NULL, *result = NULL, *counts = NULL, **held = NULL;
    Py_buffer b[BUFFERS] = {{0}};
    Py_ssize_t leaves, rows, count = 0;
    Node *nodes = NULL;
    Table *tables = NULL;
    if (!PyArg_ParseTuple(args, "O!ny*y*w*w*w*w*w*w*", &PyList_Type, &listed, &leaves, &b[DATA], &b[ENDS], &b[TAKEN],
                          &b[ARENA], &b[VIEWS], &b[VALID], &b[CODES], &b[FIRSTS]))
        return NULL;
    if (!(described = PyList_AsTuple(listed))) goto done;
    count = PyTuple_Size(described);
    rows = b[TAKEN].len;
    if (count < 1 || count > MOST_NODES || leaves < 0 || leaves > MOST_LEAVES || rows > INT32_MAX
        || !sizes_fit(b, rows, leaves)) {
        refused("buffers and plan do not fit together");
        goto done;
    }
    nodes = PyMem_Calloc((size_t)count, sizeof(Node));
    held = PyMem_Calloc((size_t)count, sizeof(PyObject *));
    tables = PyMem_Calloc((size_t)leaves + 1, sizeof(Table));
    if (!nodes || !held || !tables) {
        PyErr_NoMemory();
        goto done;
    }
    if (plan(described, nodes, held, count, leaves) < 0) goto done;
    Reader r = {.data = b[DATA].buf, .size = b[DATA].len, .arena = b[ARENA].buf, .arena_size = b[ARENA].len,
                .rows = rows, .bitmap = (rows + 7) / 8, .views = b[VIEWS].buf, .valid = b[VALID].buf,
                .codes = b[CODES].buf, .firsts = b[FIRSTS].buf, .nodes = nodes, .tables = tables};
    Py_BEGIN_ALLOW_THREADS
    read_rows(&r, b[ENDS].buf, b[TAKEN].buf);
    Py_END_ALLOW_THREADS
    counts = PyList_New(leaves);
    for (Py_ssize_t i = 0; counts && i < leaves; i++) {
        PyObject *one = PyLong_FromLong(tables[i].distinct);
        if (!one || PyList_SetItem(counts, i, one) < 0) Py_CLEAR(counts);
    }
    if (counts) result = Py_BuildValue("nO", (Py_ssize_t)r.arena_used, counts);
    Py_XDECREF(counts);
done:
    for (Py_ssize_t n = 0; held && n < count; n++) Py_XDECREF(held[n]);
    PyMem_Free(held);
    PyMem_Free(nodes);
    PyMem_Free(tables);
    Py_XDECREF(described);
    for (int i = 0; i < BUFFERS; i++) PyBuffer_Release(&b[i]);
    return result;
}

/* --- Columns of text -------------------------------------------------------------------------------------------- */

/* What keeps a column where it is while others run. */
typedef struct {
    Py_buffer valid, views, data[MOST_BUFFERS];
    int count;
} Hold;

static void release(Hold *h) {
    PyBuffer_Release(&h->valid);
    PyBuffer_Release(&h->views);
    for (int i = 0; i < h->count; i++) PyBuffer_Release(&h->data[i]);
    h->count = 0;
}

/* Open a column that is described as (name, validity or None, first, views, list of data buffers). */
static bool open_column(PyObject *described, Column *c, Hold *h, Py_ssize_t rows) {
    PyObject *valid, *listed;
    const char *name;
    Py_ssize_t length, first;
    if (!PyTuple_Check(described)) return PyErr_SetString(PyExc_TypeError, "a column is described by a tuple"), false;
    if (!PyArg_ParseTuple(described, "y#Ony*O!", &name, &length, &valid, &first, &h->views, &PyList_Type, &listed))
        return false;
    if (valid != Py_None && PyObject_GetBuffer(valid, &h->valid, PyBUF_SIMPLE) < 0) return false;
    PyObject *data = PyList_AsTuple(listed);
    if (!data) return false;
    Py_ssize_t count = PyTuple_Size(data);
    bool fits = first >= 0 && first <= INT32_MAX && rows <= INT32_MAX && count <= MOST_BUFFERS && aligned(&h->views, 4)
                && h->views.len / (Py_ssize_t)sizeof(View) >= rows && length <= INT32_MAX
                && (!h->valid.obj || h->valid.len >= (first + rows + 7) / 8);
    if (!fits) refused("a column does not fit its rows");
    for (; fits && h->count < count; h->count++) {
        Py_buffer *one = &h->data[h->count];
        fits = PyObject_GetBuffer(PyTuple_GetItem(data, h->count), one, PyBUF_SIMPLE) == 0;
        if (!fits) break;
        c->data[h->count] = (Bytes){one->buf, one->len};
    }
    Py_DecRef(data);
    c->name = (const uint8_t *)name;
    c->name_length = length;
    c->valid = h->valid.obj ? h->valid.buf : NULL;
    c->first = first;
    c->views = h->views.buf;
    c->count = h->count;
    return fits;
}

static void *nowhere(void) { return refused("a view leads nowhere"); }

static bool take_given(PyObject *given, Text *texts, Py_ssize_t rows) {
    for (Py_ssize_t i = 0; i < rows; i++) {
        PyObject *one = PyTuple_GetItem(given, i);
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
             "Make one JSON object a row of the columns' texts that are not null, or take the bytes that are given for it.\n"
             "Return offsets (int32), data, validity bits, and one byte a row: 1 where a text needs escapes and the row is\n"
             "wrong. Raises OverflowError for more than 2 GiB, ValueError for columns that do not fit.");

static PyObject *objects(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *listed[2], *described = NULL, *given = NULL, *result = NULL, *parts[4] = {NULL};
    Py_ssize_t count = 0, rows;
    Column *columns = NULL;
    Hold *holds = NULL;
    Text *texts = NULL;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &listed[0], &PyList_Type, &listed[1])) return NULL;
    if (!(described = PyList_AsTuple(listed[0])) || !(given = PyList_AsTuple(listed[1]))) goto done;
    count = PyTuple_Size(described);
    rows = PyTuple_Size(given);
    if (count > MOST_COLUMNS || rows > INT32_MAX) {
        refused("too many columns or rows");
        goto done;
    }
    columns = PyMem_Calloc((size_t)count + 1, sizeof(Column));
    holds = PyMem_Calloc((size_t)count + 1, sizeof(Hold));
    texts = PyMem_Calloc((size_t)rows + 1, sizeof(Text));
    if (!columns || !holds || !texts) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (!open_column(PyTuple_GetItem(described, i), columns + i, holds + i, rows)) goto done;
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
    total = measure_objects(&o);
    Py_END_ALLOW_THREADS
    if (total == NOWHERE) nowhere();
    else if (total == TOO_MUCH) PyErr_SetString(PyExc_OverflowError, "more than Arrow's short offsets can count");
    if (total < 0 || !(parts[1] = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total))) goto done;
    uint8_t *data = (uint8_t *)PyBytes_AsString(parts[1]);
    ptrdiff_t odd;
    Py_BEGIN_ALLOW_THREADS
    odd = write_objects(&o, data);
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("OOOO", parts[0], parts[1], parts[2], odd ? parts[3] : Py_None);
done:
    for (int i = 0; i < 4; i++) Py_XDECREF(parts[i]);
    for (Py_ssize_t i = 0; holds && i < count; i++) release(holds + i);
    PyMem_Free(columns);
    PyMem_Free(holds);
    PyMem_Free(texts);
    Py_XDECREF(described);
    Py_XDECREF(given);
    return result;
}

PyDoc_STRVAR(times_doc,
             "times(column, rows)\n--\n\n"
             "Read texts spelt `YYYY-MM-DDTHH:MM:SS.mmm+ZZZZ`: microseconds since 1970 in UTC (int64), 0 for others, and\n"
             "validity bits: which those are. Raises ValueError for a column that does not fit.");

static PyObject *times(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *described, *micros = NULL, *valid = NULL, *result = NULL;
    Py_ssize_t rows;
    Column column = {0};
    Hold hold = {0};
    if (!PyArg_ParseTuple(args, "O!n", &PyTuple_Type, &described, &rows)) return NULL;
    if (rows < 0 || rows > INT32_MAX) return refused("not a number of rows");
    if (!open_column(described, &column, &hold, rows)) goto done;
    micros = PyBytes_FromStringAndSize(NULL, rows * 8);
    valid = PyBytes_FromStringAndSize(NULL, (rows + 7) / 8);
    if (!micros || !valid) goto done;
    int64_t *found = (int64_t *)PyBytes_AsString(micros);
    uint8_t *sound = memset(PyBytes_AsString(valid), 0, (size_t)((rows + 7) / 8));
    bool fits;
    Py_BEGIN_ALLOW_THREADS
    fits = read_times(&column, rows, found, sound);
    Py_END_ALLOW_THREADS
    result = fits ? Py_BuildValue("OO", micros, valid) : nowhere();
done:
    Py_XDECREF(micros);
    Py_XDECREF(valid);
    release(&hold);
    return result;
}

PyDoc_STRVAR(joined_doc,
             "joined(values, ends, least, most)\n--\n\n"
             "Put the bytes of a list's values one after the other, and write where each ends (int64, one more than\n"
             "values). None where one is no bytes or has fewer than `least` or more than `most` of them.");

static PyObject *joined(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *listed, *given = NULL, *result = NULL;
    Py_buffer ends = {0};
    Py_ssize_t least, most;
    Bytes *values = NULL;
    if (!PyArg_ParseTuple(args, "O!w*nn", &PyList_Type, &listed, &ends, &least, &most)) return NULL;
    if (!(given = PyList_AsTuple(listed))) goto done; /* keeps them: the list may change while others run */
    Py_ssize_t count = PyTuple_Size(given), known = 0;
    int64_t *end = ends.buf, total = 0;
    if (ends.len != (count + 1) * 8 || !aligned(&ends, 8)) {
        refused("the ends are not as many as values");
        goto done;
    }
    if (!(values = PyMem_Calloc((size_t)count + 1, sizeof *values))) {
        PyErr_NoMemory();
        goto done;
    }
    for (end[0] = 0; known < count; known++) {
        char *start;
        Py_ssize_t size;
        PyObject *one = PyTuple_GetItem(given, known);
        if (!PyBytes_Check(one)) break;
        if (PyBytes_AsStringAndSize(one, &start, &size) < 0) goto done;
        if (size < least || size > most || size > PY_SSIZE_T_MAX - total) break;
        values[known] = (Bytes){(const uint8_t *)start, size};
        end[known + 1] = total += size;
    }
    if (known < count) {
        result = Py_BuildValue("");
        goto done;
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total))) goto done;
    uint8_t *to = (uint8_t *)PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    put_together(to, values, count);
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(values);
    Py_XDECREF(given);
    PyBuffer_Release(&ends);
    return result;
}

/* --- Archive rows ------------------------------------------------------------------------------------------------ */

/* What keeps a field where it is while others run. */
typedef struct {
    Py_buffer values, ends, codes, valid;
} Kept;

/* Open a field that is described as (tag, width, values, ends or None, codes or None, validity or None, first). */
static bool open_field(PyObject *described, Field *f, Kept *k, Py_ssize_t rows) {
    Py_ssize_t width, first;
    if (!PyTuple_Check(described)) return PyErr_SetString(PyExc_TypeError, "a field is described by a tuple"), false;
    if (!PyArg_ParseTuple(described, "bny*z*z*z*n", &f->tag, &width, &k->values, &k->ends, &k->codes, &k->valid, &first))
        return false;
    bool fits = width >= 0 && width <= WIDEST && first >= 0 && first <= INT32_MAX;
    if (fits && width) fits = k->values.len / width >= first + rows;
    if (fits && !width)
        fits = k->ends.obj && k->ends.len >= 4 && aligned(&k->ends, 4)
               && (!k->codes.obj || (aligned(&k->codes, 4) && k->codes.len / 4 >= first + rows));
    if (!fits || (k->valid.obj && k->valid.len < (first + rows + 7) / 8)) return refused("a field does not fit its rows"), false;
    f->width = width;
    f->values = k->values.buf;
    f->size = k->values.len;
    f->ends = k->ends.buf;
    f->texts = k->ends.len / 4 - 1;
    f->codes = k->codes.obj ? k->codes.buf : NULL;
    f->valid = k->valid.obj ? k->valid.buf : NULL;
    f->first = first;
    return true;
}

/* Make the words of a field's texts, where these are fewer than the rows: each is then put together once. */
static bool take_words(Field *f, uint8_t **words, Py_ssize_t rows) {
    if (!f->codes || f->texts < 1 || f->texts > MOST_WORDS || f->texts > rows) return true;
    if (!(*words = PyMem_Malloc((size_t)f->texts * (WORD + 1)))) return PyErr_NoMemory(), false;
    uint8_t *sizes = *words + f->texts * WORD;
    if (make_words(f, *words, sizes) == NO_TEXT) return refused("a field has no such text"), false;
    f->words = *words;
    f->sizes = sizes;
    f->same = all_same(f, rows);
    return true;
}

/* Put the words together of fields that follow on each other and are the same in all rows; return how many fields are left. */
static Py_ssize_t put_together_same(Field *fields, uint8_t *const *words, Py_ssize_t count) {
    Py_ssize_t left = 0, last = -1; /* the number of the field whose word is `fields[left - 1]`'s */
    for (Py_ssize_t i = 0; i < count; i++) {
        bool joins = fields[i].same && left && fields[left - 1].same && fields[left - 1].sizes[0] + fields[i].sizes[0] <= WORD;
        if (!joins) {
            fields[left++] = fields[i];
            last = i;
            continue;
        }
        uint8_t *sizes = words[last] + WORD; /* of a single text */
        memcpy(words[last] + sizes[0], words[i], fields[i].sizes[0]);
        sizes[0] = (uint8_t)(sizes[0] + fields[i].sizes[0]);
    }
    return left;
}

PyDoc_STRVAR(rows_doc,
             "rows(fields, rows)\n--\n\n"
             "Make the canonical form of so many archive rows: all of them one after the other, and where each begins and\n"
             "ends (int32, one more than rows). See integrity/rows/canonical_rows.py for `fields`. Raises OverflowError for\n"
             "more than 2 GiB, ValueError for fields that do not fit.");

static PyObject *rows_of(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *listed, *described = NULL, *data = NULL, *bounds = NULL, *result = NULL;
    Py_ssize_t rows, count = 0;
    Field *fields = NULL;
    Kept *kept = NULL;
    uint8_t **words = NULL;
    if (!PyArg_ParseTuple(args, "O!n", &PyList_Type, &listed, &rows)) return NULL;
    if (!(described = PyList_AsTuple(listed))) goto done;
    count = PyTuple_Size(described);
    if (rows < 0 || rows >= INT32_MAX || count > MOST_FIELDS) {
        refused("too many fields or rows");
        goto done;
    }
    fields = PyMem_Calloc((size_t)count + 1, sizeof(Field));
    kept = PyMem_Calloc((size_t)count + 1, sizeof(Kept));
    words = PyMem_Calloc((size_t)count + 1, sizeof *words);
    if (!fields || !kept || !words) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (!open_field(PyTuple_GetItem(described, i), fields + i, kept + i, rows) || !take_words(fields + i, words + i, rows))
            goto done;
    Py_ssize_t distinct = put_together_same(fields, words, count);
    if (!(bounds = PyBytes_FromStringAndSize(NULL, (rows + 1) * 4))) goto done;
    int32_t *bound = (int32_t *)PyBytes_AsString(bounds);
    int64_t total;
    Py_BEGIN_ALLOW_THREADS
    total = measure_forms(fields, distinct, rows, bound);
    Py_END_ALLOW_THREADS
    if (total == TOO_LARGE) PyErr_SetString(PyExc_OverflowError, "more than 2 GiB of rows");
    else if (total == NO_TEXT) refused("a field has no such text");
    if (total < 0 || !(data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total))) goto done;
    uint8_t *to = (uint8_t *)PyBytes_AsString(data);
    bool whole;
    Py_BEGIN_ALLOW_THREADS
    whole = write_forms(fields, distinct, rows, bound, to);
    Py_END_ALLOW_THREADS
    result = whole ? Py_BuildValue("OO", data, bounds) : refused("a field has changed meanwhile");
done:
    for (Py_ssize_t i = 0; kept && i < count; i++) {
        PyBuffer_Release(&kept[i].values);
        PyBuffer_Release(&kept[i].ends);
        PyBuffer_Release(&kept[i].codes);
        PyBuffer_Release(&kept[i].valid);
    }
    for (Py_ssize_t i = 0; words && i < count; i++) PyMem_Free(words[i]);
    PyMem_Free(words);
    PyMem_Free(fields);
    PyMem_Free(kept);
    Py_XDECREF(data);
    Py_XDECREF(bounds);
    Py_XDECREF(described);
    return result;
}

PyDoc_STRVAR(digests_doc,
             "digests(prefix, data, bounds, group)\n--\n\n"
             "Hash a byte and `group` rows behind it, of rows whose bounds in `data` these are (int32, one more than rows):\n"
             "SHA-256, 32 bytes a group. Raises ValueError for bounds that do not fit, RuntimeError where HASHES is 0.");

static PyObject *digests(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *result = NULL;
    Py_buffer data = {0}, bounds = {0};
    Py_ssize_t group;
    uint8_t prefix;
    if (!PyArg_ParseTuple(args, "by*y*n", &prefix, &data, &bounds, &group)) return NULL;
    Py_ssize_t rows = bounds.len / 4 - 1;
    if (!hashes_here()) {
        PyErr_SetString(PyExc_RuntimeError, "this processor has no instructions for it");
        goto done;
    }
    if (rows < 0 || rows >= INT32_MAX || bounds.len % 4 || !aligned(&bounds, 4) || group < 1 || group > INT32_MAX) {
        refused("not the bounds of rows");
        goto done;
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, (rows + group - 1) / group * DIGEST))) goto done;
    uint8_t *to = (uint8_t *)PyBytes_AsString(result);
    bool fits;
    Py_BEGIN_ALLOW_THREADS
    fits = hash_groups(prefix, data.buf, data.len, bounds.buf, rows, group, to);
    Py_END_ALLOW_THREADS
    if (!fits) {
        Py_CLEAR(result);
        refused("not the bounds of rows");
    }
done:
    PyBuffer_Release(&data);
    PyBuffer_Release(&bounds);
    return result;
}

PyDoc_STRVAR(above_doc,
             "above(hashes, height)\n--\n\n"
             "Return the nodes of an RFC 9162 tree so many levels above these hashes (32 bytes each), at least one. Raises\n"
             "ValueError for what are no hashes, RuntimeError where HASHES is 0.");

static PyObject *above(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *result = NULL;
    Py_buffer hashes = {0};
    int height;
    uint8_t *level = NULL;
    if (!PyArg_ParseTuple(args, "y*i", &hashes, &height)) return NULL;
    if (!hashes_here()) PyErr_SetString(PyExc_RuntimeError, "this processor has no instructions for it");
    else if (!hashes.len || hashes.len % DIGEST) refused("no hashes");
    else if (!(level = PyMem_Malloc((size_t)hashes.len))) PyErr_NoMemory();
    if (!level) goto done;
    memcpy(level, hashes.buf, (size_t)hashes.len);
    Py_ssize_t left;
    Py_BEGIN_ALLOW_THREADS
    left = climb(level, hashes.len / DIGEST, height);
    Py_END_ALLOW_THREADS
    result = PyBytes_FromStringAndSize((const char *)level, left * DIGEST);
done:
    PyMem_Free(level);
    PyBuffer_Release(&hashes);
    return result;
}

PyDoc_STRVAR(sha3_doc,
             "sha3_512(pieces, counts)\n--\n\n"
             "Hash texts, each of so many pieces (counts: int32, one a text; pieces: a list of bytes, of all texts): SHA3-512,\n"
             "64 bytes a text. Raises ValueError for counts that do not fit, RuntimeError where LANES is 0.");

static PyObject *sha3_512(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *listed, *given = NULL, *result = NULL;
    Py_buffer counts = {0}, *held = NULL;
    Piece *pieces = NULL;
    Pieces *texts = NULL;
    Py_ssize_t many, opened = 0, used = 0;
    if (!PyArg_ParseTuple(args, "O!y*", &PyList_Type, &listed, &counts)) return NULL;
    if (!(given = PyList_AsTuple(listed))) goto done; /* keeps them: the list may change while others run */
    many = PyTuple_Size(given);
    Py_ssize_t rows = counts.len / 4;
    const int32_t *count = counts.buf;
    if (!lanes_here()) {
        PyErr_SetString(PyExc_RuntimeError, "this processor gains nothing by it");
        goto done;
    }
    if (counts.len % 4 || !aligned(&counts, 4)) {
        refused("not the counts of pieces");
        goto done;
    }
    pieces = PyMem_Calloc((size_t)many + 1, sizeof *pieces);
    held = PyMem_Calloc((size_t)many + 1, sizeof *held);
    texts = PyMem_Calloc((size_t)rows + 1, sizeof *texts);
    if (!pieces || !held || !texts) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < rows; i++) {
        if (count[i] < 0 || count[i] > many - used) {
            refused("not the counts of pieces");
            goto done;
        }
        texts[i] = (Pieces){pieces + used, count[i]};
        used += count[i];
    }
    for (; opened < many; opened++) {
        if (PyObject_GetBuffer(PyTuple_GetItem(given, opened), held + opened, PyBUF_SIMPLE) < 0) goto done;
        pieces[opened] = (Piece){held[opened].buf, held[opened].len};
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, rows * SHA3_DIGEST))) goto done;
    uint8_t *to = (uint8_t *)PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    sha3_each(texts, rows, lanes_here(), to);
    Py_END_ALLOW_THREADS
done:
    for (Py_ssize_t i = 0; i < opened; i++) PyBuffer_Release(held + i);
    PyMem_Free(pieces);
    PyMem_Free(held);
    PyMem_Free(texts);
    Py_XDECREF(given);
    PyBuffer_Release(&counts);
    return result;
}

/* --- The module -------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"above", above, METH_VARARGS, above_doc},
    {"blocks", blocks, METH_VARARGS, blocks_doc},
    {"carrying", carrying, METH_VARARGS, carrying_doc},
    {"digests", digests, METH_VARARGS, digests_doc},
    {"footer", footer, METH_VARARGS, footer_doc},
    {"joined", joined, METH_VARARGS, joined_doc},
    {"objects", objects, METH_VARARGS, objects_doc},
    {"read", read_values, METH_VARARGS, read_doc},
    {"records", records, METH_VARARGS, records_doc},
    {"rows", rows_of, METH_VARARGS, rows_doc},
    {"sha3_512", sha3_512, METH_VARARGS, sha3_doc},
    {"times", times, METH_VARARGS, times_doc},
    {"where", where, METH_VARARGS, where_doc},
    {NULL, NULL, 0, NULL},
};

static int fill_module(PyObject *module) {
    const struct { const char *name; long value; } numbers[] = {
        {"INTERFACE", 2}, /* see schemas/compiled.py */
        {"LEAF", LEAF}, {"OBJECT", OBJECT}, {"LIST", LIST}, {"NEVER", NEVER}, {"FIRST", FIRST}, {"MOST_NODES", MOST_NODES},
        {"MOST_MEMBERS", MOST_MEMBERS}, {"MOST_LEAVES", MOST_LEAVES}, {"MOST_DISTINCT", MOST_DISTINCT},
        {"MOST_COLUMNS", MOST_COLUMNS}, {"MOST_BUFFERS", MOST_BUFFERS}, {"HASHES", hashes_here()},
        {"LANES", lanes_here()}, {"FIELDS", FIELDS}, {"BITS", FORM_BITS}, {"NUMBER", FORM_NUMBER}, {"TEXT", FORM_TEXT}, {"BYTES", FORM_BYTES},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (PyModule_AddIntConstant(module, numbers[i].name, numbers[i].value) < 0) return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Reading of records and of pages, columns of text, blocks of tokens and archive rows, in compiled code.", 0,
    methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
