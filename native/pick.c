/* What Python calls of `pages.c` and `footer.c`: takes arguments apart, has pages unpacked, and makes objects of values. */
#include "pick.h"

#include <string.h>

#include "footer.h"
#include "pages.h"

enum { FEW = 16 }; /* values of which each is looked for in a dictionary by itself */

static void *refused(void) { return PyErr_SetString(PyExc_ValueError, "pages that are read in another way"), NULL; }

/* --- A column chunk --------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
    bool packed;
    int form;
    Kind kind;
} Chunk;

/* A file, and where the column chunks of a row group are in it, as `footer` tells of it. */
typedef struct {
    Py_buffer data, places;
} Group;

static void close_group(Group *group) {
    PyBuffer_Release(&group->places);
    PyBuffer_Release(&group->data);
}

enum { UNPACKED = 0, ZSTD = 6 }; /* codecs */

/* Take apart (column, form, width): where its pages are, and what its values are. */
static bool open_chunk(PyObject *described, const Group *group, Chunk *chunk) {
    Py_ssize_t column, columns = group->places.len / 8 / FIELDS;
    int form, width;
    if (!PyTuple_Check(described)) return PyErr_SetString(PyExc_TypeError, "a chunk is described by a tuple"), false;
    if (!PyArg_ParseTuple(described, "nii", &column, &form, &width)) return false;
    if (column < 0 || column >= columns || (uintptr_t)group->places.buf % 8) return refused(), false;
    const int64_t *said = (const int64_t *)group->places.buf + column * FIELDS;
    int64_t start = said[CHUNK_START], end = said[CHUNK_END], codec = said[CODEC];
    bool fits = start >= 0 && start <= end && end <= group->data.len && (codec == UNPACKED || codec == ZSTD)
                && form >= FORM_BITS && form <= FORM_BYTES
                && width >= TEXTS && width <= UINT16_MAX && (form != FORM_NUMBER || width == INT32 || width == INT64)
                && (form != FORM_BITS || width == BITS) && (form != FORM_TEXT || width == TEXTS)
                && (form != FORM_BYTES || width != 0);
    if (!fits) return refused(), false;
    const uint8_t *file = group->data.buf;
    *chunk = (Chunk){file + start, file + end, codec == ZSTD, form, (Kind)width};
    return true;
}

/* A page's values as they are, and what keeps them there. */
typedef struct {
    const uint8_t *body;
    int64_t size;
    PyObject *held;
} Unpacked;

/* Say how many bytes a frame of Zstandard says that it holds (RFC 8878, 3.1.1.1); -1 where it says nothing, or is none. */
static int64_t content_size(const uint8_t *at, int64_t size) {
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (size < 6 || memcmp(at, magic, sizeof magic) != 0) return -1;
    int flag = at[4] >> 6, whole = at[4] >> 5 & 1, dictionary = at[4] & 3;
    int64_t from = 5 + !whole + (dictionary ? 1 << (dictionary - 1) : 0), bytes = flag ? 1 << flag : whole;
    if (!bytes || size < from + bytes) return -1;
    uint64_t found = 0;
    for (int64_t i = 0; i < bytes; i++) found |= (uint64_t)at[from + i] << (8 * i);
    return (int64_t)((found + (bytes == 2 ? 256 : 0)) & INT64_MAX);
}

static bool unpack(const Page *page, PyObject *inflate, Unpacked *to) {
    Py_CLEAR(to->held);
    to->body = page->body;
    to->size = page->unpacked;
    if (!page->packed || (page->size == 0 && page->unpacked == 0)) return true;
    /* What a damaged frame says is not taken from the memory. */
    int64_t said = content_size(page->body, page->size);
    if (said >= 0 && said != page->unpacked) return refused(), false;
    to->held = PyObject_CallFunction(inflate, "y#n", (const char *)page->body, (Py_ssize_t)page->size, (Py_ssize_t)page->unpacked);
    char *start;
    Py_ssize_t size;
    if (!to->held || PyBytes_AsStringAndSize(to->held, &start, &size) < 0) return false;
    if (size != page->unpacked) return refused(), false;
    to->body = (const uint8_t *)start;
    return true;
}

/* --- Objects ---------------------------------------------------------------------------------------------------------- */

