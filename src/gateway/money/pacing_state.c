/* pacing_state.c: what a pacer has learned, in the store's table. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/money/pacing_parts.h"

enum { KEY_SIZE = sizeof WEIRP_PACE_PREFIX + WEIRP_BUDGET_NAME };

static size_t key_of(const weirp_pacing *p, char key[KEY_SIZE]) {
    snprintf(key, KEY_SIZE, WEIRP_PACE_PREFIX "%s", p->budget);
    return strlen(key);
}

weir_status weirp_pacing_read(weirp_pacing *p, weir_error *err) {
    char key[KEY_SIZE];
    const uint8_t *data;
    size_t size, key_size = key_of(p, key);
    weirp_snapshot *snapshot;
    weir_status st = weirp_snapshot_begin(&snapshot, p->store, err);
    if (st != WEIR_OK) return st;
    st = weirp_txn_get(weirp_snapshot_table(snapshot), key, key_size, &data, &size, err);
    if (st == WEIR_OK) {
        weirp_put(&p->saved, data, size);
        if (p->saved.failed) st = weirp_nomem(err);
    }
    weirp_snapshot_end(snapshot);
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

void weirp_pacing_take_up(weirp_pacing *p) {
    weir_error err = {0};
    if (p->saved.size && weirp_pacer_load(p->pacer, p->saved.data, p->saved.size, &err) != WEIR_OK)
        WEIRP_LOG(p->options.log, WEIRP_LOG_WARN, "what pacing had learned can't be used: it begins anew",
                  WEIRP_S("budget", p->budget), WEIRP_S("error", err.text));
    weirp_writer_free(&p->saved);
    p->saved = (weirp_writer){0};
}

typedef struct saving {
    const weirp_pacing *pacing;
    const weirp_writer *state;
} saving;

static weir_status put(void *user, weirp_txn *txn, weir_error *err) {
    const saving *s = user;
    char key[KEY_SIZE];
    size_t size = key_of(s->pacing, key);
    return weirp_txn_put(txn, key, size, s->state->data, s->state->size, err);
}

weir_status weirp_pacing_save(weirp_pacing *p, weir_error *err) {
    weirp_writer state = {0};
    pthread_mutex_lock(&p->mutex);
    bool due = p->pacer && p->changed;
    if (due) weirp_pacer_save(p->pacer, &state);
    p->changed = false;
    pthread_mutex_unlock(&p->mutex);
    if (!due) return WEIR_OK;
    saving s = {p, &state};
    weir_status st = state.failed ? weirp_nomem(err) : weirp_store_transact(p->store, NULL, 0, put, &s, err);
    weirp_writer_free(&state);
    if (st == WEIR_OK) return st;
    pthread_mutex_lock(&p->mutex);
    p->changed = true;
    pthread_mutex_unlock(&p->mutex);
    return st;
}
