/* journal_hold.c: the process that has the store: it learns, and takes in what others leave in the inbox. What comes
 * out of the inbox goes in the transaction that logs it, so that it is logged once, whenever the process is killed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/gateway/journal/journal_parts.h"
#include "src/gateway/journal/rollout.h"

enum { GROUP = 4096 /* records a transaction at most */ };

/* ---- opening ---- */

static weir_status learner_open(weirp_journal *j, bool create, weir_error *err) {
    weir_learn_options options = {.create = create, .pool = j->pool, .group_commit = SIZE_MAX, .lazy = true};
    weir_status st = weir_learner_open(&j->learner, j->store, &options, err);
    if (st != WEIR_OK) return st;
    st = weirp_rollout_hold(j->rollout, j->learner, err);
    if (st != WEIR_OK) {
        weir_status closed = weir_learner_close(j->learner, NULL);
        (void)closed; /* nothing has been done with it */
        j->learner = NULL;
        return st;
    }
    weirp_store_close(j->joined);
    j->joined = NULL;
    j->table_seen = UINT64_MAX;
    atomic_store(&j->holder, true);
    return WEIR_OK;
}

static weir_status make_store(const char *path, const weir_pool *pool, weir_error *err) {
    weir_learner *learner = NULL;
    weir_learn_options options = {.create = true, .pool = pool};
    weir_status st = weir_learner_open(&learner, path, &options, err);
    return st == WEIR_OK ? weir_learner_close(learner, err) : st;
}

/* The store with at least the pool's models, as a router with the pool's prices. */
static weir_status bring_up(const char *path, const weir_pool *pool, weir_router **router, weir_error *err) {
    weir_status st = WEIR_OK;
    if (access(path, F_OK) != 0 && errno == ENOENT) WEIRP_TRY(make_store(path, pool, err));
    WEIRP_TRY(weir_router_open(router, path, err));
    if (weirp_journal_lacks(*router, pool)) {
        weir_router_close(*router);
        *router = NULL;
        WEIRP_TRY(weir_store_set_pool(path, pool, false, err));
        WEIRP_TRY(weir_router_open(router, path, err));
    }
    weirp_router_reprice(*router, pool);
done:
    return st;
}

weir_status weirp_journal_hold(weirp_journal *j, weir_router **router, weir_error *err) {
    weir_status st = router ? bring_up(j->store, j->pool, router, err) : WEIR_OK;
    if (st == WEIR_OK) st = learner_open(j, router != NULL, err);
    if (st == WEIR_OK || !router) return st;
    weir_router_close(*router);
    *router = NULL;
    return st;
}

weir_status weirp_journal_close_learner(weirp_journal *j, weir_error *err) {
    weir_status st = weir_learner_close(j->learner, err);
    j->learner = NULL;
    atomic_store(&j->holder, false);
    weirp_inbox_taken_free(&j->inbox); /* it went with the last commit, or is still there */
    return st;
}

/* ---- publishing ---- */

void weirp_journal_refresh(weirp_journal *j) {
    weir_error err = {0};
    weir_router *router = NULL;
    if (weirp_learner_router(j->learner, &router, &err) != WEIR_OK) {
        weirp_journal_complain(j, "what was learned can't be used yet", &err);
        j->refreshed_ns = weirp_monotonic_ns();
        return;
    }
    weirp_router_reprice(router, j->pool);
    weirp_journal_publish(j, router);
}

/* Models that are new go into the store first. */
weir_status weirp_journal_set_pool(weirp_journal *j, weirp_journal_item *it, weir_error *err) {
    weir_router *router = NULL;
    weir_status st;
    WEIRP_TRY(weirp_learner_router(j->learner, &router, err));
    if (weirp_journal_lacks(router, it->pool)) {
        weir_router_close(router);
        router = NULL;
        WEIRP_TRY(weirp_learner_set_pool(j->learner, it->pool, err));
        WEIRP_TRY(weirp_learner_router(j->learner, &router, err));
    }
    weir_pool *old = j->pool;
    j->pool = it->pool;
    it->pool = old;
    weirp_router_reprice(router, j->pool);
    weirp_journal_publish(j, router);
done:
    return st;
}

