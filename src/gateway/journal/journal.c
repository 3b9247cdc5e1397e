/* journal.c: the store's writer. Producers append to a queue under a mutex that is held for a few instructions; the
 * thread takes the whole queue at once, every commit_ms while there is traffic. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/gateway/journal/journal_parts.h"
#include "src/price/price.h"

enum {
    MAX_FEEDBACK_WAITING = 4096,
    KEPT_BYTES = 256 << 10, /* of a queue's array: what a burst took, or a slow disk, goes back */
    RETRY_MS = 25,          /* between tries of what is held */
    LOOK_MS = 50,           /* between looks into the inbox: refresh_ms, but no less than this */
    LOOK_MOST_MS = 1000,    /* and no more than this, so that it doesn't fill */
    START_MS = 3000,        /* for the store to become usable while another process starts, too */
    START_STEP_NS = 50000000,
    YOUNG_MS = 3600000, /* a decision that is older isn't on its way any more */
};

/* Freed memory goes back to the system when there has been no record for so long, and in any case every so often: what
 * bursts leave behind in the threads' heaps would add up for hours. A trim takes about a millisecond, in which the heap
 * that it is at is locked: once in twenty seconds that is nothing. */
#define QUIET_NS UINT64_C(5000000000)
#define TRIM_NS  UINT64_C(20000000000)

typedef weirp_journal_item item;
typedef weirp_journal_queue queue;

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
        WEIRP_COUNT(j->n_records, 1);
    else {
        WEIRP_COUNT(j->n_dropped, 1);
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
    weirp_pool_change change = {.over = false};
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
    *out = (weirp_journal_counts){.records = j->n_records,
                                  .dropped = j->n_dropped,
                                  .errors = j->n_errors,
                                  .feedbacks = j->n_feedbacks,
                                  .feedbacks_refused = j->n_refused,
                                  .version = j->version,
                                  .published_ns = j->published_ns,
                                  .holder = atomic_load(&j->holder)};
}

/* ---- what all share ---- */

void weirp_journal_complain(weirp_journal *j, const char *what, const weir_error *err) {
    WEIRP_COUNT(j->n_errors, 1);
    WEIRP_LOG(j->log, WEIRP_LOG_ERROR, what, WEIRP_S("error", err->text),
              WEIRP_S("status", weir_status_name(err->status)));
}

const char *weirp_journal_lacks(const weir_router *router, const weir_pool *pool) {
    for (size_t m = 0; m < pool->n_models; m++)
        if (weir_router_find_model(router, pool->models[m].name) == (size_t)-1) return pool->models[m].name;
    return NULL;
}

void weirp_journal_publish(weirp_journal *j, weir_router *router) {
    j->learned = false;
    j->refreshed_ns = weirp_monotonic_ns();
    j->version = weir_router_version(router);
    j->published_ns = j->refreshed_ns;
    j->publish(j->publish_user, router);
}

static void hold_on(weirp_journal *j, item *it, uint64_t for_ms) {
    uint64_t now = weirp_monotonic_ns();
    if (!it->until_ns) it->until_ns = now + for_ms * WEIRP_JOURNAL_MS;
    it->held = now < it->until_ns && j->n_held < WEIRP_JOURNAL_HELD;
    j->n_held += it->held;
}

void weirp_journal_hold_on(weirp_journal *j, item *it) {
    int64_t age_ms = weirp_unix_ms() - (int64_t)(weirp_id_number(it->id) >> 20); /* record.c: SEQUENCE_BITS */
    if (age_ms < YOUNG_MS && age_ms > -YOUNG_MS)
        hold_on(j, it, WEIRP_JOURNAL_HOLD_MS + 2 * (uint64_t)atomic_load(&j->commit_ms));
}

/* ---- what has been taken from the queue ---- */

