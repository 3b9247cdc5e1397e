/* pacing_parts.h: what the pacing's two files share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PACING_PARTS_H
#define WEIRP_PACING_PARTS_H

#include <pthread.h>

#include "src/budget/pace.h"
#include "src/gateway/money/pacing.h"
#include "src/store/store.h"

struct weirp_pacing {
    weirp_pacing_options options; /* its texts are `budget` and `path` */
    char *budget, *path;
    weirp_store *store;           /* joined; the ticking thread's */
    weirp_writer saved;           /* bytes as they were in the store; empty: none, or taken up */
    uint64_t saved_ns, looked_ns; /* the ticking thread's */
    bool told_contradiction;      /* the same */
    const char *told_trouble;     /* the same */
    pthread_mutex_t mutex;        /* of all below */
    weirp_pacer *pacer;           /* NULL: the budget was never there */
    weirp_standing standing;
    const char *trouble; /* why the budget can't be paced; NULL: it can */
    weirp_pace pace;     /* as of valued_ns */
    uint64_t valued_ns;
    bool changed;  /* since it was saved */
    bool *allowed; /* (n_allowed) */
    size_t n_allowed;
};

/* Begins where the last process has ended, if it can: with a new pacer, and the mutex. */
void weirp_pacing_take_up(weirp_pacing *pacing);
/* Reads the store's bytes into `saved`. */
weir_status weirp_pacing_read(weirp_pacing *pacing, weir_error *err);
/* Without the mutex. */
weir_status weirp_pacing_save(weirp_pacing *pacing, weir_error *err);

#endif
