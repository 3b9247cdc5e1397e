/* curve.c: a whole cost-quality curve off one log: a policy with one knob left open, estimated at many settings on the
 * same rows, beside every single model.
 *
 * Points are self-normalised doubly robust estimates. Each is held to what a candidate is held to (honesty.c): a point
 * of a curve has a cost, and where nothing bounds the cost of mass that the log doesn't support, such a point is
 * refused, as are those of too few effective rows. What is refused isn't part of the curve.
 *
 * Memory is bounded whatever the models, settings and draws: sums are kept of as many points as fit, with coarser
 * clusters where there are many, and in several ways through the rows where that isn't enough; draws are made of some
 * points at a time, which stay paired because the same seed draws the same clusters.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/ope/curve_parts.h"

enum { SUMS_BYTES = 64 << 20, DRAW_BYTES = 32 << 20, MOST_CLUSTERS = 8192, LEAST_CLUSTERS = 1024 };
enum { QUALITY, COST, N_AXES = WEIRP_CURVE_AXES };
enum { N_OF_POINT = N_AXES * WEIRP_N_OF_AXIS };

typedef struct curving {
    const weirp_judging *j;
    const weir_ope *result; /* what is known of the log */
    weirp_ope_target *target;
    weirp_curve_points points;
    size_t n_points; /* the knobs', then the single models' */
    size_t n_clusters;
    weirp_curve_rows *rows;
    weirp_curve_drawn drawn;
    weirp_curve_point *point; /* (n_points) */
} curving;

/* ---- single models ---- */

/* Weights of always taking one model are above 0 on the rows that chose it alone: there must be as many of these as the
 * effective sample size must be, and no more than that are looked at further. */
static weir_status find_singles(curving *c, weirp_log_curve *out, weir_error *err) {
    const weirp_judging *j = c->j;
    size_t(*n)[N_AXES + 1] = weirp_array(j->n_models, sizeof *n);
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = WEIR_OK;
    c->points.single = weirp_array(j->n_models, sizeof *c->points.single);
    if (!n || !c->points.single) WEIRP_TRY(weirp_nomem(err));
    st = weirp_scan_new(&scan, j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK)
        for (size_t i = 0; i < b.n; i++) {
            if (!weirp_ope_is_decided(&b, i)) continue;
            n[b.chosen[i]][N_AXES]++;
            for (size_t x = 0; x < N_AXES; x++)
                n[b.chosen[i]][x] += !isnan(b.metric[i * WEIR_N_METRICS + weirp_curve_metric[x]]);
        }
    weirp_scan_free(scan);
    if (st != WEIR_END) goto done;
    st = WEIR_OK;
    for (size_t m = 0; m < j->n_models; m++) {
        weirp_curve_point *p = &out->single[m];
        const size_t x = n[m][COST] < n[m][QUALITY] ? COST : QUALITY;
        if (!n[m][N_AXES])
            snprintf(p->refusal, sizeof p->refusal, "the log never chose it");
        else if (n[m][x] < WEIRP_OPE_LEAST_ESS)
            snprintf(p->refusal, sizeof p->refusal, "%zu rows chose it and know the %s: at least %d are needed",
                     n[m][x], weir_metric_name(weirp_curve_metric[x]), WEIRP_OPE_LEAST_ESS);
        else
            c->points.single[c->points.n_singles++] = m;
    }
done:
    free(n);
    return st;
}

/* ---- what can be judged, and its draws ---- */

static void refuse(curving *c, size_t point) {
    weirp_curve_point *p = &c->point[point];
    for (size_t axis = 0; axis < N_AXES && !*p->refusal; axis++) {
        const weirp_cell_facts f = weirp_curve_rows_facts(c->rows, axis, point);
        weirp_ope_standing s;
        weirp_ope_weigh(&f, &s);
        p->unsupported = s.unsupported;
        weirp_ope_refuse(c->result, weirp_curve_metric[axis], &s, f.n_undecided);
        memcpy(p->refusal, s.refusal, sizeof p->refusal);
    }
}