static void answer_pool(weirp_journal *j, item *it, weir_status st, const weir_error *err) {
    if (st != WEIR_OK) WEIRP_COUNT(j->n_errors, 1);
    pthread_mutex_lock(&j->mutex);
    it->change->status = st;
    it->change->err = *err;
    it->change->over = true;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->mutex);
}

static void take_pool(weirp_journal *j, item *it) {
    weir_error err = {0};
    weir_status st = j->learner  ? weirp_journal_set_pool(j, it, &err)
                     : j->joined ? weirp_journal_join_pool(j, it, &err)
                                 : weirp_fail(&err, WEIR_BUSY, 0, "the store isn't open");
    if (st != WEIR_OK && !j->learner) hold_on(j, it, WEIRP_JOURNAL_POOL_MS);
    if (!it->held) answer_pool(j, it, st, &err);
}

static void fail_all(weirp_journal *j) {
    for (size_t i = 0; i < j->taken.n; i++) {
        item *it = &j->taken.items[i];
        if (it->kind == ITEM_POOL) continue;
        if (it->kind == ITEM_RECORD) WEIRP_COUNT(j->n_dropped, 1);
        it->status = WEIR_BUSY;
        snprintf(it->what, sizeof it->what, "the store isn't open");
    }
}

static void answer_feedbacks(weirp_journal *j) {
    for (size_t i = 0; i < j->taken.n; i++) {
        item *it = &j->taken.items[i];
        if (it->kind != ITEM_FEEDBACK || it->held) continue;
        WEIRP_COUNT(*(it->status == WEIR_OK ? &j->n_feedbacks : &j->n_refused), 1);
        it->done(it->user, it->status, it->status == WEIR_OK ? "" : it->what);
    }
}

static void empty(queue *q) {
    if (q->capacity * sizeof *q->items > KEPT_BYTES) {
        free(q->items);
        *q = (queue){0};
    }
    q->n = q->bytes = q->n_feedback = 0;
}

/* What is held is taken along, before the rest. */
static void add_held(weirp_journal *j) {
    queue *h = &j->held;
    if (!h->n || !weirp_reserve((void **)&h->items, &h->capacity, h->n + j->taken.n, sizeof *h->items)) return;
    if (j->taken.n) memcpy(&h->items[h->n], j->taken.items, j->taken.n * sizeof *h->items);
    h->n += j->taken.n;
    queue both = *h;
    *h = j->taken;
    h->n = 0;
    j->taken = both;
}

/* Holds on to what is to be tried again, or answers it after all. */
static void keep_held(weirp_journal *j) {
    size_t n = 0;
    for (size_t i = 0; i < j->taken.n; i++) n += j->taken.items[i].held;
    if (!n) return;
    bool room = weirp_reserve((void **)&j->held.items, &j->held.capacity, j->held.n + n, sizeof *j->held.items);
    for (size_t i = 0; i < j->taken.n; i++) {
        item *it = &j->taken.items[i];
        if (!it->held) continue;
        it->held = room;
        if (room) {
            j->held.items[j->held.n++] = *it;
            it->data = NULL;
            it->id = it->source = it->model = NULL;
            it->pool = NULL;
        } else if (it->kind == ITEM_POOL) {
            weir_error err = {0};
            answer_pool(j, it, weirp_nomem(&err), &err);
        }
    }
}

static void work(weirp_journal *j) {
    add_held(j);
    j->n_held = 0;
    for (size_t i = 0; i < j->taken.n; i++) {
        item *it = &j->taken.items[i];
        it->held = false;
        if (it->kind == ITEM_POOL) take_pool(j, it);
    }
    if (j->learner)
        weirp_journal_learn(j);
    else if (j->joined)
        weirp_journal_leave(j);
    else
        fail_all(j);
    keep_held(j);
    answer_feedbacks(j);
    for (size_t i = 0; i < j->taken.n; i++) item_free(&j->taken.items[i]);
    empty(&j->taken);
}