/* ---- learning ---- */

/* Whether other processes are there whose records may be on their way. Their sign may not have been seen yet. */
static bool has_others(weirp_journal *j) {
    weirp_snapshot *snapshot = NULL;
    uint64_t values, bytes, ever;
    if (j->others || weirp_snapshot_begin(&snapshot, weirp_learner_store(j->learner), NULL) != WEIR_OK)
        return j->others;
    if (weirp_inbox_count(snapshot, &values, &bytes, &ever, NULL) == WEIR_OK) j->others = ever != j->ever_seen;
    weirp_snapshot_end(snapshot);
    return j->others;
}

static void learn(weirp_journal *j, weirp_journal_item *it) {
    weir_error err = {0};
    if (it->kind == ITEM_RECORD) {
        it->status = weirp_learner_append(j->learner, it->data, it->size, &err);
        if (it->status != WEIR_OK) weirp_journal_complain(j, "a record can't be logged", &err);
    } else {
        weirp_feedback f = {it->id, it->quality, it->source, it->model};
        it->status = weirp_learner_feedback(j->learner, &f, &err);
        if (it->status == WEIR_NOTFOUND && has_others(j)) weirp_journal_hold_on(j, it);
    }
    j->learned |= it->status == WEIR_OK;
    snprintf(it->what, sizeof it->what, "%.159s", err.text);
}

void weirp_journal_learn(weirp_journal *j) {
    weir_error err = {0};
    weir_status st = WEIR_OK;
    size_t since = 0;
    for (size_t i = 0; i < j->taken.n; i++) {
        if (j->taken.items[i].kind == ITEM_POOL) continue;
        learn(j, &j->taken.items[i]);
        if (++since == GROUP && st == WEIR_OK) {
            st = weir_learner_commit(j->learner, &err);
            since = 0;
        }
    }
    if (j->taken.n && st == WEIR_OK) st = weir_learner_commit(j->learner, &err);
    if (st == WEIR_OK) return;
    weirp_journal_complain(j, "the log can't be written", &err);
    for (size_t i = 0; i < j->taken.n; i++) {
        weirp_journal_item *it = &j->taken.items[i];
        if (it->kind != ITEM_FEEDBACK || it->status != WEIR_OK || it->held) continue;
        it->status = st;
        snprintf(it->what, sizeof it->what, "%.159s", err.text);
    }
}

/* ---- the inbox ---- */

/* Whether trying again later can't help. */
static bool is_refusal(weir_status st) {
    return st == WEIR_NOTFOUND || st == WEIR_INVALID || st == WEIR_CORRUPT || st == WEIR_PARSE || st == WEIR_NEWER;
}

/* WEIR_OK: taken in, or refused for good. */
static weir_status take_in(weirp_journal *j, const weirp_inbox_item *item, weir_error *err) {
    weir_error why = {0};
    weir_status st = item->data ? weirp_learner_append(j->learner, item->data, item->size, &why)
                                : weirp_learner_feedback(j->learner, &item->feedback, &why);
    if (st == WEIR_OK) {
        j->learned = true;
        return WEIR_OK;
    }
    if (!is_refusal(st)) return weirp_fail(err, st, 0, "%s", why.text);
    if (item->data)
        weirp_journal_complain(j, "a record from the inbox can't be logged", &why);
    else
        WEIRP_COUNT(j->n_refused, 1); /* two processes had taken the same feedback */
    return WEIR_OK;
}

/* Everything that has been copied out. Where something can't be taken in now, it stays in the inbox with all that
 * follows it. */
static weir_status take_in_all(weirp_journal *j, weir_error *err) {
    weirp_inbox_taken *t = &j->inbox;
    t->rest_at = 0;
    for (size_t i = 0; i < t->n; i++) {
        const uint8_t *value = t->bytes.data + t->place[i].at;
        weir_error why = {0};
        size_t at = 0, before = 0;
        weirp_inbox_item item;
        weir_status st;
        while ((st = weirp_inbox_next(value, t->place[i].size, &at, &item, &why)) == WEIR_OK) {
            st = take_in(j, &item, err);
            if (st != WEIR_OK) {
                t->n = before ? i + 1 : i;
                t->rest_at = before;
                t->whole = false;
                return st;
            }
            before = at;
        }
        if (st != WEIR_END) weirp_journal_complain(j, "a value of the inbox is left out", &why);
    }
    return WEIR_OK;
}

