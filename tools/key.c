/* key.c: weir key: virtual API keys. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/json.h"

#define COMMAND "key"

enum { MAX_MODELS = 64 };

typedef struct arguments {
    const char *store, *name, *when; /* operands, as the action has them */
    const char *models, *grace, *json;
    weir_key_options key;
    size_t rpm, tpm, concurrent;
    bool rpm_given, tpm_given, concurrent_given;
    char *models_cut;
} arguments;

#define SETTABLE "--models, --rpm, --tpm, --concurrent, --expires, --team or --note"

/* Wrong words are the caller's to mend, and the library says how; all else has failed. */
static int failed(const weir_error *err) {
    return err->status == WEIR_INVALID ? cli_misuse(COMMAND, "%s", err->text) : cli_fail(COMMAND, err);
}

/* The one line on stdout that matters, so that KEY=$(weir key create ...) works: nobody has the key if nobody reads. */
static int hand_out(char secret[WEIR_KEY_TEXT]) {
    int rc = printf("%s\n", secret) < 0 || fflush(stdout) || cli_reader_left() ? CLI_FAILED : CLI_OK;
    if (cli_reader_left())
        cli_note(COMMAND, "nobody reads standard output: the text is lost, and 'weir key rotate' makes another");
    explicit_bzero(secret, WEIR_KEY_TEXT);
    return rc;
}

/* Cuts `text` at its commas, in place. */
static size_t split(char *text, const char **item, size_t max) {
    size_t n = 0;
    for (char *rest = text, *word; n < max && (word = strsep(&rest, ","));) item[n++] = word;
    return n;
}

/* --models, cut into a->models_cut; free it. False: no memory. */
static bool cut_models(arguments *a, const char *item[MAX_MODELS + 1], size_t *n) {
    *n = 0;
    if (!a->models) return true;
    a->models_cut = strdup(a->models);
    if (a->models_cut)
        *n = split(a->models_cut, item, MAX_MODELS + 1);
    else
        cli_note(COMMAND, "out of memory");
    return a->models_cut != NULL;
}

static int create(arguments *a) {
    weir_error err = {0};
    char secret[WEIR_KEY_TEXT];
    const char *item[MAX_MODELS + 1];
    if ((a->rpm_given && !a->rpm) || (a->tpm_given && !a->tpm) || (a->concurrent_given && !a->concurrent))
        return cli_misuse(COMMAND, "a new key's limits must be between 1 and a great many; leave out what has none");
    if (!cut_models(a, item, &a->key.n_models)) return CLI_FAILED;
    a->key.models = item;
    a->key.requests_per_minute = (uint32_t)a->rpm;
    a->key.tokens_per_minute = (int64_t)a->tpm;
    a->key.concurrent = (uint32_t)a->concurrent;
    weir_status st = weir_key_create(a->store, a->name, &a->key, secret, &err);
    free(a->models_cut);
    if (st != WEIR_OK) return failed(&err);
    cli_note(COMMAND, "'%s' is there; this is its text, which can't be shown again:", a->name);
    return hand_out(secret);
}

static int set(arguments *a) {
    weir_error err = {0};
    const char *item[MAX_MODELS + 1];
    const uint32_t rpm = (uint32_t)a->rpm, concurrent = (uint32_t)a->concurrent;
    const int64_t tpm = (int64_t)a->tpm;
    weir_key_changes to = {.team = a->key.team,
                           .note = a->key.note,
                           .expires = a->key.expires,
                           .models = a->models ? item : NULL,
                           .requests_per_minute = a->rpm_given ? &rpm : NULL,
                           .tokens_per_minute = a->tpm_given ? &tpm : NULL,
                           .concurrent = a->concurrent_given ? &concurrent : NULL};
    if (a->key.budget)
        return cli_misuse(COMMAND, "a budget isn't the key's to set: weir budget set key-%s --key %s", a->name,
                          a->name);
    if (!to.team && !to.note && !to.expires && !to.models && !a->rpm_given && !a->tpm_given && !a->concurrent_given)
        return cli_misuse(COMMAND, "set needs what to change: " SETTABLE);
    if (!cut_models(a, item, &to.n_models)) return CLI_FAILED;
    if (to.n_models == 1 && !strcmp(item[0], "*")) to.n_models = 0;
    weir_status st = weir_key_set(a->store, a->name, &to, &err);
    free(a->models_cut);
    return st == WEIR_OK ? CLI_OK : failed(&err);
}

