/* csv.h: comma-separated values (RFC 4180). SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Written here, and not left to libcsv, because of what that one doesn't tell or bound: the line on which a record
 * begins (fields hold line breaks), the size of a field, and records that go wrong without ending the file. */
#ifndef WEIRP_CSV_H
#define WEIRP_CSV_H

#include "datasets/input.h"
#include "src/base/base.h"

enum { WEIRP_CSV_MAX_FIELDS = 16384, WEIRP_CSV_MAX_RECORD_BYTES = 64 << 20 };

typedef struct weirp_csv {
    weirp_input *in;  /* borrowed */
    const char *path; /* borrowed; for errors */
    size_t line;      /* on which the last record begins, from 1 */
    size_t last_line; /* on which it ends */
    size_t n;         /* fields of the last record */
    /* the library's */
    char *chunk, *end;
    size_t at_line;
    bool eof, after_lf;
    weirp_writer text;
    size_t *start, start_capacity; /* (n) of the fields in text, each NUL-terminated there */
} weirp_csv;

/* Start from {.in = ..., .path = ...}. WEIR_OK, WEIR_END, or WEIR_PARSE for a record that is wrong; after that one the
 * next can be read. Empty lines are passed over. */
weir_status weirp_csv_next(weirp_csv *csv, weir_error *err);
/* "FILE:LINE: `wrong`" of the last record, and how far it goes where it has several lines; WEIR_PARSE. */
weir_status weirp_csv_wrong(const weirp_csv *csv, const char *wrong, weir_error *err);
/* Field i < n of the last record, NUL-terminated; borrowed until the next call. */
const char *weirp_csv_field(const weirp_csv *csv, size_t i, size_t *len);
void weirp_csv_free(weirp_csv *csv); /* not its input */

#endif
