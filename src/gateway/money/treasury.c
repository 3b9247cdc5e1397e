/* treasury.c: one thread that posts. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/money/treasury.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/budget/ledger.h"

enum {
    AFTER_FAILURE_MS = 100,
    LOOK_MS = 500, /* at keys that may have changed */
    AGAIN_MS = 50, /* for a key that isn't known: who guesses keys mustn't have the store read for each */
    TICK_MS = 200,
    GLANCE_MS = 1000, /* at how budgets stand, for whoever scrapes */
};

struct weirp_treasury {
    weirp_bank *bank;
    weirp_treasury_options options;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool woken, stopping;     /* guarded by mutex */
    weirp_keys *keys;         /* guarded by mutex; NULL: none */
    void (*tick)(void *user); /* guarded by mutex; NULL: none */
    void *tick_user;
    uint64_t ticked_ns;
    weirp_budget_glance *glance; /* (n_glance,) of WEIRP_BUDGET_FACTS; guarded by mutex, as are these two */
    size_t n_glance, n_budgets;
    weirp_budget_glance *fresh; /* of as many: the thread's own */
    uint64_t glanced_ns, glanced_version;
    int64_t glanced_until_s; /* when the first of their periods ends */
    weirp_limiter *limiter;
    weirp_store *store;      /* for reading */
    pthread_mutex_t looking; /* guards looked_ns, and who exchanges the keys */
    uint64_t looked_ns;
    _Atomic uint64_t posts, errors, warnings, waited, actions[WEIRP_N_BUDGET_ACTIONS];
};

static void wake(void *user) {
    weirp_treasury *t = user;
    pthread_mutex_lock(&t->mutex);
    bool first = !t->woken;
    t->woken = true;
    pthread_mutex_unlock(&t->mutex);
    if (first) pthread_cond_signal(&t->wake);
}

static void warn(void *user, const weirp_budget *b, const char *scope, double share, int64_t spent, int64_t limit,
                 int64_t period_end) {
    weirp_treasury *t = user;
    weirp_warning w = {.unit = b->unit, .share = share, .spent = spent, .limit = limit, .period_end = period_end};
    snprintf(w.budget, sizeof w.budget, "%s", b->name);
    snprintf(w.scope, sizeof w.scope, "%s", scope ? scope : "");
    t->warnings++;
    WEIRP_LOG(t->options.log, WEIRP_LOG_WARN, "a budget is used up to this share", WEIRP_S("budget", w.budget),
              WEIRP_S("scope", w.scope[0] ? w.scope : NULL), WEIRP_F("share", share),
              WEIRP_S("unit", weirp_unit_name(w.unit)), WEIRP_F("spent", weirp_unit_value(w.unit, spent)),
              WEIRP_F("limit", weirp_unit_value(w.unit, limit)), WEIRP_B("hard", b->hard));
    if (t->options.warned) t->options.warned(t->options.user, &w);
}

/* Until woken, or `ms` have passed. Gives whether to go on. */
static bool rest(weirp_treasury *t, unsigned ms) {
    uint64_t until = weirp_monotonic_ns() + ms * UINT64_C(1000000);
    struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    pthread_mutex_lock(&t->mutex);
    while (!t->woken && !t->stopping && pthread_cond_timedwait(&t->wake, &t->mutex, &at) != ETIMEDOUT) {
    }
    t->woken = false;
    bool go_on = !t->stopping;
    pthread_mutex_unlock(&t->mutex);
    return go_on;
}

/* ---- keys ---- */

weirp_keys *weirp_treasury_keys(weirp_treasury *t) {
    pthread_mutex_lock(&t->mutex);
    weirp_keys *keys = t->keys ? weirp_keys_keep(t->keys) : NULL;
    pthread_mutex_unlock(&t->mutex);
    return keys;
}

static weir_status load_keys(weirp_treasury *t, weirp_snapshot *snapshot, weir_error *err) {
    weirp_keys *made = NULL;
    weir_status st = weirp_keys_load(&made, snapshot, t->keys, err);
    if (st != WEIR_OK) return st;
    if (weirp_keys_n_unreadable(made))
        WEIRP_LOG(t->options.log, WEIRP_LOG_ERROR, "keys of the store can't be read: they are unknown",
                  WEIRP_I("keys", weirp_keys_n_unreadable(made)));
    pthread_mutex_lock(&t->mutex);
    weirp_keys *old = t->keys;
    t->keys = made;
    pthread_mutex_unlock(&t->mutex);
    weirp_keys_drop(old);
    return WEIR_OK;
}