static int rotate(arguments *a) {
    weir_error err = {0};
    char secret[WEIR_KEY_TEXT];
    if (weir_key_rotate(a->store, a->name, a->grace, secret, &err) != WEIR_OK) return failed(&err);
    cli_note(COMMAND, "'%s' has a new text, which can't be shown again; the old one %s%s:", a->name,
             a->grace ? "goes on for " : "has ended", a->grace ? a->grace : "");
    return hand_out(secret);
}

static int expire(arguments *a) {
    weir_error err = {0};
    if (!a->when)
        return cli_misuse(COMMAND, "expire needs a NAME and when: 30d, 2027-01-31, 2027-01-31T12:00Z, now or never");
    return weir_key_expire(a->store, a->name, a->when, &err) == WEIR_OK ? CLI_OK : failed(&err);
}

static int revoke(arguments *a) {
    weir_error err = {0};
    return weir_key_revoke(a->store, a->name, &err) == WEIR_OK ? CLI_OK : failed(&err);
}

static int rm(arguments *a) {
    weir_error err = {0};
    return weir_key_remove(a->store, a->name, &err) == WEIR_OK ? CLI_OK : failed(&err);
}

/* ---- showing ---- */

static void cell(cli_table *table, const json_t *row, const char *key) {
    const json_t *v = json_object_get(row, key);
    if (json_is_integer(v))
        cli_table_cell(table, "%lld", (long long)json_integer_value(v));
    else
        cli_table_cell(table, "%s", json_is_string(v) ? json_string_value(v) : "-");
}

static void models_cell(cli_table *table, const json_t *models) {
    char text[48] = "all";
    size_t n = json_array_size(models);
    if (n) snprintf(text, sizeof text, "%s", json_string_value(json_array_get(models, 0)));
    if (n > 1)
        cli_table_cell(table, "%s and %zu more", text, n - 1);
    else
        cli_table_cell(table, "%s", text);
}

static int print_list(const char *text) {
    static const char *const headers[] = {"name", "team", "key", "state", "expires", "rpm", "tpm", "at once", "models"};
    static const char *const keys[] = {
        "name", "team", "key", "state", "expires", "requests_per_minute", "tokens_per_minute", "concurrent"};
    json_t *root = json_loads(text, 0, NULL), *row;
    cli_table *table = cli_table_new(headers, sizeof headers / sizeof *headers);
    size_t i;
    int rc = root && table ? CLI_OK : CLI_FAILED;
    if (rc == CLI_OK) {
        json_array_foreach(json_object_get(root, "keys"), i, row) {
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) cell(table, row, keys[k]);
            models_cell(table, json_object_get(row, "models"));
        }
        cli_table_print(table, stdout);
        json_array_foreach(json_object_get(root, "unreadable"), i, row) {
            cli_note(COMMAND, "%s", json_string_value(row));
        }
    } else {
        cli_note(COMMAND, "out of memory");
    }
    cli_table_free(table);
    json_decref(root);
    return rc;
}

static int ls(arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    if (weir_key_list(a->store, &text, &err) != WEIR_OK) return failed(&err);
    int rc = a->json ? cli_write(COMMAND, a->json, text) : CLI_OK;
    if (rc == CLI_OK && cli_speaks(a->json)) rc = print_list(text);
    free(text);
    return rc;
}

static int show(arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    if (weir_key_show(a->store, a->name, &text, &err) != WEIR_OK) return failed(&err);
    int rc = a->json ? cli_write(COMMAND, a->json, text) : CLI_OK;
    if (rc == CLI_OK && cli_speaks(a->json)) rc = cli_print_json(COMMAND, text, stdout);
    free(text);
    return rc;
}

/* ---- the command line ---- */

static const struct {
    const char *name;
    int (*run)(arguments *a);
    size_t least, most; /* operands after the action */
} actions[] = {{"create", create, 1, 1}, {"ls", ls, 0, 0},         {"show", show, 1, 1},     {"set", set, 1, 1},
               {"rotate", rotate, 1, 1}, {"expire", expire, 1, 2}, {"revoke", revoke, 1, 1}, {"rm", rm, 1, 1}};

#define ACTIONS "create, ls, show, set, rotate, expire, revoke or rm"

static const char *action_name(size_t i) {
    return i < sizeof actions / sizeof *actions ? actions[i].name : NULL;
}

