/* calibrate.c: weir calibrate: the threshold at which a wanted share of calls goes to the strong model (RouteLLM,
 * arXiv 2406.18665, section 3). SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/json.h"

#define COMMAND "calibrate"

typedef struct arguments {
    const char *store, *strong, *weak, *json;
    cli_list data;
    double share; /* NAN: a table of shares */
} arguments;

/* One prompt: P(strong is better), and what each of the two did with it. */
typedef struct call {
    double p, quality[2], cost[2]; /* weak, strong; NAN: not known */
} call;

/* What a threshold gives. */
typedef struct point {
    double threshold, share, quality, cost; /* quality and cost: means over calls where they are known */
} point;

typedef struct state {
    const arguments *a;
    weir_router *router;
    weir_session *session;
    weir_dataset *data;
    size_t strong, weak; /* the router's numbers */
    call *calls;         /* (n_prompts), most likely strong first */
} state;

/* Unless they are named: best and cheapest (worst, where no cost is known) by what is expected over the prompts. */
static weir_status choose_pair(state *s, weir_error *err) {
    size_t n = weir_router_n_models(s->router), n_prompts = s->data->n_prompts;
    double *sums = calloc(2 * n, sizeof *sums), *quality = sums, *cost = sums + n;
    if (!sums) return err->status = WEIR_NOMEM;
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < n_prompts; i++) {
        const weir_estimates *e;
        st = weir_estimate(s->session, s->data->prompts[i], s->data->prompt_lens[i], &e, err);
        for (size_t m = 0; st == WEIR_OK && m < n; m++) quality[m] += e->quality[m], cost[m] += e->cost_usd[m];
    }
    bool by_cost = true;
    for (size_t m = 0; m < n; m++) by_cost &= isfinite(cost[m]);
    const double *key = by_cost ? cost : quality;
    size_t best = 0, least = (size_t)-1;
    for (size_t m = 1; m < n; m++)
        if (quality[m] > quality[best]) best = m;
    for (size_t m = 0; m < n; m++)
        if (m != best && (least == (size_t)-1 || key[m] < key[least])) least = m;
    if (s->strong == (size_t)-1) s->strong = best;
    if (s->weak == (size_t)-1) s->weak = least == s->strong || least == (size_t)-1 ? best : least;
    free(sums);
    return st;
}

static size_t find_in_data(const weir_dataset *data, const char *name) {
    for (size_t m = 0; m < data->n_models; m++)
        if (!strcmp(data->model_names[m], name)) return m;
    return (size_t)-1;
}

static double cell(const weir_dataset *data, const double *table, size_t prompt, size_t model) {
    return table && model != (size_t)-1 ? table[prompt * data->n_models + model] : NAN;
}

static int by_probability(const void *a, const void *b) {
    double x = ((const call *)a)->p, y = ((const call *)b)->p;
    return (x < y) - (x > y);
}

static weir_status collect(state *s, weir_error *err) {
    const weir_dataset *d = s->data;
    const size_t model[2] = {s->weak, s->strong};
    s->calls = calloc(d->n_prompts, sizeof *s->calls);
    if (!s->calls) return err->status = WEIR_NOMEM;
    size_t column[2];
    for (int k = 0; k < 2; k++) column[k] = find_in_data(d, weir_router_model(s->router, model[k]));
    for (size_t i = 0; i < d->n_prompts; i++) {
        const weir_estimates *e;
        weir_status st = weir_estimate(s->session, d->prompts[i], d->prompt_lens[i], &e, err);
        if (st != WEIR_OK) return st;
        call *c = &s->calls[i];
        c->p = weir_policy_strong_wins(e, s->strong, s->weak);
        for (int k = 0; k < 2; k++) {
            c->quality[k] = cell(d, d->quality, i, column[k]);
            c->cost[k] = cell(d, d->cost_usd, i, column[k]);
        }
    }
    qsort(s->calls, d->n_prompts, sizeof *s->calls, by_probability);
    return WEIR_OK;
}

/* The border nearest to the wanted share; calls of equal probability can't be told apart. */
static point at_share(const state *s, double share) {
    size_t n = s->data->n_prompts, wanted = (size_t)(share * (double)n + 0.5), up = wanted, down = wanted;
    const call *c = s->calls;
    while (up < n && up > 0 && c[up].p == c[up - 1].p) up++;
    while (down > 0 && down < n && c[down].p == c[down - 1].p) down--;
    size_t k = up - wanted < wanted - down ? up : down;
    point p = {.share = (double)k / (double)n};
    if (k == 0)
        p.threshold = nextafter(c[0].p, INFINITY);
    else if (k == n)
        p.threshold = c[n - 1].p;
    else
        p.threshold = c[k].p + (c[k - 1].p - c[k].p) / 2;
    if (k > 0 && !(p.threshold <= c[k - 1].p && (k == n || p.threshold > c[k].p))) p.threshold = c[k - 1].p;
    double n_quality = 0, n_cost = 0;
    for (size_t i = 0; i < n; i++) {
        double q = c[i].quality[i < k], usd = c[i].cost[i < k];
        if (!isnan(q)) p.quality += q, n_quality++;
        if (!isnan(usd)) p.cost += usd, n_cost++;
    }
    p.quality = n_quality ? p.quality / n_quality : NAN;
    p.cost = n_cost ? p.cost / n_cost : NAN;
    return p;
}

