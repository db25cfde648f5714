/* The compiled reader under sanitizers: values are damaged at random, and nothing beyond any buffer may be touched.
 *
 * The values of one batch lie in one allocation,
 * as they do in a batch, yet between any two of them are bytes that must not be read; the last one ends where it ends.
 */
#include "no_python.h"
#include "../../native/plain.c"

enum { MOST_VALUES = 300, LONGEST = 4096, GAP = 64 };
enum { NODES = 4, LEAVES = 11 };

typedef struct {
    uint8_t bytes[LONGEST];
    size_t length;
} Value;

static const char *const SEEDS[] = {
    "{}",
    "{\"a\":\"\"}",
    "{\"a\":\"x\",\"bc\":12.50,\"o\":{\"a\":true,\"deep\":{\"x\":null,\"yes\":\"no\"},\"n\":-0.0001},\"t\":[1,{\"a\":[]}]}",
    "{ \"messageId\" : \"9c2f1f9e-5c0a-4e1b-8a37-3c1d2e4f5a6b\" , \"a\" : 123456789012345678 , \"list\" : null }",
    "{\"o\":{\"deep\":{\"x\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 and so on and on\"}},\"bc\":\"exactly12byt\"}",
    "{\"a\":\"\\ud83d\\ude00\\u00e9\\u20ac\\n\\\"\\\\\\/\\b\\f\\r\\t\",\"bc\":\"thirteen byte\\u0073\"}",
    "{\"x1\":1,\"x2\":\"\\u0041\",\"x3\":{\"y\":[true,false,null,[[]],{}]},\"x4\":\"\xed\x9f\xbf\",\"a\":\"b\",\"x5\":0.0}",
    "{\"results\":[{\"a\":1},{\"a\":2}]}",
    "{\"a\":1,\"a\":2}",
    "{\"list\":[\"a\",{\"b\":1}],\"o\":{}}",
    "{\"x\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]],\"a\":9007199254740993}",
    "{\"a\":\"thirteen byte\",\"bc\":\"fourteen bytes\",\"messageId\":\"fifteen bytes !\",\"o\":{\"a\":\"sixteen bytes !!\"}}",
    "{\"a\":1.5,\"bc\":0.00,\"messageId\":100.0,\"o\":{\"n\":99999999999999.9,\"a\":0.00012}}\t\r ",
};
enum { SEEDED = sizeof SEEDS / sizeof *SEEDS };

static const char *const PIECES[] = {
    "\"", "\\", "{", "}", "[", "]", ",", ":", " ", "\t", "\r", "\n", "-", ".", "0", "1", "e", "E", "n", "t", "f", "null", "true",
    "false", "\\u", "\\u0", "\\u00", "\\u004", "\\u0041", "\\ud83d", "\\ude00", "\\ud83d\\ude0", "\\ud83d\\u", "\\ud83d\\",
    "\\ud83d\\ude00", "\\u0000", "\\n", "\\\"", "\xc3", "\xc3\xa9", "\xe2", "\xe2\x82", "\xe2\x82\xac", "\xf0", "\xf0\x9f",
    "\xf0\x9f\x98", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "\xff", "\x7f", "\x01", "-0", "0.0", "00",
    "123456789012345678", "1234567890123456789", "0.0000", "\"a\":", "\"o\":{", "\"deep\":{", "\"list\":[", "\"results\":", "\"a\":1,",
    "{\"a\":", "[[[[[[[[", "]]]]]]]]", "xxxxxxxxxxxx", "xxxxxxxx", "\"messageId\":\"", "nul", "tru", "fals", "{}", "[]", "\"\":",
};
enum { PIECED = sizeof PIECES / sizeof *PIECES };

/* Put `size` bytes in the place of `gone` ones. */
static void put(Value *v, size_t at, size_t gone, const void *bytes, size_t size) {
    if (gone > v->length - at) gone = v->length - at;
    if (v->length - gone + size > LONGEST) return;
    memmove(v->bytes + at + size, v->bytes + at + gone, v->length - at - gone);
    memcpy(v->bytes + at, bytes, size);
    v->length += size - gone;
}

static void damage(Value *v) {
    size_t at = drawn(v->length + 1);
    const char *piece = PIECES[drawn(PIECED)];
    uint8_t copy[64], any = (uint8_t)drawn(256);
    size_t size = 0;
    switch (drawn(8)) {
    case 0: put(v, at, 0, piece, strlen(piece)); break;
    case 1: put(v, at, 1 + drawn(4), piece, strlen(piece)); break;
    case 2: put(v, at, 1, &any, 1); break;
    case 3: put(v, at, 1 + drawn(8), "", 0); break;
    case 4: v->length = at; break;
    case 5: /* some of it once more */
        while (size < sizeof copy && at + size < v->length) copy[size] = v->bytes[at + size], size++;
        put(v, drawn(v->length + 1), 0, copy, size ? 1 + drawn(size) : 0);
        break;
    case 6: put(v, v->length, 0, piece, strlen(piece)); break;
    default: /* the beginning of this one, the end of another */
        piece = SEEDS[drawn(SEEDED)];
        size = drawn(strlen(piece) + 1);
        put(v, at, LONGEST, piece + size, strlen(piece) - size);
    }
}

static Member named(const char *name, int kind, int target) {
    return (Member){(const uint8_t *)name, (Py_ssize_t)strlen(name), kind, target};
}

