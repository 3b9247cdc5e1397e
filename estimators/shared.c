/* shared.c: the shared weights: fitting, and one more outcome. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/shared.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/kernels.h"

static double own_mean(const weirp_levels *l, size_t m) {
    return l->count[m] > 0 ? l->sum[m] / l->count[m] : 0;
}

/* Scatter around each model's own mean, summed over models, into b (dim, dim); and the same of x and y into t. */
static void sum_within(const weirp_gram *g, const weirp_levels *l, size_t dim, double *b, double *t) {
    size_t d = g->d;
    for (size_t k = 0; k < g->n_groups; k++) {
        const double *a = g->a + k * d * d, *sum = a + dim * d; /* the last row: sums of z */
        if (!(g->count[k] > 0)) continue;
        double size = (double)g->size[k];
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++) b[i * dim + j] += size * (a[i * d + j] - sum[i] * sum[j] / g->count[k]);
    }
    for (size_t m = 0; m < g->n_models; m++) {
        const double *sum = g->a + g->group[m] * d * d + dim * d, *s = g->s + m * d;
        double mean = own_mean(l, m);
        for (size_t j = 0; j < dim; j++) t[j] += s[j] - mean * sum[j];
    }
}

/* Sum of squares of the rows' mean residuals, weighted by their outcomes. */
static double row_squares(const weirp_sample *s, const weirp_levels *l, double cells) {
    double squares = 0;
    for (size_t i = 0; i < s->n; i++) {
        double sum = 0, n = 0;
        for (size_t m = 0; m < s->n_models; m++) {
            double y = s->target[i * s->n_models + m];
            if (weirp_seen(y)) sum += y - l->offset - own_mean(l, m), n++;
        }
        if (n > 0) squares += sum * sum / n / cells;
    }
    return squares;
}

/* The alpha (against rows) of most evidence, and the residual variance there. e, c: eigenvalues, and targets in their
 * basis. */
static double most_evidence(const double *e, const double *c, size_t dim, double squares, double rows,
                            double *variance) {
    double best = INFINITY, alpha = 1e5;
    *variance = rows > 1 ? squares / (rows - 1) : squares;
    if (!(rows > 2) || !(squares > 0)) return alpha;
    for (double a = 1; a <= 1.1e5; a *= 1.2589254117941673) { /* ten steps a decade */
        double left = squares, volume = 0;
        for (size_t j = 0; j < dim; j++) {
            double w = e[j] > 0 ? e[j] : 0;
            left -= c[j] * c[j] / (w + a);
            volume += log1p(w / a);
        }
        if (!(left > 1e-12 * squares)) left = 1e-12 * squares;
        double cost = volume + (rows - 1) * log(left / (rows - 1));
        if (cost < best) best = cost, alpha = a, *variance = left / (rows - 1);
    }
    return alpha;
}

static weir_status choose_alpha(weirp_shared *h, const weirp_sample *s, const weirp_gram *g, const weirp_levels *l,
                                const double *b, const double *t, weir_error *err) {
    size_t dim = h->dim;
    double total = 0;
    for (size_t m = 0; m < l->n_models; m++) total += l->count[m];
    h->cells = g->n_rows && total > 0 ? total / (double)g->n_rows : 1;
    double *v = weirp_array(dim * dim, sizeof *v), *e = weirp_array(dim, sizeof *e), *c = weirp_array(dim, sizeof *c);
    weir_status st = v && e && c ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) {
        for (size_t k = 0; k < dim * dim; k++) v[k] = b[k] / h->cells;
        st = weirp_eigh(v, dim, e, err);
    }
    if (st == WEIR_OK) {
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++) c[j] += v[i * dim + j] * t[i] / h->cells;
        h->alpha = h->cells * most_evidence(e, c, dim, row_squares(s, l, h->cells), (double)g->n_rows, &h->variance);
    }
    free(v);
    free(e);
    free(c);
    return st;
}

static bool make(weirp_shared *h, size_t dim, size_t n_models) {
    size_t p = weirp_padded(dim);
    h->dim = dim;
    h->inverse = weirp_aligned(weirp_tri_size(dim), sizeof(double));
    h->quad = weirp_aligned(weirp_tri_size(dim), sizeof(float));
    h->t = weirp_aligned(p, sizeof(double));
    h->w = weirp_aligned(p, sizeof(double));
    h->sum = weirp_array(n_models * p, sizeof(double));
    return h->inverse && h->quad && h->t && h->w && h->sum;
}

weir_status weirp_invert_spd(double *a, size_t n, double *tri, weir_error *err) {
    double *inverse = weirp_array(n * n, sizeof *inverse);
    if (!inverse) return weirp_nomem(err);
    for (size_t i = 0; i < n; i++) inverse[i * n + i] = 1;
    weir_status st = weirp_solve_spd(a, n, inverse, n, err);
    if (st == WEIR_OK) weirp_tri_pack(tri, inverse, n);
    free(inverse);
    return st;
}

