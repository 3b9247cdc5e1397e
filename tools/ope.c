/* ope.c: weir ope: what another policy would have done on traffic that was logged.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/outfile.h"

#define COMMAND "ope"

enum { MAX_OPTIONS = 40 };

typedef struct arguments {
    cli_list logs, policies, data, bounds;
    const char *metrics, *json, *svg, *logging, *malformed;
    size_t n_logs, least_rows, most_rows;
    weir_ope_options o;
    bool given[MAX_OPTIONS]; /* as the options are numbered */
} arguments;

/* ---- words ---- */

static const char *interval_name(size_t i) {
    static const char *const names[] = {"t", "normal", "percentile", "bca"};
    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

static const char *metric_name(size_t i) {
    return i < WEIR_N_METRICS ? weir_metric_name((weir_metric)i) : NULL;
}

/* The metric of that name. CLI_GO or CLI_USAGE. */
static int find_metric(const char *word, weir_metric *metric) {
    char names[256] = "";
    for (size_t m = 0; metric_name(m); m++)
        if (strcmp(metric_name(m), word) == 0) {
            *metric = (weir_metric)m;
            return CLI_GO;
        }
    for (size_t i = 0, at = 0; metric_name(i) && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", metric_name(i));
    const char *near = cli_nearest(word, metric_name);
    if (near) return cli_misuse(COMMAND, "no metric '%s'; did you mean '%s'? There are: %s", word, near, names);
    return cli_misuse(COMMAND, "no metric '%s'; there are: %s", word, names);
}

/* The word that `text` begins with, up to a comma, cut where it doesn't fit; gives where the next one begins. */
static const char *next_word(const char *text, char *word, size_t size) {
    const size_t n = strcspn(text, ",");
    snprintf(word, size, "%.*s", n < size ? (int)n : (int)size - 1, text);
    return text + n + (text[n] == ',');
}

/* "quality,cost" as a set. CLI_GO or CLI_USAGE. */
static int parse_metrics(const char *text, unsigned *set) {
    while (text && *text) {
        char word[32];
        weir_metric m = WEIR_N_METRICS;
        text = next_word(text, word, sizeof word);
        const int rc = find_metric(word, &m);
        if (rc != CLI_GO) return rc;
        *set |= 1u << m;
    }
    return CLI_GO;
}

/* "cost=0.5". CLI_GO or CLI_USAGE. */
static int parse_bound(char *word, double bounds[WEIR_N_METRICS]) {
    char *most = strchr(word, '=');
    weir_metric m = WEIR_N_METRICS;
    double x;
    if (!most || most == word)
        return cli_misuse(COMMAND, "--bound must be METRIC=MOST, such as cost=0.5, not '%s'", word);
    *most++ = '\0';
    const int rc = find_metric(word, &m);
    if (rc != CLI_GO) return rc;
    /* 0 is the library's word for none, and what can't be bounded is its to tell */
    if (!cli_real(most, &x) || !isfinite(x) || !(x > 0))
        return cli_misuse(COMMAND, "--bound %s must be a number above 0, not '%s'", word, most);
    if (bounds[m] != 0) return cli_misuse(COMMAND, "--bound says twice what bounds the %s", word);
    bounds[m] = x;
    return CLI_GO;
}

static int parse_bounds(const cli_list *list, double bounds[WEIR_N_METRICS]) {
    for (size_t i = 0; i < list->n; i++) {
        const char *text = list->items[i];
        do {
            char word[64];
            if (strcspn(text, ",") >= sizeof word)
                return cli_misuse(COMMAND, "--bound must be METRIC=MOST, such as cost=0.5, not '%s'", text);
            text = next_word(text, word, sizeof word);
            const int rc = parse_bound(word, bounds);
            if (rc != CLI_GO) return rc;
        } while (*text);
    }
    return CLI_GO;
}

/* What is a list of words on the command line. CLI_GO or CLI_USAGE. */
static int parse_words(arguments *a) {
    const int rc = parse_metrics(a->metrics, &a->o.metrics);
    return rc == CLI_GO ? parse_bounds(&a->bounds, a->o.bounds) : rc;
}

/* ---- the reports ---- */

static int write_json(const arguments *a, const weir_ope *ope) {
    weir_error err = {0};
    char *json;
    if (weir_ope_json(ope, &json, &err) != WEIR_OK) return cli_fail(COMMAND, &err);
    const int rc = cli_write(COMMAND, a->json, json);
    free(json);
    return rc;
}

/* Of an evaluation, or of trials. */
static int write_svg(const arguments *a, const weir_ope *ope, const weir_ope_trials *trials) {
    weir_error err = {.status = WEIR_OK};
    char *svg = NULL;
    size_t size;
    FILE *out = open_memstream(&svg, &size);
    weir_status st = !out ? WEIR_NOMEM : ope ? weir_ope_svg(ope, out, &err) : weir_ope_trials_svg(trials, out, &err);
    if (out && fclose(out) != 0) st = WEIR_NOMEM;
    if (st == WEIR_NOMEM) err = (weir_error){WEIR_NOMEM, 0, "out of memory"};
    const int rc = st == WEIR_OK ? cli_write(COMMAND, a->svg, svg) : cli_fail(COMMAND, &err);
    free(svg);
    return rc;
}

static const char *refused_name(weir_metric m) {
    return m == WEIR_N_METRICS ? "curve" : weir_metric_name(m);
}

/* "policy: quality, cost: why", a line for the metrics of a policy that have the same reason. */
static void tell_refusals(const weir_ope *ope) {
    const char *policy, *reason, *next_policy = NULL, *next_reason = NULL;
    weir_metric metric;
    bool more = weir_ope_refusal(ope, 0, &policy, &metric, &reason);
    for (size_t i = 1; more;) {
        char metrics[128];
        size_t at = (size_t)snprintf(metrics, sizeof metrics, "%s", refused_name(metric));
        while ((more = weir_ope_refusal(ope, i++, &next_policy, &metric, &next_reason)) && next_policy == policy &&
               strcmp(next_reason, reason) == 0)
            at += (size_t)snprintf(metrics + at, sizeof metrics - at, ", %s", refused_name(metric));
        cli_note(COMMAND, "%s: %s: %s", policy, metrics, reason);
        policy = next_policy, reason = next_reason;
    }
}

/* The report is written even where the log can't judge: it says why. */
static int report(const arguments *a, const weir_ope *ope) {
    weir_error err = {0};
    int rc = a->json ? write_json(a, ope) : CLI_OK;
    if (a->svg) {
        const int svg = write_svg(a, ope, NULL);
        if (rc == CLI_OK) rc = svg;
    }
    if (cli_speaks(a->json) && cli_speaks(a->svg) && weir_ope_print(ope, stdout, cli_columns(), &err) != WEIR_OK)
        rc = cli_fail(COMMAND, &err);
    fflush(stdout);
    tell_refusals(ope);
    return rc == CLI_OK && weir_ope_is_refused(ope) ? CLI_FAILED : rc;
}

/* Wrong words are the caller's to mend, and the library says how; all else has failed. */
static int failed(const weir_error *err) {
    return err->status == WEIR_INVALID ? cli_misuse(COMMAND, "%s", err->text) : cli_fail(COMMAND, err);
}

/* Warnings: the first few go to standard error, all of them to a file that was asked for. */
typedef struct naming {
    cli_warnings shown;
    FILE *all; /* NULL: none */
} naming;

static void name_row(void *user, const char *text) {
    naming *n = user;
    cli_warn(&n->shown, text);
    if (n->all) fprintf(n->all, "%s\n", text);
}

/* ---- the actions ---- */

static int evaluate(arguments *a) {
    if (!a->logs.n) return cli_misuse(COMMAND, "--log FILE... is missing");
    if (!a->policies.n && !a->o.curve) return cli_misuse(COMMAND, "--policy POLICY is missing");
    if (a->json && a->svg && strcmp(a->json, "-") == 0 && strcmp(a->svg, "-") == 0)
        return cli_misuse(COMMAND, "--json and --svg can't both go to standard output");
    int rc = parse_words(a);
    if (rc != CLI_GO) return rc;
    static const char *const what_ran[] = {"logged"}; /* a curve alone needs no candidate */
    weir_error err = {0};
    weir_ope *ope = NULL;
    cli_outfile *all = a->malformed ? cli_outfile_open(COMMAND, a->malformed, CLI_OUT_WHOLE) : NULL;
    if (a->malformed && !all) return CLI_FAILED;
    naming names = {{COMMAND, 0}, all ? cli_outfile_stream(all) : NULL};
    cli_progress_bar bar = cli_progress_begin();
    a->o.logs = a->logs.items, a->o.n_logs = a->logs.n;
    a->o.policies = a->policies.n ? a->policies.items : what_ran;
    a->o.n_policies = a->policies.n ? a->policies.n : 1;
    a->o.warning = name_row, a->o.warning_user = &names;
    a->o.progress = cli_progress, a->o.progress_user = &bar;
    const weir_status st = weir_ope_run(&ope, &a->o, &err);
    cli_progress_end(&bar);
    cli_warn_end(&names.shown);
    const int named = cli_outfile_close(all, true);
    rc = st == WEIR_OK ? report(a, ope) : failed(&err);
    if (rc == CLI_OK) rc = named;
    weir_ope_free(ope);
    return rc;
}

static int report_trials(const arguments *a, const weir_ope_trials *trials) {
    weir_error err = {0};
    char *json = NULL;
    int rc = CLI_OK;
    if (cli_speaks(a->json) && cli_speaks(a->svg) &&
        weir_ope_trials_print(trials, stdout, cli_columns(), &err) != WEIR_OK)
        return cli_fail(COMMAND, &err);
    if (a->json)
        rc = weir_ope_trials_json(trials, &json, &err) == WEIR_OK ? cli_write(COMMAND, a->json, json)
                                                                  : cli_fail(COMMAND, &err);
    free(json);
    return rc == CLI_OK && a->svg ? write_svg(a, NULL, trials) : rc;
}

static int simulate(arguments *a) {
    if (!a->data.n) return cli_misuse(COMMAND, "simulate needs --data FILE...: outcomes of every model");
    if (!a->o.store) return cli_misuse(COMMAND, "simulate needs --store FILE: its features and estimates");
    if (!a->policies.n) return cli_misuse(COMMAND, "--policy POLICY is missing");
    if (a->svg && !a->o.curve)
        return cli_misuse(COMMAND, "simulate draws nothing but a curve: --svg goes with --curve");
    int rc = parse_words(a);
    if (rc != CLI_GO) return rc;
    weir_error err = {0};
    weir_ope_trials *trials = NULL;
    cli_warnings warnings = {COMMAND, 0};
    cli_progress_bar bar = cli_progress_begin();
    a->o.policies = a->policies.items, a->o.n_policies = a->policies.n;
    a->o.warning = cli_warn, a->o.warning_user = &warnings;
    a->o.progress = cli_progress, a->o.progress_user = &bar;
    const weir_ope_trial_options options = {.data = a->data.items,
                                            .n_data = a->data.n,
                                            .logging = a->logging,
                                            .n_logs = a->n_logs,
                                            .least_rows = a->least_rows,
                                            .most_rows = a->most_rows,
                                            .o = a->o};
    const weir_status st = weir_ope_simulate(&trials, &options, &err);
    cli_progress_end(&bar);
    cli_warn_end(&warnings);
    rc = st == WEIR_OK ? report_trials(a, trials) : failed(&err);
    weir_ope_trials_free(trials);
    return rc;
}

static int rollout(arguments *a) {
    weir_error err = {.status = WEIR_OK};
    char *json = NULL;
    if (!a->o.store) return cli_misuse(COMMAND, "rollout needs --store FILE: where the gateway keeps how it stands");
    if (cli_speaks(a->json) && weir_ope_rollout_print(a->o.store, stdout, cli_columns(), &err) != WEIR_OK)
        return cli_fail(COMMAND, &err);
    if (!a->json) return CLI_OK;
    const int rc = weir_ope_rollout_json(a->o.store, &json, &err) == WEIR_OK ? cli_write(COMMAND, a->json, json)
                                                                             : cli_fail(COMMAND, &err);
    free(json);
    return rc;
}

/* What `weir ope` does when its first word is none of these: it evaluates. */
static const struct {
    const char *name;
    int (*run)(arguments *a);
    const char *others; /* the options that mean nothing to it, with spaces around each */
    const char *instead;
} actions[] = {{"evaluate", evaluate, " data logging logs rows-from rows-to ",
                "is for drawing logs (weir ope simulate): what is evaluated is read with --log"},
               {"simulate", simulate, " log map ", "is of a log: simulate draws its own from --data"},
               {"rollout", rollout, NULL, "means nothing to rollout, which takes --store and --json"}};

/* What isn't listed as another action's; rollout has two options. */
static bool takes(size_t action, const char *option) {
    char word[64];
    snprintf(word, sizeof word, " %s ", option);
    if (actions[action].others) return !strstr(actions[action].others, word);
    return strcmp(option, "store") == 0 || strcmp(option, "json") == 0;
}

/* An option that would be passed over: whoever wrote it expects something of it. */
static int act(arguments *a, size_t action, const cli_option *options) {
    for (size_t i = 0; options[i].name; i++)
        if (a->given[i] && !takes(action, options[i].name))
            return cli_misuse(COMMAND, "--%s %s", options[i].name, actions[action].instead);
    return actions[action].run(a);
}

#define ACTIONS "evaluate|simulate|rollout"

static const char *action_name(size_t i) {
    return i < sizeof actions / sizeof *actions ? actions[i].name : NULL;
}

/* So that the framework can tell "--json OUT" from an action: that comes first. */
static size_t max_operands(int argc, char **argv) {
    return argc > 1 && argv[1][0] != '-';
}

static int run(arguments *a, const cli_option *options, char **operand, size_t n) {
    if (!n) return act(a, 0, options);
    for (size_t i = 0; action_name(i); i++) {
        if (strcmp(operand[0], action_name(i)) != 0) continue;
        if (i && a->malformed)
            return cli_misuse(COMMAND, "--malformed names a log's rows, and %s reads no log", action_name(i));
        if (i && (a->o.since || a->o.until))
            return cli_misuse(COMMAND, "--%s chooses among a log's rows, and %s reads no log",
                              a->o.since ? "since" : "until", action_name(i));
        return act(a, i, options);
    }
    const char *near = cli_nearest(operand[0], action_name);
    if (near) return cli_misuse(COMMAND, "no action '%s'; did you mean '%s'?", operand[0], near);
    return cli_misuse(COMMAND, "no action '%s'; there are " ACTIONS, operand[0]);
}

int weir_cmd_ope(int argc, char **argv) {
    arguments a = {.n_logs = 200,
                   .least_rows = 1000,
                   .most_rows = 10000,
                   .o = {.interval = "t", .level = 0.95, .n_bootstrap = 1000, .n_folds = 5}};
    weir_ope_options *o = &a.o;
    char **operand;
    size_t n;
    cli_option options[MAX_OPTIONS] = {
        {"log", 'l', CLI_LIST, &a.logs, "FILE",
         "logged decisions: stores, .jsonl, .jsonl.zst, .csv, - for standard input"},
        {"policy", 'p', CLI_LIST, &a.policies, "POLICY",
         "the candidate, NAME[,KEY=VALUE]..., such as plugin,value=0.02; others that follow are compared with it"},
        {"metric", 'm', CLI_TEXT, &a.metrics, "NAMES",
         "quality, cost, latency, error, loss, with commas between; default: all that the log has"},
        {"map", 0, CLI_TEXT, &o->map, "FILE", "how the columns of another system's log are to be read (YAML)"},
        {"since", 0, CLI_TEXT, &o->since, "TIME",
         "leave out rows from before: 2026-03-01, 2026-03-01T09:30:00Z, or seconds or milliseconds since 1970"},
        {"until", 0, CLI_TEXT, &o->until, "TIME", "leave out rows from then on, and with either those without a time"},
        {"store", 's', CLI_TEXT, &o->store, "FILE",
         "the store whose estimators the candidates ask; default: the estimates that were logged"},
        {"estimator", 0, CLI_TEXT, &o->estimator, "NAME", "that verdicts go by (default sndr)"},
        {"interval", 0, CLI_CHOICE, &o->interval, "NAME", "that verdicts go by", .choice = interval_name},
        {"reward-model", 0, CLI_TEXT, &o->reward_model, "NAME",
         "auto, logged, table, ridge, logistic, or an estimator's name (default auto)"},
        {"folds", 0, CLI_SIZE, &o->n_folds, "N", "of cross-fitting; 1: none", .lo = 1, .hi = 20},
        {"level", 0, CLI_REAL, &o->level, "P", "of the two-sided intervals", .lo = 0.5, .hi = 0.9999},
        {"bootstrap", 'b', CLI_SIZE, &o->n_bootstrap, "N", "resamples of the clusters", .lo = 20, .hi = 100000},
        {"value", 'v', CLI_REAL, &o->value_usd, "USD",
         "what a fully right answer is worth: one verdict, by the loss value * (1 - quality) + cost", .lo = 0,
         .hi = 1e9},
        {"margin-quality", 0, CLI_REAL, &o->margin_quality, "X", "a loss of quality that doesn't matter", .lo = 0,
         .hi = 1},
        {"margin-cost", 0, CLI_REAL, &o->margin_cost, "SHARE", "a saving that is wanted, as a share of the cost",
         .lo = 0, .hi = 0.9999},
        {"bound", 0, CLI_LIST, &a.bounds, "METRIC=MOST",
         "the most that one request can have, such as cost=0.5,latency=60000 (USD, ms): choices that the log never "
         "could "
         "have made widen intervals by that instead of ending in a refusal"},
        {"curve", 0, CLI_TEXT, &o->curve, "POLICY",
         "a policy with one knob left open, such as plugin,value=?: its cost-quality curve"},
        {"data", 'd', CLI_LIST, &a.data, "FILE", "simulate: outcomes of every model, that logs are drawn from"},
        {"logging", 0, CLI_TEXT, &a.logging, "POLICY",
         "simulate: the policy that makes the logs "
         "(default plugin,explore=0.05)"},
        {"logs", 0, CLI_SIZE, &a.n_logs, "N", "simulate: how many logs", .lo = 1, .hi = 1000000},
        {"rows-from", 0, CLI_SIZE, &a.least_rows, "N", "simulate: rows of the shortest log", .lo = 10, .hi = 10000000},
        {"rows-to", 0, CLI_SIZE, &a.most_rows, "N", "simulate: rows of the longest log", .lo = 10, .hi = 10000000},
        {"seed", 0, CLI_SEED, &o->seed, "N", "of the resamples"},
        {"strict", 0, CLI_FLAG, &o->strict, NULL, "stop at the first malformed row"},
        {"malformed", 0, CLI_TEXT, &a.malformed, "FILE",
         "a line for each malformed row that was left out; standard error has the first ten"},
        {"json", 0, CLI_MAYBE, &a.json, "FILE|-", "write the report as JSON"},
        {"svg", 0, CLI_TEXT, &a.svg, "FILE|-", "draw the estimates with their intervals, and the curve"},
        {0},
    };
    for (size_t i = 0; options[i].name; i++) options[i].given = &a.given[i];
    const cli_command command = {
        COMMAND,
        .operands = "[" ACTIONS "]",
        .max_operands = max_operands(argc, argv),
        .text =
            "Reads decisions with the chances they were made by and what came of them, and tells what a candidate "
            "policy would have done on the same traffic: better, worse, or not enough evidence, with intervals, and "
            "with what speaks against believing them. Every --policy is compared with what ran, and the first with "
            "every other one.\n"
            "What a log can't judge (too few rows, chances of 1, models that were never tried) is refused: the "
            "report is written, and standard error tells policy, metric and reason. The exit status is 1 if a verdict "
            "as a whole is refused, and 0 if only some metric of it is.\n"
            "docs/evaluation.md says what to log, how to name a policy, and what to do with each verdict.",
        .examples = "weir ope --log router.mdb --policy plugin,value=0.02\n"
                    "weir ope --log router.mdb --policy plugin,value=0.02 --margin-quality 0.01 --margin-cost 0.2\n"
                    "weir ope --log traffic.jsonl.zst --policy fixed,model=small --policy logged --json -\n"
                    "weir ope --log requests.csv --map requests.yaml --policy column --metric quality,cost\n"
                    "weir ope --log router.mdb --policy column --since 2026-03-01 --until 2026-03-08\n"
                    "weir ope --log router.mdb --policy column,rollout=trial\n"
                    "weir ope --log router.mdb --curve plugin,value=? --svg curve.svg\n"
                    "weir ope simulate --data test.jsonl --store router.mdb --policy plugin,value=0.02\n"
                    "weir ope rollout --store router.mdb",
        .options = options,
        .operand = &operand,
        .n_operands = &n};
    int rc = cli_parse(&command, argc, argv);
    if (rc == CLI_GO) rc = run(&a, options, operand, n);
    cli_list_free(&a.logs);
    cli_list_free(&a.policies);
    cli_list_free(&a.data);
    cli_list_free(&a.bounds);
    return rc;
}
