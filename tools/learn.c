/* learn.c: weir learn: prequential: decide on what has been learned so far, then learn, line by line.
 *
 * With bandit feedback only the chosen model's outcome is revealed. A line on which the chosen model has no outcome
 * teaches nothing and is counted apart. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <unistd.h>

#include "tools/json.h"
#include "tools/learn_report.h"
#include "tools/policy_options.h"

#define COMMAND "learn"
/* Share of decisions that go to any model alike under bandit feedback, where nothing else is asked for. Without it a
 * model that has been given up isn't seen to improve; more costs more than it finds. */
#define EXPLORE_COLD    0.02
#define EXPLORE_TRAINED 0.01

typedef struct arguments {
    const char *store, *pool, *json, *feedback;
    cli_list data;
    cli_policy policy;
    size_t segments, group_commit, limit;
    bool strict, ack, full;
} arguments;

/* All that is open while the stream is read. */
typedef struct run_state {
    const arguments *a;
    weir_learner *learner;
    weir_policy_options options;
    bool resolved; /* the options' names have been looked up */
    size_t *index; /* (n_index) the reader's models in the learner's numbers */
    size_t n_index;
    size_t *models; /* (n_index) one line's, in the learner's numbers */
    double *truth;  /* (2, n_models) for the oracle: qualities, costs */
    size_t n_truth;
    uint64_t acknowledged, n_before;
    bool trained;
    double explore; /* share of decisions spread over all models, however many by then; 0: as the options say */
    learn_report report;
} run_state;

static const char *feedback_name(size_t i) {
    static const char *const names[] = {"bandit", "full"};
    return i < 2 ? names[i] : NULL;
}

static const char *learner_name(const void *owner, size_t index) {
    return weir_learner_model(owner, index);
}

static bool grow(void *array, size_t n, size_t size) {
    void *moved = realloc(*(void **)array, (n ? n : 1) * size);
    if (moved) *(void **)array = moved;
    return moved != NULL;
}

static weir_status out_of_memory(weir_error *err) {
    *err = (weir_error){WEIR_NOMEM, 0, "out of memory"};
    return WEIR_NOMEM;
}

