/* Memory that runs out: every allocation that the library makes is refused once, and deciding makes none.
 *
 * The linker hands the library's own calls to the wrappers below (tests/CMakeLists.txt); those of the libraries under
 * it go where they always went. A first run notes the stack of each allocation; a sweep then refuses the first and the
 * last allocation of every distinct stack, and as many between as time allows, one a run. Leaks are the sanitizer
 * builds' to find. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#include <errno.h>
#include <execinfo.h>
#include <math.h>
#include <stdatomic.h>
#include <xxhash.h>

#include "src/budget/bank.h"
#include "src/budget/ledger.h"
#include "weir/weir.h"

/* ---- the wrappers ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

#define NEVER     SIZE_MAX
#define MAX_SITES 16384

static struct {
    atomic_bool counting;
    atomic_size_t n;       /* allocations since counting began */
    atomic_size_t refused; /* how many of them were refused */
    size_t refuse;         /* the one to refuse */
    bool noting;           /* stacks, too; one thread only */
    void *refused_at[9];   /* its stack */
    int refused_depth;
    size_t n_sites;
    uint64_t site[MAX_SITES];                 /* a stack's hash */
    size_t first[MAX_SITES], last[MAX_SITES]; /* its allocations */
} watch;

static void note_site(size_t index) {
    void *frame[6]; /* our own three, and where it was asked for */
    int n = backtrace(frame, 6);
    uint64_t hash = XXH3_64bits(frame, (size_t)n * sizeof *frame);
    size_t at = 0;
    while (at < watch.n_sites && watch.site[at] != hash) at++;
    if (at == MAX_SITES) return;
    if (at == watch.n_sites) {
        watch.site[watch.n_sites++] = hash;
        watch.first[at] = index;
    }
    watch.last[at] = index;
}

static bool refused(void) {
    if (!watch.counting) return false;
    size_t index = watch.n++;
    if (watch.noting) note_site(index);
    if (index != watch.refuse) return false;
    watch.refused++;
    watch.refused_depth = backtrace(watch.refused_at, 9);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size) {
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return refused() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return refused() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text) {
    return refused() ? NULL : __real_strdup(text);
}

static void watch_from_now(size_t refuse, bool noting) {
    watch.n = watch.refused = 0;
    watch.refuse = refuse;
    watch.noting = noting;
    watch.counting = true;
}

/* ---- sweeping ---- */

/* Does its work once, checks what must hold whether or not an allocation was refused, and calls watch_end where its
 * work ends. */
typedef void (*work_fn)(void *user);

static int by_size(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* At most about `budget` runs; every distinct stack is refused at least once whatever the budget. */
static void sweep(const char *name, work_fn work, void *user, size_t budget) {
    watch.n_sites = 0;
    watch_from_now(NEVER, true);
    work(user);
    watch.counting = false;
    size_t total = watch.n, n = 0, *index = malloc((2 * MAX_SITES + budget) * sizeof *index);
    assert_non_null(index);
    assert_true(watch.n_sites < MAX_SITES);
    for (size_t s = 0; s < watch.n_sites; s++) index[n++] = watch.first[s];
    size_t stride = total / budget + 1;
    if (watch.n_sites * 2 < budget)
        for (size_t s = 0; s < watch.n_sites; s++) index[n++] = watch.last[s];
    for (size_t i = stride / 2; i < total; i += stride) index[n++] = i;
    qsort(index, n, sizeof *index, by_size);
    size_t runs = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && index[i] == index[i - 1]) continue;
        watch_from_now(index[i], false);
        work(user);
        watch.counting = false;
        runs++;
    }
    print_message("%s: %zu allocations from %zu places, %zu refused\n", name, total, watch.n_sites, runs);
    free(index);
}

/* A call's status while one allocation may be refused: WEIR_OK where none was, WEIR_NOMEM where one was. */
static weir_status judged(const char *what, weir_status st, const weir_error *err) {
    if (st != WEIR_OK && st != WEIR_NOMEM)
        print_error("%s: allocation %zu refused: %s: %s\n", what, watch.refuse, weir_status_name(st), err->text);
    if (st == WEIR_NOMEM) assert_true(strstr(err->text, "memory") != NULL);
    if (st == WEIR_NOMEM) assert_int_equal(watch.refused, 1);
    return st;
}