/* Copies the next values out, if there may be some. */
static weir_status look_in(weirp_journal *j, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    uint64_t values, bytes, ever, version;
    weir_status st;
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, weirp_learner_store(j->learner), err));
    version = weirp_snapshot_table_version(snapshot);
    if (version == j->table_seen) goto done;
    WEIRP_TRY(weirp_inbox_count(snapshot, &values, &bytes, &ever, err));
    if (j->table_seen == UINT64_MAX) j->ever_seen = ever;
    j->others |= values || ever != j->ever_seen;
    if (values) WEIRP_TRY(weirp_inbox_take(&j->inbox, snapshot, err));
    j->inbox_more = values && !j->inbox.whole;
    if (!j->inbox_more) j->table_seen = version;
done:
    weirp_snapshot_end(snapshot);
    return st;
}

void weirp_journal_drain(weirp_journal *j) {
    weir_error err = {0};
    weir_status st = WEIR_OK;
    j->drained_ns = weirp_monotonic_ns();
    j->inbox_more = false;
    if (!weirp_learner_has_beside(j->learner)) { /* else the last commit has failed: first that */
        weirp_inbox_taken_free(&j->inbox);
        st = look_in(j, &err);
        if (st == WEIR_OK && !j->inbox.n) return;
        if (st == WEIR_OK) st = take_in_all(j, &err);
        if (st != WEIR_OK) {
            weirp_journal_complain(j, "the inbox can't be taken in yet", &err);
            j->table_seen = UINT64_MAX - 1;
            j->inbox_more = false;
        }
        if (j->inbox.n) weirp_learner_beside(j->learner, weirp_inbox_remove, &j->inbox);
    }
    if (!weirp_learner_has_beside(j->learner)) return;
    if (weir_learner_commit(j->learner, &err) == WEIR_OK)
        weirp_inbox_taken_free(&j->inbox);
    else
        weirp_journal_complain(j, "the log can't be written", &err);
}

/* ---- the rollout ---- */

void weirp_journal_gate(weirp_journal *j) {
    weir_error err = {0};
    if (weirp_rollout_look(j->rollout, j->learner) && weir_learner_commit(j->learner, &err) != WEIR_OK)
        weirp_journal_complain(j, "the log can't be written", &err);
    weirp_rollout_committed(j->rollout, j->learner);
}

/* ---- closing ---- */

static bool inbox_waits(weirp_journal *j) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    uint64_t values = 0, bytes, ever;
    weir_status st = weirp_store_open(&store, j->store, WEIRP_STORE_READ, NULL);
    if (st == WEIR_OK) st = weirp_snapshot_begin(&snapshot, store, NULL);
    if (st == WEIR_OK) st = weirp_inbox_count(snapshot, &values, &bytes, &ever, NULL);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return st == WEIR_OK && values;
}

/* Whoever lets go of the store looks at the inbox once more afterwards, and whoever has left something there tries to
 * get the store afterwards: so of several that end together, one takes in what is left. */
weir_status weirp_journal_let_go(weirp_journal *j, weir_error *err) {
    enum { ROUNDS = 8, MOST = 2 * WEIRP_INBOX_MOST / WEIRP_INBOX_ROUND };
    weir_status st = WEIR_OK;
    for (int round = 0; st == WEIR_OK && round < ROUNDS; round++) {
        if (!j->learner && learner_open(j, false, NULL) != WEIR_OK) return WEIR_OK; /* somebody else has it now */
        for (int i = 0; i < MOST; i++) {
            weirp_journal_drain(j);
            if (!j->inbox_more) break;
        }
        st = weirp_journal_close_learner(j, err);
        if (st != WEIR_OK || !inbox_waits(j)) return st;
    }
    return st;
}
