/* gram.c: normal equations. A group's matrix is summed over its rows, or is the total less the rows it hasn't,
 * whichever are fewer; BLAS does the sums, a block of rows at a time. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/gram.h"

#include <stdlib.h>
#include <string.h>

#include <cblas.h>

enum { BLOCK = 256 };

void weirp_gram_rows(const float *dense, size_t n, size_t dim, const double *centre, double *out) {
    for (size_t i = 0; i < n; i++, out += dim + 1) {
        for (size_t j = 0; j < dim; j++) out[j] = (double)dense[i * dim + j] - centre[j];
        out[dim] = 1;
    }
}

static bool row_seen(const weirp_sample *s, size_t row) {
    for (size_t m = 0; m < s->n_models; m++)
        if (weirp_seen(s->target[row * s->n_models + m])) return true;
    return false;
}

static void find_centre(weirp_gram *g, const weirp_sample *s, const double *centre) {
    for (size_t i = 0; i < s->n; i++) {
        if (!row_seen(s, i)) continue;
        g->n_rows++;
        if (!centre)
            for (size_t j = 0; j < s->dim; j++) g->centre[j] += s->dense[i * s->dim + j];
    }
    for (size_t j = 0; j < s->dim; j++) {
        if (centre)
            g->centre[j] = centre[j];
        else if (g->n_rows)
            g->centre[j] /= (double)g->n_rows;
    }
}

/* Sorts models into groups by the set of rows they have. `member` (n_models) gets a model of each group. */
static bool find_groups(weirp_gram *g, const weirp_sample *s, size_t *member) {
    uint64_t *key = weirp_array(s->n_models, sizeof *key);
    double *count = weirp_array(s->n_models, sizeof *count);
    if (!key || !count) {
        free(key);
        free(count);
        return false;
    }
    for (size_t i = 0; i < s->n; i++) {
        uint64_t row = weirp_random_u64(s->seed, 0x6772616d, i);
        for (size_t m = 0; m < s->n_models; m++)
            if (weirp_seen(s->target[i * s->n_models + m])) key[m] += row, count[m]++;
    }
    for (size_t m = 0; m < s->n_models; m++) {
        size_t k = 0;
        while (k < g->n_groups && (g->key[k] != key[m] || g->count[k] != count[m])) k++;
        if (k == g->n_groups) {
            g->key[k] = key[m];
            g->count[k] = count[m];
            member[k] = m;
            g->n_groups++;
        }
        g->group[m] = (uint32_t)k;
        g->size[k]++;
    }
    free(key);
    free(count);
    return true;
}

/* a += sign * sum of z z' over the rows where `model` is seen (or isn't); model == n_models: rows with any outcome. */
static void add_rows(const weirp_gram *g, const weirp_sample *s, size_t model, bool seen, double sign, double *z,
                     double *a) {
    size_t d = g->d, filled = 0;
    for (size_t i = 0; i < s->n; i++) {
        bool has = model == s->n_models || weirp_seen(s->target[i * s->n_models + model]);
        if (has == seen && ((has && model < s->n_models) || row_seen(s, i))) {
            weirp_gram_rows(s->dense + i * s->dim, 1, s->dim, g->centre, z + filled * d);
            filled++;
        }
        if (filled == BLOCK || (i + 1 == s->n && filled)) {
            cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)d, (int)filled, sign, z, (int)d, 1, a, (int)d);
            filled = 0;
        }
    }
}

static void mirror(double *a, size_t d) {
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < i; j++) a[i * d + j] = a[j * d + i];
}

static void sum_matrices(weirp_gram *g, const weirp_sample *s, const size_t *member, double *z, double *total) {
    size_t dd = g->d * g->d;
    bool need_total = false;
    for (size_t k = 0; k < g->n_groups; k++) need_total |= 2 * g->count[k] > (double)g->n_rows;
    if (need_total) add_rows(g, s, s->n_models, true, 1, z, total);
    for (size_t k = 0; k < g->n_groups; k++) {
        double *a = g->a + k * dd;
        if (2 * g->count[k] > (double)g->n_rows) {
            memcpy(a, total, dd * sizeof *a);
            if (g->count[k] < (double)g->n_rows) add_rows(g, s, member[k], false, -1, z, a);
        } else if (g->count[k] > 0) {
            add_rows(g, s, member[k], true, 1, z, a);
        }
        mirror(a, g->d);
    }
}

/* s = Y' Z, a block of rows at a time; y: (BLOCK, n_models). */
static void sum_targets(weirp_gram *g, const weirp_sample *s, double offset, double *z, double *y) {
    size_t models = s->n_models;
    for (size_t i = 0; i < s->n; i += BLOCK) {
        size_t n = s->n - i < BLOCK ? s->n - i : BLOCK;
        weirp_gram_rows(s->dense + i * s->dim, n, s->dim, g->centre, z);
        for (size_t k = 0; k < n * models; k++) {
            double t = s->target[i * models + k];
            y[k] = weirp_seen(t) ? t - offset : 0;
        }
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)models, (int)g->d, (int)n, 1, y, (int)models, z,
                    (int)g->d, 1, g->s, (int)g->d);
    }
}

weir_status weirp_gram_new(weirp_gram *g, const weirp_sample *s, double offset, const double *centre, weir_error *err) {
    memset(g, 0, sizeof *g);
    g->n_models = s->n_models;
    g->d = s->dim + 1;
    g->centre = weirp_array(s->dim, sizeof(double));
    g->group = weirp_array(s->n_models, sizeof *g->group);
    g->size = weirp_array(s->n_models, sizeof *g->size);
    g->count = weirp_array(s->n_models, sizeof *g->count);
    g->key = weirp_array(s->n_models, sizeof *g->key);
    g->s = weirp_array(s->n_models * g->d, sizeof(double));
    size_t *member = weirp_array(s->n_models, sizeof *member);
    double *z = weirp_array(BLOCK * g->d, sizeof *z), *y = weirp_array(BLOCK * s->n_models, sizeof *y);
    double *total = weirp_array(g->d * g->d, sizeof *total);
    weir_status st = WEIR_OK;
    if (!g->centre || !g->group || !g->size || !g->count || !g->key || !g->s || !member || !z || !y || !total) {
        st = weirp_nomem(err);
    } else {
        find_centre(g, s, centre);
        if (!find_groups(g, s, member) || !(g->a = weirp_array(g->n_groups * g->d * g->d, sizeof(double)))) {
            st = weirp_nomem(err);
        } else {
            sum_matrices(g, s, member, z, total);
            if (s->n_models) sum_targets(g, s, offset, z, y);
        }
    }
    free(member);
    free(z);
    free(y);
    free(total);
    if (st != WEIR_OK) weirp_gram_free(g);
    return st;
}

void weirp_gram_free(weirp_gram *g) {
    free(g->centre);
    free(g->group);
    free(g->size);
    free(g->count);
    free(g->key);
    free(g->a);
    free(g->s);
    memset(g, 0, sizeof *g);
}