#define JUDGED(call) ((void)(err = (weir_error){0}), judged(#call, call, &err))

static void unnoticed(void) {
    backtrace_symbols_fd(watch.refused_at, watch.refused_depth, STDERR_FILENO);
    fail_msg("allocation %zu was refused, and nobody noticed", watch.refuse);
}

/* ---- worlds ---- */

static weir_dataset *simulated(size_t n, uint64_t seed) {
    weir_dataset *data = NULL;
    weir_error err = {0};
    weir_simulate_options o = {.n_prompts = n, .n_models = 3, .seed = seed};
    OK(weir_simulate(&data, NULL, &o, &err));
    return data;
}

static void train(const char *to, const weir_dataset *data, const char *estimator) {
    weir_train_options o = {.estimator = estimator, .seed = 1, .n_threads = 1};
    weir_error err = {0};
    OK(weir_train(to, data, &o, NULL, &err));
}

/* Number of feedbacks in a store that must be sound. */
static size_t feedbacks_of_sound(const char *store) {
    char *json = NULL;
    weir_error err = {0};
    OK(weir_store_check(store, &json, &err));
    const char *at = strstr(json, "\"n_feedbacks\": ");
    assert_non_null(at);
    size_t n = (size_t)strtoul(at + strlen("\"n_feedbacks\": "), NULL, 10);
    free(json);
    return n;
}

/* ---- training ---- */

typedef struct training {
    const weir_dataset *data;
    const char *estimator;
    bool over; /* an existing store */
    uint64_t version;
} training;

static void train_once(void *user) {
    training *t = user;
    weir_train_options o = {.estimator = t->estimator, .seed = 1, .n_threads = 1};
    weir_error err = {0};
    if (!t->over) unlink(path);
    weir_status st = JUDGED(weir_train(path, t->data, &o, NULL, &err));
    watch.counting = false;
    if (st == WEIR_OK && watch.refused) unnoticed();
    if (st != WEIR_OK && !t->over) {
        /* nothing half-made stays behind: no file, or one that is sound and empty */
        if (access(path, F_OK) == 0) assert_int_equal(feedbacks_of_sound(path), 0);
        return;
    }
    weir_router *router = NULL;
    OK(weir_router_open(&router, path, &err));
    uint64_t version = weir_router_version(router);
    weir_router_close(router);
    if (st == WEIR_OK) t->version = version;
    assert_int_equal(version, t->version);
    if (st != WEIR_OK) assert_int_equal(feedbacks_of_sound(path), 0);
}

static void training_without_memory(void **state) {
    (void)state;
    training t = {.data = simulated(12, 1)};
    sweep("train, no store yet", train_once, &t, 20);
    t.estimator = "constant"; /* whose places are fewest: what is at stake is the store */
    train(path, t.data, t.estimator);
    t.over = true;
    sweep("train over a store", train_once, &t, 20);
    weir_dataset_free((weir_dataset *)t.data);
}

/* ---- asking ---- */

static void ask_once(void *user) {
    const weir_dataset *data = user;
    weir_error err = {0};
    weir_router *router = NULL;
    weir_session *session = NULL;
    const weir_decision *decision;
    const weir_estimates *estimates;
    char *json = NULL;
    weir_policy_options o = weir_policy_defaults();
    weir_status st = JUDGED(weir_router_open(&router, path, &err));
    if (st == WEIR_OK) st = JUDGED(weir_session_new(&session, router, &err));
    for (size_t i = 0; st == WEIR_OK && i < data->n_prompts; i++)
        st = JUDGED(weir_decide(session, data->prompts[i], data->prompt_lens[i], &o, &decision, &estimates, &err));
    if (st == WEIR_OK) st = JUDGED(weir_explain_json(router, &o, estimates, decision, &json, &err));
    watch.counting = false;
    if (st == WEIR_OK && watch.refused) unnoticed();
    free(json);
    weir_session_free(session);
    weir_router_close(router);
}

