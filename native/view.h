/* A text as Arrow's string-view layout has it: short ones within the view, longer ones in a buffer. */
#ifndef LETHE_VIEW_H
#define LETHE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(ptrdiff_t) == 8, "sizes are worked out in 64 bits"); /* elsewhere everything goes the general way */

enum { INLINED = 12 };

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

_Static_assert(sizeof(View) == 16, "the size Arrow gives a view");

#endif
