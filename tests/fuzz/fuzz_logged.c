/* Any bytes as a log, or as a mapping and a log: read or refused, and rows keep the promises of logged.h. Inputs: the
 * mapping, a line "---", the log; without such a line weir's own form. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/logged.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds) abort();
}

static void check_chances(const double *p, size_t n) {
    double sum = 0;
    for (size_t m = 0; p && m < n; m++) {
        must(p[m] >= 0 && p[m] <= 1);
        sum += p[m];
    }
    must(!p || fabs(sum - 1) < 1e-5);
}

static void check_row(const weirp_logged *l, const weirp_logged_row *row) {
    size_t n = weirp_logged_n_models(l);
    must(row->chosen < n && row->p > 0 && row->p <= 1);
    must(row->id && row->session && row->segment && row->logger);
    check_chances(row->propensity, n);
    check_chances(row->target, n);
    must(!row->propensity || row->propensity[row->chosen] == row->p);
    for (size_t i = 0; i < WEIR_N_METRICS; i++) must(isnan(row->metric[i]) || row->metric[i] >= 0);
    must(!(row->metric[WEIR_METRIC_QUALITY] > 1) && !(row->metric[WEIR_METRIC_ERROR] > 1));
    must(isnan(row->metric[WEIR_METRIC_LOSS]));
    for (size_t i = 0; row->by_logger && i < row->n_loggers; i++)
        must(row->by_logger[i] >= 0 && row->by_logger[i] <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char cut[] = "\n---\n";
    const uint8_t *at = memmem(data, size, cut, sizeof cut - 1);
    char map[32], log[32];
    int map_fd = at ? memory_file(data, (size_t)(at - data) + 1, map) : -1;
    const uint8_t *from = at ? at + sizeof cut - 1 : data;
    int log_fd = memory_file(from, size - (size_t)(from - data), log);
    weirp_logged_options options = {.map = at ? map : NULL};
    weirp_logged *l;
    weirp_logged_row row;
    if (weirp_logged_open(&l, log, &options, NULL) == WEIR_OK) {
        while (weirp_logged_next(l, &row, NULL) == WEIR_OK) check_row(l, &row);
        weirp_logged_close(l);
    }
    close(log_fd);
    if (map_fd >= 0) close(map_fd);
    return 0;
}
