/* Measures of a ranking: ROC area, and RouteLLM's recovered performance gap.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/base/base.h"
#include "src/measure/measure.h"

#include <math.h>
#include <stdlib.h>

typedef struct scored {
    double score;
    uint32_t index;
} scored;

static int by_falling_score(const void *left, const void *right) {
    const scored *a = left, *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

weir_status weirp_rank(const double *score, const double *label, size_t n, size_t stride, uint32_t *order,
                       size_t *n_order, weir_error *err) {
    *n_order = 0;
    scored *items = weirp_array(n, sizeof *items);
    if (!items) return weirp_nomem(err);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(score[i * stride]) && !isnan(label[i * stride]))
            items[count++] = (scored){score[i * stride], (uint32_t)i};
    qsort(items, count, sizeof *items, by_falling_score);
    for (size_t i = 0; i < count; i++) order[i] = items[i].index;
    free(items);
    *n_order = count;
    return WEIR_OK;
}

double weirp_auc_ranked(const uint32_t *order, size_t n_order, const double *score, const double *label, size_t stride,
                        const double *weight) {
    double positives = 0, negatives = 0, area = 0;
    for (size_t i = 0; i < n_order;) {
        const double at = score[order[i] * stride];
        double up = 0, down = 0; /* weight of each class among the ties */
        for (; i < n_order && score[order[i] * stride] == at; i++)
            *(label[order[i] * stride] > 0.5 ? &up : &down) += weight ? weight[order[i]] : 1;
        area += down * (positives + up / 2);
        positives += up;
        negatives += down;
    }
    return positives > 0 && negatives > 0 ? area / (positives * negatives) : NAN;
}

double weirp_auc(const double *score, const double *label, size_t n, size_t stride) {
    uint32_t *order = weirp_array(n, sizeof *order);
    size_t count;
    double auc = NAN;
    if (order && weirp_rank(score, label, n, stride, order, &count, NULL) == WEIR_OK)
        auc = weirp_auc_ranked(order, count, score, label, stride, NULL);
    free(order);
    return auc;
}

void weirp_apgr_ranked(const uint32_t *order, size_t n_order, const double *gap, const double *weak,
                       const double *strong, const double *weight, const double *x, size_t n_cpt, double *apgr,
                       double *cpt) {
    double total = 0, whole = 0; /* weight, and the gap to be recovered */
    *apgr = NAN;
    for (size_t k = 0; k < n_cpt; k++) cpt[k] = NAN;
    for (size_t i = 0; i < n_order; i++) {
        const double w = weight ? weight[order[i]] : 1;
        total += w;
        whole += w * (strong[order[i]] - weak[order[i]]);
    }
    if (!(whole > 1e-12 * total)) return;
    double share = 0, recovered = 0, area = 0;
    for (size_t k = 0; k < n_cpt; k++)
        if (x[k] <= 0) cpt[k] = 0;
    for (size_t i = 0; i < n_order;) {
        const double at = gap[order[i]];
        double w = 0, gain = 0;
        for (; i < n_order && gap[order[i]] == at; i++) {
            const double one = weight ? weight[order[i]] : 1;
            w += one;
            gain += one * (strong[order[i]] - weak[order[i]]);
        }
        const double to = recovered + gain / whole, next = share + w / total;
        area += (next - share) * (recovered + to) / 2;
        for (size_t k = 0; k < n_cpt; k++)
            if (isnan(cpt[k]) && to >= x[k] - 1e-12)
                cpt[k] =
                    to > recovered ? share + (next - share) * fmin(1, (x[k] - recovered) / (to - recovered)) : next;
        share = next, recovered = to;
    }
    *apgr = area;
}

weir_status weirp_apgr(const double *gap, const double *weak, const double *strong, size_t n, const double *x,
                       size_t n_cpt, double *apgr, double *cpt, weir_error *err) {
    uint32_t *order = weirp_array(n, sizeof *order);
    if (!order) return weirp_nomem(err);
    size_t count;
    const weir_status st = weirp_rank(gap, gap, n, 1, order, &count, err);
    weirp_apgr_ranked(order, count, gap, weak, strong, NULL, x, n_cpt, apgr, cpt);
    free(order);
    return st;
}
