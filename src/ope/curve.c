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
enum { QUALITY, COST, N_AXES };
static const weir_metric METRIC[N_AXES] = {WEIR_METRIC_QUALITY, WEIR_METRIC_COST};

/* Columns: the number of rows, then those of each point: on each axis what the reward model says, what was seen beyond
 * that, and the weights. */
enum { COLUMN_N, N_SHARED };
enum { COLUMN_V, COLUMN_D, COLUMN_A, N_OF_AXIS, N_OF_POINT = N_AXES * N_OF_AXIS };

/* A block's rows at one setting. */
typedef struct turned {
    double w[WEIRP_BLOCK_ROWS], v[N_AXES][WEIRP_BLOCK_ROWS], unsupported[WEIRP_BLOCK_ROWS];
} turned;

typedef struct curving {
    const weirp_judging *j;
    const weir_ope *result; /* what is known of the log */
    weirp_ope_target *target;
    weirp_curve_grid grid;
    size_t *single;  /* (n_points - grid.n) the models that enough rows chose */
    size_t n_points; /* the knobs', then the single models' */
    size_t n_clusters;
    size_t first, n;                   /* points of this way through the rows */
    weirp_sums sums;                   /* theirs */
    weirp_cell_facts (*facts)[N_AXES]; /* (n_points) */
    weirp_cell_facts rows[N_AXES];     /* what is the same of all points */
    weirp_curve_drawn drawn;
    double *pi;                      /* (WEIRP_BLOCK_ROWS, n_models) */
    turned *turned;                  /* (grid.n) */
    bool left_out[WEIRP_BLOCK_ROWS]; /* some setting is undecided: no point takes the row, so that all are paired */
    weirp_curve_point *point;        /* (n_points) */
} curving;

static bool is_decided(const weirp_ope_block *b, size_t i) {
    return !(b->flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED));
}

/* ---- single models ---- */

/* Weights of always taking one model are above 0 on the rows that chose it alone: there must be as many of these as the
 * effective sample size must be, and no more than that are looked at further. */
static weir_status find_singles(curving *c, weirp_log_curve *out, weir_error *err) {
    const weirp_judging *j = c->j;
    size_t(*n)[N_AXES + 1] = weirp_array(j->n_models, sizeof *n);
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = WEIR_OK;
    c->single = weirp_array(j->n_models, sizeof *c->single);
    if (!n || !c->single) WEIRP_TRY(weirp_nomem(err));
    st = weirp_scan_new(&scan, j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK)
        for (size_t i = 0; i < b.n; i++) {
            if (!is_decided(&b, i)) continue;
            n[b.chosen[i]][N_AXES]++;
            for (size_t x = 0; x < N_AXES; x++) n[b.chosen[i]][x] += !isnan(b.metric[i * WEIR_N_METRICS + METRIC[x]]);
        }
    weirp_scan_free(scan);
    if (st != WEIR_END) goto done;
    st = WEIR_OK;
    c->n_points = c->grid.n;
    for (size_t m = 0; m < j->n_models; m++) {
        weirp_curve_point *p = &out->single[m];
        const size_t x = n[m][COST] < n[m][QUALITY] ? COST : QUALITY;
        if (!n[m][N_AXES])
            snprintf(p->refusal, sizeof p->refusal, "the log never chose it");
        else if (n[m][x] < WEIRP_OPE_LEAST_ESS)
            snprintf(p->refusal, sizeof p->refusal, "%zu rows chose it and know the %s: at least %d are needed",
                     n[m][x], weir_metric_name(METRIC[x]), WEIRP_OPE_LEAST_ESS);
        else
            c->single[c->n_points++ - c->grid.n] = m;
    }
done:
    free(n);
    return st;
}

/* ---- the rows ---- */

