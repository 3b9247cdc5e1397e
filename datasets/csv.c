/* csv.c: RFC 4180, and what programs make of it: bare LF, quotes inside plain fields. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <stdlib.h>

#include "datasets/csv.h"

enum { NONE = -1 };

/* The next byte, or NONE at the end of the file. */
static weir_status next(weirp_csv *csv, int *c, weir_error *err) {
    if (csv->chunk == csv->end && !csv->eof) {
        size_t len = 0;
        weir_status st = weirp_input_chunk(csv->in, &csv->chunk, &len, err);
        if (st != WEIR_OK && st != WEIR_END) return st;
        csv->eof = st == WEIR_END;
        csv->end = csv->eof ? csv->chunk : csv->chunk + len;
    }
    *c = csv->eof ? NONE : (unsigned char)*csv->chunk++;
    if (*c != NONE) csv->after_lf = *c == '\n';
    if (*c == '\n') csv->at_line++;
    return WEIR_OK;
}

static void unread_lf_after_cr(weirp_csv *csv, weir_status *st, weir_error *err) {
    int c;
    *st = next(csv, &c, err);
    if (*st || c == '\n' || c == NONE) return;
    csv->chunk--; /* a lone CR ends a record as well; the byte after it begins the next */
}

static bool begin_field(weirp_csv *csv) {
    if (!weirp_reserve((void **)&csv->start, &csv->start_capacity, csv->n + 1, sizeof *csv->start)) return false;
    csv->start[csv->n++] = csv->text.size;
    return true;
}

static void keep(weirp_csv *csv, int c) {
    char byte = (char)c;
    weirp_put(&csv->text, &byte, 1);
}

/* What follows in the chunk and is nothing but text, at once. */
static void keep_run(weirp_csv *csv, bool quoted) {
    char *s = csv->chunk;
    if (quoted)
        while (s < csv->end && *s != '"' && *s != '\n') s++;
    else
        while (s < csv->end && *s != ',' && *s != '\n' && *s != '\r') s++;
    if (s == csv->chunk) return;
    weirp_put(&csv->text, csv->chunk, (size_t)(s - csv->chunk));
    csv->after_lf = false; /* a run has none */
    csv->chunk = s;
}

weir_status weirp_csv_wrong(const weirp_csv *csv, const char *wrong, weir_error *err) {
    if (csv->last_line <= csv->line)
        return weirp_fail(err, WEIR_PARSE, csv->line, "%s:%zu: %s", csv->path, csv->line, wrong);
    return weirp_fail(err, WEIR_PARSE, csv->line, "%s:%zu: %s (by its quotes all of lines %zu to %zu is one record)",
                      csv->path, csv->line, wrong, csv->line, csv->last_line);
}

enum { PLAIN_START, PLAIN, QUOTED, QUOTE_IN_QUOTED };

weir_status weirp_csv_next(weirp_csv *csv, weir_error *err) {
    int state = PLAIN_START, c;
    const char *wrong = NULL;
    weir_status st = WEIR_OK;
    csv->n = 0;
    csv->text.size = 0;
    csv->line = csv->at_line + 1;
    csv->last_line = 0;
    if (!begin_field(csv)) return weirp_nomem(err);
    for (;;) {
        if ((st = next(csv, &c, err)) != WEIR_OK) return st;
        if (c == NONE && csv->n == 1 && state == PLAIN_START && !csv->text.size) return WEIR_END;
        if (c == NONE && state == QUOTED) wrong = "a quoted field doesn't end: is the file cut off?";
        if (c == NONE) break;
        if (state == QUOTED) {
            if (c == '"')
                state = QUOTE_IN_QUOTED;
            else
                keep(csv, c), keep_run(csv, true);
        } else if (c == '"' && state != PLAIN) {
            if (state == QUOTE_IN_QUOTED) keep(csv, c);
            state = QUOTED;
        } else if (c == ',') {
            keep(csv, 0);
            if (csv->n >= WEIRP_CSV_MAX_FIELDS)
                wrong = "too many fields";
            else if (!begin_field(csv))
                return weirp_nomem(err);
            state = PLAIN_START;
        } else if (c == '\n' || c == '\r') {
            if (c == '\r') unread_lf_after_cr(csv, &st, err);
            if (st) return st;
            if (csv->n > 1 || state != PLAIN_START) break;
            csv->line = csv->at_line + 1; /* an empty line */
        } else {
            if (state == QUOTE_IN_QUOTED) wrong = "text follows a closing quote: quotes inside are written twice";
            state = PLAIN;
            keep(csv, c);
            keep_run(csv, false);
        }
        if (csv->text.size > WEIRP_CSV_MAX_RECORD_BYTES) {
            wrong = "a record is longer than 64 MiB";
            csv->text.size = csv->start[csv->n - 1] = 0;
        }
    }
    csv->last_line = csv->at_line + (c == NONE && !csv->after_lf);
    keep(csv, 0);
    if (csv->text.failed) return weirp_nomem(err);
    return wrong ? weirp_csv_wrong(csv, wrong, err) : WEIR_OK;
}

const char *weirp_csv_field(const weirp_csv *csv, size_t i, size_t *len) {
    size_t end = i + 1 < csv->n ? csv->start[i + 1] : csv->text.size;
    if (len) *len = end - csv->start[i] - 1;
    return (const char *)csv->text.data + csv->start[i];
}

void weirp_csv_free(weirp_csv *csv) {
    weirp_writer_free(&csv->text);
    free(csv->start);
    csv->start = NULL;
}
