/* logged_parts.h: what the readers of logs share; nobody outside datasets/ but their tests includes this.
 *
 * logged.c         opening, counting what is malformed, the row's memory
 * logged_check.c   what a row must be
 * logged_store.c   a store's log
 * logged_weir.c    weir's exported lines
 * logged_map.c     mappings: the YAML; logged_bind.c: others' CSV and JSON lines through one
 * logged_time.c    times as others write them
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGGED_PARTS_H
#define WEIRP_LOGGED_PARTS_H

#include "datasets/input.h"
#include "datasets/jline.h"
#include "datasets/logged.h"
#include "src/base/names.h"

enum { WEIRP_LOGGED_LINE_BYTES = 16 << 20 };

/* One form of log. `next` fills l->row, which weirp_logged_blank has cleared, through the calls below. WEIR_PARSE: the
 * row is malformed, and the one after it can be read; WEIR_NOTFOUND: what is there holds no decision. */
typedef struct weirp_logged_form {
    weir_status (*next)(weirp_logged *l, weir_error *err);
    void (*close)(weirp_logged *l);
} weirp_logged_form;

/* Which of the row's arrays the row at hand fills. */
enum { HAS_PROPENSITY = 1, HAS_TARGET = 2, HAS_QUALITY = 4, HAS_COST = 8, HAS_BY_LOGGER = 16, HAS_DENSE = 32 };

struct weirp_logged {
    char *path; /* for messages */
    weirp_logged_options options;
    const weirp_logged_form *form;
    void *source; /* the form's own */
    weirp_input *input;
    weirp_names models;
    size_t n_malformed, n_other;
    bool fatal; /* the last failure was not a row's */
    weirp_logged_row row;
    unsigned has;
    /* (models.n), in room for `capacity` */
    double *propensity, *target, *quality_hat, *cost_hat;
    uint64_t *named; /* (models.n) number of the row that named it last; 0: the header did, for every row */
    uint64_t n_read; /* rows so far, whatever became of them */
    size_t capacity;
    double *by_logger; /* (n_loggers) */
    size_t logger_capacity;
    float *dense; /* (row.dim) */
    size_t dense_capacity;
    bool p_given;            /* p stands by itself, too: it must be what `propensity` says */
    double done_n, done_all; /* how far it is; done_all 0: not known */
};

/* The row as it is before anything is known. */
void weirp_logged_blank(weirp_logged *l);
/* The model's index, added if it is new; key: for messages. */
weir_status weirp_logged_index(weirp_logged *l, const char *key, const char *name, size_t len, size_t *index,
                               weir_error *err);
/* The row at hand names a model whose index is known from a row before. */
static inline void weirp_logged_named(weirp_logged *l, size_t index) {
    if (l->named[index]) l->named[index] = l->n_read;
}
/* Room for n features. */
weir_status weirp_logged_dense(weirp_logged *l, size_t n, weir_error *err);
weir_status weirp_logged_loggers(weirp_logged *l, size_t n, weir_error *err);
/* "FILE:LINE: key "KEY" ...", WEIR_PARSE. */
weir_status weirp_logged_wrong(const weirp_logged *l, weir_error *err, const char *key, const char *format, ...)
    WEIR_PRINTF(4, 5);
/* Whether the filled row is what logged.h promises; makes p, and the propensities' pointers. */
weir_status weirp_logged_check(weirp_logged *l, weir_error *err);

/* An id of weir's own logs, borrowed: one that weir gave, or a caller's. */
void weirp_logged_own_id(weirp_logged *l, const char *id);

/* Whether the policy gave way to its careful rule. */
bool weirp_logged_is_careful(unsigned rule, unsigned reason);

/* The file's next line that isn't blank. WEIR_PARSE: too long. */
weir_status weirp_logged_line(weirp_logged *l, weirp_line *line, weir_error *err);
/* The line as one JSON object. */
weir_status weirp_logged_json(weirp_logged *l, weirp_jline *json, const weirp_line *line, weir_error *err);

weir_status weirp_logged_open_store(weirp_logged *l, const char *path, weir_error *err);
weir_status weirp_logged_open_weir(weirp_logged *l, weir_error *err);
weir_status weirp_logged_open_mapped(weirp_logged *l, weir_error *err);

#endif