/* Where a point that draws are made of has its columns. */
static size_t column_of(size_t place, size_t axis, size_t kind) {
    return WEIRP_N_SHARED + place * N_OF_POINT + axis * WEIRP_N_OF_AXIS + kind;
}

static weirp_ratio ratio_of(size_t place, size_t axis) {
    return (weirp_ratio){.num = column_of(place, axis, WEIRP_COLUMN_D),
                         .den = column_of(place, axis, WEIRP_COLUMN_A),
                         .add = column_of(place, axis, WEIRP_COLUMN_V),
                         .add_den = WEIRP_COLUMN_N,
                         .factor = 1};
}

/* Some points' columns, taken out of the sums of all. */
static void take_out(const curving *c, const size_t *point, size_t n, weirp_sums *to) {
    const weirp_sums *from = weirp_curve_rows_sums(c->rows);
    for (size_t g = 0; g < c->n_clusters; g++) {
        const double *x = from->x + g * from->n_columns;
        double *y = to->x + g * to->n_columns;
        y[WEIRP_COLUMN_N] = x[WEIRP_COLUMN_N];
        for (size_t i = 0; i < n; i++)
            for (size_t axis = 0; axis < N_AXES; axis++)
                for (size_t kind = 0; kind < WEIRP_N_OF_AXIS; kind++)
                    y[column_of(i, axis, kind)] = x[weirp_curve_rows_column(c->rows, axis, kind, point[i])];
    }
    weirp_sums_finish(to);
}

static weir_status draw(curving *c, const size_t *point, size_t n, weir_error *err) {
    const weir_ope_options *o = &c->j->s->o;
    weirp_sums sums = {.n_clusters = 0};
    weirp_draws draws = {.n_draws = 0};
    weir_status st = weirp_sums_init(&sums, c->n_clusters, WEIRP_N_SHARED + n * N_OF_POINT, err);
    if (st != WEIR_OK) return st;
    take_out(c, point, n, &sums);
    WEIRP_TRY(weirp_draws_make(&draws, &sums, o->n_bootstrap, o->seed, o->n_threads, err));
    for (size_t i = 0; i < n; i++) {
        const weirp_ratio quality = ratio_of(i, QUALITY), cost = ratio_of(i, COST);
        weirp_curve_drawn_add(&c->drawn, &(weirp_statistic){&quality, 1}, &(weirp_statistic){&cost, 1}, &sums, &draws,
                              point[i] >= c->points.grid.n, &c->point[point[i]]);
    }
done:
    weirp_sums_free(&sums);
    weirp_draws_free(&draws);
    return st;
}

/* How many points' columns of so many rows fit. */
static size_t fitting(size_t bytes, size_t n_rows) {
    const size_t columns = bytes / sizeof(double) / n_rows;
    return columns < WEIRP_N_SHARED + N_OF_POINT ? 1 : (columns - WEIRP_N_SHARED) / N_OF_POINT;
}

/* Of the points [first, end). */
static weir_status draw_judged(curving *c, size_t first, size_t end, weir_error *err) {
    const size_t rows = c->n_clusters > c->j->s->o.n_bootstrap ? c->n_clusters : c->j->s->o.n_bootstrap;
    const size_t most = fitting(DRAW_BYTES, rows);
    weir_status st = WEIR_OK;
    size_t n = 0, *point = weirp_array(most, sizeof *point);
    if (!point) return weirp_nomem(err);
    for (size_t k = first; k < end; k++) {
        refuse(c, k);
        if (*c->point[k].refusal) continue;
        point[n++] = k;
        if (n < most) continue;
        WEIRP_TRY(draw(c, point, n, err));
        n = 0;
    }
    if (n) st = draw(c, point, n, err);
done:
    free(point);
    return st;
}

