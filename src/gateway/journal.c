/* journal.c: the store's writer. Producers append to a queue under a mutex that is held for a few instructions; the
 * thread takes the whole queue at once, every commit_ms while there is traffic. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include "src/gateway/journal.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/price/price.h"

enum {
    GROUP = 4096, /* records a transaction at most */
    MAX_FEEDBACK_WAITING = 4096,
    KEPT_BYTES = 256 << 10, /* of a queue's array: what a burst took, or a slow disk, goes back */
};

/* Freed memory goes back to the system when there has been no record for so long, and in any case every so often: what
 * bursts leave behind in the threads' heaps would add up for hours. A trim takes about a millisecond, in which the heap
 * that it is at is locked: once in twenty seconds that is nothing. */
#define QUIET_NS UINT64_C(5000000000)
#define TRIM_NS  UINT64_C(20000000000)

typedef struct item {
    enum { ITEM_RECORD, ITEM_FEEDBACK, ITEM_POOL } kind;
    uint8_t *data; /* RECORD */
    size_t size;
    char *id, *source, *model; /* FEEDBACK */
    double quality;
    weirp_feedback_done done;
    void *user;
    weir_status status;
    char what[160];
    weir_pool *pool; /* POOL */
    struct pool_change *change;
} item;

/* Waited for, under the mutex; on the stack of who waits. */
typedef struct pool_change {
    bool over;
    weir_status status;
    weir_error err;
} pool_change;

typedef struct queue {
    size_t n, capacity, bytes, n_feedback;
    item *items; /* (n) */
} queue;

struct weirp_journal {
    char *store;
    weir_learner *learner;
    weirp_log *log;
    void (*publish)(void *user, weir_router *router);
    void *publish_user;
    atomic_uint commit_ms, refresh_ms;
    size_t queue_bytes;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake, changed; /* changed: a pool's change is over */
    queue waiting;                /* under the mutex */
    bool stopping, idle;
    queue taken;  /* the thread's own */
    bool learned; /* something that decisions don't use yet */
    bool worked;  /* since memory was last given back */
    weir_pool *pool;
    uint64_t refreshed_ns, trimmed_ns;
    _Atomic uint64_t n_records, n_dropped, n_errors, n_feedbacks, n_refused, version, published_ns;
};

#define COUNT(field, by) atomic_fetch_add_explicit(&(field), (by), memory_order_relaxed)

/* ---- the queue ---- */

static void item_free(item *it) {
    free(it->data);
    free(it->id);
    free(it->source);
    free(it->model);
    weir_pool_free(it->pool);
}

static bool push(weirp_journal *j, const item *it) {
    pthread_mutex_lock(&j->mutex);
    queue *q = &j->waiting;
    bool fits = it->kind == ITEM_RECORD     ? q->bytes + it->size <= j->queue_bytes
                : it->kind == ITEM_FEEDBACK ? q->n_feedback < MAX_FEEDBACK_WAITING
                                            : true;
    fits = fits && weirp_reserve((void **)&q->items, &q->capacity, q->n + 1, sizeof *q->items);
    bool first = false;
    if (fits) {
        first = q->n == 0 || it->kind != ITEM_RECORD;
        q->items[q->n++] = *it;
        q->bytes += it->size;
        q->n_feedback += it->kind != ITEM_RECORD; /* pools as well: neither waits for a group */
    }
    bool wake = first && j->idle;
    pthread_mutex_unlock(&j->mutex);
    if (wake) pthread_cond_signal(&j->wake);
    return fits;
}

void weirp_journal_record(weirp_journal *j, weirp_writer *record) {
    item it = {.kind = ITEM_RECORD, .data = record->data, .size = record->size};
    if (!record->failed && record->size && push(j, &it))
        COUNT(j->n_records, 1);
    else {
        COUNT(j->n_dropped, 1);
        free(record->data);
    }
    *record = (weirp_writer){0};
}

static char *copy(const char *text) {
    return text ? weirp_strndup(text, strlen(text)) : NULL;
}