static PyObject *nothing(void) { return Py_NewRef(Py_None); }

static PyObject *number_of(Kind kind, int64_t number) {
    return PyLong_FromLongLong(kind == INT32 ? (int64_t)(int32_t)(uint32_t)(uint64_t)number : number);
}

static PyObject *object_of(const Chunk *chunk, const Value *value) {
    if (!value->at) return nothing();
    if (chunk->form == FORM_BITS) return PyBool_FromLong(*value->at >> value->size & 1);
    if (chunk->form == FORM_TEXT) return PyUnicode_DecodeUTF8((const char *)value->at, (Py_ssize_t)value->size, "strict");
    if (chunk->form == FORM_BYTES) return PyBytes_FromStringAndSize((const char *)value->at, (Py_ssize_t)value->size);
    uint64_t number = 0;
    for (int64_t i = 0; i < value->size; i++) number |= (uint64_t)value->at[i] << (8 * i);
    return number_of(chunk->kind, (int64_t)number);
}

/* --- Values at rows --------------------------------------------------------------------------------------------------- */

/* Room for as many rows as are asked for. */
typedef struct {
    int64_t *rows, *numbers, *entries;
    Value *values;
} Room;

static bool append(PyObject *found, PyObject *one) {
    int done = one ? PyList_Append(found, one) : -1;
    Py_XDECREF(one);
    return done == 0;
}

/* Find dictionary entries, in any order and more than once. */
static bool entries_at(const Unpacked *dictionary, int64_t size, Kind kind, const int64_t *entries, Py_ssize_t count, Value *values) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (entries[i] >= size) return false;
    if (kind != TEXTS || count <= FEW) {
        for (Py_ssize_t i = 0; i < count; i++)
            if (!plain_values(dictionary->body, dictionary->size, kind, entries + i, 1, values + i)) return false;
        return true;
    }
    if (size > dictionary->size / 4) return false;
    int64_t *all = PyMem_Calloc((size_t)size + 1, sizeof *all);
    Value *each = PyMem_Calloc((size_t)size + 1, sizeof *each);
    for (int64_t n = 0; all && n < size; n++) all[n] = n;
    bool fits = all && each && plain_values(dictionary->body, dictionary->size, kind, all, size, each);
    for (Py_ssize_t i = 0; fits && i < count; i++) values[i] = entries[i] < 0 ? (Value){NULL, 0} : each[entries[i]];
    PyMem_Free(all);
    PyMem_Free(each);
    return fits;
}

/* Append the values of a page at its own rows, `count` of them in `room->rows`. */
static bool values_of(const Chunk *chunk, const Page *page, const Page *entries, Unpacked *dictionary, Unpacked *body,
                      Py_ssize_t count, const Room *room, PyObject *inflate, PyObject *found) {
    bool any = false;
    if (!number_values(page, room->rows, count, room->numbers)) return refused(), false;
    for (Py_ssize_t i = 0; i < count; i++) any |= room->numbers[i] >= 0;
    if (!any) {
        for (Py_ssize_t i = 0; i < count; i++)
            if (!append(found, nothing())) return false;
        return true;
    }
    if (!unpack(page, inflate, body)) return false;
    bool fits = false;
    switch (page->encoding) {
    case PLAIN:
        fits = plain_values(body->body, body->size, chunk->kind, room->numbers, count, room->values);
        break;
    case DICTIONARY:
        if (!entries->dictionary || chunk->form == FORM_BITS) break;
        if (!dictionary->body && !unpack(entries, inflate, dictionary)) return false;
        fits = dictionary_numbers(body->body, body->size, room->numbers, count, room->entries)
               && entries_at(dictionary, entries->rows, chunk->kind, room->entries, count, room->values);
        break;
    case DELTA:
        fits = chunk->form == FORM_NUMBER && delta_values(body->body, body->size, room->numbers, count, room->entries);
        for (Py_ssize_t i = 0; fits && i < count; i++)
            if (!append(found, room->numbers[i] < 0 ? nothing() : number_of(chunk->kind, room->entries[i]))) return false;
        if (fits) return true;
        break;
    default: break;
    }
    if (!fits) return refused(), false;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!append(found, object_of(chunk, room->values + i))) return false;
    return true;
}

