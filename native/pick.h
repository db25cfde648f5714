/* What Python calls of `pages.c` and `footer.c`. */
#ifndef LETHE_PICK_H
#define LETHE_PICK_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

enum { FORM_BITS, FORM_NUMBER, FORM_TEXT, FORM_BYTES };

extern const char records_doc[], where_doc[], carrying_doc[], footer_doc[];
PyObject *records(PyObject *self, PyObject *args);
PyObject *where(PyObject *self, PyObject *args);
PyObject *carrying(PyObject *self, PyObject *args);
PyObject *footer(PyObject *self, PyObject *args);

#endif
