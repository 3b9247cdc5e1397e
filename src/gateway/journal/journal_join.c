/* journal_join.c: a process beside the one that has the store: what it has served, and feedback that came to it, go
 * into the inbox; it decides with what the other one has learned, and takes its place when that ends.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/journal/journal_parts.h"
#include "src/gateway/journal/rollout.h"

#define FULL_EVERY_NS (UINT64_C(10000) * WEIRP_JOURNAL_MS) /* log lines that the inbox is full */

/* ---- joining and following ---- */

static weir_status lacking(const weirp_journal *j, const char *model, weir_error *err) {
    return weirp_fail(
        err, WEIR_INVALID, 0,
        "%s: has no model \"%.128s\", and process %ld, which has it open, doesn't know that model either: "
        "give it the same configuration first",
        j->store, model, weirp_store_holder(j->store));
}

/* *router: with the pool's prices, if it has the pool's models. */
static weir_status open_router(const weirp_journal *j, const weir_pool *pool, weir_router **router, weir_error *err) {
    weir_status st = weir_router_open(router, j->store, err);
    if (st != WEIR_OK) return st;
    const char *model = weirp_journal_lacks(*router, pool);
    if (!model) {
        weirp_router_reprice(*router, pool);
        return WEIR_OK;
    }
    weir_router_close(*router);
    *router = NULL;
    return lacking(j, model, err);
}

weir_status weirp_journal_join(weirp_journal *j, weir_router **router, weir_error *err) {
    weirp_store *store = NULL;
    weirp_inbox_batch sign = {0};
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, j->store, WEIRP_STORE_JOIN, err));
    if (router) WEIRP_TRY(open_router(j, j->pool, router, err));
    WEIRP_TRY(weirp_inbox_put(store, &sign, err));
    WEIRP_TRY(weirp_rollout_follow(j->rollout, store, err));
    j->joined = store;
    j->gate_ns = weirp_monotonic_ns();
    j->probe_ns = weirp_monotonic_ns() + WEIRP_JOURNAL_PROBE_MS * WEIRP_JOURNAL_MS;
    char line[64];
    snprintf(line, sizeof line, "joined: process %ld learns", weirp_store_holder(j->store));
    WEIRP_LOG(j->log, WEIRP_LOG_INFO, line, WEIRP_S("store", j->store));
    return WEIR_OK;
done:
    if (router) {
        weir_router_close(*router);
        *router = NULL;
    }
    weirp_store_close(store);
    return st;
}

/* What has been stopped may not go on here for as long as what is learned may wait. */
void weirp_journal_follow_gate(weirp_journal *j) {
    weir_error err = {0};
    j->gate_ns = weirp_monotonic_ns();
    if (weirp_rollout_follow(j->rollout, j->joined, &err) != WEIR_OK)
        weirp_journal_complain(j, "how the rollout stands can't be read", &err);
}

void weirp_journal_follow(weirp_journal *j) {
    weir_error err = {0};
    weirp_snapshot *snapshot = NULL;
    weir_router *router = NULL;
    j->refreshed_ns = weirp_monotonic_ns();
    weir_status st = weirp_snapshot_begin(&snapshot, j->joined, &err);
    bool moved = st == WEIR_OK && weirp_snapshot_version(snapshot) != j->version;
    weirp_snapshot_end(snapshot);
    if (moved) st = open_router(j, j->pool, &router, &err);
    if (st != WEIR_OK)
        weirp_journal_complain(j, "what was learned can't be used yet", &err);
    else if (moved)
        weirp_journal_publish(j, router);
}

weir_status weirp_journal_join_pool(weirp_journal *j, weirp_journal_item *it, weir_error *err) {
    weir_router *router = NULL;
    weir_status st = open_router(j, it->pool, &router, err);
    if (st != WEIR_OK) return st;
    weir_pool *old = j->pool;
    j->pool = it->pool;
    it->pool = old;
    weirp_journal_publish(j, router);
    return WEIR_OK;
}

