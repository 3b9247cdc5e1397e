/* reward.c: the reward models by name: what a name stands for, fitting several together, predicting.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/estimator.h"
#include "src/base/words.h"
#include "src/ope/reward_members.h"

enum { CHUNK = 64 };

static const char *const member_names[] = {"table", "logged", "ridge", "log-ridge"};

/* ---- what a name stands for ---- */

/* The estimates that a metric goes by when it goes by nothing else. */
static unsigned own_hats(const weirp_reward_frame *o, weirp_member_kind kind) {
    unsigned q = o->hat[0][1] > 0 ? 1u << WEIRP_Z_QUALITY : 0, c = o->hat[1][1] > 0 ? 1u << WEIRP_Z_COST : 0;
    unsigned log_c = o->hat[2][1] > 0 ? 1u << WEIRP_Z_LOG_COST : 0;
    if (kind == WEIRP_MEMBER_LOG_RIDGE) return q | log_c;
    if (kind == WEIRP_MEMBER_RIDGE) return q | c | log_c;
    return o->metric == WEIR_METRIC_QUALITY ? q : o->metric == WEIR_METRIC_COST ? c : q | c;
}

static bool positive(weir_metric metric) {
    return metric == WEIR_METRIC_COST || metric == WEIR_METRIC_LATENCY;
}

static void add_member(weirp_reward *r, weirp_member_kind kind) {
    const weirp_reward_frame *o = &r->frame;
    if (kind != WEIRP_MEMBER_TABLE && !own_hats(o, kind) && (kind == WEIRP_MEMBER_LOGGED || !o->dim)) return;
    if (kind == WEIRP_MEMBER_LOG_RIDGE && !positive(o->metric)) return;
    r->kind[r->n_members++] = kind;
}

static void describe(weirp_reward *r) {
    size_t folds = r->frame.folds.n_folds, at = 0;
    if (r->n_members == 1) {
        weirp_copy_text(r->name, sizeof r->name, member_names[r->kind[0]]);
        return;
    }
    for (size_t k = 0; k < r->n_members; k++) {
        double mean = 0;
        for (size_t f = 0; f < folds; f++) mean += r->weight[f][k] / (double)folds;
        if (mean < 0.005 || at + 24 > sizeof r->name) continue;
        at += (size_t)snprintf(r->name + at, sizeof r->name - at, "%s%s %.2f", at ? " + " : "",
                               member_names[r->kind[k]], mean);
    }
}

static weir_status no_such_model(const char *name, weir_error *err) {
    const char *names[16] = {"auto", "logged", "table", "ridge", "logistic"};
    size_t n = 5;
    for (size_t k = 0; n < 16 && weirp_estimator_class_at(k); k++)
        if (strcmp(weirp_estimator_class_at(k)->name, "ridge") != 0) names[n++] = weirp_estimator_class_at(k)->name;
    char list[160] = "", shown[48];
    for (size_t k = 0, at = 0; k < n; k++, at = strlen(list))
        snprintf(list + at, sizeof list - at, "%s%s", k ? ", " : "", names[k]);
    const char *near = weirp_suggest(name, names, n);
    weirp_excerpt(shown, sizeof shown, name, strlen(name));
    if (near) return weirp_fail(err, WEIR_INVALID, 0, "no reward model is named \"%s\": did you mean %s?", shown, near);
    return weirp_fail(err, WEIR_INVALID, 0, "no reward model is named \"%s\": there are %s", shown, list);
}

static weir_status pick(weirp_reward *r, const char *name, weir_error *err) {
    bool every = !strcmp(name, "auto");
    if (every || !strcmp(name, "table")) add_member(r, WEIRP_MEMBER_TABLE);
    if (every || !strcmp(name, "logged")) add_member(r, WEIRP_MEMBER_LOGGED);
    if (every || !strcmp(name, "ridge")) add_member(r, WEIRP_MEMBER_RIDGE), add_member(r, WEIRP_MEMBER_LOG_RIDGE);
    if (!strcmp(name, "logistic")) {
        if (r->frame.metric != WEIR_METRIC_QUALITY && r->frame.metric != WEIR_METRIC_ERROR)
            return weirp_fail(err, WEIR_INVALID, 0, "the reward model logistic is for quality and error, not for %s",
                              weir_metric_name(r->frame.metric));
        r->other_class = &weirp_reward_logistic;
    } else if (strcmp(name, "ridge") != 0 && weirp_estimator_class_find(name)) {
        r->other_class = &weirp_reward_weir;
    }
    return WEIR_OK;
}