/* Chances that are NAN all over are undecided: the row is left out. */
static void note_setting(curving *c, const weirp_ope_block *b, turned *t) {
    const size_t m = b->n_models;
    for (size_t i = 0; i < b->n; i++) {
        const double *pi = c->pi + i * m, *p = b->propensity ? b->propensity + i * m : NULL;
        const double *q = c->j->q[METRIC[QUALITY]] + i * m, *cost = c->j->q[METRIC[COST]] + i * m;
        double v[N_AXES] = {0}, unsupported = 0;
        if (isnan(pi[0])) c->left_out[i] = true;
        if (c->left_out[i] || !is_decided(b, i)) continue;
        if (p && isnan(p[b->chosen[i]])) p = NULL; /* only the chosen one's chance is logged */
        for (size_t a = 0; a < m; a++) {
            if (!(pi[a] > 0)) continue;
            v[QUALITY] += pi[a] * q[a];
            v[COST] += pi[a] * cost[a];
            if (p && !(p[a] > 0)) unsupported += pi[a];
        }
        t->w[i] = pi[b->chosen[i]] / b->p[i];
        t->v[QUALITY][i] = v[QUALITY];
        t->v[COST][i] = v[COST];
        t->unsupported[i] = unsupported;
    }
}

/* What a row is to every point. */
typedef struct row {
    size_t i;
    const double *q[N_AXES];       /* (n_models) */
    double gap[N_AXES], k[N_AXES]; /* outcome less what was predicted; 1/e, 0 where the metric isn't known */
    double *x;                     /* (columns) of its cluster */
} row;

static void add_to_point(curving *c, const row *r, size_t point, double w, const double v[N_AXES], double unsupported) {
    double *x = r->x + N_SHARED + (point - c->first) * N_OF_POINT;
    for (size_t axis = 0; axis < N_AXES; axis++, x += N_OF_AXIS) {
        weirp_cell_facts *f = &c->facts[point][axis];
        x[COLUMN_V] += v[axis];
        f->unsupported += unsupported;
        if (!(w > 0)) continue;
        const double wk = w * r->k[axis];
        x[COLUMN_D] += wk * r->gap[axis];
        x[COLUMN_A] += wk;
        f->sum_w += w;
        f->sum_w2 += w * w;
        f->max_w = fmax(f->max_w, w);
        f->sum_wk += wk;
        f->sum_wk2 += wk * wk;
        f->max_wk = fmax(f->max_wk, wk);
    }
}

static void add_row(curving *c, const weirp_ope_block *b, size_t i) {
    const weirp_judging *j = c->j;
    const size_t m = b->n_models, a = b->chosen[i];
    const double *p = b->propensity ? b->propensity + i * m : NULL;
    row r = {.i = i, .x = c->sums.x + b->cluster[i] % c->n_clusters * c->sums.n_columns};
    if (p && isnan(p[a])) p = NULL;
    for (size_t axis = 0; axis < N_AXES; axis++) {
        weirp_cell_facts *f = &c->rows[axis];
        const double y = b->metric[i * WEIR_N_METRICS + METRIC[axis]], e = j->e[METRIC[axis]][i];
        r.q[axis] = j->q[METRIC[axis]] + i * m;
        r.k[axis] = isnan(y) ? 0 : 1 / e;
        r.gap[axis] = isnan(y) ? 0 : y - r.q[axis][a];
        f->n++;
        f->n_known += !isnan(y);
        f->n_full += p != NULL;
        f->least_p = fmin(f->least_p, b->p[i]);
        f->least_e = fmin(f->least_e, e);
    }
    r.x[COLUMN_N]++;
    for (size_t point = c->first; point < c->first + c->n; point++) {
        if (point < c->grid.n) {
            const turned *t = &c->turned[point];
            add_to_point(c, &r, point, t->w[i], (const double[N_AXES]){t->v[QUALITY][i], t->v[COST][i]},
                         t->unsupported[i]);
            continue;
        }
        const size_t s = c->single[point - c->grid.n];
        add_to_point(c, &r, point, s == a ? 1 / b->p[i] : 0, (const double[N_AXES]){r.q[QUALITY][s], r.q[COST][s]},
                     p && !(p[s] > 0));
    }
}