static PyObject *column_at(Chunk *chunk, const int64_t *rows, Py_ssize_t count, const Room *room, PyObject *inflate) {
    PyObject *found = PyList_New(0);
    Unpacked dictionary = {0}, body = {0};
    Page page, entries = {0};
    int64_t first = 0;
    bool fits = found != NULL;
    for (Py_ssize_t next = 0; fits && next < count;) {
        if (!next_page(&chunk->at, chunk->end, chunk->packed, &page)) {
            fits = (refused(), false);
        } else if (page.dictionary) {
            if (entries.dictionary) fits = (refused(), false);
            entries = page;
        } else {
            Py_ssize_t here = 0;
            for (; next + here < count && rows[next + here] < first + page.rows; here++) room->rows[here] = rows[next + here] - first;
            fits = !here || values_of(chunk, &page, &entries, &dictionary, &body, here, room, inflate, found);
            next += here;
            first += page.rows;
        }
    }
    Py_XDECREF(dictionary.held);
    Py_XDECREF(body.held);
    if (!fits) Py_CLEAR(found);
    return found;
}

static bool ascending(const Py_buffer *b) {
    if (b->len % 8 || (uintptr_t)b->buf % 8) return false;
    const int64_t *numbers = b->buf;
    for (Py_ssize_t i = 1; i < b->len / 8; i++)
        if (numbers[i] <= numbers[i - 1]) return false;
    return true;
}

/* Take lists of values at rows out of each of some chunks; NULL with an error. `lists` has room for as many. */
static bool columns_at(PyObject *described, const Group *group, const Py_buffer *rows, PyObject *inflate, PyObject **lists) {
    Room room = {0};
    Py_ssize_t count = rows->len / 8;
    bool fits = false;
    if (!ascending(rows) || (count && *(const int64_t *)rows->buf < 0)) return refused(), false;
    room.rows = PyMem_Calloc((size_t)count + 1, sizeof *room.rows);
    room.numbers = PyMem_Calloc((size_t)count + 1, sizeof *room.numbers);
    room.entries = PyMem_Calloc((size_t)count + 1, sizeof *room.entries);
    room.values = PyMem_Calloc((size_t)count + 1, sizeof *room.values);
    if (!room.rows || !room.numbers || !room.entries || !room.values) {
        PyErr_NoMemory();
        goto done;
    }
    fits = true;
    for (Py_ssize_t i = 0; fits && i < PyTuple_Size(described); i++) {
        Chunk chunk;
        fits = open_chunk(PyTuple_GetItem(described, i), group, &chunk)
               && (lists[i] = column_at(&chunk, rows->buf, count, &room, inflate)) != NULL;
    }
done:
    PyMem_Free(room.rows);
    PyMem_Free(room.numbers);
    PyMem_Free(room.entries);
    PyMem_Free(room.values);
    return fits;
}

/* Put a column's values into the records, read by `reader` if it is not None. */
static bool fill(PyObject *records, PyObject *name, PyObject *values, PyObject *reader) {
    Py_ssize_t count = PyList_Size(records);
    if (PyList_Size(values) != count) return refused(), false;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = Py_NewRef(PyList_GetItem(values, i)), *read = value;
        if (!Py_IsNone(value) && !Py_IsNone(reader)) {
            read = PyObject_CallFunctionObjArgs(reader, value, NULL);
            Py_DECREF(value);
        }
        int done = read ? PyDict_SetItem(PyList_GetItem(records, i), name, read) : -1;
        Py_XDECREF(read);
        if (done < 0) return false;
    }
    return true;
}

const char records_doc[] =
    "records(data, places, columns, rows, template, inflate)\n--\n\n"
    "Make a dict of each of some rows (int64, ascending) of a row group: a copy of `template` with the values of columns put in,\n"
    "each described as (name, reader, (column, form, width)); `reader`, if it is not None, makes what is put in of each value but\n"
    "None. `places` tells of the row group as `footer` does, and `inflate(packed, size)` unpacks what is packed to so many bytes, no\n"
    "more; a frame of Zstandard that says another size is not given to it.\n"
    "Raises ValueError for pages that have to be read in another way, damaged ones among them, and what a reader raises.";