weir_status weirp_journal_feedback(weirp_journal *j, const weirp_feedback *f, weirp_feedback_done done, void *user) {
    item it = {.kind = ITEM_FEEDBACK,
               .id = copy(f->id),
               .source = copy(f->source),
               .model = copy(f->model),
               .quality = f->quality,
               .done = done,
               .user = user};
    bool whole = it.id && (it.source || !f->source) && (it.model || !f->model);
    if (whole && push(j, &it)) return WEIR_OK;
    item_free(&it);
    return whole ? WEIR_FULL : WEIR_NOMEM;
}

weir_status weirp_journal_pool(weirp_journal *j, const weir_pool *pool, weir_error *err) {
    pool_change change = {.over = false};
    item it = {.kind = ITEM_POOL, .change = &change};
    weir_status st = weirp_pool_copy(&it.pool, pool, err);
    if (st != WEIR_OK) return st;
    if (!push(j, &it)) {
        item_free(&it);
        return weirp_nomem(err);
    }
    pthread_mutex_lock(&j->mutex);
    while (!change.over) pthread_cond_wait(&j->changed, &j->mutex);
    pthread_mutex_unlock(&j->mutex);
    return change.status == WEIR_OK ? WEIR_OK : weirp_fail(err, change.status, 0, "%s", change.err.text);
}

void weirp_journal_pace(weirp_journal *j, unsigned commit_ms, unsigned refresh_ms) {
    atomic_store(&j->commit_ms, commit_ms);
    atomic_store(&j->refresh_ms, refresh_ms);
}

void weirp_journal_counts_of(weirp_journal *j, weirp_journal_counts *out) {
    *out = (weirp_journal_counts){j->n_records, j->n_dropped, j->n_errors,    j->n_feedbacks,
                                  j->n_refused, j->version,   j->published_ns};
}

/* ---- the store ---- */

static void complain(weirp_journal *j, const char *what, const weir_error *err) {
    COUNT(j->n_errors, 1);
    WEIRP_LOG(j->log, WEIRP_LOG_ERROR, what, WEIRP_S("error", err->text),
              WEIRP_S("status", weir_status_name(err->status)));
}

/* Whether the store already has every model of the pool at its price. */
static bool up_to_date(const weir_router *router, const weir_pool *pool) {
    for (size_t m = 0; m < pool->n_models; m++)
        if (weir_router_find_model(router, pool->models[m].name) == (size_t)-1) return false;
    return true;
}

static weir_status learner_open(weirp_journal *j, weir_error *err) {
    weir_learn_options options = {.create = true, .pool = j->pool, .group_commit = SIZE_MAX, .lazy = true};
    return weir_learner_open(&j->learner, j->store, &options, err);
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
    if (!up_to_date(*router, pool)) {
        weir_router_close(*router);
        *router = NULL;
        WEIRP_TRY(weir_store_set_pool(path, pool, false, err));
        WEIRP_TRY(weir_router_open(router, path, err));
    }
    weirp_router_reprice(*router, pool);
done:
    return st;
}

static void publish(weirp_journal *j, weir_router *router) {
    j->learned = false;
    j->refreshed_ns = weirp_monotonic_ns();
    j->version = weir_router_version(router);
    j->published_ns = j->refreshed_ns;
    j->publish(j->publish_user, router);
}

static void refresh(weirp_journal *j) {
    weir_error err = {0};
    weir_router *router = NULL;
    if (weirp_learner_router(j->learner, &router, &err) != WEIR_OK) {
        complain(j, "what was learned can't be used yet", &err);
        j->refreshed_ns = weirp_monotonic_ns();
        return;
    }
    weirp_router_reprice(router, j->pool);
    publish(j, router);
}

/* A new pool: the learner gives way to whoever changes the store, and comes back. */
static weir_status change_pool(weirp_journal *j, item *it, weir_error *err) {
    weir_router *router = NULL;
    weir_status st = weir_learner_close(j->learner, err);
    j->learner = NULL;
    if (st == WEIR_OK) st = bring_up(j->store, it->pool, &router, err);
    if (st == WEIR_OK) {
        weir_pool *old = j->pool;
        j->pool = it->pool;
        it->pool = old;
    }
    weir_error again = {0};
    if (learner_open(j, &again) != WEIR_OK) complain(j, "the store can't be opened again", &again);
    if (st == WEIR_OK) publish(j, router);
    return st;
}

