/* decisions.c: which decisions have been read. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/decisions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { LEAST_SLOTS = 4096, PAGE = WEIRP_DECISIONS_A_PAGE };

void weirp_decisions_init(weirp_decisions *d) {
    memset(d, 0, sizeof *d);
    d->most = WEIRP_DECISIONS_MEMORY / sizeof *d->slot;
    d->page_at = (size_t)-1;
    weirp_blocks_init(&d->pages);
    d->pages.limit = 0; /* what is spilled is out of memory */
}

void weirp_decisions_free(weirp_decisions *d) {
    free(d->slot);
    free(d->fence);
    free(d->run);
    weirp_blocks_free(&d->pages);
    weirp_decisions_init(d);
}

/* ---- in memory ---- */

/* The hash's slot, or the free one where it belongs. */
static weirp_decision *find(weirp_decision *slot, size_t n_slots, uint64_t hash) {
    size_t i = (size_t)hash & (n_slots - 1);
    while (slot[i].log && slot[i].hash != hash) i = (i + 1) & (n_slots - 1);
    return &slot[i];
}

static weir_status grow(weirp_decisions *d, weir_error *err) {
    const size_t n_slots = d->n_slots ? 2 * d->n_slots : LEAST_SLOTS;
    weirp_decision *slot = weirp_array(n_slots, sizeof *slot);
    if (!slot) return weirp_nomem(err);
    for (size_t i = 0; i < d->n_slots; i++)
        if (d->slot[i].log) *find(slot, n_slots, d->slot[i].hash) = d->slot[i];
    free(d->slot);
    d->slot = slot;
    d->n_slots = n_slots;
    return WEIR_OK;
}

/* ---- in the file ---- */

static int by_hash(const void *a, const void *b) {
    const weirp_decision *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* The table's decisions become a run, and it is empty again. */
static weir_status spill(weirp_decisions *d, weir_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < d->n_slots; i++)
        if (d->slot[i].log) d->slot[n++] = d->slot[i];
    qsort(d->slot, n, sizeof *d->slot, by_hash);
    for (size_t i = 0; i < n; i += PAGE) {
        const size_t k = n - i < PAGE ? n - i : PAGE;
        if (!weirp_reserve((void **)&d->fence, &d->fence_capacity, d->pages.n + 1, sizeof *d->fence))
            return weirp_nomem(err);
        d->fence[d->pages.n] = d->slot[i].hash;
        weir_status st = weirp_blocks_add(&d->pages, (const uint8_t *)(d->slot + i), k * sizeof *d->slot, err);
        if (st != WEIR_OK) return st;
    }
    if (!weirp_reserve((void **)&d->run, &d->run_capacity, d->n_runs + 1, sizeof *d->run)) return weirp_nomem(err);
    d->run[d->n_runs++] = d->pages.n;
    memset(d->slot, 0, d->n_slots * sizeof *d->slot);
    d->n = 0;
    return WEIR_OK;
}

/* The last page in [from, to) that begins with the hash or below; `to`: none. */
static size_t page_of(const weirp_decisions *d, size_t from, size_t to, uint64_t hash) {
    size_t lo = from, hi = to;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (d->fence[mid] <= hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo == from ? to : lo - 1;
}

/* *found: borrowed until the next call; NULL: no run has it. */
static weir_status look_up(weirp_decisions *d, uint64_t hash, const weirp_decision **found, weir_error *err) {
    const weirp_decision wanted = {.hash = hash};
    const uint8_t *data;
    *found = NULL;
    for (size_t r = 0; r < d->n_runs && !*found; r++) {
        const size_t at = page_of(d, r ? d->run[r - 1] : 0, d->run[r], hash);
        size_t size;
        if (at == d->run[r]) continue;
        size = (size_t)(d->pages.start[at + 1] - d->pages.start[at]);
        if (at != d->page_at) {
            d->page_at = (size_t)-1;
            weir_status st = weirp_blocks_get(&d->pages, at, (uint8_t *)d->page, &data, &size, err);
            if (st != WEIR_OK) return st;
            d->page_at = at;
        }
        *found = bsearch(&wanted, d->page, size / sizeof wanted, sizeof wanted, by_hash);
    }
    return WEIR_OK;
}

/* ---- rows ---- */

static double canonical(double x) {
    return isnan(x) ? -1 : x;
}

static uint64_t hash_of(const weirp_logged_row *row, const char *model) {
    uint64_t hash = XXH3_64bits(row->id, strlen(row->id));
    if (row->known_by == WEIRP_LOGGED_ID) return hash;
    double all[2 + WEIR_METRIC_LOSS] = {(double)row->time_ms, row->p};
    for (size_t i = 0; i < WEIR_METRIC_LOSS; i++) all[2 + i] = canonical(row->metric[i]);
    hash = XXH3_64bits_withSeed(all, sizeof all, hash);
    return XXH3_64bits_withSeed(model, strlen(model), hash);
}

weir_status weirp_decisions_before(weirp_decisions *d, const weirp_logged_row *row, const char *model, size_t log,
                                   bool *before, weir_error *err) {
    *before = false;
    if (row->known_by == WEIRP_LOGGED_NAMELESS) return WEIR_OK;
    if (4 * (d->n + 1) > 3 * d->n_slots) {
        weir_status st = !d->n_slots || d->n_slots < d->most ? grow(d, err) : spill(d, err);
        if (st != WEIR_OK) return st;
    }
    const uint64_t hash = hash_of(row, model);
    weirp_decision *slot = find(d->slot, d->n_slots, hash);
    const weirp_decision *found = slot->log ? slot : NULL;
    if (!found && d->n_runs) {
        weir_status st = look_up(d, hash, &found, err);
        if (st != WEIR_OK) return st;
    }
    /* two decisions of one log may well be alike, but another log has no reason to tell of the same again */
    *before = found && (row->known_by == WEIRP_LOGGED_ID || found->log != log + 1);
    if (found) return WEIR_OK;
    *slot = (weirp_decision){hash, log + 1};
    d->n++;
    return WEIR_OK;
}