static weir_status go_over_all(curving *c, weir_error *err) {
    const size_t all = weirp_ope_table_n_clusters(c->j->table);
    weir_status st = WEIR_OK;
    size_t least = all;
    if (least > LEAST_CLUSTERS) least = LEAST_CLUSTERS;
    c->n_points = c->points.grid.n + c->points.n_singles;
    c->n_clusters = SUMS_BYTES / sizeof(double) / (WEIRP_N_SHARED + c->n_points * N_OF_POINT);
    if (c->n_clusters > MOST_CLUSTERS) c->n_clusters = MOST_CLUSTERS;
    if (c->n_clusters > all) c->n_clusters = all;
    if (c->n_clusters < least) c->n_clusters = least;
    const size_t most = fitting(SUMS_BYTES, c->n_clusters);
    c->point = weirp_array(c->n_points, sizeof *c->point);
    if (!c->point) return weirp_nomem(err);
    WEIRP_TRY(weirp_curve_drawn_init(&c->drawn, c->j->s->o.n_bootstrap, c->points.grid.n, err));
    WEIRP_TRY(weirp_curve_rows_new(&c->rows, c->j, &c->points, c->n_clusters, err));
    for (size_t k = 0; k < c->points.grid.n; k++) c->point[k].knob = c->points.grid.knob[k];
    for (size_t first = 0, end; first < c->n_points; first = end) {
        end = c->n_points - first < most ? c->n_points : first + most;
        WEIRP_TRY(weirp_curve_rows_go(c->rows, first, end - first, err));
        WEIRP_TRY(draw_judged(c, first, end, err));
    }
done:
    return st;
}

/* ---- the whole ---- */

static void forget(weirp_curve_point *p) {
    p->cost = p->cost_se = p->quality = p->quality_se = p->unsupported = NAN;
    p->quality_lo = p->quality_hi = p->cost_lo = p->cost_hi = NAN;
}

/* One setting alone is no curve, nor are many that are the same policy (an exploration floor under `random`). */
static void need_two(curving *c, weirp_log_curve *out) {
    size_t n = 0, judged = 0, refused = 0;
    bool moves = false;
    for (size_t k = 0; k < c->points.grid.n; k++) {
        const weirp_curve_point *p = &c->point[k];
        if (*p->refusal) {
            refused = k;
            continue;
        }
        moves |= n && !(fabs(p->cost - c->point[judged].cost) <= 1e-12 * fabs(p->cost) &&
                        fabs(p->quality - c->point[judged].quality) <= 1e-12);
        n++, judged = k;
    }
    if (n == c->points.grid.n && !moves)
        snprintf(out->refusal, sizeof out->refusal, "%s makes no difference: %s does the same at all of its settings",
                 out->knob, out->policy);
    if (n >= 2) return;
    snprintf(out->refusal, sizeof out->refusal, "%s of %zu settings of %s can be judged, and a curve needs two: %s",
             n ? "one" : "none", c->points.grid.n, out->knob, c->point[refused].refusal);
    if (n) snprintf(c->point[judged].refusal, sizeof c->point[judged].refusal, "no other setting can be judged");
}

/* Points to where reports look for them. */
static weir_status tell(curving *c, weirp_log_curve *out, weir_error *err) {
    need_two(c, out);
    for (size_t k = 0; k < c->n_points; k++) {
        weirp_curve_point *p = &c->point[k];
        p->true_cost = p->true_quality = NAN;
        if (k >= c->points.grid.n) p->knob = NAN;
        if (*p->refusal) forget(p);
        if (k >= c->points.grid.n)
            out->single[c->points.single[k - c->points.grid.n]] = *p;
        else if (*p->refusal)
            out->refused[out->n_refused++] = *p;
        else
            out->point[out->n++] = *p;
    }
    if (*out->refusal) return WEIR_OK;
    const double most_cost = weirp_ope_most(c->j->s->most, WEIR_METRIC_COST);
    return weirp_curve_tell(&c->drawn, out, c->j->n_models, c->j->s->o.level, most_cost, err);
}
/* False: out->refusal says why there is nothing to go over. */
static bool can_be_read(const weirp_judging *j, const weir_ope *r, weirp_log_curve *out) {
    const char *why = NULL;
    if (!r->n_decided)
        why = "no row of the log was decided by a policy: all were pinned or cached";
    else if (r->deterministic)
        why = "the log is deterministic: every choice had a chance of 1, so no curve can be read off it; log with "
              "exploration (policy.explore_floor)";
    else if (!j->reward[WEIR_METRIC_QUALITY] || !j->reward[WEIR_METRIC_COST])
        why = "a curve needs the quality and the cost of the log's answers";
    if (why) snprintf(out->refusal, sizeof out->refusal, "%s", why);
    return !why;
}