/* So that the framework can tell "--json OUT" from "--json NAME": the action's, where it comes first. */
static size_t max_operands(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && action_name(i); i++)
        if (!strcmp(argv[1], action_name(i))) return 1 + actions[i].most;
    return 3;
}

static int run(arguments *a, char **operand, size_t n) {
    if (!n) return cli_misuse(COMMAND, "what to do? " ACTIONS);
    for (size_t i = 0; action_name(i); i++) {
        if (strcmp(operand[0], action_name(i)) != 0) continue;
        if (!a->store) return cli_misuse(COMMAND, "--store FILE is missing");
        if (n - 1 < actions[i].least) return cli_misuse(COMMAND, "%s needs the key's NAME", operand[0]);
        if (n - 1 > actions[i].most)
            return cli_misuse(COMMAND, "'%s' is one word too many", operand[1 + actions[i].most]);
        a->name = n > 1 ? operand[1] : NULL;
        a->when = n > 2 ? operand[2] : NULL;
        return actions[i].run(a);
    }
    const char *near = cli_nearest(operand[0], action_name);
    if (near) return cli_misuse(COMMAND, "no action '%s'; did you mean '%s'?", operand[0], near);
    return cli_misuse(COMMAND, "no action '%s'; there are " ACTIONS, operand[0]);
}

int weir_cmd_key(int argc, char **argv) {
    arguments a = {0};
    char **operand;
    size_t n;
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the gateway's store"},
        {"team", 0, CLI_TEXT, &a.key.team, "NAME", "create, set: whose budgets it falls under, beside its own"},
        {"expires", 0, CLI_TEXT, &a.key.expires, "WHEN",
         "create, set: 30d, 12h, 2027-01-31 or 2027-01-31T12:00Z, in UTC"},
        {"models", 0, CLI_TEXT, &a.models, "A,B,...", "create, set: the models it may ask for; set: * for all"},
        {"rpm", 0, CLI_SIZE, &a.rpm, "N", "create, set: requests a minute; 0 lifts the limit", .lo = 0, .hi = 1e9,
         .given = &a.rpm_given},
        {"tpm", 0, CLI_SIZE, &a.tpm, "N", "create, set: tokens a minute; 0 lifts the limit", .lo = 0, .hi = 1e12,
         .given = &a.tpm_given},
        {"concurrent", 0, CLI_SIZE, &a.concurrent, "N", "create, set: requests at once; 0 lifts the limit", .lo = 0,
         .hi = 1e6, .given = &a.concurrent_given},
        {"budget", 0, CLI_TEXT, &a.key.budget, "5USD/day", "create: a budget of its own, named key-NAME"},
        {"note", 0, CLI_TEXT, &a.key.note, "TEXT", "create, set: whatever helps people"},
        {"grace", 0, CLI_TEXT, &a.grace, "TIME", "rotate: how long the old text goes on, such as 1h; else it ends"},
        {"json", 0, CLI_MAYBE, &a.json, "FILE|-", "ls, show: write the report as JSON"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .operands = "create|ls|show|set|rotate|expire|revoke|rm [NAME]",
        .max_operands = max_operands(argc, argv),
        .text = "Keys that the gateway's clients show instead of the vendors' own. create and rotate print the key's "
                "text, once, on standard output: the store keeps its SHA-256 alone. set changes what it is given, "
                "and leaves the rest, and the text, as they are. expire takes when (30d, "
                "2027-01-31, 2027-01-31T12:00Z, now or never); revoke is for ever; rm frees the name, too. Changes "
                "reach a running gateway on the same store by themselves. Rates are limited in each gateway's "
                "memory; what may be spent is limited by weir budget.",
        .examples = "weir key create alice --store router.mdb --team search --expires 30d --rpm 60\n"
                    "weir key create bob --store router.mdb --budget 5USD/day\n"
                    "weir key create ci --store router.mdb --models gpt-4o-mini,claude-haiku --tpm 200k\n"
                    "weir key ls --store router.mdb\n"
                    "weir key set alice --store router.mdb --rpm 120 --models '*'\n"
                    "weir key rotate alice --store router.mdb --grace 1h\n"
                    "weir key expire alice 2027-01-31 --store router.mdb\n"
                    "weir key revoke alice --store router.mdb",
        .options = options,
        .operand = &operand,
        .n_operands = &n};
    int rc = cli_parse(&command, argc, argv);
    return rc == CLI_GO ? run(&a, operand, n) : rc;
}