weir_status weirp_shared_fit(weirp_shared *h, const weirp_sample *s, const weirp_gram *g, const weirp_levels *l,
                             const weirp_shared *like, weir_error *err) {
    memset(h, 0, sizeof *h);
    size_t dim = s->dim, p = weirp_padded(dim), d = g->d;
    double *b = weirp_array(dim * dim, sizeof *b);
    weir_status st = WEIR_OK;
    if (!b || !make(h, dim, s->n_models)) {
        st = weirp_nomem(err);
        goto done;
    }
    sum_within(g, l, dim, b, h->t);
    for (size_t m = 0; m < s->n_models; m++)
        memcpy(h->sum + m * p, g->a + g->group[m] * d * d + dim * d, dim * sizeof(double));
    if (like)
        h->alpha = like->alpha, h->cells = like->cells, h->variance = like->variance;
    else
        WEIRP_TRY(choose_alpha(h, s, g, l, b, h->t, err));
    for (size_t j = 0; j < dim; j++) b[j * dim + j] += h->alpha;
    WEIRP_TRY(weirp_invert_spd(b, dim, h->inverse, err));
    weirp_tri_mul(h->inverse, dim, h->t, h->w);
    weirp_tri_quad_from(h->quad, h->inverse, dim);
done:
    free(b);
    if (st != WEIR_OK) weirp_shared_free(h);
    return st;
}

void weirp_shared_add(weirp_shared *h, const weirp_levels *l, size_t m, const double *z, double target, double weight,
                      double *work) {
    size_t dim = h->dim, p = weirp_padded(dim);
    double *sum = h->sum + m * p, *from_mean = work, *u = work + p;
    double count = l->count[m], factor = weight * count / (count + weight);
    if (factor > 0) { /* the scatter around a mean that itself moves (Welford, Technometrics 4(3), 1962) */
        for (size_t j = 0; j < p; j++) from_mean[j] = z[j] - sum[j] / count;
        weirp_tri_mul(h->inverse, dim, from_mean, u);
        double zu = 0;
        for (size_t j = 0; j < dim; j++) zu += from_mean[j] * u[j];
        weirp_tri_rank1(h->inverse, dim, -factor / (1 + factor * zu), u);
        double y = factor * (target - l->offset - l->sum[m] / count);
        for (size_t j = 0; j < p; j++) h->t[j] += y * from_mean[j];
        weirp_tri_mul(h->inverse, dim, h->t, h->w);
        weirp_tri_quad_from(h->quad, h->inverse, dim);
    }
    for (size_t j = 0; j < p; j++) sum[j] += weight * z[j];
}

weir_status weirp_shared_add_model(weirp_shared *h, size_t n_models, weir_error *err) {
    if (!weirp_append_zero((void **)&h->sum, n_models, weirp_padded(h->dim) * sizeof(double))) return weirp_nomem(err);
    return WEIR_OK;
}

void weirp_shared_remove_model(weirp_shared *h, size_t n_models, size_t index) {
    weirp_take_out(h->sum, n_models, index, weirp_padded(h->dim) * sizeof(double));
}

void weirp_shared_save(const weirp_shared *h, size_t n_models, weirp_writer *w) {
    size_t p = weirp_padded(h->dim);
    weirp_put_f64(w, h->alpha);
    weirp_put_f64(w, h->cells);
    weirp_put_f64(w, h->variance);
    weirp_put_f64s(w, h->inverse, weirp_tri_size(h->dim));
    weirp_put_f64s(w, h->t, p);
    weirp_put_f64s(w, h->w, p);
    weirp_put_f64s(w, h->sum, n_models * p);
}

double *weirp_get_aligned(weirp_bytes *r, size_t n) {
    double *plain = weirp_get_f64s(r, n), *out = NULL;
    if (plain && !weirp_all_finite(plain, n)) r->failed = true;
    if (plain && !r->failed) {
        out = weirp_aligned(n, sizeof *out);
        if (out)
            memcpy(out, plain, n * sizeof *out);
        else
            r->failed = r->out_of_memory = true;
    }
    free(plain);
    return out;
}

bool weirp_shared_load(weirp_shared *h, weirp_bytes *r, size_t dim, size_t n_models) {
    memset(h, 0, sizeof *h);
    size_t p = weirp_padded(dim), size = weirp_tri_size(dim);
    h->dim = dim;
    h->alpha = weirp_get_f64(r);
    h->cells = weirp_get_f64(r);
    h->variance = weirp_get_f64(r);
    h->inverse = weirp_get_aligned(r, size);
    h->t = weirp_get_aligned(r, p);
    h->w = weirp_get_aligned(r, p);
    h->sum = weirp_get_aligned(r, n_models * p);
    if (!r->failed && !(h->alpha > 0 && h->cells > 0 && h->variance >= 0)) r->failed = true;
    if (!r->failed && !(h->quad = weirp_aligned(size, sizeof(float)))) r->failed = r->out_of_memory = true;
    if (!r->failed) weirp_tri_quad_from(h->quad, h->inverse, dim);
    return !r->failed;
}

void weirp_shared_free(weirp_shared *h) {
    free(h->inverse);
    free(h->quad);
    free(h->t);
    free(h->w);
    free(h->sum);
    memset(h, 0, sizeof *h);
}