static weir_status describe(curving *c, weirp_log_curve *out, weir_error *err) {
    const size_t n = c->j->n_models;
    *out = (weirp_log_curve){.aiq = NAN, .aiq_drawn = NAN, .aiq_lo = NAN, .aiq_hi = NAN, .true_aiq = NAN};
    for (size_t s = 0; s < sizeof out->cost_at / sizeof *out->cost_at; s++)
        out->cost_at[s] = out->cost_at_lo[s] = out->cost_at_hi[s] = NAN;
    out->policy = strdup(c->j->s->o.curve);
    out->point = weirp_array(WEIRP_CURVE_KNOBS, sizeof *out->point);
    out->refused = weirp_array(WEIRP_CURVE_KNOBS, sizeof *out->refused);
    out->single = weirp_array(n, sizeof *out->single);
    if (!out->policy || !out->point || !out->refused || !out->single) return weirp_nomem(err);
    for (size_t m = 0; m < n; m++) {
        forget(&out->single[m]);
        out->single[m].knob = out->single[m].true_cost = out->single[m].true_quality = NAN;
    }
    return WEIR_OK;
}

weir_status weirp_ope_curve_check(const weir_ope_options *o, const weirp_ope_table *table, const weir_router *router,
                                  weir_error *err) {
    const unsigned both = 1u << WEIR_METRIC_QUALITY | 1u << WEIR_METRIC_COST;
    weirp_ope_target *target = NULL;
    if (o->metrics && (o->metrics & both) != both)
        return weirp_fail(err, WEIR_INVALID, 0, "a curve needs the quality and the cost: the metrics leave one out");
    weir_status st = weirp_ope_target_new(&target, o->curve, table, router, err);
    if (st == WEIR_OK && !weirp_ope_target_knob(target, err)) st = WEIR_INVALID;
    weirp_ope_target_free(target);
    return st;
}

weir_status weirp_ope_curve(const weirp_judging *j, weir_ope *result, weir_error *err) {
    curving c = {.j = j, .result = result};
    weirp_log_curve *out = &result->curve;
    weir_status st = WEIR_OK;
    WEIRP_TRY(describe(&c, out, err));
    WEIRP_TRY(weirp_ope_target_new(&c.target, j->s->o.curve, j->table, j->router, err));
    if (!(out->knob = weirp_ope_target_knob(c.target, err))) WEIRP_TRY(WEIR_INVALID);
    if (!can_be_read(j, result, out)) goto done;
    WEIRP_TRY(weirp_curve_place(&c.points.grid, c.target, j, out->refusal, sizeof out->refusal, err));
    if (*out->refusal) goto done;
    WEIRP_TRY(find_singles(&c, out, err));
    WEIRP_TRY(go_over_all(&c, err));
    st = tell(&c, out, err);
done:
    if (*out->refusal) { /* what is to be seen beside a curve goes with it */
        free(out->single);
        out->single = NULL;
        out->n = 0;
    }
    weirp_ope_target_free(c.target);
    weirp_curve_rows_free(c.rows);
    weirp_curve_drawn_free(&c.drawn);
    free(c.points.single);
    free(c.point);
    return st;
}
