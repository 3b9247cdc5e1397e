/* decisions.h: which decisions have been read, so that none counts twice. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_DECISIONS_H
#define WEIRP_OPE_DECISIONS_H

#include "src/ope/table_parts.h"

/* A decision is 64 bits of hash: that two of n have the same has a chance of n^2 / 2^65, 3e-8 of a million. They are in
 * an open table of 16 bytes a slot, at most three quarters full: up to three million of them. When it is full it
 * becomes a run in an unlinked temporary file, in the order of the hashes; in memory the first hash of each 256 stays.
 * A look at a run then reads 4 KiB. */
enum { WEIRP_DECISIONS_MEMORY = 64 << 20, WEIRP_DECISIONS_A_PAGE = 256 };

typedef struct weirp_decision {
    uint64_t hash;
    uint64_t log; /* that it came from, plus 1; 0: a free slot */
} weirp_decision;

typedef struct weirp_decisions {
    weirp_decision *slot; /* (n_slots) */
    size_t n, n_slots;    /* decisions in it; a power of two, or 0 */
    size_t most;          /* slots; smaller in tests */
    weirp_blocks pages;   /* of all runs */
    uint64_t *fence;      /* (pages.n) first hash of each page */
    size_t fence_capacity;
    size_t *run; /* (n_runs) number of the page after its last */
    size_t n_runs, run_capacity;
    weirp_decision page[WEIRP_DECISIONS_A_PAGE]; /* the one that was looked at last */
    size_t page_at;                              /* its number; (size_t)-1: none */
} weirp_decisions;

void weirp_decisions_init(weirp_decisions *d);
void weirp_decisions_free(weirp_decisions *d);
/* Whether a row of log number `log` (from 0, ascending) is a decision that came before; else it has come now. What
 * nothing tells apart (WEIRP_LOGGED_NAMELESS) never has. */
weir_status weirp_decisions_before(weirp_decisions *d, const weirp_logged_row *row, const char *model, size_t log,
                                   bool *before, weir_error *err);

#endif
