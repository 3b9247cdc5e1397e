/* bench.h: measurements that weir bench's actions share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_BENCH_H
#define WEIR_TOOLS_BENCH_H

#include <time.h>

#include <jansson.h>

#include "tools/cli.h"

#define BENCH "bench"

typedef struct bench_arguments {
    const char *store, *estimator, *directory, *json;
    cli_list data;
    size_t n; /* decisions or feedbacks; 0: the action's own number */
    size_t prompts, models, prompt_bytes, max_prompts, max_models, group_commit, threads;
    uint64_t seed;
    weir_policy_options policy;
} bench_arguments;

enum { BENCH_MAX_PHASES = 24 };

typedef struct bench_decisions {
    size_t n, n_models;
    double prompt_bytes; /* mean */
    double p50_us, p99_us, max_us, mean_us;
    double decisions_per_s; /* one thread, clock readings left out */
    size_t n_phases;
    struct {
        char name[32];
        double us; /* median */
    } phase[BENCH_MAX_PHASES];
} bench_decisions;

typedef struct bench_updates {
    size_t n, group_commit;
    double cpu_us_per_update;     /* observing and its share of commits; the decision left out */
    double cpu_us_per_decision;   /* the learner's */
    double durable_updates_per_s; /* decisions included, the last commit included */
} bench_updates;

double bench_now(clockid_t clock); /* seconds */
/* Percentile of x (sorted in place), p in [0,1]. */
double bench_percentile(double *x, size_t n, double p);

/* `n` decisions over the data's prompts in turn, after a warm-up. With prompt_bytes: each prompt repeated or cut to
 * that length. */
weir_status bench_decide(bench_decisions *out, const weir_router *router, const weir_dataset *data, size_t n,
                         size_t prompt_bytes, const weir_policy_options *options, weir_error *err);
/* `n` bandit feedbacks into the store at `path`, which they change. */
weir_status bench_learn(bench_updates *out, const char *path, const weir_dataset *data, size_t n, size_t group_commit,
                        weir_error *err);

json_t *bench_decisions_json(const bench_decisions *d); /* new */
json_t *bench_updates_json(const bench_updates *u);     /* new */

/* A store path in a directory of its own; bench_scratch_end deletes both. */
typedef struct bench_scratch {
    char directory[512], store[544];
} bench_scratch;
bool bench_scratch_begin(bench_scratch *s, const char *parent); /* NULL: $TMPDIR or /tmp; says what is wrong */
void bench_scratch_end(const bench_scratch *s);

/* The actions: exit statuses. */
int bench_train_action(const bench_arguments *a);
int bench_scale_action(const bench_arguments *a);

#endif