/* ---- the thread ---- */

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
    while (j->waiting.n && !j->stopping && !j->waiting.n_feedback && j->waiting.bytes < j->queue_bytes / 2 &&
           pthread_cond_timedwait(&j->wake, &j->mutex, &at) != ETIMEDOUT) {
    }
    j->idle = false;
    queue none = j->taken;
    j->taken = j->waiting;
    j->waiting = none;
    pthread_mutex_unlock(&j->mutex);
}

static void give_back(weirp_journal *j) {
    malloc_trim(0);
    j->trimmed_ns = weirp_monotonic_ns();
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return !a || b < a ? b : a;
}

static uint64_t look_ns(weirp_journal *j) {
    unsigned ms = atomic_load(&j->refresh_ms);
    return (ms < LOOK_MS ? LOOK_MS : ms > LOOK_MOST_MS ? LOOK_MOST_MS : ms) * WEIRP_JOURNAL_MS;
}

static uint64_t follow_ns(weirp_journal *j) {
    unsigned ms = atomic_load(&j->refresh_ms);
    return (ms < WEIRP_JOURNAL_FOLLOW_MS ? WEIRP_JOURNAL_FOLLOW_MS : ms) * WEIRP_JOURNAL_MS;
}

static uint64_t gate_ns(const weirp_journal *j) {
    return j->gate_ns + WEIRP_JOURNAL_GATE_MS * WEIRP_JOURNAL_MS;
}

static uint64_t refresh_ns(weirp_journal *j) {
    return atomic_load(&j->refresh_ms) * WEIRP_JOURNAL_MS;
}

/* When the thread has something to do, also if nothing comes. */
static uint64_t next_ns(weirp_journal *j) {
    uint64_t next = j->learner ? j->drained_ns + (j->inbox_more ? 0 : look_ns(j)) : j->probe_ns;
    if (j->joined) next = sooner(next, gate_ns(j));
    if (j->learned) next = sooner(next, j->refreshed_ns + refresh_ns(j));
    if (j->worked && !j->learned) next = sooner(next, j->worked_ns + QUIET_NS);
    if (j->held.n) next = sooner(next, weirp_monotonic_ns() + RETRY_MS * WEIRP_JOURNAL_MS);
    return next;
}

static void look_after(weirp_journal *j) {
    uint64_t now = weirp_monotonic_ns();
    if (!j->learner && now >= j->probe_ns) weirp_journal_probe(j);
    if (j->learner && (j->inbox_more || j->held.n || now >= j->drained_ns + look_ns(j))) weirp_journal_drain(j);
    if (j->learner && j->learned && now >= j->refreshed_ns + refresh_ns(j)) weirp_journal_refresh(j);
    if (j->learner) weirp_journal_gate(j);
    if (j->joined && now >= gate_ns(j)) weirp_journal_follow_gate(j);
    if (j->joined && now >= j->refreshed_ns + follow_ns(j)) weirp_journal_follow(j);
    now = weirp_monotonic_ns();
    if (j->worked && !j->learned && now >= j->worked_ns + QUIET_NS) {
        give_back(j); /* routers that nobody uses any more, streams that have ended */
        j->worked = false;
    } else if (j->worked && now >= j->trimmed_ns + TRIM_NS) {
        give_back(j);
    }
}

/* The end: what is held is answered as it stands. */
static void end(weirp_journal *j) {
    for (size_t i = 0; i < j->held.n; i++) j->held.items[i].until_ns = 1;
    if (j->held.n) work(j);
}

static void *run(void *user) {
    weirp_journal *j = user;
    while (await(j, next_ns(j))) {
        gather(j);
        if (j->taken.n) {
            j->worked = true;
            j->worked_ns = weirp_monotonic_ns();
        }
        if (j->taken.n || j->held.n) work(j);
        look_after(j);
    }
    end(j);
    return NULL;
}

/* ---- opening and closing ---- */