static bool known_name(const char *name) {
    static const char *const own[] = {"auto", "logged", "table", "ridge", "logistic"};
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        if (!strcmp(own[k], name)) return true;
    return weirp_estimator_class_find(name) != NULL;
}

/* ---- fitting ---- */

typedef struct counting {
    weirp_reward_table *table;
    weirp_reward_gram *gram; /* NULL: nobody asks */
} counting;

static void count(void *context, const weirp_reward_rows *rows) {
    counting *c = context;
    weirp_reward_table_add(c->table, rows);
    if (c->gram) weirp_reward_gram_add(c->gram, rows);
}

/* What the fits of one call share while they go over the table together. */
typedef struct fitting {
    const weirp_reward_options *options; /* (n) */
    size_t n;
    unsigned n_threads;
    weirp_reward **r;                /* (n) */
    weirp_ope_target **robust_for;   /* (n) NULL where weights are all 0 */
    weirp_reward_looking *look;      /* (n) */
    weirp_reward_gram *gram;         /* (n) */
    counting *count;                 /* (n) */
    weirp_reward_choosing *choosing; /* (n) */
    weirp_reward_pass *pass;         /* (n) those of a pass */
} fitting;

static const char *name_of(const fitting *v, size_t k) {
    return v->options[k].name ? v->options[k].name : "auto";
}

static weir_status look_all(fitting *v, const weirp_ope_table *table, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n = 0;
    for (size_t k = 0; k < v->n; k++) {
        v->robust_for[k] = v->options[k].robust_for;
        v->r[k]->most = v->options[k].most;
        WEIRP_TRY(weirp_reward_frame_begin(&v->r[k]->frame, table, &v->options[k], err));
        if (v->n > 1) v->r[k]->frame.pass_threads = 1;
        WEIRP_TRY(weirp_reward_looking_init(&v->look[k], &v->r[k]->frame, err));
        v->pass[k] = (weirp_reward_pass){&v->r[k]->frame, v->robust_for[k], weirp_reward_look, &v->look[k]};
    }
    WEIRP_TRY(weirp_reward_each_of(v->pass, v->n, v->n_threads, err));
    for (size_t k = 0; k < v->n; k++) {
        if (v->look[k].n > 0 || !v->robust_for[k]) continue;
        v->robust_for[k] = NULL;
        v->pass[n++] = (weirp_reward_pass){&v->r[k]->frame, NULL, weirp_reward_look, &v->look[k]};
    }
    WEIRP_TRY(weirp_reward_each_of(v->pass, n, v->n_threads, err));
    for (size_t k = 0; k < v->n; k++) {
        if (!(v->look[k].n > 0))
            WEIRP_TRY(weirp_fail(err, WEIR_NODATA, 0, "no row that somebody decided on knows the %s",
                                 weir_metric_name(v->r[k]->frame.metric)));
        WEIRP_TRY(weirp_reward_frame_settle(&v->r[k]->frame, &v->look[k], err));
    }
done:
    return st;
}

static bool is_linear(const weirp_reward *r) {
    return r->n_members > 1 || (r->n_members && r->kind[0] != WEIRP_MEMBER_TABLE);
}

static weir_status solve_members(weirp_reward *r, const weirp_reward_gram *gram, weir_error *err) {
    weir_status st;
    WEIRP_TRY(weirp_reward_table_solve(r->table, err));
    for (size_t k = 0; k < r->n_members; k++)
        if (r->kind[k] != WEIRP_MEMBER_TABLE)
            WEIRP_TRY(weirp_reward_linear_fit(&r->linear[k], gram,
                                              r->kind[k] == WEIRP_MEMBER_LOG_RIDGE ? WEIRP_SCALE_LOG : WEIRP_SCALE_RAW,
                                              own_hats(&r->frame, r->kind[k]), r->kind[k] != WEIRP_MEMBER_LOGGED, err));
done:
    return st;
}

