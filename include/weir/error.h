/* error.h: status codes, and the error a caller owns and the library fills.
 *
 * Every fallible call returns a weir_status. Where it also takes a weir_error *, the struct belongs to the
 * caller, may be NULL, and holds the first error: a later one never overwrites it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include <stddef.h>

#include "weir/export.h"

WEIR_BEGIN_DECLS

/* X(name, text): the one table that codes, names and texts come from. */
#define WEIR_STATUS_TABLE(X)                                                                                           \
    X(OK, "done")                                                                                                      \
    X(END, "no more records")                                                                                          \
    X(NOMEM, "out of memory")                                                                                          \
    X(INVALID, "invalid argument")                                                                                     \
    X(PARSE, "malformed input")                                                                                        \
    X(NODATA, "no usable data")                                                                                        \
    X(NOTFOUND, "not found")                                                                                           \
    X(IO, "input or output failed")                                                                                    \
    X(NET, "network request failed")                                                                                   \
    X(BUSY, "in use by another writer")                                                                                \
    X(READONLY, "read-only")                                                                                           \
    X(FULL, "no space left")                                                                                           \
    X(FOREIGN, "not a weir store")                                                                                     \
    X(NEWER, "written by a newer version")                                                                             \
    X(CORRUPT, "damaged")                                                                                              \
    X(NUMERIC, "numerical failure")                                                                                    \
    X(CANCELED, "canceled")

typedef enum weir_status {
#define WEIR_STATUS_ENUM(name, text) WEIR_##name,
    WEIR_STATUS_TABLE(WEIR_STATUS_ENUM)
#undef WEIR_STATUS_ENUM
} weir_status;

#define WEIR_ERROR_TEXT 512

/* Zero-initialise before the first call: weir_error err = {0}; */
typedef struct weir_error {
    weir_status status;         /* WEIR_OK while nothing has failed */
    size_t line;                /* line of the input that was at fault, from 1; 0: none */
    char text[WEIR_ERROR_TEXT]; /* one sentence, with file and line where there is one; always terminated */
} weir_error;

/* The code's name ("WEIR_PARSE") and its generic text; borrowed, static. Unknown codes give "WEIR_UNKNOWN". */
WEIR_API const char *weir_status_name(weir_status status);
WEIR_API const char *weir_status_text(weir_status status);

/* The library's version, "MAJOR.MINOR.PATCH"; borrowed, static. */
WEIR_API const char *weir_version(void);

/* Called now and then during long work; total 0: unknown. A non-zero return asks the work to stop (WEIR_CANCELED). */
typedef int (*weir_progress_fn)(void *user, const char *stage, size_t done, size_t total);

WEIR_END_DECLS

#endif