static void make_locks(weirp_journal *j) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&j->mutex, NULL);
    pthread_cond_init(&j->wake, &attributes);
    pthread_cond_init(&j->changed, NULL);
    pthread_condattr_destroy(&attributes);
}

weir_status weirp_journal_start(weirp_journal *j, weir_error *err) {
    int rc = pthread_create(&j->thread, NULL, run, j);
    j->started = rc == 0;
    return rc ? weirp_fail_errno(err, rc, "starting a thread for", j->store) : WEIR_OK;
}

static void let_go(weirp_journal *j) {
    for (size_t i = 0; i < j->waiting.n; i++) item_free(&j->waiting.items[i]);
    free(j->waiting.items);
    free(j->taken.items);
    free(j->held.items);
    weirp_inbox_taken_free(&j->inbox);
    weirp_store_close(j->joined);
    weir_pool_free(j->pool);
    free(j->store);
    free(j);
}

/* The store for this process alone, or beside the one that has it. While several start at once, the first may be about
 * to make the store, or to put its models in. */
static weir_status take_part(weirp_journal *j, weir_router **router, weir_error *err) {
    uint64_t until = weirp_monotonic_ns() + START_MS * WEIRP_JOURNAL_MS;
    for (;;) {
        weir_error why = {0};
        weir_status st = weirp_journal_hold(j, router, &why);
        if (st == WEIR_BUSY) {
            why = (weir_error){0};
            st = weirp_journal_join(j, router, &why);
            if (st != WEIR_OK && weirp_monotonic_ns() < until) st = WEIR_BUSY;
        }
        if (st != WEIR_BUSY || weirp_monotonic_ns() >= until)
            return st == WEIR_OK ? st : weirp_fail(err, st, 0, "%s", why.text);
        nanosleep(&(struct timespec){0, START_STEP_NS}, NULL);
    }
}

weir_status weirp_journal_open(weirp_journal **out, weir_router **router, const weirp_journal_options *options,
                               weir_error *err) {
    weirp_journal *j = weirp_array(1, sizeof *j);
    weir_status st = WEIR_OK;
    if (!j) return weirp_nomem(err);
    *router = NULL;
    j->log = options->log;
    j->rollout = options->rollout;
    j->publish = options->publish;
    j->publish_user = options->publish_user;
    j->queue_bytes = options->queue_bytes;
    weirp_journal_pace(j, options->commit_ms, options->refresh_ms);
    j->refreshed_ns = weirp_monotonic_ns();
    j->published_ns = j->trimmed_ns = j->refreshed_ns;
    if (!(j->store = copy(options->store))) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_pool_copy(&j->pool, options->pool, err));
    WEIRP_TRY(take_part(j, router, err));
    j->version = weir_router_version(*router);
    j->shared = !j->learner || weirp_store_is_joined(j->store);
    j->others = j->shared;
    if (j->learner) weirp_journal_drain(j);
    malloc_trim(0); /* what it took to read the store goes back */
    make_locks(j);
    *out = j;
    return WEIR_OK;
done:
    weir_router_close(*router);
    *router = NULL;
    if (j->learner && weir_learner_close(j->learner, NULL) != WEIR_OK) WEIRP_COUNT(j->n_errors, 1);
    let_go(j);
    return st;
}

bool weirp_journal_is_shared(const weirp_journal *j) {
    return j->shared;
}

weir_status weirp_journal_close(weirp_journal *j, weir_error *err) {
    if (!j) return WEIR_OK;
    pthread_mutex_lock(&j->mutex);
    j->stopping = true;
    pthread_mutex_unlock(&j->mutex);
    pthread_cond_signal(&j->wake);
    if (j->started) pthread_join(j->thread, NULL);
    weir_status st = weirp_journal_let_go(j, err);
    pthread_mutex_destroy(&j->mutex);
    pthread_cond_destroy(&j->wake);
    pthread_cond_destroy(&j->changed);
    let_go(j);
    return st;
}
