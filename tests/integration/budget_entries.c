/* budget_entries.c: a ledger's entries as JSON, one a line, for budget_runs: what was charged for which call, and why.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "src/budget/ledger.h"

static const char *const KINDS[WEIRP_N_ENTRIES] = {"limit", "lease", "return", "settle", "forfeit", "reconcile"};
static const char *const BUCKETS[WEIRP_N_BUCKETS] = {"outside", "free", "leased", "spent", "unproven"};

static weir_status show(void *user, uint64_t number, const weirp_entry *e, weir_error *err) {
    (void)user;
    (void)err;
    printf("{\"number\":%" PRIu64 ",\"kind\":\"%s\",\"at_ms\":%" PRId64 ",\"process\":%" PRIu32 ",\"decision\":\"%s\","
           "\"attempt\":%u,\"known\":%s,\"assumed\":%s,\"postings\":[",
           number, KINDS[e->kind], e->at_ms, e->process, e->id ? e->id : "", e->attempt,
           e->usage.known && !e->usage.estimated ? "true" : "false", e->unproven ? "true" : "false");
    for (size_t i = 0; i < e->n_postings; i++)
        printf("%s{\"from\":\"%s\",\"to\":\"%s\",\"amount\":%" PRId64 "}", i ? "," : "", BUCKETS[e->postings[i].from],
               BUCKETS[e->postings[i].to], e->postings[i].amount);
    puts("]}");
    return WEIR_OK;
}

int main(int argc, char **argv) {
    weir_error err = {0};
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: %s STORE\n", argv[0]);
        return 2;
    }
    weir_status st = weirp_store_open(&store, argv[1], WEIRP_STORE_READ, &err);
    if (!st) st = weirp_snapshot_begin(&snapshot, store, &err);
    if (!st) {
        st = weirp_ledger_entries(weirp_snapshot_table(snapshot), INT64_MIN, INT64_MAX, show, NULL, &err);
        weirp_snapshot_end(snapshot);
    }
    if (st) fprintf(stderr, "%s: %s\n", argv[0], err.text);
    weirp_store_close(store);
    return st != WEIR_OK;
}
