/* What C that is called from Python needs of it, and where nothing is called from Python never calls; and what harnesses share.
 *
 * An empty Python.h stands in for the real one.
 */
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef ptrdiff_t Py_ssize_t;
typedef struct PyObject PyObject;
typedef struct { void *buf; PyObject *obj; Py_ssize_t len; } Py_buffer;
typedef struct { const char *name; PyObject *(*call)(PyObject *, PyObject *); int how; const char *doc; } PyMethodDef;
struct PyModuleDef { int head; const char *name, *doc; int size; PyMethodDef *methods; void *a, *b, *c, *d; };
#define PyModuleDef_HEAD_INIT 0
#define PyMODINIT_FUNC PyObject *
#define PyDoc_STRVAR(name, text) static const char name[] = text
#define METH_VARARGS 1
#define Py_BEGIN_ALLOW_THREADS
#define Py_END_ALLOW_THREADS
#define Py_CLEAR(one) ((one) = NULL)
#define Py_XDECREF(one) ((void)(one))
__attribute__((unused)) static PyObject *PyExc_ValueError, *PyExc_OverflowError, *Py_None;
__attribute__((unused)) static int PyList_Type, PyTuple_Type;
static void *never(void) { abort(); }
static int not_called(const void *first, ...) { (void)first; abort(); }
#define PyList_GetItem(list, at) ((void)(list), (void)(at), (PyObject *)never())
#define PyList_Size(list) not_called(list)
#define PyList_New(size) ((void)(size), (PyObject *)never())
#define PyList_SetItem(list, at, one) not_called(list, at, one)
#define PyLong_FromLong(number) ((void)(number), (PyObject *)never())
#define PyArg_ParseTuple(...) not_called(__VA_ARGS__)
#define Py_BuildValue(...) ((PyObject *)(intptr_t)not_called(__VA_ARGS__))
#define PyBuffer_Release(buffer) not_called(buffer)
#define PyBytes_FromStringAndSize(bytes, size) ((void)(bytes), (void)(size), (PyObject *)never())
#define PyBytes_AsString(one) ((void)(one), (char *)never())
#define PyBytes_AsStringAndSize(one, start, size) not_called(one, start, size)
#define PyBytes_Check(one) not_called(one)
#define Py_IncRef(one) not_called(one)
#define Py_DecRef(one) not_called(one)
#define PyBUF_SIMPLE 0
#define PyObject_GetBuffer(one, buffer, how) not_called(one, buffer, how)
#define PyErr_Occurred() never()
#define PyErr_SetString(kind, text) not_called(kind, text)
#define PyErr_NoMemory() never()
#define PyMem_Calloc(count, size) calloc(count, size)
#define PyMem_Free(memory) free(memory)
#define PyModule_Create(definition) ((void)(definition), (PyObject *)never())
#define PyModule_AddIntConstant(made, name, number) not_called(made, name, number)

static uint64_t state;

static uint64_t drawn(uint64_t below) { /* xorshift64*: the same everywhere */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 0x2545F4914F6CDD1Du >> 32) % below;
}

static void *sized(size_t size) { /* exactly: an allocation of nothing is one, too */
    void *memory = malloc(size);
    if (!memory) abort();
    memset(memory, 0, size);
    return memory;
}
