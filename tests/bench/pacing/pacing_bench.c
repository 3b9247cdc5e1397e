/* pacing_bench.c: a month of traffic, a budget a day, and what the pacer makes of it against hindsight.
 *
 *   pacing_bench STORE DATA [policy=pace|descent|fixed] [volume=2000] [days=28] [seed=101] [seeds=5] [share=F,...]
 *                [floor=Q] [hint=REQUESTS] [csv=FILE]
 *
 * Estimates are the store's, outcomes the data's. The limit of a day is the same for all days: what an average
 * weekday's requests cost at their cheapest, and that share more of what the estimates' best models would cost. Calls
 * take 3 seconds; a call whose cost doesn't fit is refused and scores 0.
 *
 * Quality is given as a share of what hindsight would have made of the same requests with the same spend:
 *   est    the linear programme over the same estimates, both in estimated quality and cost
 *   fixed  the best fixed value in hindsight, both in true quality and cost; fix@l: with all of the limit
 *   oracle the linear programme over the true outcomes; ora@l: with all of the limit
 * `least` is the worst day's. A limit binds on a day on which the estimates' best models would cost more; unspent is
 * told of those days. Rows: all days but the first and the scarce ones; scarce days, which not even the cheapest models
 * would have served whole, so that hindsight drops requests too; both of these; the first, before anything was learned.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/pace.h"
#include "tests/bench/pacing/pacing.h"

static const double MONDAY = 1767571200; /* 2026-01-05, UTC */
static const double CALL_S = 3;
enum { MAX_SHARES = 16 };

typedef enum policy { PACE, DESCENT, FIXED } policy;

typedef struct day {
    size_t n, refused;
    double limit, spend, spend_hat, quality, quality_hat, useful;
    double fair, fixed, fixed_limit, oracle, oracle_limit;
    double value_low, value_high;
    size_t inside, asked; /* forecasts of the rest of the day's requests that held the truth */
    bool dropped;
    double flag; /* hour at which the floor was first said to be out of reach; NAN: never */
} day;

/* Calls under way: a ring of what has been dispatched and not settled. */
typedef struct flight {
    double *done, *hat, *actual, *quality;
    size_t first, next;
    double sum_hat, sum_actual;
} flight;

static size_t choose(const table *t, uint32_t prompt, double value, double most) {
    const size_t row = prompt * t->n_models;
    size_t best = (size_t)-1, cheapest = row;
    double least = INFINITY;
    for (size_t j = row; j < row + t->n_models; j++) {
        if (t->c_hat[j] < t->c_hat[cheapest]) cheapest = j;
        const double risk = value * (1 - t->q_hat[j]) + t->c_hat[j];
        if (t->c_hat[j] <= most && risk < least) least = risk, best = j;
    }
    return best == (size_t)-1 ? cheapest : best;
}

static void settle(flight *f, double now, weirp_pacer *p, double *spent) {
    for (; f->first < f->next && f->done[f->first] <= now; f->first++) {
        *spent += f->actual[f->first];
        f->sum_hat -= f->hat[f->first];
        f->sum_actual -= f->actual[f->first];
        weirp_pacer_spent(p, f->quality[f->first], f->hat[f->first], f->actual[f->first]);
    }
}

static weirp_moment moment(double unix_s, double midnight, unsigned d) {
    const double s = unix_s - midnight;
    return (
        weirp_moment){.unix_s = unix_s, .hour = (int)(s / 3600), .weekday = (int)(d % 7), .into_hour_s = fmod(s, 3600)};
}

static void judge(const table *t, const uint32_t *count, day *r) {
    double least;
    spend_range(t, count, &least, &r->useful);
    r->useful = fmin(r->useful, r->limit);
    r->fair = best_quality(t, &t->by_estimate, count, 0, 0, r->spend_hat, &r->dropped);
    bool ignore = false;
    r->fixed = best_quality(t, &t->by_estimate, count, 1, 1, r->spend, &ignore);
    r->fixed_limit = best_quality(t, &t->by_estimate, count, 1, 1, r->limit, &ignore);
    r->oracle = best_quality(t, &t->by_outcome, count, 1, 1, r->spend, &ignore);
    r->oracle_limit = best_quality(t, &t->by_outcome, count, 1, 1, r->limit, &ignore);
}