static weir_status add_block(curving *c, const weirp_ope_block *b, weir_error *err) {
    const weirp_judging *j = c->j;
    weir_status st = WEIR_OK;
    size_t n_undecided = 0;
    for (size_t axis = 0; axis < N_AXES; axis++) {
        weirp_reward_predict(j->reward[METRIC[axis]], b, j->q[METRIC[axis]]);
        weirp_ope_labels_predict(j->labels[METRIC[axis]], b, j->e[METRIC[axis]]);
    }
    memset(c->left_out, 0, sizeof c->left_out);
    for (size_t k = 0; k < c->grid.n; k++) {
        WEIRP_TRY(weirp_ope_target_turn(c->target, c->grid.knob[k], err));
        WEIRP_TRY(weirp_ope_target_fill(c->target, b, c->pi, &n_undecided, err));
        note_setting(c, b, &c->turned[k]);
    }
    for (size_t i = 0; i < b->n; i++) {
        if (!is_decided(b, i)) continue;
        if (!c->left_out[i])
            add_row(c, b, i);
        else
            for (size_t axis = 0; axis < N_AXES; axis++) c->rows[axis].n_undecided++;
    }
done:
    return st;
}

static weir_status go_over(curving *c, weir_error *err) {
    const weir_ope_options *o = &c->j->s->o;
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    for (size_t axis = 0; axis < N_AXES; axis++) c->rows[axis] = (weirp_cell_facts){.least_p = 1, .least_e = 1};
    weir_status st = weirp_scan_new(&scan, c->j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK) {
        if (o->progress && o->progress(o->progress_user, "curve", b.first, weirp_ope_table_n(c->j->table)))
            st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        if (st == WEIR_OK) st = add_block(c, &b, err);
    }
    weirp_scan_free(scan);
    return st == WEIR_END ? WEIR_OK : st;
}

/* ---- what can be judged, and its draws ---- */

static void refuse(curving *c, size_t point) {
    weirp_curve_point *p = &c->point[point];
    for (size_t axis = 0; axis < N_AXES && !*p->refusal; axis++) {
        const weirp_cell_facts *same = &c->rows[axis];
        weirp_cell_facts *f = &c->facts[point][axis];
        weirp_ope_standing s;
        f->n = same->n;
        f->n_known = same->n_known;
        f->n_full = same->n_full;
        f->least_p = same->least_p;
        f->least_e = same->least_e;
        weirp_ope_weigh(f, &s);
        p->unsupported = s.unsupported;
        weirp_ope_refuse(c->result, METRIC[axis], &s, same->n_undecided);
        memcpy(p->refusal, s.refusal, sizeof p->refusal);
    }
}

static weirp_ratio ratio_of(size_t place, size_t axis) {
    const size_t first = N_SHARED + place * N_OF_POINT + axis * N_OF_AXIS;
    return (weirp_ratio){
        .num = first + COLUMN_D, .den = first + COLUMN_A, .add = first + COLUMN_V, .add_den = COLUMN_N, .factor = 1};
}

/* Draws of some points: their columns are taken out of the sums. */
static weir_status draw(curving *c, const size_t *point, size_t n, weir_error *err) {
    const weir_ope_options *o = &c->j->s->o;
    weirp_sums sums = {.n_clusters = 0};
    weirp_draws draws = {.n_draws = 0};
    weir_status st = weirp_sums_init(&sums, c->n_clusters, N_SHARED + n * N_OF_POINT, err);
    if (st != WEIR_OK) return st;
    for (size_t g = 0; g < c->n_clusters; g++) {
        const double *from = c->sums.x + g * c->sums.n_columns;
        double *to = sums.x + g * sums.n_columns;
        to[COLUMN_N] = from[COLUMN_N];
        for (size_t i = 0; i < n; i++)
            memcpy(to + N_SHARED + i * N_OF_POINT, from + N_SHARED + (point[i] - c->first) * N_OF_POINT,
                   N_OF_POINT * sizeof *to);
    }
    weirp_sums_finish(&sums);
    WEIRP_TRY(weirp_draws_make(&draws, &sums, o->n_bootstrap, o->seed, o->n_threads, err));
    for (size_t i = 0; i < n; i++) {
        const weirp_ratio quality = ratio_of(i, QUALITY), cost = ratio_of(i, COST);
        weirp_curve_drawn_add(&c->drawn, &(weirp_statistic){&quality, 1}, &(weirp_statistic){&cost, 1}, &sums, &draws,
                              point[i] >= c->grid.n, &c->point[point[i]]);
    }
done:
    weirp_sums_free(&sums);
    weirp_draws_free(&draws);
    return st;
}

/* How many points' columns of so many rows fit. */
static size_t fitting(size_t bytes, size_t n_rows) {
    const size_t columns = bytes / sizeof(double) / n_rows;
    return columns < N_SHARED + N_OF_POINT ? 1 : (columns - N_SHARED) / N_OF_POINT;
}

