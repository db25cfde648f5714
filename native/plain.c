/* Records in the usual spelling, read in one pass: see streams/transform/decode/compiled_reader.py, which says what is taken and why.
 *
 * Whatever is not plainly right is left alone ("not taken"), never guessed at: the general reader sees it then. Nothing
 * is copied but texts with escapes; all other leaves are views of the values themselves (Arrow's string-view layout).
 * Every read is bounded by the end of its value, every write by the sizes that `read` has checked.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
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

enum { LEAF = 0, OBJECT = 1, LIST = 2, NEVER = 3 };
enum { MOST_NODES = 256, MOST_MEMBERS = 64, MOST_LEAVES = 1024, GUESSES = 48, DEPTH = 16 };
enum { SLOTS = 4096, MOST_DISTINCT = 1024, PROBES = 16, TRIAL = 256 };

typedef struct {
    const uint8_t *name;
    Py_ssize_t length;
    int kind, target; /* of a leaf: its number; of an object: its node */
} Member;

typedef struct {
    const uint8_t *key; /* up to and with its closing quote */
    uint32_t length;
    int member; /* -1: not declared */
} Guess;

typedef struct {
    Member members[MOST_MEMBERS];
    int count, guesses;
    Guess guess[GUESSES]; /* the names of the last object of this kind, in their order: mostly also those of the next */
} Node;

typedef struct {
    uint32_t length;
    union {
        uint8_t inlined[12];
        struct {
            uint8_t prefix[4];
            uint32_t buffer, offset;
        };
    };
} View;

typedef struct {
    uint32_t slots[SLOTS]; /* code + 1 */
    View values[MOST_DISTINCT];
    int distinct; /* -1: too many, given up */
} Table;

typedef struct {
    const uint8_t *data;
    uint8_t *arena;
    Py_ssize_t arena_size, arena_used;
    Py_ssize_t rows, row, bitmap;
    View *views;      /* leaves x rows */
    uint8_t *valid;   /* leaves x bitmap */
    uint32_t *codes;  /* leaves x rows */
    uint32_t *firsts; /* leaves x MOST_DISTINCT: the row a distinct value was first seen in */
    Node *nodes;
    Table *tables;
} Reader;

typedef struct {
    const uint8_t *at, *end;
} Cursor;

typedef struct {
    const uint8_t *start;
    Py_ssize_t length;
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
    Py_ssize_t length = (Py_ssize_t)strlen(expected);
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

/* Copy a text with its escapes resolved: never longer than it was, as `read` makes the arena as large as the values. */
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
        at += escape(at, end, &code); /* `text` has found it to be right */
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
    uint32_t *firsts = r->firsts + (Py_ssize_t)leaf * MOST_DISTINCT;
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

static bool member(Reader *r, Cursor *c, const Member *m, int depth) {
    Text value;
    if (m->kind == NEVER || c->at == c->end) return false;
    if (*c->at == 'n') return word(c, "null", &value);
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

/* nodes: a list, one entry an object, of lists of (name: bytes, kind: int, target: int). */
static int plan(PyObject *described, Node *nodes, Py_ssize_t count, Py_ssize_t leaves) {
    for (Py_ssize_t n = 0; n < count; n++) {
        PyObject *members = PyList_GetItem(described, n);
        if (!members) return -1;
        Py_ssize_t size = PyList_Size(members);
        if (size < 0 || size > MOST_MEMBERS) goto wrong;
        nodes[n].count = (int)size;
        for (Py_ssize_t i = 0; i < size; i++) {
            Member *m = nodes[n].members + i;
            PyObject *one = PyList_GetItem(members, i);
            if (!one || !PyArg_ParseTuple(one, "y#ii", &m->name, &m->length, &m->kind, &m->target)) return -1;
            if (m->kind < LEAF || m->kind > NEVER || m->target < 0) goto wrong;
            if ((m->kind == LEAF && m->target >= leaves) || (m->kind == OBJECT && m->target >= count)) goto wrong;
        }
    }
    return 0;
wrong:
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "not a plan that can be followed");
    return -1;
}

enum { DATA, ENDS, TAKEN, ARENA, VIEWS, VALID, CODES, FIRSTS, BUFFERS };

/* Numbers are read and written as such, which need not work where none of their size begins. */
static bool aligned(const Py_buffer *b, uintptr_t size) { return (uintptr_t)b->buf % size == 0; }

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
    return true;
}