/* Adaptive pacing as of Balseiro and Gur (2019): the price moves against an even plan for the usual number of requests;
 * step length as the root of that number. For comparison. */
static double descend(double *price, double last_cost, double plan, double volume) {
    *price *= exp((last_cost / plan - 1) / sqrt(volume));
    *price = fmin(fmax(*price, 1e-3), 1e6);
    return 1 / *price;
}

static day run_day(const table *t, weirp_pacer *p, policy by, const traffic_options *o, unsigned d, double limit,
                   double *price) {
    const double midnight = MONDAY + 86400.0 * d;
    day r = {.limit = limit, .value_low = INFINITY, .flag = NAN};
    double *at, spent = 0, last_cost = NAN;
    uint32_t *prompt, *count = calloc(t->n, sizeof *count);
    r.n = make_day(o, d, t->n, &at, &prompt);
    const size_t room = r.n + 1;
    flight f = {.done = calloc(room, 8), .hat = calloc(room, 8), .actual = calloc(room, 8), .quality = calloc(room, 8)};
    if (weirp_pacer_begin(p, limit, midnight, midnight + 86400, NULL) != WEIR_OK) abort();
    for (size_t i = 0; i < r.n; i++) {
        const double now = midnight + at[i];
        const weirp_moment m = moment(now, midnight, d);
        settle(&f, now, p, &spent);
        weirp_pacer_observe(p, m, t->n_models, t->q_hat + prompt[i] * t->n_models, t->c_hat + prompt[i] * t->n_models,
                            NULL);
        const weirp_pace pace = weirp_pacer_value(p, m, spent, f.sum_hat);
        double value = pace.value, most = pace.most_usd;
        if (by != PACE) most = INFINITY;
        if (by == DESCENT && isfinite(last_cost)) value = descend(price, last_cost, limit / o->volume, o->volume);
        if (by == DESCENT || by == FIXED) value = 1 / *price;
        if (pace.contradiction && isnan(r.flag)) r.flag = at[i] / 3600;
        const double rest = (double)(r.n - i - 1);
        r.inside += rest >= floor(pace.requests_low) && rest <= ceil(pace.requests_high);
        r.asked++;
        const size_t j = choose(t, prompt[i], value, most);
        count[prompt[i]]++;
        last_cost = t->c[j];
        if (spent + f.sum_actual + t->c[j] > limit) {
            r.refused++;
            weirp_pacer_spent(p, 0, 0, 0);
            continue;
        }
        f.done[f.next] = now + CALL_S, f.hat[f.next] = t->c_hat[j], f.actual[f.next] = t->c[j];
        f.quality[f.next++] = t->q_hat[j];
        f.sum_hat += t->c_hat[j], f.sum_actual += t->c[j];
        r.spend += t->c[j], r.spend_hat += t->c_hat[j];
        r.quality += t->q[j], r.quality_hat += t->q_hat[j];
        r.value_low = fmin(r.value_low, value), r.value_high = fmax(r.value_high, value);
    }
    settle(&f, INFINITY, p, &spent);
    judge(t, count, &r);
    free(at), free(prompt), free(count), free(f.done), free(f.hat), free(f.actual), free(f.quality);
    return r;
}

typedef struct total {
    size_t days, n, refused, over, bound, late, asked, inside, dropped;
    double limit, spend, useful, quality, quality_hat, fair, fixed, fixed_limit, oracle, oracle_limit;
    double unspent, worst_unspent, worst_fair, worst_fixed;
    size_t missed, missed_told, missed_told_by_noon, met_told; /* of the floor */
} total;

static void sum_up_floor(total *s, const day *r, double floor) {
    const bool missed = r->quality_hat / (double)r->n < floor - 1e-3, told = !isnan(r->flag);
    s->missed += missed, s->missed_told += missed && told, s->missed_told_by_noon += missed && r->flag < 12;
    s->met_told += !missed && told;
}