static void asking_without_memory(void **state) {
    (void)state;
    weir_dataset *data = simulated(30, 2);
    train(path, data, NULL);
    weir_learner *l = NULL; /* a log to replay */
    weir_error err = {0};
    const weir_decision *d;
    weir_policy_options o = weir_policy_defaults();
    OK(weir_learner_open(&l, path, NULL, &err));
    for (size_t i = 0; i < 5; i++) {
        OK(weir_learner_decide(l, data->prompts[i], data->prompt_lens[i], &o, &d, NULL, &err));
        size_t model = d->model;
        weir_outcome outcome = {1, 0.01, 10, 10, 10};
        OK(weir_learner_observe(l, "", 1, &model, &outcome, &err));
    }
    OK(weir_learner_commit(l, &err));
    size_t size;
    uint8_t *unclosed = slurp(path, &size);
    OK(weir_learner_close(l, &err));
    spill(path, unclosed, size);
    free(unclosed);
    sweep("route", ask_once, data, 2000);
    weir_dataset_free(data);
}

/* ---- looking after a store ---- */

static void look_once(void *user) {
    (void)user;
    weir_error err = {0};
    char *json = NULL;
    weir_status st = JUDGED(weir_store_info(path, &json, &err));
    free(json), json = NULL;
    if (st == WEIR_OK) st = JUDGED(weir_store_check(path, &json, &err));
    free(json);
    FILE *sink = fopen("/dev/null", "w");
    if (st == WEIR_OK) st = JUDGED(weir_store_export(path, sink, &err));
    fclose(sink);
    if (st == WEIR_OK) st = JUDGED(weir_store_compact(path, NULL, &err));
    watch.counting = false;
    if (st == WEIR_OK && watch.refused) unnoticed();
    assert_int_equal(feedbacks_of_sound(path), 0);
}

static void looking_without_memory(void **state) {
    (void)state;
    weir_dataset *data = simulated(30, 3);
    train(path, data, "ridge");
    sweep("store info, check, export, compact", look_once, NULL, 1000);
    weir_dataset_free(data);
}

/* ---- learning ---- */

typedef struct learning {
    const weir_dataset *data;
    const uint8_t *start; /* the store before */
    size_t start_size;
    bool go_on; /* after a refusal, with the call repeated; otherwise close at once */
} learning;

/* Decides on prompt i and learns it; once more where memory ran out and it goes on. */
static weir_status one_feedback(weir_learner *l, const learning *s, size_t i) {
    weir_error err = {0};
    weir_policy_options o = weir_policy_defaults();
    weir_status st = WEIR_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        const weir_decision *d;
        st = JUDGED(weir_learner_decide(l, s->data->prompts[i], s->data->prompt_lens[i], &o, &d, NULL, &err));
        if (st == WEIR_OK) {
            size_t n = weir_learner_n_models(l), models[8];
            weir_outcome outcomes[8];
            for (size_t m = 0; m < n; m++) {
                models[m] = m;
                outcomes[m] = (weir_outcome){(double)(i % 2), 0.01, 20, 30, NAN};
            }
            st = JUDGED(weir_learner_observe(l, s->data->ids[i], n, models, outcomes, &err));
        }
        if (st == WEIR_OK || !s->go_on) return st;
    }
    return st;
}

static void learn_once(void *user) {
    const learning *s = user;
    weir_error err = {0};
    weir_learner *l = NULL;
    weir_learn_options o = {.full_feedback = true, .group_commit = 3, .create = true};
    bool counting = watch.counting;
    watch.counting = false;
    if (s->start)
        spill(path, s->start, s->start_size);
    else
        unlink(path);
    watch.counting = counting;
    weir_status st = JUDGED(weir_learner_open(&l, path, &o, &err));
    if (st != WEIR_OK && s->go_on) st = JUDGED(weir_learner_open(&l, path, &o, &err));
    static const char *const names[] = {"newcomer", "another"};
    for (size_t m = 0; st == WEIR_OK && m < 2; m++) {
        size_t index;
        st = JUDGED(weir_learner_model_index(l, names[m], &index, &err));
        if (st != WEIR_OK && s->go_on) { /* this handle is lost, and says so */
            assert_int_equal(weir_learner_model_index(l, "third", &index, &err), WEIR_NOMEM);
            (void)JUDGED(weir_learner_close(l, &err));
            l = NULL;
            st = JUDGED(weir_learner_open(&l, path, &o, &err));
            if (st == WEIR_OK) st = JUDGED(weir_learner_model_index(l, names[m], &index, &err));
        }
        if (st == WEIR_OK) assert_string_equal(weir_learner_model(l, index), names[m]);
    }
    for (size_t i = 0; st == WEIR_OK && i < 8; i++) st = one_feedback(l, s, i);
    if (st == WEIR_OK) st = JUDGED(weir_learner_commit(l, &err));
    if (s->go_on && st != WEIR_OK && l) st = JUDGED(weir_learner_commit(l, &err));
    if (s->go_on) assert_int_equal(st, WEIR_OK);
    uint64_t durable = l ? weir_learner_n_durable(l) : 0;
    if (l) st = JUDGED(weir_learner_close(l, &err));
    watch.counting = false;
    if (access(path, F_OK) == 0) {
        size_t kept = feedbacks_of_sound(path);
        assert_true(kept >= durable);
        if (s->go_on || !watch.refused) assert_true(kept >= 8);
        if (l || s->start) {
            weir_router *router = NULL;
            OK(weir_router_open(&router, path, &err));
            weir_router_close(router);
        }
    } else {
        assert_null(s->start);
        assert_null(l);
    }
}

