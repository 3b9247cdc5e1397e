/* budget.c: weir budget: limits on what may be spent. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/json.h"

#define COMMAND "budget"

typedef struct arguments {
    const char *store, *name; /* the operand after the action */
    const char *spent, *json, *svg;
    weir_budget_audit_options audit;
    weir_budget_options budget;
    weir_budget_report_options report;
} arguments;

/* Wrong words are the caller's to mend, and the library says how; all else has failed. */
static int failed(const weir_error *err) {
    return err->status == WEIR_INVALID ? cli_misuse(COMMAND, "%s", err->text) : cli_fail(COMMAND, err);
}

static int set(arguments *a) {
    weir_error err = {0};
    if (!a->budget.limit) return cli_misuse(COMMAND, "set needs --limit, such as 50USD, 1000000tokens or 500requests");
    if (!a->budget.per) return cli_misuse(COMMAND, "set needs --per hour, day, week, month or total");
    bool afresh = false;
    if (weir_budget_set(a->store, a->name, &a->budget, &afresh, &err) != WEIR_OK) return failed(&err);
    if (afresh)
        cli_note(COMMAND, "'%s' has another unit, period, zone or match than before: its count starts from nothing",
                 a->name);
    return CLI_OK;
}

static int rm(arguments *a) {
    weir_error err = {0};
    return weir_budget_remove(a->store, a->name, &err) == WEIR_OK ? CLI_OK : failed(&err);
}

static int reconcile(arguments *a) {
    weir_error err = {0};
    char *end;
    errno = 0;
    unsigned long long account = strtoull(a->name, &end, 10);
    if (a->name[0] < '0' || a->name[0] > '9' || *end || errno)
        return cli_misuse(COMMAND, "an account is a number, as 'weir budget show NAME' lists them, not '%s'", a->name);
    if (!a->spent) return cli_misuse(COMMAND, "reconcile needs --spent, such as 1.25USD");
    return weir_budget_reconcile(a->store, account, a->spent, &err) == WEIR_OK ? CLI_OK : failed(&err);
}

/* ---- showing ---- */

static const char *text_of(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "-";
}

/* "key=* team=search", "everything". */
static void match_text(const json_t *budget, char *out, size_t size) {
    json_t *match = json_object_get(budget, "match"), *value;
    const char *key;
    snprintf(out, size, "%s", json_object_size(match) ? "" : "everything");
    json_object_foreach(match, key, value) {
        size_t n = strlen(out);
        snprintf(out + n, size - n, "%s%s=%s", n ? " " : "", key, json_string_value(value));
    }
}

static void budget_row(cli_table *table, const json_t *b) {
    char match[400];
    match_text(b, match, sizeof match);
    cli_table_cell(table, "%s", text_of(b, "name"));
    cli_table_cell(table, "%s", match);
    cli_table_cell(table, "%s", text_of(b, "limit"));
    cli_table_cell(table, "%s", text_of(b, "unit"));
    cli_table_cell(table, "%s", text_of(b, "per"));
    cli_table_cell(table, "%s", text_of(b, "spent"));
    cli_table_cell(table, "%s", text_of(b, "period_end"));
    cli_table_cell(table, "%s", json_is_true(json_object_get(b, "hard")) ? text_of(b, "when_exhausted") : "(soft)");
}

static int print_list(const json_t *root) {
    static const char *const headers[] = {"name", "for", "limit", "unit", "per", "spent", "until", "exhausted"};
    cli_table *table = cli_table_new(headers, sizeof headers / sizeof *headers);
    const json_t *row;
    size_t i;
    if (!table) return cli_note(COMMAND, "out of memory"), CLI_FAILED;
    json_array_foreach(json_object_get(root, "budgets"), i, row) budget_row(table, row);
    cli_table_print(table, stdout);
    cli_table_free(table);
    return CLI_OK;
}

static void print_warnings(const json_t *budget) {
    const json_t *share;
    size_t i;
    json_array_foreach(json_object_get(budget, "warn"), i, share) {
        printf("%s%g %%", i ? ", " : "warns at ", 100 * json_number_value(share));
    }
    if (json_array_size(json_object_get(budget, "warn"))) putchar('\n');
}