static void take_pool(weirp_journal *j, item *it) {
    weir_error err = {0};
    weir_status st = change_pool(j, it, &err);
    if (st != WEIR_OK) COUNT(j->n_errors, 1);
    pthread_mutex_lock(&j->mutex);
    it->change->status = st;
    it->change->err = err;
    it->change->over = true;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->mutex);
}

/* ---- the thread ---- */

static bool usable(weirp_journal *j) {
    if (j->learner) return true;
    weir_error err = {0};
    return learner_open(j, &err) == WEIR_OK;
}

static void take(weirp_journal *j, item *it) {
    weir_error err = {0};
    if (it->kind == ITEM_POOL) {
        take_pool(j, it);
        return;
    }
    it->status = usable(j) ? WEIR_OK : weirp_fail(&err, WEIR_BUSY, 0, "the store isn't open");
    if (it->status == WEIR_OK && it->kind == ITEM_RECORD) {
        it->status = weirp_learner_append(j->learner, it->data, it->size, &err);
        if (it->status != WEIR_OK) complain(j, "a record can't be logged", &err);
    } else if (it->status == WEIR_OK) {
        weirp_feedback f = {it->id, it->quality, it->source, it->model};
        it->status = weirp_learner_feedback(j->learner, &f, &err);
    }
    j->learned |= it->status == WEIR_OK;
    snprintf(it->what, sizeof it->what, "%.159s", err.text);
}

static void answer_feedbacks(weirp_journal *j, weir_status commit, const char *what) {
    for (size_t i = 0; i < j->taken.n; i++) {
        item *it = &j->taken.items[i];
        if (it->kind != ITEM_FEEDBACK) continue;
        bool good = it->status == WEIR_OK && commit == WEIR_OK;
        COUNT(*(good ? &j->n_feedbacks : &j->n_refused), 1);
        if (good)
            it->done(it->user, WEIR_OK, "");
        else
            it->done(it->user, it->status != WEIR_OK ? it->status : commit, it->status != WEIR_OK ? it->what : what);
    }
}

static void work(weirp_journal *j) {
    weir_error err = {0};
    weir_status st = WEIR_OK;
    size_t since = 0;
    for (size_t i = 0; i < j->taken.n; i++) {
        take(j, &j->taken.items[i]);
        if (++since == GROUP && j->learner && st == WEIR_OK) {
            st = weir_learner_commit(j->learner, &err);
            since = 0;
        }
    }
    if (j->learner && j->taken.n && st == WEIR_OK) st = weir_learner_commit(j->learner, &err);
    if (st != WEIR_OK) complain(j, "the log can't be written", &err);
    answer_feedbacks(j, st, err.text);
    for (size_t i = 0; i < j->taken.n; i++) item_free(&j->taken.items[i]);
    if (j->taken.capacity * sizeof *j->taken.items > KEPT_BYTES) {
        free(j->taken.items);
        j->taken = (queue){0};
    }
    j->taken.n = j->taken.bytes = j->taken.n_feedback = 0;
}

/* Waits for work, at most until `until_ns` (0: for ever). Gives whether to go on. */
static bool await(weirp_journal *j, uint64_t until_ns) {
    pthread_mutex_lock(&j->mutex);
    while (!j->waiting.n && !j->stopping) {
        j->idle = true;
        if (!until_ns) {
            pthread_cond_wait(&j->wake, &j->mutex);
        } else {
            struct timespec at = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
            if (pthread_cond_timedwait(&j->wake, &j->mutex, &at) == ETIMEDOUT) break;
        }
    }
    j->idle = false;
    bool go_on = !j->stopping || j->waiting.n;
    pthread_mutex_unlock(&j->mutex);
    return go_on;
}