static void learning_without_memory(void **state) {
    (void)state;
    weir_dataset *data = simulated(60, 4);
    train(path, data, NULL);
    learning s = {.data = data};
    uint8_t *start = slurp(path, &s.start_size);
    s.start = start;
    sweep("learn, then close", learn_once, &s, 40);
    s.go_on = true;
    sweep("learn, and go on", learn_once, &s, 40);
    s.start = NULL;
    s.go_on = false;
    sweep("learn from nothing, then close", learn_once, &s, 40);
    s.go_on = true;
    sweep("learn from nothing, and go on", learn_once, &s, 40);
    free(start);
    weir_dataset_free(data);
}

/* ---- money ---- */

enum { LIMIT = 2000, WORST = 70, COSTS = 60, CALLS = 60 };

static uint64_t spending_ns;

static uint64_t spending_clock(void) {
    return spending_ns += UINT64_C(1000000);
}

typedef struct sums {
    int64_t spent[2], unproven, leased; /* spent: of the budget of all, and of the users' */
    size_t n_accounts;
} sums;

static weir_status add_account(void *user, const weirp_account_row *row, weir_error *err) {
    sums *all = user;
    (void)err;
    all->spent[row->limit != LIMIT] += row->spent;
    all->unproven += row->unproven;
    all->leased += row->leased;
    all->n_accounts++;
    assert_true(row->spent + row->unproven + row->leased <= row->limit);
    return WEIR_OK;
}

static void tell_difference(void *user, const char *text) {
    (void)user;
    print_error("allocation %zu refused: %s\n", watch.refuse, text);
}

/* What the ledger has when the process is gone. */
static sums sums_of(void) {
    weir_error err = {0};
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_audit audit = {0};
    sums all = {0};
    size_t n_dead;
    OK(weirp_store_open(&store, path, WEIRP_STORE_JOIN, &err));
    OK(weirp_ledger_bury(store, path, &n_dead, &err));
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    OK(weirp_ledger_accounts(weirp_snapshot_table(snapshot), add_account, &all, &err));
    OK(weirp_ledger_audit(weirp_snapshot_table(snapshot), &audit, tell_difference, NULL, &err));
    assert_int_equal(audit.n_wrong, 0);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return all;
}

/* A post that failed is made again, as the gateway does. */
static void post(weirp_bank *bank) {
    weir_error err = {0};
    unsigned wait;
    weir_status st = JUDGED(weirp_bank_post(bank, &wait, &err));
    if (st != WEIR_OK) OK(weirp_bank_post(bank, &wait, &err));
}

