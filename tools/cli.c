/* cli.c: command lines from declarative tables, over getopt_long. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli_internal.h"

enum { MAX_OPTIONS = 64, FIRST_LONG = 1000, HELP = FIRST_LONG + MAX_OPTIONS, LIST_OPTIONS, MAN };

const char *cli_prefix = "weir ";

const char *cli_summary(const cli_command *command) {
    for (const cli_entry *e = cli_entries; !command->summary && e->name; e++)
        if (!strcmp(e->name, command->name)) return e->summary;
    return command->summary ? command->summary : "";
}

/* ---- nearest name ---- */

/* Levenshtein distance of words of at most 31 bytes; longer ones are far from everything. */
static size_t distance(const char *a, const char *b) {
    enum { LONGEST = 31 };
    size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replaced < other ? replaced : other;
        }
    }
    return row[m];
}

const char *cli_nearest(const char *word, const char *(*name)(size_t index)) {
    const char *best = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; name(i); i++) {
        size_t d = distance(word, name(i));
        if (!strncmp(word, name(i), strlen(word)) && *word) d = 0; /* an abbreviation */
        if (d < least) least = d, best = name(i);
    }
    return least <= 1 + strlen(word) / 3 ? best : NULL;
}

/* ---- values ---- */

bool cli_real(const char *text, double *out) {
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && !*end && !isnan(*out) && !(errno == ERANGE && isinf(*out));
}

static bool parse_count(const char *text, uint64_t *out) {
    char *end;
    if (*text < '0' || *text > '9') return false; /* strtoull would take "-1" */
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    unsigned long long unit = 1;
    if (*end == 'k')
        unit = 1000, end++;
    else if (*end == 'M')
        unit = 1000000, end++;
    if (errno || *end || v > UINT64_MAX / unit) return false;
    *out = v * unit;
    return true;
}

static int bad_range(const cli_command *c, const cli_option *o, const char *text) {
    if (isinf(o->hi)) return cli_misuse(c->name, "--%s must be at least %g, not %s", o->name, o->lo, text);
    return cli_misuse(c->name, "--%s must be between %g and %g, not %s", o->name, o->lo, o->hi, text);
}