static void sum_up(total *s, const day *r) {
    s->days++, s->n += r->n, s->refused += r->refused, s->over += r->spend > r->limit;
    s->asked += r->asked, s->inside += r->inside, s->dropped += r->dropped;
    s->spend += r->spend, s->quality += r->quality, s->quality_hat += r->quality_hat;
    s->fair += r->fair, s->fixed += r->fixed, s->fixed_limit += r->fixed_limit;
    s->oracle += r->oracle, s->oracle_limit += r->oracle_limit;
    s->limit += r->limit, s->useful += r->useful;
    const double unspent = 1 - r->spend / r->useful;
    if (r->useful >= r->limit * (1 - 1e-12)) { /* the limit binds */
        s->bound++, s->unspent += unspent, s->late += unspent > 0.02;
        s->worst_unspent = fmax(s->worst_unspent, unspent);
    }
    s->worst_fair = fmin(s->worst_fair, r->quality_hat / r->fair);
    s->worst_fixed = fmin(s->worst_fixed, r->quality / r->fixed);
}

static void print_total(const char *name, const total *s) {
    const double n = (double)s->n;
    printf("%-8s %5zu %6.2f %6.2f %6.2f %6.2f %6.2f | %6.2f %6.2f | %5.2f %6.2f | %4zu %4zu %7.2f %6.2f %3zu | %7.3f | "
           "%5.1f\n",
           name, s->days, 100 * s->quality_hat / s->fair, 100 * s->worst_fair, 100 * s->quality / s->fixed,
           100 * s->worst_fixed, 100 * s->quality / s->fixed_limit, 100 * s->quality / s->oracle,
           100 * s->quality / s->oracle_limit, 100 * s->quality / n, 100 * s->spend / s->limit, s->over, s->bound,
           s->bound ? 100 * s->unspent / (double)s->bound : 0, 100 * s->worst_unspent, s->late,
           100 * (double)s->refused / n, 100 * (double)s->inside / (double)s->asked);
}

static void print_day(FILE *csv, double share, uint64_t seed, unsigned d, const day *r) {
    fprintf(csv, "%g,%llu,%u,%zu,%zu,%.8g,%.5f,%.5f,%.5f,%.5f,%.5f,%.5f,%.4g,%.4g\n", share, (unsigned long long)seed,
            d, r->n, r->refused, r->limit, r->spend / r->limit, 1 - r->spend / r->useful, r->quality_hat / r->fair,
            r->quality / r->fixed, r->quality / r->oracle, r->quality / r->fixed_limit, r->value_low, r->value_high);
}

/* The value that would spend the limit on an average weekday, had outcomes of all prompts been known. */
static double usual_price(const table *t, double usd) {
    const walk *w = &t->by_estimate;
    double c = 0;
    for (size_t i = 0; i < t->n; i++) c += w->start[4 * i + 3] / (double)t->n;
    size_t i = 0;
    for (; i < w->n_edges && c < usd; i++) c += w->edges[i].d_c / (double)t->n;
    return 1 / w->edges[i < w->n_edges ? i : w->n_edges - 1].value;
}

typedef struct setup {
    traffic_options traffic;
    uint64_t seed, seeds; /* the first, and how many */
    const char *shares;
    policy by;
    double floor, hint;
    FILE *csv;
} setup;