/* Unless somebody has looked less than `ms` ago. */
static weir_status look_at_keys(weirp_treasury *t, unsigned ms, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    uint64_t version = 0, now = weirp_monotonic_ns();
    pthread_mutex_lock(&t->looking);
    if (t->looked_ns && now - t->looked_ns < ms * UINT64_C(1000000)) {
        pthread_mutex_unlock(&t->looking);
        return WEIR_OK;
    }
    t->looked_ns = now;
    weir_status st = weirp_snapshot_begin(&snapshot, t->store, err);
    if (st == WEIR_OK) st = weirp_keys_version(snapshot, &version, err);
    if (st == WEIR_OK && version != (t->keys ? weirp_keys_loaded_version(t->keys) : 0))
        st = load_keys(t, snapshot, err);
    weirp_snapshot_end(snapshot);
    pthread_mutex_unlock(&t->looking);
    return st;
}

/* ---- how budgets stand ---- */

static weir_status look_at_budgets(weirp_treasury *t, weir_error *err) {
    const uint64_t now = weirp_monotonic_ns();
    const int64_t now_s = weirp_unix_ms() / 1000;
    weirp_snapshot *snapshot = NULL;
    size_t n, n_budgets;
    if (t->glanced_ns && now - t->glanced_ns < GLANCE_MS * UINT64_C(1000000)) return WEIR_OK;
    const bool first = !t->glanced_ns;
    t->glanced_ns = now;
    weir_status st = weirp_snapshot_begin(&snapshot, t->store, err);
    if (st) return st;
    const uint64_t version = weirp_snapshot_table_version(snapshot);
    if (!first && version == t->glanced_version && now_s < t->glanced_until_s) goto done; /* nothing has moved */
    WEIRP_TRY(
        weirp_ledger_glance(weirp_snapshot_table(snapshot), now_s, t->fresh, WEIRP_BUDGET_FACTS, &n, &n_budgets, err));
    t->glanced_version = version;
    t->glanced_until_s = INT64_MAX;
    for (size_t i = 0; i < n; i++)
        if (t->fresh[i].span.end < t->glanced_until_s) t->glanced_until_s = t->fresh[i].span.end;
    pthread_mutex_lock(&t->mutex);
    weirp_budget_glance *old = t->glance;
    t->glance = t->fresh;
    t->fresh = old;
    t->n_glance = n;
    t->n_budgets = n_budgets;
    pthread_mutex_unlock(&t->mutex);
done:
    weirp_snapshot_end(snapshot);
    return st;
}

size_t weirp_treasury_facts(weirp_treasury *t, weirp_budget_fact fact[WEIRP_BUDGET_FACTS], size_t *n_budgets) {
    pthread_mutex_lock(&t->mutex);
    const size_t n = t->n_glance;
    *n_budgets = t->n_budgets;
    for (size_t i = 0; i < n; i++) {
        const weirp_budget_glance *g = &t->glance[i];
        fact[i] = (weirp_budget_fact){.unit = weirp_unit_name(g->unit),
                                      .limit = weirp_unit_value(g->unit, g->limit),
                                      .spent = weirp_unit_value(g->unit, g->spent),
                                      .leased = weirp_unit_value(g->unit, g->leased),
                                      .unproven = weirp_unit_value(g->unit, g->unproven),
                                      .accounts = (double)g->n_accounts,
                                      .highest_ratio = g->highest_share,
                                      .period_end_s = g->span.end < INT64_MAX ? (double)g->span.end : INFINITY};
        memcpy(fact[i].name, g->name, sizeof fact[i].name);
        if (g->cut) fact[i].spent = fact[i].leased = fact[i].unproven = fact[i].highest_ratio = NAN;
    }
    pthread_mutex_unlock(&t->mutex);
    return n;
}

/* ---- the thread ---- */

static void complain(weirp_treasury *t, const char *what, const weir_error *err) {
    t->errors++;
    WEIRP_LOG(t->options.log, WEIRP_LOG_ERROR, what, WEIRP_S("error", err->text),
              WEIRP_S("status", weir_status_name(err->status)));
}

static void tick(weirp_treasury *t) {
    uint64_t now = weirp_monotonic_ns();
    if (t->ticked_ns && now - t->ticked_ns < TICK_MS * UINT64_C(1000000)) return;
    t->ticked_ns = now;
    pthread_mutex_lock(&t->mutex);
    void (*what)(void *) = t->tick;
    void *user = t->tick_user;
    pthread_mutex_unlock(&t->mutex);
    if (what) what(user);
}