static int set_choice(const cli_command *c, const cli_option *o, const char *text) {
    for (size_t i = 0; o->choice(i); i++)
        if (!strcmp(o->choice(i), text)) {
            *(const char **)o->target = o->choice(i);
            return CLI_GO;
        }
    char names[512] = "";
    for (size_t i = 0, at = 0; o->choice(i) && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", o->choice(i));
    const char *near = cli_nearest(text, o->choice);
    if (near) return cli_misuse(c->name, "no --%s '%s'; did you mean '%s'? There are: %s", o->name, text, near, names);
    return cli_misuse(c->name, "no --%s '%s'; there are: %s", o->name, text, names);
}

static int append(cli_list *list, const char *item, int argc) {
    if (!list->items) list->items = malloc((size_t)argc * sizeof *list->items); /* no list is longer than the line */
    if (!list->items) return CLI_FAILED;
    list->items[list->n++] = item;
    return CLI_GO;
}

static int set(const cli_command *c, const cli_option *o, const char *text, int argc) {
    uint64_t count;
    double real;
    if (o->given) *o->given = true;
    switch (o->kind) {
    case CLI_FLAG: *(bool *)o->target = true; break;
    case CLI_TEXT: *(const char **)o->target = text; break;
    case CLI_MAYBE: *(const char **)o->target = text ? text : "-"; break;
    case CLI_LIST: return append(o->target, text, argc);
    case CLI_CHOICE: return set_choice(c, o, text);
    case CLI_SIZE:
    case CLI_SEED:
        if (!parse_count(text, &count) || (o->kind == CLI_SIZE && count > SIZE_MAX))
            return cli_misuse(c->name, "--%s must be a whole number, not '%s'", o->name, text);
        if (o->lo < o->hi && !((double)count >= o->lo && (double)count <= o->hi)) return bad_range(c, o, text);
        if (o->kind == CLI_SIZE)
            *(size_t *)o->target = (size_t)count;
        else
            *(uint64_t *)o->target = count;
        break;
    case CLI_REAL:
        if (!cli_real(text, &real)) return cli_misuse(c->name, "--%s must be a number, not '%s'", o->name, text);
        if (o->lo < o->hi && !(real >= o->lo && real <= o->hi)) return bad_range(c, o, text);
        *(double *)o->target = real;
        break;
    }
    return CLI_GO;
}

void cli_list_free(cli_list *list) {
    free(list->items);
    *list = (cli_list){0};
}

/* ---- the command line ---- */

/* What getopt_long is told, and what has been seen. */
typedef struct parser {
    const cli_command *command;
    size_t n;
    struct option longs[MAX_OPTIONS + 4];
    char shorts[2 * MAX_OPTIONS + 4];
    bool seen[MAX_OPTIONS];
    const cli_option *maybe; /* a CLI_MAYBE without "=": the next operand may turn out to be its argument */
    char *maybe_argument;
} parser;

static void prepare(parser *p) {
    char *s = p->shorts;
    *s++ = ':'; /* a missing argument is told from an unknown option */
    *s++ = 'h';
    for (const cli_option *o = p->command->options; o->name && p->n < MAX_OPTIONS; o++, p->n++) {
        int takes = o->kind == CLI_FLAG ? no_argument : o->kind == CLI_MAYBE ? optional_argument : required_argument;
        p->longs[p->n] = (struct option){o->name, takes, NULL, FIRST_LONG + (int)p->n};
        if (!o->letter) continue;
        *s++ = o->letter;
        if (takes == required_argument) *s++ = ':';
    }
    *s = '\0';
    p->longs[p->n] = (struct option){"help", no_argument, NULL, HELP};
    p->longs[p->n + 1] = (struct option){"list-options", no_argument, NULL, LIST_OPTIONS}; /* for completion */
    p->longs[p->n + 2] = (struct option){"man", no_argument, NULL, MAN};                   /* for "weir help --man" */
}

static size_t find_option(const parser *p, int code) {
    if (code >= FIRST_LONG) return (size_t)(code - FIRST_LONG);
    for (size_t i = 0; i < p->n; i++)
        if (p->command->options[i].letter == code) return i;
    return p->n;
}

static int bad_option(const parser *p, int code, char **argv) {
    const char *name = p->command->name;
    if (code == ':' && optopt >= FIRST_LONG) {
        const cli_option *o = &p->command->options[optopt - FIRST_LONG];
        return cli_misuse(name, "--%s needs %s", o->name, o->argument);
    }
    if (code == ':') return cli_misuse(name, "-%c needs an argument", optopt);
    if (optopt >= FIRST_LONG) return cli_misuse(name, "'%s': that option takes no argument", argv[optind - 1]);
    if (optopt) return cli_misuse(name, "no option -%c", optopt);
    const char *word = argv[optind - 1] + strspn(argv[optind - 1], "-"), *near = NULL;
    size_t least = 3;
    for (size_t i = 0; i < p->n; i++) {
        size_t d = distance(word, p->longs[i].name);
        if (d < least) least = d, near = p->longs[i].name;
    }
    if (near) return cli_misuse(name, "no option '%s'; did you mean '--%s'?", argv[optind - 1], near);
    return cli_misuse(name, "no option '%s'", argv[optind - 1]);
}

static bool is_operand(const char *word) {
    return word && (word[0] != '-' || !word[1]);
}

static int take(parser *p, size_t i, int argc, char **argv) {
    const cli_option *o = &p->command->options[i];
    p->seen[i] = true;
    if (o->kind == CLI_MAYBE && !optarg && optind < argc && is_operand(argv[optind])) {
        p->maybe = o;
        p->maybe_argument = argv[optind];
    }
    int rc = set(p->command, o, optarg, argc);
    /* a list goes on up to the next option: that is what a shell's *.jsonl gives */
    while (rc == CLI_GO && o->kind == CLI_LIST && optind < argc && is_operand(argv[optind]))
        rc = set(p->command, o, argv[optind++], argc);
    return rc;
}

/* "--json OUT PROMPT" and "--json PROMPT": the word after --json is its argument only where there is one word too many.
 */
static int take_operands(parser *p, int argc, char **argv) {
    const cli_command *c = p->command;
    size_t n = (size_t)(argc - optind);
    char **operand = argv + optind;
    if (p->maybe && n == c->max_operands + 1) {
        size_t i = 0;
        while (i < n && operand[i] != p->maybe_argument) i++;
        if (i < n) {
            *(const char **)p->maybe->target = operand[i];
            memmove(&operand[i], &operand[i + 1], (n - i - 1) * sizeof *operand);
            n--;
        }
    }
    if (n > c->max_operands) return cli_misuse(c->name, "'%s' is one word too many", operand[c->max_operands]);
    if (c->operand) *c->operand = operand;
    if (c->n_operands) *c->n_operands = n;
    return CLI_GO;
}

int cli_parse(const cli_command *command, int argc, char **argv) {
    parser p = {.command = command};
    prepare(&p);
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    for (int code; (code = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1;) {
        if (code == 'h' || code == HELP) return cli_print_help(command), CLI_OK;
        if (code == LIST_OPTIONS) return cli_print_options(command), CLI_OK;
        if (code == MAN) return cli_print_man(command), CLI_OK;
        if (code == '?' || code == ':') return bad_option(&p, code, argv);
        int rc = take(&p, find_option(&p, code), argc, argv);
        if (rc != CLI_GO) return rc;
    }
    int rc = take_operands(&p, argc, argv);
    if (rc != CLI_GO) return rc;
    for (size_t i = 0; i < p.n; i++)
        if (command->options[i].required && !p.seen[i])
            return cli_misuse(command->name, "--%s %s is missing", command->options[i].name,
                              command->options[i].argument);
    return CLI_GO;
}
