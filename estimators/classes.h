/* classes.h: the estimators there are, and their fits at given hyper-parameters.
 *
 * A refit takes what was chosen once (centres, clusters, factors, penalties, prior counts) from another estimator of
 * the same class, and counts only the sample's outcomes. Recursive updates give what it gives.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CLASSES_H
#define WEIRP_CLASSES_H

#include "estimators/estimator.h"

extern const weirp_estimator_class weirp_forest_class;
extern const weirp_estimator_class weirp_ridge_class;
extern const weirp_estimator_class weirp_knn_class;
extern const weirp_estimator_class weirp_kmeans_class;
extern const weirp_estimator_class weirp_lowrank_class;

/* knn: every search reads all rows. */
void weirp_knn_probe_all(weirp_estimator *self);

weir_status weirp_ridge_refit(weirp_estimator **out, const weirp_estimator *like, const weirp_sample *sample,
                              weir_error *err);
weir_status weirp_kmeans_refit(weirp_estimator **out, const weirp_estimator *like, const weirp_sample *sample,
                               weir_error *err);
weir_status weirp_lowrank_refit(weirp_estimator **out, const weirp_estimator *like, const weirp_sample *sample,
                                weir_error *err);

#endif