/* Those from `first` on whose normal equations fit into memory together: *end is behind the last. */
static weir_status count_some(fitting *v, size_t first, size_t *end, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t k = first, room = WEIRP_REWARD_GRAM_BYTES;
    for (; k < v->n; k++) {
        weirp_reward *r = v->r[k];
        const size_t bytes = is_linear(r) ? weirp_reward_gram_bytes(&r->frame) : 0;
        if (k > first && bytes > room) break;
        room -= bytes < room ? bytes : room;
        WEIRP_TRY(weirp_reward_table_new(&r->table, &r->frame, strcmp(name_of(v, k), "table") != 0, err));
        if (is_linear(r)) WEIRP_TRY(weirp_reward_gram_init(&v->gram[k], &r->frame, err));
        v->count[k] = (counting){r->table, is_linear(r) ? &v->gram[k] : NULL};
        v->pass[k] = (weirp_reward_pass){&r->frame, v->robust_for[k], count, &v->count[k]};
    }
    *end = k;
    WEIRP_TRY(weirp_reward_each_of(v->pass + first, *end - first, v->n_threads, err));
    for (k = first; k < *end; k++) {
        if (is_linear(v->r[k])) weirp_reward_gram_settle(&v->gram[k]);
        WEIRP_TRY(solve_members(v->r[k], &v->gram[k], err));
        weirp_reward_gram_free(&v->gram[k]);
    }
done:
    return st;
}

static weir_status choose_all(fitting *v, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n = 0;
    for (size_t k = 0; k < v->n; k++) {
        weirp_reward *r = v->r[k];
        for (size_t f = 0; f < r->frame.folds.n_folds; f++) r->weight[f][0] = 1;
        if (!weirp_reward_needs_choice(r)) continue;
        WEIRP_TRY(weirp_reward_choosing_init(&v->choosing[k], r, err));
        v->pass[n++] = (weirp_reward_pass){&r->frame, v->robust_for[k], weirp_reward_choosing_add, &v->choosing[k]};
    }
    WEIRP_TRY(weirp_reward_each_of(v->pass, n, v->n_threads, err));
    for (size_t k = 0; k < v->n; k++)
        if (v->choosing[k].r) weirp_reward_choosing_end(&v->choosing[k]);
done:
    return st;
}

static weir_status fit_other(weirp_reward *r, weirp_ope_target *robust_for, const char *name, weir_error *err) {
    if (!r->other_class) return WEIR_OK;
    weir_status st = r->other_class->fit(&r->other, &r->frame, robust_for, name, err);
    if (st != WEIR_OK) return st;
    if (!r->other) r->other_class = NULL, r->n_members = 1, r->kind[0] = WEIRP_MEMBER_TABLE;
    weirp_copy_text(r->name, sizeof r->name, r->other ? name : member_names[WEIRP_MEMBER_TABLE]);
    return WEIR_OK;
}

static weir_status fit_all(fitting *v, const weirp_ope_table *table, weir_error *err) {
    weir_status st = WEIR_OK;
    for (size_t k = 0; k < v->n; k++)
        if (!known_name(name_of(v, k))) return no_such_model(name_of(v, k), err);
    for (size_t k = 0; k < v->n; k++)
        if (!(v->r[k] = weirp_array(1, sizeof **v->r))) return weirp_nomem(err);
    WEIRP_TRY(look_all(v, table, err));
    for (size_t k = 0; k < v->n; k++) {
        weirp_reward *r = v->r[k];
        r->smear = weirp_array(r->frame.folds.n_folds * r->frame.n_models, sizeof *r->smear);
        if (!r->smear) WEIRP_TRY(weirp_nomem(err));
        WEIRP_TRY(pick(r, name_of(v, k), err));
        if (!r->n_members && !r->other_class)
            r->kind[r->n_members++] = WEIRP_MEMBER_TABLE; /* the log lacks what it would go by */
    }
    for (size_t k = 0; k < v->n;) WEIRP_TRY(count_some(v, k, &k, err));
    WEIRP_TRY(choose_all(v, err));
    for (size_t k = 0; k < v->n; k++) {
        v->r[k]->frame.pass_threads = v->r[k]->frame.n_threads;
        describe(v->r[k]);
        WEIRP_TRY(fit_other(v->r[k], v->robust_for[k], name_of(v, k), err));
    }
done:
    return st;
}

static void end_fitting(fitting *v) {
    for (size_t k = 0; k < v->n; k++) {
        if (v->r) weirp_reward_free(v->r[k]);
        if (v->look) weirp_reward_looking_free(&v->look[k]);
        if (v->gram) weirp_reward_gram_free(&v->gram[k]);
        if (v->choosing) weirp_reward_choosing_free(&v->choosing[k]);
    }
    free(v->r);
    free(v->robust_for);
    free(v->look);
    free(v->gram);
    free(v->count);
    free(v->choosing);
    free(v->pass);
}

