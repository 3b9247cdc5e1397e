/* Any bytes as an outcome file: read or refused, and what is read keeps the promises of data.h.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/base/words.h"
#include "tests/fuzz/memory_file.h"
#include "weir/weir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds) abort();
}

static void in_range(const double *table, size_t n, double max) {
    for (size_t i = 0; table && i < n; i++) must(isnan(table[i]) || (table[i] >= 0 && table[i] <= max));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[32];
    int fd = memory_file(data, size, path);
    const char *paths[] = {path};
    weir_reader_options options = {.max_line_bytes = 1 << 20};
    weir_dataset *d;
    if (weir_dataset_load(&d, paths, 1, &options, NULL) == WEIR_OK) {
        size_t cells = d->n_prompts * d->n_models;
        must(cells > 0);
        in_range(d->quality, cells, 1);
        in_range(d->cost_usd, cells, HUGE_VAL);
        in_range(d->input_tokens, cells, HUGE_VAL);
        in_range(d->output_tokens, cells, HUGE_VAL);
        in_range(d->latency_ms, cells, HUGE_VAL);
        for (size_t i = 0; i < d->n_prompts; i++) {
            must(weirp_utf8_valid(d->prompts[i], d->prompt_lens[i]) == d->prompt_lens[i]);
            must(d->prompts[i][d->prompt_lens[i]] == '\0' && d->ids[i] && d->tasks[i]);
        }
        weir_dataset_free(d);
    }
    close(fd);
    return 0;
}