static bool parse(setup *s, int argc, char **argv) {
    *s = (setup){
        .traffic = {.volume = 2000, .days = 28}, .seed = 101, .seeds = 5, .shares = "0.02,0.05,0.1,0.2,0.4,0.8"};
    bool good = argc >= 3;
    for (int i = 3; i < argc && good; i++) {
        const char *a = argv[i], *is = strchr(a, '=');
        if (!is++) return false;
        if (!strncmp(a, "volume=", 7))
            good = (s->traffic.volume = strtod(is, NULL)) > 0;
        else if (!strncmp(a, "days=", 5))
            s->traffic.days = (unsigned)strtoul(is, NULL, 10);
        else if (!strncmp(a, "seeds=", 6))
            s->seeds = strtoul(is, NULL, 10);
        else if (!strncmp(a, "seed=", 5))
            s->seed = strtoul(is, NULL, 10);
        else if (!strncmp(a, "share=", 6))
            s->shares = is;
        else if (!strncmp(a, "floor=", 6))
            s->floor = strtod(is, NULL);
        else if (!strncmp(a, "hint=", 5))
            s->hint = strtod(is, NULL);
        else if (!strncmp(a, "csv=", 4))
            good = (s->csv = fopen(is, "w")) != NULL;
        else if (!strcmp(a, "policy=descent"))
            s->by = DESCENT;
        else if (!strcmp(a, "policy=fixed"))
            s->by = FIXED;
        else
            good = !strcmp(a, "policy=pace");
    }
    return good;
}

static bool run_share(const table *t, const setup *s, double share, double limit) {
    total all = {.worst_fair = 1, .worst_fixed = 2}, first = all, scarce = all, both = all;
    traffic_options o = s->traffic;
    for (o.seed = s->seed; o.seed < s->seed + s->seeds; o.seed++) {
        double price = usual_price(t, limit / o.volume);
        weirp_pacer *p;
        const weirp_pacer_options po = {
            .limit_usd = limit, .start_s = MONDAY, .end_s = MONDAY + 86400, .floor = s->floor, .requests = s->hint};
        if (weirp_pacer_new(&p, &po, NULL) != WEIR_OK) return false;
        for (unsigned d = 0; d < o.days; d++) {
            const day r = run_day(t, p, s->by, &o, d, limit, &price);
            total *const to = d == 0 ? &first : r.dropped ? &scarce : &all;
            sum_up(to, &r);
            if (d > 0) sum_up(&both, &r);
            sum_up_floor(to, &r, s->floor);
            if (s->csv) print_day(s->csv, share, o.seed, d, &r);
        }
        weirp_pacer_free(p);
    }
    char name[32];
    snprintf(name, sizeof name, "%g", share);
    if (all.days) print_total(name, &all);
    if (scarce.days) print_total(" scarce", &scarce);
    if (scarce.days) print_total(" both", &both);
    print_total(all.days ? " first" : name, &first);
    if (s->floor > 0)
        printf(" floor   missed on %zu days of %zu, told on %zu of these, on %zu by noon; told on %zu that met it\n",
               all.missed, all.days, all.missed_told, all.missed_told_by_noon, all.met_told);
    return true;
}

int main(int argc, char **argv) {
    setup s;
    table t;
    if (!parse(&s, argc, argv)) {
        fprintf(stderr,
                "usage: pacing_bench STORE DATA [policy=pace|descent|fixed] [volume=N] [days=N] [seed=N] [seeds=N] "
                "[share=F,...] [floor=Q] [hint=N] [csv=FILE]\n");
        return 2;
    }
    if (!table_load(&t, argv[1], argv[2])) return 1;
    uint32_t *once = calloc(t.n, sizeof *once);
    for (size_t i = 0; i < t.n; i++) once[i] = 1;
    double least, most;
    spend_range(&t, once, &least, &most);
    least /= (double)t.n, most /= (double)t.n;
    printf(
        "%zu prompts, %zu models; USD a request: cheapest %.3g, best by estimates %.3g\n"
        "share     days    est  least  fixed  least  fix@l | oracle  ora@l | right  spent | over bind unspent  worst "
        ">2%% | refused | in 90%%\n",
        t.n, t.n_models, least, most);
    if (s.csv)
        fprintf(s.csv, "share,seed,day,n,refused,limit,spent,unspent_useful,fair,fixed,oracle,fixed_limit,value_low,"
                       "value_high\n");
    bool good = true;
    for (const char *at = s.shares; good && at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        const double share = strtod(at, NULL);
        good = run_share(&t, &s, share, s.traffic.volume * (least + share * (most - least)));
    }
    if (s.csv) fclose(s.csv);
    free(once);
    table_free(&t);
    return !good;
}
