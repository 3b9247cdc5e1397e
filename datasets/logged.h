/* logged.h: logs of decisions, row by row, whoever wrote them: a store's log, weir's exported lines, others' JSON lines
 * and CSV through a mapping. A row is a decision, with the chances it was made by and what came of it.
 *
 * What came of a choice is what its client got, a fallback's answer too: so a row's quality is the mean of the labels
 * on the model that answered (labels on others are left aside), its cost that of all tries. In weir's own logs a
 * session is the request's `user`: what one user asks isn't independent; where there is none, each row stands alone.
 * Keys and teams aren't sessions: one of them may be all of the traffic. docs/formats.md, "Logs for an evaluation".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGGED_H
#define WEIRP_LOGGED_H

#include "src/base/base.h"
#include "weir/data.h"
#include "weir/ope.h"

enum {
    WEIRP_LOGGED_CACHED = 1,      /* answered from a cache: no model was asked */
    WEIRP_LOGGED_FORCED = 2,      /* the client pinned the model, or nobody decided: no chance was in it */
    WEIRP_LOGGED_FALLEN_BACK = 4, /* another model answered than the one that was chosen */
    WEIRP_LOGGED_CAREFUL = 8,     /* the policy gave way to its fallback rule */
};

#define WEIRP_LOGGED_NO_TIME INT64_MIN

/* What tells a decision from all others. */
typedef enum weirp_logged_known_by {
    WEIRP_LOGGED_NAMELESS, /* nothing */
    WEIRP_LOGGED_ID,       /* its id: no other decision has it */
    WEIRP_LOGGED_CONTENT,  /* its time, its id and what came of it, among the logs of other stores: ids that callers of
                              `weir learn` give may come again */
} weirp_logged_known_by;

/* All pointers are borrowed from the reader until its next call. Texts are never NULL: "" where not known. Arrays of
 * models are as long as weirp_logged_n_models says after the call; what is not known is NAN, or the array NULL. */
typedef struct weirp_logged_row {
    const char *file; /* where it comes from */
    size_t line;      /* line number from 1; of a store: record number */
    const char *id;   /* of the decision */
    weirp_logged_known_by known_by;
    const char *session;        /* rows of one session aren't independent of each other */
    const char *segment;        /* a known part of the context, such as a position or a language */
    const char *logger;         /* which logging policy made the decision, where there were several */
    int64_t time_ms;            /* since 1970; WEIRP_LOGGED_NO_TIME */
    size_t chosen;              /* index of the model */
    double p;                   /* chance with which it was chosen, (0,1] */
    const double *propensity;   /* (n_models) summing to 1, 0 for what couldn't be chosen; NULL: only p was logged */
    const double *by_logger;    /* (n_loggers) chance of `chosen` under each logging policy; NULL: not logged */
    const char *const *loggers; /* (n_loggers) whose chances these are; NULL: numbered as the table numbers them */
    size_t n_loggers;
    const double *target;      /* (n_models) the candidate's chances, if they were logged; NULL */
    const char *trial;         /* name of the rollout whose candidate that is; "": of none, as a mapping's */
    uint64_t trial_digest;     /* of the rollout's configuration; 0: not known */
    const double *quality_hat; /* (n_models) estimates that the decision was made with; NULL */
    const double *cost_hat;    /* (n_models) USD; NULL */
    const float *dense;        /* (dim) features; NULL */
    size_t dim;
    uint64_t features_version;     /* commit of the store that dense came from; 0: not known */
    uint64_t training;             /* whose features dense are: weirp_featurizer_mark; 0: not known */
    double metric[WEIR_N_METRICS]; /* NAN: not known (LOSS always) */
    uint32_t flags;
} weirp_logged_row;

typedef struct weirp_logged weirp_logged;

typedef struct weirp_logged_options {
    const char *map; /* NULL: weir's own forms only */
    bool strict;
    weir_warning_fn warning; /* a row that was left out: file, line, key and what would be right */
    void *warning_user;
} weirp_logged_options;

/* Opens one log; its form is told by its content. *out is new. */
weir_status weirp_logged_open(weirp_logged **out, const char *path, const weirp_logged_options *options,
                              weir_error *err);
/* WEIR_OK with a row, WEIR_END after the last, or an error. Bounded memory, whatever the log's length: only a store's
 * feedback is found through its index. A row is malformed, counted and left out (strict: an error) when a propensity is
 * 0 for what was chosen, negative, above 1 or not a number, when a row's propensities don't sum to 1 (to 1e-6), when a
 * model or a metric is missing or out of range. */
weir_status weirp_logged_next(weirp_logged *logged, weirp_logged_row *row, weir_error *err);
size_t weirp_logged_n_models(const weirp_logged *logged); /* names seen so far, also in malformed rows: grows */
const char *weirp_logged_model(const weirp_logged *logged, size_t index);
/* Whether the last row names the model, or the file's header does: else only other rows know of it. */
bool weirp_logged_has_model(const weirp_logged *logged, size_t index);
size_t weirp_logged_n_malformed(const weirp_logged *logged);
size_t weirp_logged_n_other(const weirp_logged *logged); /* rows that hold no decision, such as feedback's own lines */
double weirp_logged_share(const weirp_logged *logged);   /* of the log that has been read, [0,1]; NAN: not known */
void weirp_logged_close(weirp_logged *logged);           /* NULL is fine */

/* RFC 3339 and what is near it ("2019-11-24 00:03:13.442536+00:00"; no zone: UTC), or a number since 1970: seconds,
 * and milliseconds from 10^11 on. Milliseconds. */
bool weirp_time_parse(const char *text, size_t len, int64_t *ms);

#endif