PyDoc_STRVAR(read_doc,
             "read(plan, leaves, data, ends, taken, arena, views, valid, codes, firsts)\n--\n\n"
             "Fill the buffers; return how many bytes of the arena are used and the distinct values of each leaf\n"
             "(-1: too many). See streams/transform/decode/compiled_reader.py for the layouts. Raises ValueError when sizes do not fit.");

static PyObject *read_values(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *described, *result = NULL, *counts = NULL;
    Py_buffer b[BUFFERS] = {{0}};
    Py_ssize_t leaves, rows, count;
    Node *nodes = NULL;
    Table *tables = NULL;
    if (!PyArg_ParseTuple(args, "O!ny*y*w*w*w*w*w*w*", &PyList_Type, &described, &leaves, &b[DATA], &b[ENDS], &b[TAKEN],
                          &b[ARENA], &b[VIEWS], &b[VALID], &b[CODES], &b[FIRSTS]))
        return NULL;
    count = PyList_Size(described);
    rows = b[TAKEN].len;
    if (count < 1 || count > MOST_NODES || leaves < 0 || leaves > MOST_LEAVES || rows > INT32_MAX
        || !sizes_fit(b, rows, leaves)) {
        PyErr_SetString(PyExc_ValueError, "buffers and plan do not fit together");
        goto done;
    }
    nodes = PyMem_Calloc((size_t)count, sizeof(Node));
    tables = PyMem_Calloc((size_t)leaves + 1, sizeof(Table));
    if (!nodes || !tables) {
        PyErr_NoMemory();
        goto done;
    }
    if (plan(described, nodes, count, leaves) < 0) goto done;
    Reader r = {.data = b[DATA].buf, .arena = b[ARENA].buf, .arena_size = b[ARENA].len, .rows = rows,
                .bitmap = (rows + 7) / 8, .views = b[VIEWS].buf, .valid = b[VALID].buf, .codes = b[CODES].buf,
                .firsts = b[FIRSTS].buf, .nodes = nodes, .tables = tables};
    const int64_t *ends = b[ENDS].buf;
    uint8_t *taken = b[TAKEN].buf;
    Py_BEGIN_ALLOW_THREADS
    for (r.row = 0; r.row < rows; r.row++)
        taken[r.row] = value(&r, r.data + ends[r.row], r.data + ends[r.row + 1]);
    Py_END_ALLOW_THREADS
    counts = PyList_New(leaves);
    for (Py_ssize_t i = 0; counts && i < leaves; i++) {
        PyObject *one = PyLong_FromLong(tables[i].distinct);
        if (!one || PyList_SetItem(counts, i, one) < 0) Py_CLEAR(counts);
    }
    if (counts) result = Py_BuildValue("nO", r.arena_used, counts);
    Py_XDECREF(counts);
done:
    PyMem_Free(nodes);
    PyMem_Free(tables);
    for (int i = 0; i < BUFFERS; i++) PyBuffer_Release(&b[i]);
    return result;
}

static PyMethodDef methods[] = {{"read", read_values, METH_VARARGS, read_doc}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_plain", "Records in the usual spelling, read in one pass.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__plain(void) {
    PyObject *made = PyModule_Create(&module);
    const struct { const char *name; long value; } said[] = {
        {"LEAF", LEAF}, {"OBJECT", OBJECT}, {"LIST", LIST}, {"NEVER", NEVER}, {"MOST_NODES", MOST_NODES},
        {"MOST_MEMBERS", MOST_MEMBERS}, {"MOST_LEAVES", MOST_LEAVES}, {"MOST_DISTINCT", MOST_DISTINCT},
    };
    for (size_t i = 0; made && i < sizeof said / sizeof *said; i++)
        if (PyModule_AddIntConstant(made, said[i].name, said[i].value) < 0) Py_CLEAR(made);
    return made;
}