static int print_accounts(const json_t *accounts) {
    static const char *const headers[] = {"account", "for", "limit", "spent", "leased", "unproven", "free", "until"};
    static const char *const amounts[] = {"limit", "spent", "leased", "unproven", "free", "period_end"};
    cli_table *table = cli_table_new(headers, sizeof headers / sizeof *headers);
    const json_t *row;
    size_t i;
    if (!table) return cli_note(COMMAND, "out of memory"), CLI_FAILED;
    json_array_foreach(accounts, i, row) {
        const char *scope = text_of(row, "scope");
        cli_table_cell(table, "%lld", (long long)json_integer_value(json_object_get(row, "account")));
        cli_table_cell(table, "%s", *scope ? scope : "all");
        for (size_t k = 0; k < sizeof amounts / sizeof *amounts; k++)
            cli_table_cell(table, "%s", text_of(row, amounts[k]));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
    return CLI_OK;
}

static int print_one(const json_t *b) {
    char match[400];
    match_text(b, match, sizeof match);
    bool hard = json_is_true(json_object_get(b, "hard"));
    printf("%s: %s %s per %s (%s), for %s\n", text_of(b, "name"), text_of(b, "limit"), text_of(b, "unit"),
           text_of(b, "per"), text_of(b, "zone"), match);
    printf("%s%s\n", hard ? "hard; when it is exhausted: " : "soft: counts and warns",
           hard ? text_of(b, "when_exhausted") : "");
    print_warnings(b);
    printf("this period: from %s until %s, %s spent\n", text_of(b, "period_start"), text_of(b, "period_end"),
           text_of(b, "spent"));
    const json_t *accounts = json_object_get(b, "accounts");
    if (!json_array_size(accounts)) return CLI_OK;
    putchar('\n');
    return print_accounts(accounts);
}

static long long count_of(const json_t *o, const char *key) {
    return (long long)json_integer_value(json_object_get(o, key));
}

static int print_differences(const json_t *differences) {
    static const char *const headers[] = {"entry", "decision", "attempt", "unit", "ledger", "log", "why"};
    cli_table *table = cli_table_new(headers, sizeof headers / sizeof *headers);
    const json_t *d;
    size_t i;
    if (!table) return cli_note(COMMAND, "out of memory"), CLI_FAILED;
    json_array_foreach(differences, i, d) {
        if (json_is_integer(json_object_get(d, "entry")))
            cli_table_cell(table, "%lld", count_of(d, "entry"));
        else
            cli_table_cell(table, "-");
        cli_table_cell(table, "%s", text_of(d, "decision"));
        cli_table_cell(table, "%lld", count_of(d, "attempt"));
        cli_table_cell(table, "%s", text_of(d, "unit"));
        cli_table_cell(table, "%s", text_of(d, "ledger"));
        cli_table_cell(table, "%s", text_of(d, "log"));
        cli_table_cell(table, "%s", text_of(d, "why"));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
    return CLI_OK;
}

static int print_log(const json_t *log) {
    const json_t *differences = json_object_get(log, "differences"), *skipped;
    const long long wrong = count_of(log, "n_differences"), told = (long long)json_array_size(differences);
    size_t i;
    int rc = told ? print_differences(differences) : CLI_OK;
    if (wrong > told) printf("and %lld more\n", wrong - told);
    printf("%lld decisions of the traffic log: %lld settlements are what it says, %lld more than that, for their usage "
           "was estimated, %lld differences\n",
           count_of(log, "n_decisions"), count_of(log, "n_same"), count_of(log, "n_safe"), wrong);
    json_array_foreach(json_object_get(log, "skipped"), i, skipped) {
        printf("not compared: %lld %s\n", count_of(skipped, "n"), text_of(skipped, "what"));
    }
    if (count_of(log, "n_other_rows"))
        printf(
            "not compared: %lld rows of the log that cost nothing: feedback, and what was learned without a gateway\n",
            count_of(log, "n_other_rows"));
    return rc;
}

static int print_audit(const json_t *root) {
    const json_t *sentence, *differences = json_object_get(root, "differences");
    const long long wrong = count_of(root, "n_differences"), told = (long long)json_array_size(differences);
    size_t i;
    json_array_foreach(differences, i, sentence) {
        printf("%s\n", json_string_value(sentence));
    }
    if (wrong > told) printf("and %lld more\n", wrong - told);
    printf("%lld entries, %lld settlements, %lld accounts: %s\n", count_of(root, "n_entries"),
           count_of(root, "n_settled"), count_of(root, "n_accounts"),
           wrong ? "they don't agree" : "every balance is right");
    return print_log(json_object_get(root, "log"));
}

/* Writes the report where it is wanted, and frees it. */
static int report(const arguments *a, char *text, int (*print)(const json_t *root)) {
    int rc = a->json ? cli_write(COMMAND, a->json, text) : CLI_OK;
    json_t *root = rc == CLI_OK && cli_speaks(a->json) ? json_loads(text, 0, NULL) : NULL;
    if (root) rc = print(root);
    json_decref(root);
    free(text);
    return rc;
}

static int ls(arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    return weir_budget_list(a->store, &text, &err) == WEIR_OK ? report(a, text, print_list) : failed(&err);
}

static int show(arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    return weir_budget_show(a->store, a->name, &text, &err) == WEIR_OK ? report(a, text, print_one) : failed(&err);
}

static int audit(arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    bool sound;
    a->audit.from = a->report.from;
    if (weir_budget_audit(a->store, &a->audit, &sound, &text, &err) != WEIR_OK) return failed(&err);
    int rc = report(a, text, print_audit);
    return rc == CLI_OK && !sound ? CLI_FAILED : rc;
}

/* ---- the report ---- */

static double number_of(const json_t *o, const char *key) {
    const json_t *number = json_object_get(o, key);
    return json_is_number(number) ? json_number_value(number) : NAN;
}

static void print_plan(const json_t *b) {
    const json_t *plan = json_object_get(b, "plan"), *forecast = json_object_get(b, "forecast");
    if (!json_is_object(b)) return;
    printf("budget %s: %s of %s %s per %s", text_of(b, "name"), text_of(b, "spent"), text_of(b, "limit"),
           text_of(b, "unit"), text_of(b, "per"));
    if (json_is_object(plan)) printf("; an even plan would have spent %.4g", number_of(plan, "linear"));
    putchar('\n');
    if (!json_is_object(forecast)) return;
    printf("forecast until %s: %.4g (%.0f %% of the limit)", text_of(b, "period_end"), number_of(forecast, "mean"),
           100 * number_of(forecast, "share"));
    if (!strcmp(text_of(forecast, "method"), "pacing"))
        printf(", from %.4g to %.4g nine times in ten\n", number_of(forecast, "low"), number_of(forecast, "high"));
    else
        printf(", at the rate so far\n");
}

static void print_quality(const json_t *root) {
    const json_t *q = json_object_get(root, "quality"), *r = json_object_get(root, "requests");
    const json_t *one = json_object_get(root, "best_single");
    printf("requests: %lld answered of %lld; by budgets %lld lowered, %lld sent elsewhere, %lld refused\n",
           count_of(r, "answered"), count_of(r, "decided"), count_of(r, "lowered"), count_of(r, "cheaper"),
           count_of(r, "refused"));
    if (count_of(q, "n_predicted")) {
        printf("quality: %.3f as predicted", number_of(q, "predicted"));
        if (json_is_number(json_object_get(q, "floor")))
            printf(" (floor %.3g, %s)", number_of(q, "floor"), number_of(q, "above_floor") >= 0 ? "met" : "missed");
        if (count_of(q, "n_feedback"))
            printf(", %.3f as told by %lld feedbacks", number_of(q, "feedback"), count_of(q, "n_feedback"));
        putchar('\n');
    }
    if (json_is_object(one))
        printf("against always %s: %.4g USD saved (%.0f %%), quality %+.3f, by the estimates of %lld requests\n",
               text_of(one, "model"), number_of(one, "saved_usd"), 100 * number_of(one, "saved_share"),
               -number_of(one, "quality_given_up"), count_of(one, "requests"));
}

static int print_groups(const char *what, const json_t *list) {
    enum { MOST = 10 };
    const char *const headers[] = {what, "spent, USD", "share", "calls", "tokens"};
    cli_table *table = cli_table_new(headers, sizeof headers / sizeof *headers);
    const json_t *g;
    size_t i;
    if (!table) return cli_note(COMMAND, "out of memory"), CLI_FAILED;
    json_array_foreach(list, i, g) {
        if (i == MOST) break;
        cli_table_cell(table, "%s", text_of(g, "name"));
        cli_table_cell(table, "%s", text_of(g, "spent_usd"));
        cli_table_cell(table, "%.1f %%", 100 * number_of(g, "share"));
        cli_table_cell(table, "%lld", count_of(g, "calls"));
        cli_table_cell(table, "%lld", count_of(g, "tokens"));
    }
    putchar('\n');
    cli_table_print(table, stdout);
    cli_table_free(table);
    if (i < json_array_size(list)) printf("and %zu more: --json lists them\n", json_array_size(list) - i);
    return CLI_OK;
}

static int print_report(const json_t *root) {
    const char *what;
    json_t *list;
    int rc = CLI_OK;
    printf("from %s to %s: %s USD spent by %lld calls\n", text_of(root, "from"), text_of(root, "to"),
           text_of(root, "spent_usd"), count_of(root, "calls"));
    print_plan(json_object_get(root, "budget"));
    print_quality(root);
    json_object_foreach(json_object_get(root, "by"), what, list) {
        if (rc == CLI_OK) rc = print_groups(what, list);
    }
    return rc;
}

static int sla(arguments *a) {
    weir_error err = {0};
    char *text = NULL, *svg = NULL;
    size_t size;
    if (!cli_speaks(a->json) && !cli_speaks(a->svg))
        return cli_misuse(COMMAND, "--json and --svg can't both go to standard output");
    a->report.budget = a->name;
    a->report.svg = a->svg ? open_memstream(&svg, &size) : NULL;
    if (a->svg && !a->report.svg) return cli_note(COMMAND, "out of memory"), CLI_FAILED;
    weir_status st = weir_budget_report(a->store, &a->report, &text, &err);
    if (a->report.svg) fclose(a->report.svg);
    int rc = st == WEIR_OK ? CLI_OK : failed(&err);
    if (rc == CLI_OK && a->svg) rc = cli_write(COMMAND, a->svg, svg);
    free(svg);
    if (rc == CLI_OK && (a->json || cli_speaks(a->svg))) return report(a, text, print_report);
    free(text);
    return rc;
}

/* ---- the command line ---- */

static const struct {
    const char *name;
    int (*run)(arguments *a);
    const char *operand; /* NULL: takes none */
    bool optional;
} actions[] = {{"set", set, "the budget's NAME"},
               {"ls", ls, NULL},
               {"show", show, "the budget's NAME"},
               {"rm", rm, "the budget's NAME"},
               {"audit", audit, NULL},
               {"reconcile", reconcile, "the ACCOUNT's number"},
               {"report", sla, "the budget's NAME", .optional = true}};

#define ACTIONS "set, ls, show, rm, report, audit or reconcile"

static const char *action_name(size_t i) {
    return i < sizeof actions / sizeof *actions ? actions[i].name : NULL;
}

/* So that the framework can tell "--json OUT" from "--json NAME": the action's, where it comes first. */
static size_t max_operands(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && action_name(i); i++)
        if (!strcmp(argv[1], action_name(i))) return actions[i].operand ? 2 : 1;
    return 2;
}

static int run(arguments *a, char **operand, size_t n) {
    if (!n) return cli_misuse(COMMAND, "what to do? " ACTIONS);
    for (size_t i = 0; action_name(i); i++) {
        if (strcmp(operand[0], action_name(i)) != 0) continue;
        if (!a->store) return cli_misuse(COMMAND, "--store FILE is missing");
        if (n < 2 && actions[i].operand && !actions[i].optional)
            return cli_misuse(COMMAND, "%s needs %s", operand[0], actions[i].operand);
        if (n > 1 && !actions[i].operand) return cli_misuse(COMMAND, "'%s' is one word too many", operand[1]);
        a->name = n > 1 ? operand[1] : NULL;
        return actions[i].run(a);
    }
    const char *near = cli_nearest(operand[0], action_name);
    if (near) return cli_misuse(COMMAND, "no action '%s'; did you mean '%s'?", operand[0], near);
    return cli_misuse(COMMAND, "no action '%s'; there are " ACTIONS, operand[0]);
}

static const char *period_name(size_t i) {
    static const char *const names[] = {"hour", "day", "week", "month", "total"};
    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

static const char *exhausted_name(size_t i) {
    static const char *const names[] = {"cheaper", "refuse"};
    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

int weir_cmd_budget(int argc, char **argv) {
    arguments a = {.budget.when_exhausted = exhausted_name(0)};
    weir_budget_options *b = &a.budget;
    char **operand;
    size_t n;
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the gateway's store"},
        {"limit", 0, CLI_TEXT, &b->limit, "AMOUNT", "set: 50USD, 0.25USD, 1000000tokens, 200ktokens or 500requests"},
        {"per", 0, CLI_CHOICE, &b->per, "PERIOD", "set: the calendar's", .choice = period_name},
        {"zone", 0, CLI_TEXT, &b->zone, "ZONE", "set: whose calendar, such as Europe/Berlin; else UTC"},
        {"key", 0, CLI_TEXT, &b->key, "NAME|*", "set: for this virtual key; *: each key by itself"},
        {"team", 0, CLI_TEXT, &b->team, "NAME|*", "set: for this team, or each"},
        {"user", 0, CLI_TEXT, &b->user, "NAME|*", "set: for this end user, or each"},
        {"tag", 0, CLI_TEXT, &b->tag, "NAME|*", "set: for this tag, or each"},
        {"model", 0, CLI_TEXT, &b->model, "NAME|*", "set: for this model, or each"},
        {"provider", 0, CLI_TEXT, &b->provider, "NAME|*", "set: for this provider, or each"},
        {"soft", 0, CLI_FLAG, &b->soft, NULL, "set: counts and warns, but refuses nothing"},
        {"when-exhausted", 0, CLI_CHOICE, &b->when_exhausted, "WHAT", "set: a cheaper model if there is one, or none",
         .choice = exhausted_name},
        {"warn", 0, CLI_TEXT, &b->warn, "SHARES", "set: shares of the limit at which to warn: 0.5,0.8,0.95"},
        {"spent", 0, CLI_TEXT, &a.spent, "AMOUNT", "reconcile: what was spent of what is unproven"},
        {"from", 0, CLI_TEXT, &a.report.from, "TIME",
         "report, audit: from 2027-01-31, 2027-01-31T12:00Z; 7d: so long ago"},
        {"log", 0, CLI_TEXT, &a.audit.log, "FILE", "audit: compare with a log that 'weir store export --log' wrote"},
        {"to", 0, CLI_TEXT, &a.report.to, "TIME", "report: until then; else now"},
        {"min-quality", 0, CLI_REAL, &a.report.min_quality, "Q", "report: the floor to compare with", .lo = 0, .hi = 1},
        {"svg", 0, CLI_TEXT, &a.svg, "FILE|-", "report: draw the budget's spending"},
        {"json", 0, CLI_MAYBE, &a.json, "FILE|-", "ls, show, audit, report: write the report as JSON"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .operands = "set|ls|show|rm|report|audit|reconcile [NAME]",
        .max_operands = max_operands(argc, argv),
        .text = "A budget covers the requests that match all it names; those that it leaves open share the limit. set "
                "makes a budget, or makes it anew: the limit, --soft, --when-exhausted and --warn change in place, "
                "anything else starts its count afresh. Changes reach a running gateway on the same store by "
                "themselves.\n"
                "show lists the balances of this period: leased is what running gateways have set aside, unproven "
                "what gateways that died had; it counts as spent until reconcile says how much of it was. audit "
                "computes every balance anew from the ledger's entries, and the entries from the store's traffic log "
                "(or the one of --log, where the store's was trimmed), lists what differs, says what couldn't be "
                "compared, and fails where anything differs.\n"
                "report tells who spent what on which model, how that compares with an even plan and a forecast, how "
                "good the answers are thought to be, and what the best single model would have cost; without a NAME, "
                "of all spending, of the last 30 days.",
        .examples = "weir budget set daily --store router.mdb --limit 50USD --per day --zone Europe/Berlin\n"
                    "weir budget set each-key --store router.mdb --limit 1Mtokens --per month --key '*' --warn 0.8\n"
                    "weir budget ls --store router.mdb\n"
                    "weir budget show each-key --store router.mdb\n"
                    "weir budget report daily --store router.mdb --svg daily.svg\n"
                    "weir budget audit --store router.mdb\n"
                    "weir budget audit --store router.mdb --log traffic.jsonl --from 7d\n"
                    "weir budget reconcile 17 --spent 0.25USD --store router.mdb",
        .options = options,
        .operand = &operand,
        .n_operands = &n};
    int rc = cli_parse(&command, argc, argv);
    return rc == CLI_GO ? run(&a, operand, n) : rc;
}
