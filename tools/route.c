/* route.c: weir route: one decision, explained. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/policy_options.h"

#define COMMAND "route"

typedef struct arguments {
    const char *store, *json;
    cli_policy policy;
    char **operand;
    size_t n_operands;
} arguments;

/* Standard input up to its end; *text is new. */
static int read_input(char **text, size_t *size) {
    enum { LONGEST = 1 << 28 }; /* 256 MiB: the features read the two ends of a long prompt anyway */
    size_t capacity = 1 << 16;
    char *buffer = malloc(capacity);
    *size = 0;
    while (buffer) {
        *size += fread(buffer + *size, 1, capacity - *size, stdin);
        if (*size < capacity) break;
        if (capacity >= LONGEST) {
            free(buffer);
            cli_note(COMMAND, "the prompt is longer than %d bytes", LONGEST);
            return CLI_FAILED;
        }
        char *grown = realloc(buffer, capacity *= 2);
        if (!grown) free(buffer);
        buffer = grown;
    }
    if (!buffer) {
        cli_note(COMMAND, "out of memory");
        return CLI_FAILED;
    }
    *text = buffer;
    if (!ferror(stdin)) return CLI_OK;
    cli_note(COMMAND, "can't read standard input: %s", strerror(errno));
    return CLI_FAILED;
}

static void print_row(cli_table *t, const char *name, const weir_estimates *e, const weir_decision *d, size_t m) {
    char a[CLI_USD_SIZE], b[CLI_USD_SIZE], c[CLI_USD_SIZE];
    cli_table_cell(t, "%s", m == d->model ? "->" : " ");
    cli_table_cell(t, "%s", name);
    if (!e->eligible[m]) {
        cli_table_cell(t, "may not be chosen");
        for (int i = 0; i < 6; i++) cli_table_cell(t, " ");
        return;
    }
    cli_table_cell(t, "%.3f [%.2f, %.2f]", e->quality[m], e->quality_lo[m], e->quality_hi[m]);
    cli_table_cell(t, "%s", cli_usd(e->cost_usd[m], a));
    if (isnan(e->cost_usd[m]))
        cli_table_cell(t, "?");
    else
        cli_table_cell(t, "[%s, %s]", cli_usd(e->cost_lo[m], b), cli_usd(e->cost_hi[m], c));
    if (isnan(e->latency_ms[m]))
        cli_table_cell(t, "?");
    else
        cli_table_cell(t, "%.0f", e->latency_ms[m]);
    cli_table_cell(t, "%.5g", d->risk_usd[m]);
    cli_table_cell(t, "%.5g", d->regret_usd[m]);
    cli_table_cell(t, "%.3f", d->propensity[m]);
}

/* Least risk first. */
static const double *sort_key;
static int by_risk(const void *a, const void *b) {
    double x = sort_key[*(const size_t *)a], y = sort_key[*(const size_t *)b];
    return (x > y) - (x < y);
}

static void explain(const weir_router *router, const weir_policy_options *o, const weir_estimates *e,
                    const weir_decision *d) {
    char usd[CLI_USD_SIZE];
    size_t *order = calloc(d->n_models, sizeof *order);
    const char *const headers[] = {"", "model", "quality", "cost", "cost interval", "ms", "risk", "regret", "p"};
    cli_table *table = cli_table_new(headers, 9);
    printf("%s\n\n", weir_router_model(router, d->model));
    if (order && table) {
        for (size_t m = 0; m < d->n_models; m++) order[m] = m;
        sort_key = d->risk_usd;
        qsort(order, d->n_models, sizeof *order, by_risk);
        for (size_t i = 0; i < d->n_models; i++) print_row(table, weir_router_model(router, order[i]), e, d, order[i]);
        cli_table_print(table, stdout);
    }
    printf("\nrule: %s (%s)\n", weir_rule_name(d->rule), weir_reason_text(d->reason));
    if (isinf(o->value_usd))
        printf("value: only quality counts; risk and regret in units of 1 - quality\n");
    else
        printf("value: %s; risk and regret in USD\n", cli_usd(o->value_usd, usd));
    printf("intervals: %.0f%% of outcomes\n", 100 * e->coverage);
    printf("input: about %.0f tokens; novelty %.3f\n", e->input_tokens, e->novelty);
    free(order);
    cli_table_free(table);
}

static int decide(const arguments *a, const char *prompt, size_t size, weir_router *router) {
    weir_error err = {0};
    weir_policy_options options;
    cli_names names = cli_router_names(router);
    int rc = cli_policy_resolve(COMMAND, &a->policy, &names, &options);
    if (rc != CLI_GO) return rc;
    weir_session *session = NULL;
    const weir_decision *decision;
    const weir_estimates *estimates;
    weir_status st = weir_session_new(&session, router, &err);
    if (st == WEIR_OK) st = weir_decide(session, prompt, size, &options, &decision, &estimates, &err);
    rc = CLI_OK;
    if (st == WEIR_OK && cli_speaks(a->json)) explain(router, &options, estimates, decision);
    if (st == WEIR_OK && a->json) {
        char *json = NULL;
        st = weir_explain_json(router, &options, estimates, decision, &json, &err);
        if (st == WEIR_OK) rc = cli_write(COMMAND, a->json, json);
        free(json);
    }
    weir_session_free(session);
    return st == WEIR_OK ? rc : cli_fail(COMMAND, &err);
}

static int run(arguments *a) {
    int rc = cli_policy_check(COMMAND, &a->policy);
    if (rc != CLI_GO) return rc;
    if (a->policy.policy && !strcmp(a->policy.policy, "oracle"))
        return cli_misuse(COMMAND, "the oracle needs outcomes: see weir eval");
    if (!a->n_operands) return cli_misuse(COMMAND, "no prompt; - reads standard input");
    weir_error err = {0};
    weir_router *router = NULL;
    if (weir_router_open(&router, a->store, &err) != WEIR_OK) return cli_fail(COMMAND, &err);
    char *input = NULL;
    size_t size = strlen(a->operand[0]);
    rc = CLI_OK;
    if (!strcmp(a->operand[0], "-")) rc = read_input(&input, &size);
    if (rc == CLI_OK) rc = decide(a, input ? input : a->operand[0], size, router);
    free(input);
    weir_router_close(router);
    return rc;
}

int weir_cmd_route(int argc, char **argv) {
    arguments a = {.policy = cli_policy_defaults()};
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the trained store", .required = true},
        CLI_POLICY_OPTIONS(a.policy),
        {"json", 0, CLI_MAYBE, &a.json, "FILE|-", "explain as JSON"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .operands = "PROMPT | -",
        .max_operands = 1,
        .text =
            "Prints the model for the prompt, then what is expected of every model and why this one was chosen. Risk "
            "is value * (1 - quality) + cost; regret is what could be lost in the worst case that the intervals "
            "allow; p is the probability with which each was chosen.",
        .examples = "weir route --store router.mdb \"What is the capital of France?\"\n"
                    "weir route --store router.mdb --value 0.01 - < prompt.txt\n"
                    "weir route --store router.mdb --max-cost 0.002 --json - \"Prove Fermat's little theorem.\"\n"
                    "weir route --store router.mdb --strong gpt-4o --weak gpt-4o-mini --threshold 0.6 \"2 + 2?\"",
        .options = options,
        .operand = &a.operand,
        .n_operands = &a.n_operands};
    int rc = cli_parse(&command, argc, argv);
    return rc == CLI_GO ? run(&a) : rc;
}