/* Spends from a limit until it is gone; gives what was settled. */
static int64_t spend(weirp_bank *bank) {
    static const char *const users[] = {"ann", "bob", "eve"};
    weirp_need need = {.worst = {WORST, 0, 1}, .likely = {COSTS, 0, 1}};
    int64_t settled = 0;
    for (int i = 0; i < CALLS; i++) {
        char id[40];
        snprintf(id, sizeof id, "weir-%024x", i);
        weirp_subject subject = {.value = {[WEIRP_DIM_USER] = users[i % 3]}};
        weirp_claim claim = {0};
        weirp_shortage why;
        weirp_claim_result result = weirp_bank_claim(bank, &subject, &need, 1000, &claim, &why);
        for (int k = 0; k < 4 && result == WEIRP_CLAIM_WAIT; k++) {
            post(bank);
            result = weirp_bank_claim(bank, &subject, &need, 1000, &claim, &why);
        }
        if (result != WEIRP_CLAIM_GRANTED && result != WEIRP_CLAIM_LOWERED) continue;
        weirp_settlement s = {.id = id, .at_ms = 1000, .subject = &subject, .amount = {COSTS, 0, 1}};
        weirp_bank_settle(bank, &claim, &s);
        settled += COSTS;
    }
    return settled;
}

/* Whatever is refused: all that was settled is in the ledger, and the limit holds. */
static void spend_once(void *user) {
    const learning *s = user;
    weir_error err = {0};
    weirp_bank *bank = NULL;
    weirp_bank_options options = {.clock_ns = spending_clock};
    bool counting = watch.counting;
    watch.counting = false;
    spill(path, s->start, s->start_size);
    watch.counting = counting;
    weir_status st = JUDGED(weirp_bank_open(&bank, path, &options, &err));
    if (st != WEIR_OK) OK(weirp_bank_open(&bank, path, &options, &err));
    int64_t settled = spend(bank);
    post(bank);
    (void)JUDGED(weirp_bank_close(bank, &err));
    watch.counting = false;
    sums all = sums_of();
    assert_int_equal(all.spent[0], settled);
    assert_int_equal(all.spent[1], settled);
    assert_int_equal(all.unproven + all.leased, 0);
    assert_int_equal(all.n_accounts, 4);
    /* a claim may be refused for want of memory; there are enough of them */
    assert_in_range(settled, LIMIT - WORST, LIMIT);
}

static void spending_without_memory(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store;
    learning s = {0};
    weirp_budget all = {
        .name = "all", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_TOTAL, .hard = true, .limit = LIMIT};
    weirp_budget each = {.name = "each", .period = WEIRP_PERIOD_MONTH, .hard = true, .limit = LIMIT + 1};
    snprintf(each.match[WEIRP_DIM_USER], sizeof each.match[WEIRP_DIM_USER], "*");
    OK(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err));
    OK(weirp_ledger_set(store, &all, NULL, &err));
    OK(weirp_ledger_set(store, &each, NULL, &err));
    weirp_store_close(store);
    uint8_t *start = slurp(path, &s.start_size);
    s.start = start;
    sweep("spend a limit", spend_once, &s, 240);
    free(start);
}

/* ---- none at all ---- */

/* ---- evaluating ---- */

typedef struct evaluating {
    const char *log, *map, *reward_model;
} evaluating;

static void write_logs(const char *csv, const char *lines, const char *map) {
    FILE *f = fopen(csv, "w"), *g = fopen(lines, "w"), *h = fopen(map, "w");
    assert_true(f && g && h);
    fputs("format: csv\nchosen: m\nlogger: who\npropensities: p_*\ntarget: t_*\nby_logger: {new: p_x, old: p_y}\n"
          "session: s\nmetrics: {quality: y, cost: c}\nestimates: {quality: q_*, cost: c_*}\nfeatures: x_*\n",
          h);
    fputs("m,who,s,p_x,p_y,t_x,t_y,y,c,q_x,q_y,c_x,c_y,x_1,x_2\n", f);
    for (int i = 0; i < 480; i++) { /* enough for a curve */
        const double first = i % 7 / 7.0, second = i % 5 / 5.0;
        fprintf(f, "%s,%s,s%d,0.5,0.5,0.25,0.75,", i % 2 ? "x" : "y", i % 3 ? "old" : "new", i / 2);
        if (i % 4) fprintf(f, "%d", i % 3 == 0); /* some aren't graded */
        fprintf(f, ",%g,%g,%g,0.01,0.02,%g,%g\n", 0.01 + first / 100, first, second, first, second);
        fprintf(g,
                "{\"kind\":\"decision\",\"number\":%d,\"id\":\"d%d\",\"model\":\"%s\",\"propensities\":{\"x\":0.5,"
                "\"y\":0.5},\"quality\":{\"x\":%g,\"y\":%g},\"cost\":{\"x\":0.01,\"y\":0.02},\"outcomes\":{\"%s\":"
                "{\"quality\":%d,\"cost\":%g}}}\n",
                i, i, i % 2 ? "x" : "y", first, second, i % 2 ? "x" : "y", i % 3 == 0, 0.01 + second / 100);
    }
    assert_true(fclose(f) == 0 && fclose(g) == 0 && fclose(h) == 0);
}

