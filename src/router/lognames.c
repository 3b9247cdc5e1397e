/* lognames.c: models' names of now and of before. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/lognames.h"

#include <stdlib.h>
#include <string.h>

#include "src/router/inspect.h"

static weir_status read_then(weirp_log_names *names, weirp_snapshot *snapshot, const char *section, weir_error *err) {
    weirp_bytes r = {0};
    weir_status st = weirp_snapshot_get(snapshot, section, &r.data, &r.size, err);
    if (st != WEIR_OK) return st;
    if (!weirp_reserve((void **)&names->old, &names->old_capacity, names->n_old + 1, sizeof *names->old))
        return weirp_nomem(err);
    uint64_t n = weirp_get_u64(&r);
    weirp_names_then *v = &names->old[names->n_old];
    *v = (weirp_names_then){.since = strtoull(section + strlen(WEIRP_NAMES_PREFIX), NULL, 16)};
    if (n <= WEIR_MAX_MODELS) v->name = weirp_array((size_t)n, sizeof *v->name);
    if (v->name) names->n_old++;
    for (; v->name && v->n < n && !r.failed; v->n++) v->name[v->n] = weirp_get_text(&r);
    if (v->name && r.failed) v->n--; /* the last is NULL */
    if (r.out_of_memory || (n <= WEIR_MAX_MODELS && !v->name)) return weirp_nomem(err);
    return r.failed || n > WEIR_MAX_MODELS ? weirp_fail(err, WEIR_CORRUPT, 0, "section \"%s\" is damaged", section)
                                           : WEIR_OK;
}

weir_status weirp_log_names_read(weirp_log_names *names, weirp_snapshot *snapshot, weir_error *err) {
    const char *section;
    weir_status st = weirp_state_names(snapshot, &names->pool, &names->trained_version, err);
    for (size_t i = 0; st == WEIR_OK; i++) {
        st = weirp_snapshot_section(snapshot, i, &section, NULL, err);
        if (st == WEIR_END) return WEIR_OK;
        if (st == WEIR_OK && strncmp(section, WEIRP_NAMES_PREFIX, strlen(WEIRP_NAMES_PREFIX)) == 0)
            st = read_then(names, snapshot, section, err);
    }
    return st;
}

void weirp_log_names_free(weirp_log_names *names) {
    for (size_t i = 0; i < names->n_old; i++) {
        for (size_t m = 0; m < names->old[i].n; m++) free(names->old[i].name[m]);
        free(names->old[i].name);
    }
    free(names->old);
    weir_pool_free(names->pool);
    *names = (weirp_log_names){0};
}

const weirp_names_then *weirp_log_names_then(const weirp_log_names *names, uint64_t features_version) {
    if (features_version >= names->trained_version) return NULL;
    for (size_t i = names->n_old; i-- > 0;)
        if (names->old[i].since <= features_version) return &names->old[i];
    return NULL;
}

const char *weirp_log_name(const weirp_log_names *names, const weirp_names_then *then, size_t m) {
    if (then) return m < then->n ? then->name[m] : "?";
    return m < names->pool->n_models ? names->pool->models[m].name : "?";
}