static void describe(Node *nodes, int which) {
    const Member plans[3][NODES][5] = {
        {{named("a", LEAF, 0), named("bc", LEAF, 1), named("o", OBJECT, 1), named("messageId", LEAF, 2), named("list", LIST, 0)},
         {named("a", LEAF, 3), named("n", LEAF, 4), named("deep", OBJECT, 2)},
         {named("x", LEAF, 5), named("yes", LEAF, 6), named("o", OBJECT, 3)},
         {named("a", LEAF, 7), named("", LEAF, 8)}},
        {{named("results", NEVER, 0), named("a", LEAF, 0), named("x1", OBJECT, 1), named("x3", OBJECT, 2)},
         {named("results", LIST, 0), named("a", LEAF, LEAVES - 1)},
         {named("y", LEAF, 3)}},
        {{named("o", OBJECT, 0), named("a", LEAF, 0), named("deep", OBJECT, 0)}}, /* in a circle */
    };
    memset(nodes, 0, NODES * sizeof *nodes);
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < 5 && plans[which][n][i].name; i++) nodes[n].members[nodes[n].count++] = plans[which][n][i];
}

/* Whatever a row says is in a buffer that may be read, and well-formed. */
static void look_at(const Reader *r) {
    for (Py_ssize_t leaf = 0; leaf < LEAVES; leaf++)
        for (Py_ssize_t row = 0; row < r->rows; row++) {
            const View *v = r->views + leaf * r->rows + row;
            const uint8_t *bytes = bytes_of(r, v), *end = bytes + v->length;
            if (!(r->valid[leaf * r->bitmap + row / 8] >> (row % 8) & 1) && v->length) abort();
            if (v->length > 12 && v->buffer && v->offset + (Py_ssize_t)v->length > r->arena_used) abort();
            if (v->length > 12 && memcmp(v->prefix, bytes, 4) != 0) abort();
            if (r->valid[leaf * r->bitmap + row / 8] >> (row % 8) & 1 && r->tables[leaf].distinct >= 0) {
                uint32_t code = r->codes[leaf * r->rows + row];
                if (code >= (uint32_t)r->tables[leaf].distinct || r->firsts[leaf * MOST_DISTINCT + code] > row) abort();
                if (!alike(r, r->tables[leaf].values + code, v, bytes)) abort();
            }
            while (bytes < end) {
                int length = *bytes == 0 ? 0 : *bytes < 0x80 ? 1 : character(bytes, end);
                if (!length) abort();
                bytes += length;
            }
        }
}

static long read_batch(const Value *values, Py_ssize_t rows, int which, bool roomy) {
    size_t total = 0, starts[MOST_VALUES];
    for (Py_ssize_t row = 0; row < rows; row++) {
        starts[row] = total;
        total += values[row].length;
        if (row + 1 < rows) total = (total + GAP + 7) / 8 * 8;
    }
    Node *nodes = sized(NODES * sizeof *nodes);
    describe(nodes, which);
    Py_ssize_t bitmap = (rows + 7) / 8;
    uint8_t *data = sized(total);
    Reader r = {.data = data, .arena_size = roomy ? (Py_ssize_t)total : 0, .arena = sized(roomy ? total : 0),
                .rows = rows, .bitmap = bitmap, .views = sized(LEAVES * (size_t)rows * sizeof(View)),
                .valid = sized(LEAVES * (size_t)bitmap), .codes = sized(LEAVES * (size_t)rows * 4),
                .firsts = sized(LEAVES * MOST_DISTINCT * 4), .nodes = nodes, .tables = sized(LEAVES * sizeof(Table))};
    for (Py_ssize_t row = 0; row < rows; row++) {
        size_t end = starts[row] + values[row].length;
        memcpy(data + starts[row], values[row].bytes, values[row].length);
        if (row + 1 < rows) __asan_poison_memory_region(data + end, starts[row + 1] - end);
    }
    long taken = 0;
    for (r.row = 0; r.row < rows; r.row++)
        taken += value(&r, data + starts[r.row], data + starts[r.row] + values[r.row].length);
    if (which < 2) look_at(&r); /* in a circle one row has several values of a leaf */
    __asan_unpoison_memory_region(data, total);
    void *const made[] = {nodes, data, r.arena, r.views, r.valid, r.codes, r.firsts, r.tables};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) free(made[i]);
    return taken;
}

int main(int count, char **arguments) {
    static Value values[MOST_VALUES];
    long wanted = count > 1 ? atol(arguments[1]) : 200000, done = 0, taken = 0;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) * 2 + 1 : 1;
    (void)read_values;
    for (int which = 0; which < 3; which++) /* every beginning of every seed */
        for (int seed = 0; seed < SEEDED; seed++)
            for (size_t length = 0; length <= strlen(SEEDS[seed]); length++) {
                values->length = length;
                memcpy(values->bytes, SEEDS[seed], length);
                taken += read_batch(values, 1, which, true);
            }
    while (done < wanted) {
        Py_ssize_t rows = drawn(2) ? 1 : 1 + (Py_ssize_t)drawn(MOST_VALUES);
        for (Py_ssize_t row = 0; row < rows; row++) {
            const char *seed = SEEDS[drawn(SEEDED)];
            values[row].length = strlen(seed);
            memcpy(values[row].bytes, seed, strlen(seed));
            for (uint64_t times = drawn(4); times; times--) damage(values + row);
        }
        taken += read_batch(values, rows, (int)drawn(3), drawn(8) != 0);
        done += rows;
    }
    printf("%ld values, %ld taken\n", done, taken);
    return 0;
}