static void evaluate_once(void *user) {
    const evaluating *v = user;
    static const char *const policies[] = {"plugin,value=0.05", "random"};
    weir_error err = {0};
    weir_ope *ope = NULL;
    char *json = NULL;
    const weir_ope_options o = {.logs = &v->log,
                                .n_logs = 1,
                                .map = v->map,
                                .policies = policies,
                                .n_policies = 2,
                                .value_usd = 0.05,
                                .reward_model = v->reward_model,
                                .curve = "plugin,value=?",
                                .n_bootstrap = 20,
                                .n_threads = 1};
    weir_status st = JUDGED(weir_ope_run(&ope, &o, &err));
    FILE *sink = fopen("/dev/null", "w");
    if (st == WEIR_OK) st = JUDGED(weir_ope_json(ope, &json, &err));
    if (st == WEIR_OK) st = JUDGED(weir_ope_print(ope, sink, 100, &err));
    if (st == WEIR_OK) st = JUDGED(weir_ope_svg(ope, sink, &err));
    watch.counting = false;
    fclose(sink);
    free(json);
    weir_ope_free(ope);
    if (st == WEIR_OK && watch.refused) unnoticed();
}

static void evaluating_without_memory(void **state) {
    (void)state;
    char csv[310], lines[310], map[310];
    snprintf(csv, sizeof csv, "%s.csv", path);
    snprintf(lines, sizeof lines, "%s.jsonl", path);
    snprintf(map, sizeof map, "%s.yaml", path);
    write_logs(csv, lines, map);
    evaluating v[] = {{csv, map, NULL}, {lines, NULL, NULL}};
    sweep("evaluate others' log", evaluate_once, &v[0], 200);
    sweep("evaluate weir's lines", evaluate_once, &v[1], 200);
    unlink(csv);
    unlink(lines);
    unlink(map);
}

static void deciding_allocates_nothing(void **state) {
    (void)state;
    weir_dataset *data = simulated(400, 5), *asked = simulated(1000, 6);
    train(path, data, NULL);
    weir_router *router = NULL;
    weir_session *session = NULL;
    weir_error err = {0};
    OK(weir_router_open(&router, path, &err));
    OK(weir_session_new(&session, router, &err));
    size_t huge = 3u << 20;
    char *big = malloc(huge);
    assert_non_null(big);
    for (size_t i = 0; i < huge; i++) big[i] = (char)(i * 2654435761u >> 13);
    const weir_decision *d;
    const weir_estimates *e;
    weir_policy_options o = weir_policy_defaults();
    OK(weir_decide(session, "warm", 4, &o, &d, &e, &err));
    watch_from_now(NEVER, false);
    for (size_t i = 0; i < 1000; i++) {
        o.value_usd = pow(10, -4 + (double)(i % 50) / 10);
        o.policy = weir_policy_name(i % 4);
        o.fixed = 1;
        o.draw = i;
        o.explore_floor = i % 3 ? 0 : 0.05;
        const char *text = i % 10 ? asked->prompts[i] : big + i;
        size_t len = i % 10 ? asked->prompt_lens[i] : i % 100 ? i : huge - i;
        OK(weir_decide(session, text, len, &o, &d, &e, &err));
    }
    watch.counting = false;
    assert_int_equal(watch.n, 0);
    free(big);
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(data);
    weir_dataset_free(asked);
}

int main(void) {
    void *frame[2];
    backtrace(frame, 2); /* its own first call allocates */
    const struct CMUnitTest tests[] = {
        TEST(spending_without_memory),   TEST(deciding_allocates_nothing), TEST(asking_without_memory),
        TEST(looking_without_memory),    TEST(training_without_memory),    TEST(learning_without_memory),
        TEST(evaluating_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
