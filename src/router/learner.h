/* learner.h: what the learner's files share. learner.c opens, decides, observes, commits; feedback.c takes in what
 * others decided. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LEARNER_H
#define WEIRP_LEARNER_H

#include "src/router/learn.h"
#include "src/router/record.h"

/* Records that wait for the next commit, one after the other. */
typedef struct weirp_pending {
    weirp_writer bytes;
    size_t n, capacity;
    struct weirp_pending_record {
        size_t at, size;
        uint64_t number; /* of the decision's id; 0: not to be found */
        bool follows;    /* feedback on that decision */
    } * record;          /* (n) */
} weirp_pending;

struct weir_learner {
    weirp_store *store;
    weirp_state *state; /* NULL: lazy, and not asked for yet */
    weirp_workspace workspace;
    weir_learn_options options;
    weirp_pending pending;
    weirp_log_record record; /* the one at hand */
    bool decided;            /* the workspace holds a prompt to learn from */
    bool checkpoint_due;     /* the pool has changed: the log alone can't tell */
    uint64_t n_durable;      /* records of this handle on disk */
    uint64_t n_seen;
    size_t n_drifts, drift_capacity;
    weir_drift *drift;
    weirp_table_work beside; /* goes into the next commit; NULL: nothing */
    void *beside_user;
    weirp_watch watch; /* NULL: nobody */
    weirp_table_work save;
    void *watch_user;
    bool save_due;
    bool out_of_memory; /* a drift alarm could not be kept */
    bool broken;        /* the pool was caught half-grown: what is here must never become a checkpoint */
};

/* weir_store_set_pool on a store that is open for writing. */
weir_status weirp_store_set_pool(weirp_store *store, const weir_pool *pool, bool remove_others, weir_error *err);
/* Loads the state of a lazy learner, and says whether the learner can go on at all. */
weir_status weirp_learner_ready(weir_learner *l, weir_error *err);
/* Room for one more waiting record of `size` bytes, so that adding it can't fail. */
weir_status weirp_pending_reserve(weirp_pending *p, size_t size, weir_error *err);
void weirp_pending_add(weirp_pending *p, const uint8_t *data, size_t size, uint64_t number, bool follows);
/* Commits when as many records wait as the options say. */
weir_status weirp_learner_added(weir_learner *l, weir_error *err);
void weirp_learner_drift(void *user, size_t model, const weirp_alarm *alarm); /* a weirp_drift_fn */

#endif
