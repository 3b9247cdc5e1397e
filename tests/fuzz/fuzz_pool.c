/* Any bytes as a pool file. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "tests/fuzz/memory_file.h"
#include "weir/weir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[32];
    int fd = memory_file(data, size, path);
    weir_pool *pool;
    weir_error err = {0};
    weir_status st = weir_pool_load(&pool, path, &err);
    if ((st == WEIR_OK) != (pool != NULL) || (st && !*err.text)) abort();
    for (size_t i = 0; pool && i < pool->n_models; i++) {
        const weir_model *m = &pool->models[i];
        if (!*m->name || m->input_usd_per_mtok < 0 || m->output_usd_per_mtok < 0 || !(m->request_usd >= 0) ||
            !(m->max_input_tokens >= 1) || weir_pool_find(pool, m->name) != i)
            abort();
    }
    weir_pool_free(pool);
    close(fd);
    return 0;
}