static void *run(void *user) {
    weirp_treasury *t = user;
    unsigned wait_ms = 0;
    while (rest(t, wait_ms)) {
        weir_error err = {0}, unread = {0}, unseen = {0};
        t->posts++;
        if (weirp_bank_post(t->bank, &wait_ms, &err) != WEIR_OK) {
            wait_ms = AFTER_FAILURE_MS;
            complain(t, "the ledger can't be written", &err);
        }
        if (look_at_keys(t, LOOK_MS, &unread) != WEIR_OK) complain(t, "the keys can't be read", &unread);
        if (look_at_budgets(t, &unseen) != WEIR_OK) complain(t, "the budgets can't be read", &unseen);
        tick(t);
        if (wait_ms > LOOK_MS) wait_ms = LOOK_MS;
    }
    return NULL;
}

static weir_status start(weirp_treasury *t, weir_error *err) {
    int rc = pthread_create(&t->thread, NULL, run, t);
    return rc ? weirp_fail_errno(err, rc, "starting a thread for the budgets of", t->options.store) : WEIR_OK;
}

static void let_go(weirp_treasury *t) {
    weirp_keys_drop(t->keys);
    weirp_limiter_free(t->limiter);
    weirp_store_close(t->store);
    pthread_mutex_destroy(&t->mutex);
    pthread_mutex_destroy(&t->looking);
    pthread_cond_destroy(&t->wake);
    free(t->glance);
    free(t->fresh);
    free(t);
}

weir_status weirp_treasury_open(weirp_treasury **out, const weirp_treasury_options *options, weir_error *err) {
    weirp_treasury *t = weirp_array(1, sizeof *t);
    if (!t) return weirp_nomem(err);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_mutex_init(&t->looking, NULL);
    pthread_cond_init(&t->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    t->options = *options;
    weirp_bank_options bank = {.wake = wake, .warn = warn, .user = t};
    weir_error unseen = {0};
    weir_status st = WEIR_OK;
    t->glance = weirp_array(WEIRP_BUDGET_FACTS, sizeof *t->glance);
    t->fresh = weirp_array(WEIRP_BUDGET_FACTS, sizeof *t->fresh);
    if (!t->glance || !t->fresh) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_limiter_new(&t->limiter, err));
    WEIRP_TRY(weirp_store_open(&t->store, options->store, WEIRP_STORE_READ, err));
    WEIRP_TRY(look_at_keys(t, 0, err));
    WEIRP_TRY(weirp_bank_open(&t->bank, options->store, &bank, err));
    if (look_at_budgets(t, &unseen) != WEIR_OK) complain(t, "the budgets can't be read", &unseen);
    WEIRP_TRY(start(t, err));
    *out = t;
    return WEIR_OK;
done:
    if (weirp_bank_close(t->bank, NULL) != WEIR_OK) t->errors++;
    let_go(t);
    return st;
}

weir_status weirp_treasury_close(weirp_treasury *t, weir_error *err) {
    if (!t) return WEIR_OK;
    pthread_mutex_lock(&t->mutex);
    t->stopping = true;
    pthread_mutex_unlock(&t->mutex);
    pthread_cond_signal(&t->wake);
    pthread_join(t->thread, NULL);
    weir_status st = weirp_bank_close(t->bank, err);
    let_go(t);
    return st;
}

void weirp_treasury_every(weirp_treasury *t, void (*what)(void *user), void *user) {
    pthread_mutex_lock(&t->mutex);
    t->tick = what;
    t->tick_user = user;
    pthread_mutex_unlock(&t->mutex);
}

weirp_keys *weirp_treasury_keys_now(weirp_treasury *t) {
    weir_error err = {0};
    if (look_at_keys(t, AGAIN_MS, &err) != WEIR_OK) complain(t, "the keys can't be read", &err);
    return weirp_treasury_keys(t);
}

weirp_limiter *weirp_treasury_limiter(weirp_treasury *t) {
    return t->limiter;
}

weirp_bank *weirp_treasury_bank(weirp_treasury *t) {
    return t->bank;
}

void weirp_treasury_note(weirp_treasury *t, weirp_budget_action action, bool waited) {
    if (action) t->actions[action]++;
    if (waited) t->waited++;
}

void weirp_treasury_counts_of(weirp_treasury *t, weirp_treasury_counts *out) {
    *out =
        (weirp_treasury_counts){.posts = t->posts, .errors = t->errors, .warnings = t->warnings, .waited = t->waited};
    for (size_t i = 0; i < WEIRP_N_BUDGET_ACTIONS; i++) out->actions[i] = t->actions[i];
}