/* The file may be another one by now: then the store is left alone. */
static weir_status take_over(weirp_journal *j, weir_error *err) {
    weir_router *router = NULL;
    weir_error closing = {0};
    weir_status st = weirp_journal_hold(j, NULL, err);
    if (st != WEIR_OK) return st;
    st = weirp_learner_router(j->learner, &router, err);
    const char *model = st == WEIR_OK ? weirp_journal_lacks(router, j->pool) : NULL;
    if (st == WEIR_OK && !model) {
        weirp_router_reprice(router, j->pool);
        weirp_journal_publish(j, router);
        return WEIR_OK;
    }
    if (model) st = weirp_fail(err, WEIR_INVALID, 0, "%s: has no model \"%.128s\" any more", j->store, model);
    weir_router_close(router);
    if (weirp_journal_close_learner(j, &closing) != WEIR_OK)
        weirp_journal_complain(j, "the store can't be closed", &closing);
    return st;
}

void weirp_journal_probe(weirp_journal *j) {
    weir_error err = {0};
    uint64_t now = weirp_monotonic_ns();
    weir_status st = take_over(j, &err), joined = WEIR_OK;
    j->probe_ns = now + WEIRP_JOURNAL_PROBE_MS * WEIRP_JOURNAL_MS;
    if (st == WEIR_OK) {
        j->others = true;
        j->inbox_more = true; /* a look at once */
        WEIRP_LOG(j->log, WEIRP_LOG_INFO, "took over: this process learns", WEIRP_S("store", j->store));
        return;
    }
    if (st == WEIR_BUSY && !j->joined) {
        err = (weir_error){0};
        joined = weirp_journal_join(j, NULL, &err);
    }
    if (st == WEIR_BUSY && (joined == WEIR_OK || joined == WEIR_BUSY)) return;
    weirp_journal_complain(j, "the store can't be opened", &err);
    j->probe_ns = now + FULL_EVERY_NS;
}

/* ---- whether a feedback's decision is known ---- */

typedef struct ask {
    weirp_journal_item *item;
    uint64_t number;
    size_t order;
    weirp_feedback feedback;
    weirp_seen seen;
} ask;

typedef struct asks {
    size_t n;
    ask *ask; /* (n) by number, then as they came */
} asks;

static int by_number(const void *a, const void *b) {
    const ask *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* The first with a number not below. */
static size_t first_of(const asks *a, uint64_t number) {
    size_t lo = 0, hi = a->n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (a->ask[middle].number < number)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static weir_status see_item(ask *q, const weirp_inbox_item *item, weir_error *err) {
    if (item->data) return weirp_seen_in(&q->seen, &q->feedback, item->data, item->size, err);
    q->seen.repeated |=
        !strcmp(item->feedback.id, q->feedback.id) && !strcmp(item->feedback.source, q->feedback.source);
    return WEIR_OK;
}

static weir_status see_value(void *user, uint64_t sequence, const uint8_t *data, size_t size, weir_error *err) {
    asks *a = user;
    size_t at = 0;
    weirp_inbox_item item;
    weir_status st;
    (void)sequence;
    while ((st = weirp_inbox_next(data, size, &at, &item, err)) == WEIR_OK)
        for (size_t i = first_of(a, item.number); item.number && i < a->n && a->ask[i].number == item.number; i++)
            WEIRP_TRY(see_item(&a->ask[i], &item, err));
done:
    return st == WEIR_END ? WEIR_OK : st;
}

/* The log, the inbox, and what is about to go into it. */
static weir_status see_all(weirp_journal *j, asks *a, const weirp_inbox_batch *batch, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    weir_status st;
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, j->joined, err));
    for (size_t i = 0; i < a->n; i++) WEIRP_TRY(weirp_seen_log(&a->ask[i].seen, &a->ask[i].feedback, snapshot, err));
    WEIRP_TRY(weirp_inbox_scan(snapshot, see_value, a, err));
    for (size_t i = 0; i < batch->n; i++) WEIRP_TRY(see_value(a, 0, batch->value[i].data, batch->value[i].size, err));
done:
    weirp_snapshot_end(snapshot);
    return st;
}

static void refuse(weirp_journal_item *it, weir_status status, const char *what) {
    it->status = status;
    snprintf(it->what, sizeof it->what, "%.159s", what);
}

/* Whether one with the same id and source, before this one, has been accepted. */
static bool said_before(const asks *a, size_t i) {
    for (size_t k = i; k-- > 0 && a->ask[k].number == a->ask[i].number;)
        if (a->ask[k].item->status == WEIR_OK && !strcmp(a->ask[k].feedback.id, a->ask[i].feedback.id) &&
            !strcmp(a->ask[k].feedback.source, a->ask[i].feedback.source))
            return true;
    return false;
}

