/* registry.c: the estimators in order. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "estimators/classes.h"

static const weirp_estimator_class *const classes[] = {
    &weirp_forest_class, &weirp_ridge_class, &weirp_knn_class, &weirp_kmeans_class, &weirp_lowrank_class,
};

const weirp_estimator_class *weirp_estimator_class_at(size_t index) {
    return index < sizeof classes / sizeof *classes ? classes[index] : NULL;
}

weir_status weirp_estimator_copy(weirp_estimator **out, const weirp_estimator *from, weir_error *err) {
    if (from->class->copy) return from->class->copy(out, from, err);
    weirp_writer w = {0};
    from->class->save(from, &w);
    weirp_bytes r = {.data = w.data, .size = w.size};
    weir_status st = w.failed ? weirp_nomem(err) : from->class->load(out, &r, err);
    weirp_writer_free(&w);
    return st;
}

const weirp_estimator_class *weirp_estimator_class_find(const char *name) {
    for (size_t k = 0; k < sizeof classes / sizeof *classes; k++)
        if (strcmp(classes[k]->name, name) == 0) return classes[k];
    return NULL;
}