static weir_status draw_judged(curving *c, weir_error *err) {
    const size_t rows = c->n_clusters > c->j->s->o.n_bootstrap ? c->n_clusters : c->j->s->o.n_bootstrap;
    const size_t most = fitting(DRAW_BYTES, rows);
    weir_status st = WEIR_OK;
    size_t n = 0, *point = weirp_array(most, sizeof *point);
    if (!point) return weirp_nomem(err);
    for (size_t k = c->first; k < c->first + c->n; k++) {
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
    const size_t n_models = c->j->n_models;
    weir_status st = WEIR_OK;
    size_t least = weirp_ope_table_n_clusters(c->j->table);
    if (least > LEAST_CLUSTERS) least = LEAST_CLUSTERS;
    c->n_clusters = SUMS_BYTES / sizeof(double) / (N_SHARED + c->n_points * N_OF_POINT);
    if (c->n_clusters > MOST_CLUSTERS) c->n_clusters = MOST_CLUSTERS;
    if (c->n_clusters > weirp_ope_table_n_clusters(c->j->table))
        c->n_clusters = weirp_ope_table_n_clusters(c->j->table);
    if (c->n_clusters < least) c->n_clusters = least;
    const size_t most = fitting(SUMS_BYTES, c->n_clusters);
    c->facts = weirp_array(c->n_points, sizeof *c->facts);
    c->point = weirp_array(c->n_points, sizeof *c->point);
    c->turned = weirp_array(c->grid.n, sizeof *c->turned);
    c->pi = weirp_array(WEIRP_BLOCK_ROWS * n_models, sizeof *c->pi);
    if (!c->facts || !c->point || !c->turned || !c->pi) return weirp_nomem(err);
    WEIRP_TRY(weirp_curve_drawn_init(&c->drawn, c->j->s->o.n_bootstrap, c->grid.n, err));
    for (size_t k = 0; k < c->grid.n; k++) c->point[k].knob = c->grid.knob[k];
    for (; c->first < c->n_points; c->first += c->n) {
        c->n = c->n_points - c->first < most ? c->n_points - c->first : most;
        WEIRP_TRY(weirp_sums_init(&c->sums, c->n_clusters, N_SHARED + c->n * N_OF_POINT, err));
        WEIRP_TRY(go_over(c, err));
        WEIRP_TRY(draw_judged(c, err));
        weirp_sums_free(&c->sums);
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
    for (size_t k = 0; k < c->grid.n; k++) {
        const weirp_curve_point *p = &c->point[k];
        if (*p->refusal) {
            refused = k;
            continue;
        }
        moves |= n && !(fabs(p->cost - c->point[judged].cost) <= 1e-12 * fabs(p->cost) &&
                        fabs(p->quality - c->point[judged].quality) <= 1e-12);
        n++, judged = k;
    }
    if (n == c->grid.n && !moves)
        snprintf(out->refusal, sizeof out->refusal, "%s makes no difference: %s does the same at all of its settings",
                 out->knob, out->policy);
    if (n >= 2) return;
    snprintf(out->refusal, sizeof out->refusal, "%s of %zu settings of %s can be judged, and a curve needs two: %s",
             n ? "one" : "none", c->grid.n, out->knob, c->point[refused].refusal);
    if (n) snprintf(c->point[judged].refusal, sizeof c->point[judged].refusal, "no other setting can be judged");
}

/* Points to where reports look for them. */
static weir_status tell(curving *c, weirp_log_curve *out, weir_error *err) {
    need_two(c, out);
    for (size_t k = 0; k < c->n_points; k++) {
        weirp_curve_point *p = &c->point[k];
        p->true_cost = p->true_quality = NAN;
        if (k >= c->grid.n) p->knob = NAN;
        if (*p->refusal) forget(p);
        if (k >= c->grid.n)
            out->single[c->single[k - c->grid.n]] = *p;
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
    WEIRP_TRY(weirp_curve_place(&c.grid, c.target, j, out->refusal, sizeof out->refusal, err));
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
    weirp_sums_free(&c.sums);
    weirp_curve_drawn_free(&c.drawn);
    free(c.single);
    free(c.facts);
    free(c.pi);
    free(c.turned);
    free(c.point);
    return st;
}