/* The same answers as the learner gives. */
static void judge(weirp_journal *j, const asks *a, size_t i) {
    const ask *q = &a->ask[i];
    char what[128];
    if (!q->seen.decision) {
        refuse(q->item, WEIR_NOTFOUND, "");
        weirp_journal_hold_on(j, q->item);
    } else if (q->seen.repeated || said_before(a, i)) {
        snprintf(what, sizeof what, "\"%.63s\" has given feedback on this decision before", q->feedback.source);
        refuse(q->item, WEIR_INVALID, what);
    } else if (!q->seen.answered && !q->feedback.model) {
        refuse(q->item, WEIR_INVALID, "nobody answered this request: say which model the feedback is on");
    } else {
        q->item->status = WEIR_OK;
    }
}

static weir_status ask_all(weirp_journal *j, const weirp_inbox_batch *batch, weir_error *err) {
    asks a = {0, weirp_array(j->taken.n, sizeof *a.ask)};
    if (!a.ask) return weirp_nomem(err);
    for (size_t i = 0; i < j->taken.n; i++) {
        weirp_journal_item *it = &j->taken.items[i];
        if (it->kind != ITEM_FEEDBACK) continue;
        it->status = WEIR_NOTFOUND; /* until it has been judged */
        weirp_feedback f = {it->id, it->quality, it->source, it->model};
        a.ask[a.n++] = (ask){.item = it, .number = weirp_id_number(it->id), .order = i, .feedback = f};
    }
    if (a.n) qsort(a.ask, a.n, sizeof *a.ask, by_number);
    weir_status st = a.n ? see_all(j, &a, batch, err) : WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < a.n; i++) judge(j, &a, i);
    free(a.ask);
    return st;
}

/* ---- leaving ---- */

static size_t add_records(weirp_journal *j, weirp_inbox_batch *batch) {
    size_t n = 0;
    for (size_t i = 0; i < j->taken.n; i++) {
        const weirp_journal_item *it = &j->taken.items[i];
        if (it->kind != ITEM_RECORD) continue;
        if (weirp_inbox_add_record(batch, it->data, it->size) == WEIR_OK)
            n++;
        else
            WEIRP_COUNT(j->n_dropped, 1);
    }
    return n;
}

static weir_status add_feedback(weirp_journal *j, weirp_inbox_batch *batch) {
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < j->taken.n; i++) {
        const weirp_journal_item *it = &j->taken.items[i];
        weirp_feedback f = {it->id, it->quality, it->source, it->model};
        if (it->kind == ITEM_FEEDBACK && it->status == WEIR_OK && !it->held) st = weirp_inbox_add_feedback(batch, &f);
    }
    return st;
}

/* Those that were to be accepted, or, where nothing is known of any, all. */
static void fail_feedback(weirp_journal *j, weir_status st, bool all, const char *what) {
    for (size_t i = 0; i < j->taken.n; i++) {
        weirp_journal_item *it = &j->taken.items[i];
        if (it->kind == ITEM_FEEDBACK && !it->held && (all || it->status == WEIR_OK)) refuse(it, st, what);
    }
}

void weirp_journal_leave(weirp_journal *j) {
    weir_error err = {0};
    weirp_inbox_batch batch = {0};
    size_t n = add_records(j, &batch);
    weir_status st = ask_all(j, &batch, &err);
    if (st == WEIR_OK) st = add_feedback(j, &batch);
    if (st != WEIR_OK) {
        weirp_journal_complain(j, "feedback can't be taken", &err);
        fail_feedback(j, st, true, err.text);
    }
    st = batch.n ? weirp_inbox_put(j->joined, &batch, &err) : WEIR_OK;
    weirp_inbox_batch_free(&batch);
    if (st == WEIR_OK) return;
    WEIRP_COUNT(j->n_dropped, n);
    fail_feedback(j, st, false, err.text);
    uint64_t now = weirp_monotonic_ns();
    if (st == WEIR_FULL && now < j->full_ns + FULL_EVERY_NS && j->full_ns) return;
    j->full_ns = now;
    weirp_journal_complain(j, "the inbox can't be written", &err);
}