/* Lets a group gather; feedback and the end of all cut it short. */
static void gather(weirp_journal *j) {
    uint64_t until = weirp_monotonic_ns() + atomic_load(&j->commit_ms) * UINT64_C(1000000);
    struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    pthread_mutex_lock(&j->mutex);
    j->idle = true;
    while (!j->stopping && !j->waiting.n_feedback && j->waiting.bytes < j->queue_bytes / 2 &&
           pthread_cond_timedwait(&j->wake, &j->mutex, &at) != ETIMEDOUT) {
    }
    j->idle = false;
    queue empty = j->taken;
    j->taken = j->waiting;
    j->waiting = empty;
    pthread_mutex_unlock(&j->mutex);
}

static void give_back(weirp_journal *j) {
    malloc_trim(0);
    j->trimmed_ns = weirp_monotonic_ns();
}

static void *run(void *user) {
    weirp_journal *j = user;
    for (;;) {
        uint64_t due = j->refreshed_ns + atomic_load(&j->refresh_ms) * UINT64_C(1000000);
        uint64_t quiet = weirp_monotonic_ns() + QUIET_NS;
        if (!await(j, j->learned ? due : j->worked ? quiet : 0)) return NULL;
        if (j->worked && !j->learned && weirp_monotonic_ns() >= quiet) {
            give_back(j); /* routers that nobody uses any more, streams that have ended */
            j->worked = false;
            continue;
        }
        gather(j);
        j->worked |= j->taken.n > 0;
        work(j);
        if (j->learned && j->learner && weirp_monotonic_ns() >= due) refresh(j);
        if (weirp_monotonic_ns() >= j->trimmed_ns + TRIM_NS) give_back(j);
    }
}

/* ---- opening and closing ---- */

static weir_status start(weirp_journal *j, weir_error *err) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&j->mutex, NULL);
    pthread_cond_init(&j->wake, &attributes);
    pthread_cond_init(&j->changed, NULL);
    pthread_condattr_destroy(&attributes);
    int rc = pthread_create(&j->thread, NULL, run, j);
    return rc ? weirp_fail_errno(err, rc, "starting a thread for", j->store) : WEIR_OK;
}

static void let_go(weirp_journal *j) {
    for (size_t i = 0; i < j->waiting.n; i++) item_free(&j->waiting.items[i]);
    free(j->waiting.items);
    free(j->taken.items);
    weir_pool_free(j->pool);
    free(j->store);
    free(j);
}

weir_status weirp_journal_open(weirp_journal **out, weir_router **router, const weirp_journal_options *options,
                               weir_error *err) {
    weirp_journal *j = weirp_array(1, sizeof *j);
    weir_status st = WEIR_OK;
    if (!j) return weirp_nomem(err);
    *router = NULL;
    j->log = options->log;
    j->publish = options->publish;
    j->publish_user = options->publish_user;
    j->queue_bytes = options->queue_bytes;
    weirp_journal_pace(j, options->commit_ms, options->refresh_ms);
    j->refreshed_ns = weirp_monotonic_ns();
    j->published_ns = j->trimmed_ns = j->refreshed_ns;
    if (!(j->store = copy(options->store))) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_pool_copy(&j->pool, options->pool, err));
    WEIRP_TRY(bring_up(j->store, j->pool, router, err));
    j->version = weir_router_version(*router);
    WEIRP_TRY(learner_open(j, err));
    malloc_trim(0); /* what it took to read the store goes back */
    WEIRP_TRY(start(j, err));
    *out = j;
    return WEIR_OK;
done:
    weir_router_close(*router);
    *router = NULL;
    if (j->learner && weir_learner_close(j->learner, NULL) != WEIR_OK) COUNT(j->n_errors, 1);
    let_go(j);
    return st;
}

weir_status weirp_journal_close(weirp_journal *j, weir_error *err) {
    if (!j) return WEIR_OK;
    pthread_mutex_lock(&j->mutex);
    j->stopping = true;
    pthread_mutex_unlock(&j->mutex);
    pthread_cond_signal(&j->wake);
    pthread_join(j->thread, NULL);
    weir_status st = j->learner ? weir_learner_close(j->learner, err) : WEIR_OK;
    pthread_mutex_destroy(&j->mutex);
    pthread_cond_destroy(&j->wake);
    pthread_cond_destroy(&j->changed);
    let_go(j);
    return st;
}
