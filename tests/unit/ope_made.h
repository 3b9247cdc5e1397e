/* ope_made.h: logs made in memory, for tests of what reads them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef OPE_MADE_H
#define OPE_MADE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/table.h"

static inline void must(weir_status st, const weir_error *err) {
    if (st != WEIR_OK) fail_msg("%s: %s", weir_status_name(st), err->text);
}

static inline weirp_logged_row row_new(size_t chosen, double p) {
    weirp_logged_row row = {.file = "made", .id = "", .session = "", .segment = "", .logger = "", .chosen = chosen};
    row.time_ms = WEIRP_LOGGED_NO_TIME;
    row.p = p;
    for (int k = 0; k < WEIR_N_METRICS; k++) row.metric[k] = NAN;
    return row;
}

static inline weirp_ope_table *table_of(const char *const *models, size_t n) {
    weirp_ope_table *table = NULL;
    weir_error err = {0};
    must(weirp_ope_table_new(&table, &err), &err);
    for (size_t m = 0; m < n; m++) {
        size_t index;
        must(weirp_ope_table_model(table, models[m], &index, &err), &err);
        assert_int_equal(index, m);
    }
    return table;
}

static inline void table_row(weirp_ope_table *table, const weirp_logged_row *row, size_t n_models) {
    weir_error err = {0};
    size_t *model = calloc(n_models + 1, sizeof *model);
    for (size_t m = 0; m < n_models; m++) model[m] = m;
    must(weirp_ope_table_add(table, row, n_models, model, &err), &err);
    free(model);
}

static inline void table_done(weirp_ope_table *table) {
    weir_error err = {0};
    must(weirp_ope_table_finish(table, 0, &err), &err);
}

/* fn on every block. */
#define EACH_BLOCK(table, block)                                                                                       \
    for (weirp_scan *scan_ = scan_begin(table); scan_; scan_ = scan_end(scan_))                                        \
        for (weirp_ope_block block; scan_more(scan_, &block);)

static inline weirp_scan *scan_begin(const weirp_ope_table *table) {
    weirp_scan *scan = NULL;
    weir_error err = {0};
    must(weirp_scan_new(&scan, table, &err), &err);
    return scan;
}
static inline weirp_scan *scan_end(weirp_scan *scan) {
    weirp_scan_free(scan);
    return NULL;
}
static inline int scan_more(weirp_scan *scan, weirp_ope_block *block) {
    weir_error err = {0};
    weir_status st = weirp_scan_next(scan, block, &err);
    if (st != WEIR_END) must(st, &err);
    return st == WEIR_OK;
}

#endif