PyObject *records(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *listed, *template, *inflate, *columns = NULL, *chunks = NULL, *found = NULL, *result = NULL, **lists = NULL;
    Group group = {0};
    Py_buffer rows = {0};
    Py_ssize_t count = 0;
    if (!PyArg_ParseTuple(args, "y*y*O!y*O!O", &group.data, &group.places, &PyList_Type, &listed, &rows, &PyDict_Type, &template, &inflate)) return NULL;
    if (!(columns = PyList_AsTuple(listed))) goto done;
    count = PyTuple_Size(columns);
    if (!(chunks = PyTuple_New(count)) || !(found = PyList_New(0))) goto done;
    if (!(lists = PyMem_Calloc((size_t)count + 1, sizeof *lists))) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *column = PyTuple_GetItem(columns, i);
        if (!PyTuple_Check(column) || PyTuple_Size(column) != 3) {
            PyErr_SetString(PyExc_TypeError, "a column is described by three things");
            goto done;
        }
        PyTuple_SetItem(chunks, i, Py_NewRef(PyTuple_GetItem(column, 2)));
    }
    if (!columns_at(chunks, &group, &rows, inflate, lists)) goto done;
    for (Py_ssize_t i = 0; i < rows.len / 8; i++)
        if (!append(found, PyDict_Copy(template))) goto done;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *column = PyTuple_GetItem(columns, i);
        if (!fill(found, PyTuple_GetItem(column, 0), lists[i], PyTuple_GetItem(column, 1))) goto done;
    }
    result = Py_NewRef(found);
done:
    for (Py_ssize_t i = 0; lists && i < count; i++) Py_XDECREF(lists[i]);
    PyMem_Free(lists);
    Py_XDECREF(found);
    Py_XDECREF(chunks);
    Py_XDECREF(columns);
    PyBuffer_Release(&rows);
    close_group(&group);
    return result;
}

const char where_doc[] =
    "where(data, places, chunk, rows, wanted, inflate)\n--\n\n"
    "Find the rows of a column chunk of so many rows whose integers are among some (int64, ascending): their numbers, and the\n"
    "integers of each, as bytes (int64). Raises ValueError as `records` does, and for a column with nulls or of which integers are not written as differences.";

PyObject *where(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *described, *inflate, *result = NULL;
    Group group = {0};
    Py_buffer wanted = {0};
    Py_ssize_t rows;
    Unpacked body = {0};
    int64_t *found = NULL, *values = NULL;
    Chunk chunk;
    if (!PyArg_ParseTuple(args, "y*y*Ony*O", &group.data, &group.places, &described, &rows, &wanted, &inflate)) return NULL;
    if (!open_chunk(described, &group, &chunk)) goto done;
    if (!ascending(&wanted) || rows < 0 || rows > INT32_MAX || chunk.form != FORM_NUMBER || chunk.kind != INT64) {
        refused();
        goto done;
    }
    found = PyMem_Malloc((size_t)rows * sizeof *found + 1);
    values = PyMem_Malloc((size_t)rows * sizeof *values + 1);
    if (!found || !values) {
        PyErr_NoMemory();
        goto done;
    }
    int64_t first = 0, many = 0;
    while (first < rows) {
        Page page;
        bool fits = next_page(&chunk.at, chunk.end, chunk.packed, &page) && !page.dictionary && page.encoding == DELTA
                    && page.nulls == 0 && page.rows <= rows - first;
        if (!fits) {
            refused();
            goto done;
        }
        if (!unpack(&page, inflate, &body)) goto done;
        int64_t here = rows_among(body.body, body.size, page.rows, wanted.buf, wanted.len / 8, found + many, values + many);
        if (here < 0) {
            refused();
            goto done;
        }
        for (int64_t i = 0; i < here; i++) found[many + i] += first;
        many += here;
        first += page.rows;
    }
    result = Py_BuildValue("y#y#", (const char *)found, (Py_ssize_t)(many * 8), (const char *)values, (Py_ssize_t)(many * 8));
done:
    PyMem_Free(found);
    PyMem_Free(values);
    Py_XDECREF(body.held);
    PyBuffer_Release(&wanted);
    close_group(&group);
    return result;
}

