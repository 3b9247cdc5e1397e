/* lognames.h: which models the indices of log records mean, through all the trainings that the log has seen.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGNAMES_H
#define WEIRP_LOGNAMES_H

#include "src/store/store.h"
#include "weir/pool.h"

/* Names that models had since a training. */
typedef struct weirp_names_then {
    uint64_t since; /* commit */
    size_t n;
    char **name; /* (n) */
} weirp_names_then;

typedef struct weirp_log_names {
    weir_pool *pool;          /* of the last training; new */
    uint64_t trained_version; /* and its commit */
    weirp_names_then *old;    /* (n_old) ascending */
    size_t n_old, old_capacity;
} weirp_log_names;

/* Reads what the snapshot says of models' names, and nothing else. Start from zeros; free it also on failure. */
weir_status weirp_log_names_read(weirp_log_names *names, weirp_snapshot *snapshot, weir_error *err);
void weirp_log_names_free(weirp_log_names *names);

/* The names that a record of that features version goes by; NULL: the pool's. */
const weirp_names_then *weirp_log_names_then(const weirp_log_names *names, uint64_t features_version);
/* Model m of those; "?": it had no such model. Borrowed. */
const char *weirp_log_name(const weirp_log_names *names, const weirp_names_then *then, size_t m);

#endif