weir_status weirp_reward_fit_all(weirp_reward **out, const weirp_ope_table *table, const weirp_reward_options *options,
                                 size_t n, weir_error *err) {
    if (!n) return WEIR_OK;
    fitting v = {.options = options,
                 .n = n,
                 .n_threads = options->n_threads,
                 .r = weirp_array(n, sizeof *v.r),
                 .robust_for = weirp_array(n, sizeof *v.robust_for),
                 .look = weirp_array(n, sizeof *v.look),
                 .gram = weirp_array(n, sizeof *v.gram),
                 .count = weirp_array(n, sizeof *v.count),
                 .choosing = weirp_array(n, sizeof *v.choosing),
                 .pass = weirp_array(n, sizeof *v.pass)};
    weir_status st = v.r && v.robust_for && v.look && v.gram && v.count && v.choosing && v.pass
                         ? fit_all(&v, table, err)
                         : weirp_nomem(err);
    for (size_t k = 0; k < n && st == WEIR_OK; k++) out[k] = v.r[k], v.r[k] = NULL;
    end_fitting(&v);
    return st;
}

const char *weirp_reward_name(const weirp_reward *reward) {
    return reward->name;
}

void weirp_reward_free(weirp_reward *reward) {
    if (!reward) return;
    weirp_reward_table_free(reward->table);
    for (size_t k = 0; k < WEIRP_REWARD_MEMBERS; k++) weirp_reward_linear_free(&reward->linear[k]);
    if (reward->other) reward->other_class->free(reward->other);
    free(reward->smear);
    free(reward->frame.centre);
    free(reward);
}

/* ---- predicting ---- */

static void from_table(const weirp_reward *r, size_t f, const weirp_ope_block *b, size_t i, size_t begin, size_t end,
                       double *q) {
    size_t fit = f * (1 + r->frame.folds.n_inner);
    for (size_t m = begin; m < end; m++) q[m - begin] = weirp_reward_table_predict(r->table, fit, b->segment[i], m);
}

/* Models [begin, end), at most CHUNK of them; false: the row lacks features that some member needs. */
static bool combine(const weirp_reward *r, size_t f, const weirp_ope_block *b, size_t i, size_t begin, size_t end,
                    double *q) {
    double one[CHUNK];
    memset(q, 0, (end - begin) * sizeof *q);
    for (size_t k = 0; k < r->n_members; k++) {
        double weight = r->weight[f][k];
        const double *smear = r->smear + f * r->frame.n_models + begin;
        if (!(weight > 0)) continue;
        if (r->kind[k] == WEIRP_MEMBER_TABLE)
            from_table(r, f, b, i, begin, end, one);
        else if (!weirp_reward_linear_row(&r->linear[k], f, b, i, begin, end, one))
            return false;
        for (size_t m = 0; m < end - begin; m++) {
            double x = weirp_reward_unscaled(r, f, r->kind[k], one[m]);
            q[m] += weight * (r->kind[k] == WEIRP_MEMBER_LOG_RIDGE ? smear[m] * x : x);
        }
    }
    return true;
}

void weirp_reward_predict(const weirp_reward *reward, const weirp_ope_block *block, double *q) {
    const weirp_reward_frame *o = &reward->frame;
    size_t models = block->n_models;
    weirp_reward_scratch scratch = {0};
    for (size_t i = 0; i < block->n; i++) {
        size_t f = o->folds.n_folds > 1 ? block->cluster[i] % o->folds.n_parts % o->folds.n_folds : 0;
        double *row = q + i * models;
        if (reward->other && reward->other_class->row(reward->other, f, block, i, row, &scratch)) {
            for (size_t m = 0; m < models; m++) row[m] = weirp_clip(row[m], o->lo[f], o->hi[f]);
        } else {
            for (size_t begin = 0; begin < models; begin += CHUNK) {
                size_t end = models - begin < CHUNK ? models : begin + CHUNK;
                if (reward->other || !combine(reward, f, block, i, begin, end, row + begin))
                    from_table(reward, f, block, i, begin, end, row + begin);
            }
        }
        /* smearing may lead out of what was seen */
        for (size_t m = 0; m < models && reward->most > 0; m++) row[m] = weirp_clip(row[m], 0, reward->most);
    }
    free(scratch.bytes);
}