/* New names in the file join the learner's pool, before the decision, so that they can be chosen. */
static weir_status map_models(run_state *s, const weir_reader *reader, weir_error *err) {
    size_t n = weir_reader_n_models(reader);
    if (n == s->n_index) return WEIR_OK;
    if (!grow(&s->index, n, sizeof *s->index) || !grow(&s->models, n, sizeof *s->models)) return out_of_memory(err);
    for (; s->n_index < n; s->n_index++) {
        weir_status st =
            weir_learner_model_index(s->learner, weir_reader_model(reader, s->n_index), &s->index[s->n_index], err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

/* The oracle sees the line's outcomes. */
static weir_status reveal(run_state *s, const weir_record *r, weir_error *err) {
    size_t n = weir_learner_n_models(s->learner);
    if (n != s->n_truth && !grow(&s->truth, 2 * n, sizeof *s->truth)) return out_of_memory(err);
    s->n_truth = n;
    for (size_t m = 0; m < 2 * n; m++) s->truth[m] = NAN;
    for (size_t i = 0; i < r->n_outcomes; i++) {
        s->truth[s->index[r->model[i]]] = r->outcome[i].quality;
        s->truth[n + s->index[r->model[i]]] = r->outcome[i].cost_usd;
    }
    s->options.true_quality = s->truth;
    s->options.true_cost = s->truth + n;
    return WEIR_OK;
}

static void acknowledge(run_state *s) {
    uint64_t durable = weir_learner_n_durable(s->learner);
    if (!s->a->ack || durable == s->acknowledged) return;
    s->acknowledged = durable;
    printf("%" PRIu64 "\n", durable);
    fflush(stdout);
}

static weir_status observe(run_state *s, const weir_record *r, size_t chosen, weir_error *err) {
    size_t at = 0;
    while (at < r->n_outcomes && s->models[at] != chosen) at++;
    bool labelled = at < r->n_outcomes && isfinite(r->outcome[at].quality);
    weir_status st = learn_report_add(&s->report, r, s->models, labelled ? at : (size_t)-1, err);
    if (st == WEIR_OK && s->a->full && r->n_outcomes)
        st = weir_learner_observe(s->learner, r->id, r->n_outcomes, s->models, r->outcome, err);
    else if (st == WEIR_OK && labelled)
        st = weir_learner_observe(s->learner, r->id, 1, &chosen, &r->outcome[at], err);
    acknowledge(s);
    return st;
}

static weir_status learn_record(run_state *s, const weir_record *r, weir_error *err) {
    const weir_decision *decision;
    weir_status st = WEIR_OK;
    if (s->options.policy && !strcmp(s->options.policy, "oracle")) st = reveal(s, r, err);
    for (size_t i = 0; i < r->n_outcomes; i++) s->models[i] = s->index[r->model[i]];
    s->options.draw = s->n_before + s->report.n_lines;
    if (s->explore > 0) s->options.explore_floor = s->explore / (double)weir_learner_n_models(s->learner);
    if (st == WEIR_OK)
        st = weir_learner_decide(s->learner, r->prompt, r->prompt_len, &s->options, &decision, NULL, err);
    return st == WEIR_OK ? observe(s, r, decision->model, err) : st;
}

/* CLI_GO, or the exit status after saying what went wrong. */
static int learn_file(run_state *s, weir_reader *reader, cli_progress_bar *bar) {
    weir_error err = {0};
    for (;;) {
        weir_record record;
        weir_status st = weir_reader_next(reader, &record, &err);
        if (st == WEIR_END) return CLI_GO;
        if (st == WEIR_OK) st = map_models(s, reader, &err);
        if (st == WEIR_OK && !s->resolved) {
            cli_names names = {s->learner, weir_learner_n_models(s->learner), learner_name};
            int rc = cli_policy_resolve(COMMAND, &s->a->policy, &names, &s->options);
            if (rc != CLI_GO) return rc;
            s->resolved = true;
        }
        if (st == WEIR_OK) st = learn_record(s, &record, &err);
        if (st != WEIR_OK) return cli_fail(COMMAND, &err);
        if (s->a->limit && s->report.n_lines >= s->a->limit) return CLI_GO;
        if (cli_progress(bar, "learning", s->report.n_lines, s->a->limit)) {
            cli_note(COMMAND, "stopped after %zu lines; what was learned is kept", s->report.n_lines);
            return CLI_FAILED;
        }
    }
}

static int learn_files(run_state *s, const weir_pool *pool) {
    cli_progress_bar bar = cli_progress_begin();
    int rc = CLI_GO;
    for (size_t f = 0; rc == CLI_GO && f < s->a->data.n; f++) {
        weir_error err = {0};
        cli_warnings warnings = {COMMAND, 0};
        weir_reader_options options = {
            .strict = s->a->strict, .pool = pool, .warning = cli_warn, .warning_user = &warnings};
        weir_reader *reader = NULL;
        s->n_index = 0; /* a reader has numbers of its own */
        if (weir_reader_open(&reader, s->a->data.items[f], &options, &err) != WEIR_OK)
            rc = cli_fail(COMMAND, &err);
        else
            rc = learn_file(s, reader, &bar);
        if (reader) s->report.n_malformed += weir_reader_n_malformed(reader);
        weir_reader_close(reader);
        cli_warn_end(&warnings);
        if (s->a->limit && s->report.n_lines >= s->a->limit) break;
    }
    cli_progress_end(&bar);
    return rc;
}

static int report(run_state *s) {
    const arguments *a = s->a;
    learn_report *r = &s->report;
    r->n_durable = weir_learner_n_durable(s->learner);
    r->n_drifts = weir_learner_drifts(s->learner, &r->drifts);
    int rc = CLI_OK;
    cli_names names = {s->learner, weir_learner_n_models(s->learner), learner_name};
    if (cli_speaks(a->json) && !a->ack) learn_report_print(r, &names, a->segments, stdout);
    if (a->json) rc = cli_write_json(COMMAND, a->json, learn_report_json(r, &names, a->segments));
    return rc;
}

static int learn(run_state *s, const weir_pool *pool) {
    weir_error err = {0};
    int rc = learn_files(s, pool);
    if (rc == CLI_GO && !s->report.n_lines) {
        cli_note(COMMAND, "no usable line in the data");
        rc = CLI_FAILED;
    }
    /* what was learned before a failure is worth keeping */
    weir_status st = weir_learner_commit(s->learner, &err);
    if (st == WEIR_OK)
        acknowledge(s);
    else
        cli_fail(COMMAND, &err);
    if (st == WEIR_OK && rc == CLI_GO)
        rc = report(s);
    else if (rc == CLI_GO)
        rc = CLI_FAILED;
    return rc;
}

/* Feedbacks that the store has: draws go on from there, so that a second run doesn't repeat the first one's chances. */
static void read_info(run_state *s, const char *store) {
    char *text = NULL;
    weir_error err = {0};
    if (weir_store_info(store, &text, &err) != WEIR_OK) return; /* opening it says what is wrong */
    json_t *info = json_loads(text, 0, NULL);
    s->n_before = (uint64_t)json_integer_value(json_object_get(info, "n_feedbacks"));
    s->trained = json_integer_value(json_object_get(info, "n_trained_prompts")) > 0;
    json_decref(info);
    free(text);
}

/* Predictions of a trained store are sure enough for the plug-in choice and a small floor; Thompson sampling on their
 * standard errors explores what nobody needs to know. */
static void choose_policy(run_state *s, arguments *a) {
    bool unnamed = !a->policy.policy;
    if (unnamed) a->policy.policy = a->full || s->trained ? "plugin" : "thompson";
    bool spread = unnamed || !strcmp(a->policy.policy, "thompson");
    if (!a->full && spread && !a->policy.explore_given) s->explore = s->trained ? EXPLORE_TRAINED : EXPLORE_COLD;
}

static int run(arguments *a) {
    int rc = cli_policy_check(COMMAND, &a->policy);
    if (rc != CLI_GO) return rc;
    a->full = a->feedback && !strcmp(a->feedback, "full");
    bool exists = access(a->store, F_OK) == 0;
    weir_error err = {0};
    weir_pool *pool = NULL;
    run_state s = {.a = a};
    if (a->pool && weir_pool_load(&pool, a->pool, &err) != WEIR_OK) return cli_fail(COMMAND, &err);
    weir_learn_options options = {.full_feedback = a->full,
                                  .group_commit = a->group_commit,
                                  .create = true,
                                  .pool = pool,
                                  .seed = a->policy.o.seed};
    if (exists) read_info(&s, a->store);
    choose_policy(&s, a);
    if (weir_learner_open(&s.learner, a->store, &options, &err) != WEIR_OK) {
        weir_pool_free(pool);
        return cli_fail(COMMAND, &err);
    }
    if (!exists) cli_note(COMMAND, "%s doesn't exist: starting from nothing", a->store);
    s.acknowledged = weir_learner_n_durable(s.learner);
    s.report = learn_report_start(a->policy.o.value_usd, a->policy.policy, feedback_name(a->full));
    rc = learn(&s, pool);
    if (weir_learner_close(s.learner, &err) != WEIR_OK && rc == CLI_OK) rc = cli_fail(COMMAND, &err);
    learn_report_end(&s.report);
    free(s.index);
    free(s.models);
    free(s.truth);
    weir_pool_free(pool);
    return rc;
}

int weir_cmd_learn(int argc, char **argv) {
    arguments a = {.policy = cli_policy_defaults(), .feedback = "bandit", .group_commit = 64};
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the store to learn into; made where there is none",
         .required = true},
        {"data", 'd', CLI_LIST, &a.data, "FILE", "outcomes in the order in which they came", .required = true},
        {"feedback", 0, CLI_CHOICE, &a.feedback, "KIND",
         "what is revealed of a line's outcomes: the chosen model's, or all", .choice = feedback_name},
        CLI_POLICY_OPTIONS(a.policy),
        {"pool", 0, CLI_TEXT, &a.pool, "FILE", "models with prices and limits (YAML), for a store that is made"},
        {"segments", 0, CLI_SIZE, &a.segments, "K", "report K equal parts of the stream, too", .lo = 1, .hi = 100000},
        {"group-commit", 0, CLI_SIZE, &a.group_commit, "N", "feedbacks a durable transaction", .lo = 1, .hi = 1e6},
        {"limit", 'n', CLI_SIZE, &a.limit, "N", "stop after N lines"},
        {"ack", 0, CLI_FLAG, &a.ack, NULL, "print the number of durable feedbacks after each commit"},
        {"strict", 0, CLI_FLAG, &a.strict, NULL, "stop at the first malformed line"},
        {"json", 0, CLI_TEXT, &a.json, "FILE|-", "write the report as JSON"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .text = "Each line is decided on what the lines before it taught, then learned from. Feedback that was "
                "acknowledged is durable: no kill or power loss takes it back. With bandit feedback the policy "
                "is thompson on a store that starts from nothing and plugin on a trained one, and 2 % or 1 % of the "
                "decisions go to any model alike; with full feedback it is plugin, without exploring. --policy and "
                "--explore change that.",
        .examples = "weir learn --store router.mdb --data stream.jsonl --feedback bandit --segments 10\n"
                    "tail -f outcomes.jsonl | weir learn --store router.mdb --data - --group-commit 1",
        .options = options};
    int rc = cli_parse(&command, argc, argv);
    if (rc == CLI_GO) rc = run(&a);
    cli_list_free(&a.data);
    return rc;
}