const char carrying_doc[] =
    "carrying(data, places, chunk, rows, wanted, ordered, inflate)\n--\n\n"
    "Find the rows of a column chunk of so many rows whose bytes (8 or more, all of one width) are among some, which lie one\n"
    "after the other in ascending order: their numbers as bytes (int64). `ordered`: the column's are in that order, too, nulls\n"
    "at the end. Raises ValueError as `records` does, and for a column whose values are not plain.";

PyObject *carrying(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *described, *inflate, *result = NULL;
    Group group = {0};
    Py_buffer wanted = {0};
    Py_ssize_t rows;
    int ordered;
    Unpacked body = {0};
    int64_t *found = NULL, *prefixes = NULL;
    Chunk chunk;
    if (!PyArg_ParseTuple(args, "y*y*Ony*pO", &group.data, &group.places, &described, &rows, &wanted, &ordered, &inflate)) return NULL;
    if (!open_chunk(described, &group, &chunk)) goto done;
    int64_t width = chunk.kind;
    if (rows < 0 || rows > INT32_MAX || chunk.form != FORM_BYTES || width < 8 || wanted.len % width) {
        refused();
        goto done;
    }
    Py_ssize_t count = wanted.len / width;
    found = PyMem_Malloc((size_t)rows * sizeof *found + 1);
    prefixes = PyMem_Malloc((size_t)count * sizeof *prefixes + 1);
    if (!found || !prefixes) {
        PyErr_NoMemory();
        goto done;
    }
    bool fits = true;
    for (Py_ssize_t i = 0; i < count; i++) {
        prefixes[i] = prefix_of((const uint8_t *)wanted.buf + i * width);
        fits &= !i || prefixes[i - 1] <= prefixes[i];
    }
    int64_t many = 0;
    for (int64_t first = 0; fits && first < rows;) {
        Page page;
        fits = next_page(&chunk.at, chunk.end, chunk.packed, &page) && !page.dictionary && page.encoding == PLAIN
               && page.rows <= rows - first;
        if (!fits) break;
        if (!unpack(&page, inflate, &body)) goto done;
        if (!(fits = body.size == (page.rows - page.nulls) * width)) break;
        int64_t here = ordered ? bytes_in_order(body.body, body.size, width, wanted.buf, count, found + many)
                               : bytes_among(body.body, body.size, width, wanted.buf, prefixes, count, found + many);
        for (int64_t i = 1; i < here; i++) fits &= found[many + i - 1] < found[many + i];
        if (!fits) break;
        fits = rows_of_values(&page, found + many, here);
        for (int64_t i = 0; i < here; i++) found[many + i] += first;
        many += here;
        first += page.rows;
    }
    if (fits) result = PyBytes_FromStringAndSize((const char *)found, (Py_ssize_t)(many * 8));
    else refused();
done:
    PyMem_Free(found);
    PyMem_Free(prefixes);
    Py_XDECREF(body.held);
    PyBuffer_Release(&wanted);
    close_group(&group);
    return result;
}

const char footer_doc[] =
    "footer(data)\n--\n\n"
    "Read where column chunks are out of a Parquet footer: where the list of row groups begins in it and ends, how many columns\n"
    "there are, the rows of each row group, and FIELDS numbers for each of its columns (see `native/footer.h`), both as bytes\n"
    "(int64). Raises ValueError for what is no footer, and for chunks that are encrypted or in other files.";

PyObject *footer(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *rows = NULL, *chunks = NULL, *result = NULL;
    Py_buffer data = {0};
    Shape shape;
    if (!PyArg_ParseTuple(args, "y*", &data)) return NULL;
    if (!footer_shape(data.buf, data.len, &shape)) {
        refused();
        goto done;
    }
    rows = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(shape.groups * 8));
    chunks = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(shape.groups * shape.columns * FIELDS * 8));
    if (!rows || !chunks) goto done;
    /* A bytes object that nobody else has seen may be written to. */
    if (footer_chunks(data.buf, data.len, &shape, (int64_t *)(void *)PyBytes_AsString(rows), (int64_t *)(void *)PyBytes_AsString(chunks)))
        result = Py_BuildValue("nnnOO", (Py_ssize_t)shape.start, (Py_ssize_t)shape.end, (Py_ssize_t)shape.columns, rows, chunks);
    else refused();
done:
    Py_XDECREF(rows);
    Py_XDECREF(chunks);
    PyBuffer_Release(&data);
    return result;
}
