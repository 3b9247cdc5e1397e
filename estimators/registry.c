/* registry.c: the estimators in order. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "estimators/classes.h"

static const weirp_estimator_class *const classes[] = {
    &weirp_forest_class,
    &weirp_ridge_class,
    &weirp_knn_class,
    &weirp_kmeans_class,
    &weirp_lowrank_class,
};

const weirp_estimator_class *weirp_estimator_class_at(size_t index) {
    return index < sizeof classes / sizeof *classes ? classes[index] : NULL;
}

const weirp_estimator_class *weirp_estimator_class_find(const char *name) {
    for (size_t k = 0; k < sizeof classes / sizeof *classes; k++)
        if (strcmp(classes[k]->name, name) == 0) return classes[k];
    return NULL;
}