static json_t *point_json(const point *p) {
    return json_pack("{s:o, s:o, s:o, s:o}", "threshold", cli_json_number(p->threshold), "strong_share",
                     cli_json_number(p->share), "quality", cli_json_number(p->quality), "cost",
                     cli_json_number(p->cost));
}

static int report(const state *s) {
    enum { MOST = 11 };
    point points[MOST];
    size_t n = 0;
    if (!isnan(s->a->share))
        points[n++] = at_share(s, s->a->share);
    else
        for (; n < MOST; n++) points[n] = at_share(s, (double)n / (MOST - 1));
    const char *strong = weir_router_model(s->router, s->strong), *weak = weir_router_model(s->router, s->weak);
    if (cli_speaks(s->a->json)) {
        const char *const headers[] = {"threshold", "strong share", "quality", "cost"};
        cli_table *table = cli_table_new(headers, 4);
        char usd[CLI_USD_SIZE];
        printf("strong %s, weak %s, %zu prompts\n", strong, weak, s->data->n_prompts);
        for (size_t i = 0; table && i < n; i++) {
            cli_table_cell(table, "%.9f", points[i].threshold);
            cli_table_cell(table, "%.3f", points[i].share);
            if (isnan(points[i].quality))
                cli_table_cell(table, "?");
            else
                cli_table_cell(table, "%.4f", points[i].quality);
            cli_table_cell(table, "%s", cli_usd(points[i].cost, usd));
        }
        if (table) cli_table_print(table, stdout);
        cli_table_free(table);
    }
    if (!s->a->json) return CLI_OK;
    json_t *o = n == 1 ? point_json(&points[0]) : json_object(), *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, point_json(&points[i]));
    if (o &&
        (json_object_set_new(o, "strong", json_string(strong)) || json_object_set_new(o, "weak", json_string(weak)) ||
         json_object_set_new(o, "n", json_integer((json_int_t)s->data->n_prompts)) ||
         json_object_set_new(o, "points", list))) {
        json_decref(o);
        o = NULL;
    }
    return cli_write_json(COMMAND, s->a->json, o);
}

static int run(const arguments *a) {
    state s = {.a = a, .strong = (size_t)-1, .weak = (size_t)-1};
    weir_error err = {0};
    int rc = CLI_OK;
    weir_reader_options options = {0};
    weir_status st = weir_router_open(&s.router, a->store, &err);
    if (st == WEIR_OK && a->strong && (s.strong = cli_find_model(COMMAND, s.router, a->strong)) == (size_t)-1)
        rc = CLI_USAGE;
    if (st == WEIR_OK && a->weak && (s.weak = cli_find_model(COMMAND, s.router, a->weak)) == (size_t)-1) rc = CLI_USAGE;
    if (st == WEIR_OK && rc == CLI_OK) {
        st = weir_dataset_load(&s.data, a->data.items, a->data.n, &options, &err);
        if (st == WEIR_OK) st = weir_session_new(&s.session, s.router, &err);
        if (st == WEIR_OK && (s.strong == (size_t)-1 || s.weak == (size_t)-1)) st = choose_pair(&s, &err);
        if (st == WEIR_OK) st = collect(&s, &err);
        if (st == WEIR_OK) rc = report(&s);
    }
    if (st != WEIR_OK) rc = cli_fail(COMMAND, &err);
    free(s.calls);
    weir_session_free(s.session);
    weir_dataset_free(s.data);
    weir_router_close(s.router);
    return rc;
}

int weir_cmd_calibrate(int argc, char **argv) {
    arguments a = {.share = NAN};
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the trained store", .required = true},
        {"data", 'd', CLI_LIST, &a.data, "FILE", "outcomes whose prompts are like those to come", .required = true},
        {"strong-share", 0, CLI_REAL, &a.share, "X", "share of calls for the strong model; without it, a table",
         .lo = 0, .hi = 1},
        {"strong", 0, CLI_TEXT, &a.strong, "MODEL", "the strong model; else the best by expectation"},
        {"weak", 0, CLI_TEXT, &a.weak, "MODEL", "the weak model; else the cheapest by expectation"},
        {"json", 0, CLI_TEXT, &a.json, "FILE|-", "write the report as JSON"},
        {0},
    };
    const cli_command command = {COMMAND,
                                 .examples =
                                     "weir calibrate --store router.mdb --data recent.jsonl --strong-share 0.3\n"
                                     "weir calibrate --store router.mdb --data recent.jsonl",
                                 .options = options};
    int rc = cli_parse(&command, argc, argv);
    if (rc == CLI_GO) rc = run(&a);
    cli_list_free(&a.data);
    return rc;
}
