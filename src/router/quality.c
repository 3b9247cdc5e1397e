/* quality.c: members, weights and the shrinkage toward constants. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void weirp_quality_clear(weirp_quality *q) {
    for (size_t k = 0; k < q->n_members; k++)
        if (q->member[k]) q->member[k]->class->free(q->member[k]);
    free(q->mean);
    memset(q, 0, sizeof *q);
}

void weirp_quality_save(const weirp_quality *q, size_t n_models, weirp_writer *w) {
    weirp_put_u32(w, (uint32_t)q->n_members);
    weirp_put_f64(w, q->shrink);
    weirp_put_f64s(w, q->mean, n_models);
    for (size_t k = 0; k < q->n_members; k++) {
        weirp_put_f64(w, q->weight[k]);
        weirp_put_text(w, q->member[k]->class->name);
        q->member[k]->class->save(q->member[k], w);
    }
}

static weir_status load_member(weirp_quality *q, size_t k, size_t n_models, weirp_bytes *r, weir_error *err) {
    q->weight[k] = weirp_get_f64(r);
    char *name = weirp_get_text(r);
    const weirp_estimator_class *class = name ? weirp_estimator_class_find(name) : NULL;
    weir_status st = class ? class->load(&q->member[k], r, err)
                           : weirp_fail(err, WEIR_CORRUPT, 0, "quality: unknown estimator \"%s\"", name ? name : "");
    free(name);
    if (st != WEIR_OK) return st;
    q->n_members = k + 1;
    if (q->member[k]->n_models != n_models || !isfinite(q->weight[k]))
        return weirp_fail(err, WEIR_CORRUPT, 0, "quality: member %zu doesn't fit the pool", k);
    return WEIR_OK;
}

weir_status weirp_quality_load(weirp_quality *q, size_t n_models, weirp_bytes *r, weir_error *err) {
    memset(q, 0, sizeof *q);
    uint32_t n = weirp_get_u32(r);
    q->shrink = weirp_get_f64(r);
    q->mean = weirp_get_f64s(r, n_models);
    weir_status st = WEIR_OK;
    if (r->failed || n > WEIRP_MAX_MEMBERS || !isfinite(q->shrink))
        st = weirp_fail(err, WEIR_CORRUPT, 0, "quality: the section doesn't fit the pool");
    for (size_t k = 0; st == WEIR_OK && k < n; k++) st = load_member(q, k, n_models, r, err);
    if (st != WEIR_OK) weirp_quality_clear(q);
    return st;
}

weir_status weirp_quality_copy(weirp_quality *to, const weirp_quality *q, size_t n_models, weir_error *err) {
    weir_status st = WEIR_OK;
    memcpy(to->weight, q->weight, sizeof to->weight);
    to->shrink = q->shrink;
    to->mean = weirp_array(n_models, sizeof *to->mean);
    if (!to->mean) return weirp_nomem(err);
    memcpy(to->mean, q->mean, n_models * sizeof *to->mean);
    for (size_t k = 0; st == WEIR_OK && k < q->n_members; k++) {
        st = weirp_estimator_copy(&to->member[k], q->member[k], err);
        to->n_members += st == WEIR_OK;
    }
    return st;
}

size_t weirp_quality_scratch(const weirp_quality *q) {
    size_t most = 0;
    for (size_t k = 0; k < q->n_members; k++) {
        size_t need = q->member[k]->class->scratch_size(q->member[k]);
        if (need > most) most = need;
    }
    return most;
}

void weirp_quality_predict(const weirp_quality *q, const weirp_features *x, size_t n_models, void *scratch, double *tmp,
                           double *quality, double *sd, weirp_quality_timer timer, void *user) {
    double *p = tmp;
    size_t heaviest = 0;
    for (size_t k = 1; k < q->n_members; k++)
        if (q->weight[k] > q->weight[heaviest]) heaviest = k;
    for (size_t m = 0; m < n_models; m++) quality[m] = sd[m] = 0;
    for (size_t k = 0; k < q->n_members; k++) {
        /* members see the same rows, so that their errors go together: the heaviest one's standard error is the
         * combination's, and the others aren't asked for theirs, which is the dearer half of a prediction */
        q->member[k]->class->predict(q->member[k], x, scratch, p, k == heaviest ? sd : NULL);
        for (size_t m = 0; m < n_models; m++) quality[m] += q->weight[k] * (p[m] - q->mean[m]);
        if (timer) timer(user, k);
    }
    for (size_t m = 0; m < n_models; m++) {
        quality[m] = fmin(fmax(q->mean[m] + q->shrink * quality[m], 0), 1);
        sd[m] *= q->shrink;
    }
}

weir_status weirp_quality_update(weirp_quality *q, const weirp_features *x, size_t model, double label,
                                 weir_error *err) {
    for (size_t k = 0; k < q->n_members; k++) {
        weir_status st = q->member[k]->class->update(q->member[k], x, model, label, 1.0, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

weir_status weirp_quality_grow(weirp_quality *q, size_t n_models, weir_error *err) {
    double *mean = realloc(q->mean, n_models * sizeof *mean), sum = 0;
    if (!mean) return weirp_nomem(err);
    q->mean = mean;
    for (size_t m = 0; m + 1 < n_models; m++) sum += mean[m];
    mean[n_models - 1] = n_models > 1 ? sum / (double)(n_models - 1) : 0.5;
    for (size_t k = 0; k < q->n_members; k++) {
        weir_status st = q->member[k]->class->add_model(q->member[k], err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}
