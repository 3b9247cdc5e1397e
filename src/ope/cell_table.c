/* cell_table.c: a cell of a table: which share of the rows each logging policy made.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "src/ope/cell.h"

weir_status weirp_cell_new(weirp_cell **out, const weirp_ope_table *table, weir_metric metric, size_t first_column,
                           bool robust, weir_error *err) {
    const size_t n = weirp_ope_table_n_loggers(table);
    *out = NULL;
    double *rows = weirp_array(n, sizeof *rows);
    if (!rows) return weirp_nomem(err);
    for (size_t l = 0; l < n; l++) rows[l] = (double)weirp_ope_table_logger_rows(table, l);
    const weir_status st = weirp_cell_make(out, rows, n, metric, first_column, robust, err);
    free(rows);
    return st;
}
