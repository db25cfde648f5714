/* The blocks that tokens are made of, of whole columns: see keys/tokens.py, which says what they are.
 *
 * What has no plain block is left zero and reported: its hash is made elsewhere. Every read is bounded by the ends that
 * have been checked, every write by the number of rows.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 16, ROOM = 15, UUID = 36 };

/* Hexadecimal digits in lower case; 16 for anything else. By a table: which digit comes next no processor can guess. */
static const uint8_t DIGIT[256] = {
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
};

/* The 16 bytes of a UUID in lower case, of version 1 to 8. */
static bool uuid_block(const uint8_t *text, int64_t length, uint8_t *block) {
    static const uint8_t places[BLOCK] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    if (length != UUID) return false;
    unsigned wrong = 0;
    for (int i = 0; i < BLOCK; i++) {
        unsigned high = DIGIT[text[places[i]]], low = DIGIT[text[places[i] + 1]];
        wrong |= high | low;
        block[i] = (uint8_t)(high << 4 | (low & 15));
    }
    bool dashes = text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-';
    int version = block[6] >> 4;
    if (!dashes || wrong > 15 || version < 1 || version > 8) return memset(block, 0, BLOCK), false;
    return true;
}

/* The code of its kind and a value of 1 to 15 bytes without NUL, NULs behind it. */
static bool subject_block(const uint8_t *text, int64_t length, uint8_t code, uint8_t *block) {
    if (length < 1 || length > ROOM || memchr(text, 0, (size_t)length)) return false;
    block[0] = code;
    memcpy(block + 1, text, (size_t)length);
    return true;
}

static void make_blocks(const uint8_t *data, const int64_t *ends, const uint8_t *codes, Py_ssize_t rows, uint8_t *blocks,
                        uint8_t *plain) {
    for (Py_ssize_t row = 0; row < rows; row++) {
        const uint8_t *text = data + (ends[row] - ends[0]);
        int64_t length = ends[row + 1] - ends[row];
        uint8_t *block = blocks + row * BLOCK;
        plain[row] = codes ? subject_block(text, length, codes[row], block) : uuid_block(text, length, block);
    }
}

static bool fit(const Py_buffer *data, const Py_buffer *ends, const Py_buffer *codes) {
    Py_ssize_t rows = ends->len / 8 - 1;
    const int64_t *end = ends->buf;
    if (rows < 0 || ends->len % 8 || (uintptr_t)ends->buf % 8 || rows > INT32_MAX) return false;
    if (codes->obj && codes->len != rows) return false;
    for (Py_ssize_t row = 0; row < rows; row++)
        if (end[row] > end[row + 1]) return false;
    return end[0] >= 0 && end[rows] - end[0] == data->len;
}

PyDoc_STRVAR(blocks_doc,
             "blocks(data, ends, codes=None)\n--\n\n"
             "Blocks of texts one after the other (16 bytes each), and one byte each: 1 where it is plain, else its block is\n"
             "zero. Of subjects if `codes` has the code of each one's kind, else of message ids. `ends` (int64, one more\n"
             "than texts) count from any number. Raises ValueError when sizes do not fit.");

static PyObject *blocks(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *made = NULL, *plain = NULL, *result = NULL, *kinds = Py_None;
    Py_buffer data = {0}, ends = {0}, codes = {0};
    if (!PyArg_ParseTuple(args, "y*y*|O", &data, &ends, &kinds)) return NULL;
    if (kinds != Py_None && PyObject_GetBuffer(kinds, &codes, PyBUF_SIMPLE) < 0) goto done;
    if (!fit(&data, &ends, &codes)) {
        PyErr_SetString(PyExc_ValueError, "texts, ends and codes do not fit together");
        goto done;
    }
    Py_ssize_t rows = ends.len / 8 - 1;
    made = PyBytes_FromStringAndSize(NULL, rows * BLOCK);
    plain = PyBytes_FromStringAndSize(NULL, rows);
    if (!made || !plain) goto done;
    uint8_t *block = memset(PyBytes_AsString(made), 0, (size_t)rows * BLOCK);
    uint8_t *is_plain = (uint8_t *)PyBytes_AsString(plain);
    Py_BEGIN_ALLOW_THREADS
    make_blocks(data.buf, ends.buf, codes.buf, rows, block, is_plain);
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("OO", made, plain);
done:
    Py_XDECREF(made);
    Py_XDECREF(plain);
    if (codes.obj) PyBuffer_Release(&codes);
    PyBuffer_Release(&ends);
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {{"blocks", blocks, METH_VARARGS, blocks_doc}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_blocks", "The blocks that tokens are made of.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__blocks(void) { return PyModule_Create(&module); }
