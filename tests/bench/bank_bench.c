/* bank_bench.c: reservations and settlements a second on one core while a thread posts, their latency, and how long the
 * audit of a million entries takes. tests/bench/results reads what it prints.
 *
 *   bank_bench [STORE [CALLS [BUDGETS]]]
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "src/budget/bank.h"
#include "src/budget/ledger.h"

enum { DEPTH = 64 /* calls in flight */, USERS = 200 };

static sem_t woken;
static atomic_bool over;
static size_t n_posts;
static uint64_t post_ns, post_cpu_ns;

static void die(const char *what, const weir_error *err) {
    fprintf(stderr, "bank_bench: %s: %s\n", what, err->text);
    exit(1);
}

static uint64_t thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void wake(void *user) {
    (void)user;
    sem_post(&woken);
}

static void *post(void *user) {
    weir_error err = {0};
    while (!over) {
        unsigned wait;
        uint64_t begin = weirp_monotonic_ns();
        if (weirp_bank_post(user, &wait, &err) != WEIR_OK) die("post", &err);
        post_ns += weirp_monotonic_ns() - begin;
        n_posts++;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)wait * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        sem_timedwait(&woken, &until);
        while (sem_trywait(&woken) == 0) continue;
    }
    post_cpu_ns = thread_ns();
    return NULL;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *ns, size_t n) {
    qsort(ns, n, sizeof *ns, by_size);
    printf("%s: p50 %.2f us, p99 %.2f us, p99.9 %.2f us, most %.0f us\n", what, (double)ns[n / 2] / 1e3,
           (double)ns[n * 99 / 100] / 1e3, (double)ns[n * 999 / 1000] / 1e3, (double)ns[n - 1] / 1e3);
}

static void define(weirp_store *store, int n_budgets) {
    static const weirp_budget KINDS[] = {
        {.name = "all", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_MONTH, .hard = true, .limit = INT64_C(1) << 60},
        {.name = "user",
         .unit = WEIRP_UNIT_USD,
         .period = WEIRP_PERIOD_DAY,
         .hard = true,
         .limit = INT64_C(1) << 58,
         .match = {[WEIRP_DIM_USER] = "*"}},
        {.name = "tokens",
         .unit = WEIRP_UNIT_TOKENS,
         .period = WEIRP_PERIOD_HOUR,
         .limit = 1000,
         .match = {[WEIRP_DIM_KEY] = "*"}},
        {.name = "model",
         .unit = WEIRP_UNIT_REQUESTS,
         .period = WEIRP_PERIOD_DAY,
         .hard = true,
         .limit = 1 << 30,
         .match = {[WEIRP_DIM_MODEL] = "*"}},
    };
    weir_error err = {0};
    for (int i = 0; i < n_budgets && i < 4; i++)
        if (weirp_ledger_set(store, &KINDS[i], NULL, &err) != WEIR_OK) die("define", &err);
}

static void call(weirp_bank *bank, weirp_claim *claim, char *user, size_t i, uint64_t *claim_ns, uint64_t *settle_ns) {
    char id[40];
    snprintf(user, 16, "u%zu", i % USERS);
    snprintf(id, sizeof id, "weir-%024zx", i);
    weirp_subject subject = {.value = {"key-1", "blue", user, NULL, i % 3 ? "small" : "large", "acme"}};
    weirp_need need = {.worst = {50000000, 5000, 1}, .likely = {9000000, 900, 1}};
    weirp_settlement s = {.id = id,
                          .price_version = 1,
                          .at_ms = weirp_unix_ms(),
                          .subject = &subject,
                          .usage = {.input_tokens = 500, .output_tokens = 200, .known = true},
                          .amount = {(int64_t)(5000000 + i % 1000), 700, 1}};
    weirp_shortage why;
    uint64_t a = weirp_monotonic_ns();
    if (claim->n) weirp_bank_settle(bank, claim, &s);
    uint64_t b = weirp_monotonic_ns();
    int64_t now_ms = s.at_ms;
    weirp_claim_result result;
    while ((result = weirp_bank_claim(bank, &subject, &need, now_ms, claim, &why)) == WEIRP_CLAIM_WAIT) {
        sched_yield();
    }
    uint64_t c = weirp_monotonic_ns();
    if (result != WEIRP_CLAIM_GRANTED) {
        fprintf(stderr, "bank_bench: refused by %s\n", why.budget);
        exit(1);
    }
    *settle_ns = b - a;
    *claim_ns = c - b;
}

static void tell(void *user, const char *text) {
    (void)user;
    printf("  %s\n", text);
}

static void audit(const char *path) {
    weir_error err = {0};
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_audit found = {0};
    if (weirp_store_open(&store, path, WEIRP_STORE_READ, &err) != WEIR_OK) die("open", &err);
    if (weirp_snapshot_begin(&snapshot, store, &err) != WEIR_OK) die("snapshot", &err);
    uint64_t begin = weirp_monotonic_ns();
    if (weirp_ledger_audit(weirp_snapshot_table(snapshot), &found, tell, NULL, &err) != WEIR_OK) die("audit", &err);
    printf("audit: %llu entries, %llu accounts in %.3f s, %llu differences\n", (unsigned long long)found.n_entries,
           (unsigned long long)found.n_accounts, (double)(weirp_monotonic_ns() - begin) / 1e9,
           (unsigned long long)found.n_wrong);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "bank_bench.mdb";
    size_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    weir_error err = {0};
    weirp_store *store;
    weirp_bank *bank;
    weirp_bank_options options = {.wake = wake};
    pthread_t poster;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one); /* both threads on one core */
    sem_init(&woken, 0, 0);
    if (weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK) die("open", &err);
    define(store, argc > 3 ? atoi(argv[3]) : 4);
    weirp_store_close(store);
    if (weirp_bank_open(&bank, path, &options, &err) != WEIR_OK) die("bank", &err);
    pthread_create(&poster, NULL, post, bank);
    weirp_claim *claims = calloc(DEPTH, sizeof *claims);
    char(*users)[16] = calloc(DEPTH, sizeof *users);
    uint64_t *claim_ns = calloc(n, sizeof *claim_ns), *settle_ns = calloc(n, sizeof *settle_ns);
    if (!claims || !users || !claim_ns || !settle_ns) return 1;
    for (size_t i = 0; i < 20000; i++) { /* every account has been opened, every lease is there */
        uint64_t ignored;
        call(bank, &claims[i % DEPTH], users[i % DEPTH], i, &ignored, &ignored);
    }
    size_t posts = n_posts;
    uint64_t begin = weirp_monotonic_ns(), cpu = weirp_cpu_ns();
    for (size_t i = 0; i < n; i++)
        call(bank, &claims[i % DEPTH], users[i % DEPTH], i + 20000, &claim_ns[i], &settle_ns[i]);
    double wall = (double)(weirp_monotonic_ns() - begin) / 1e9, used = (double)(weirp_cpu_ns() - cpu) / 1e9;
    printf("%zu calls: %.0f reservations and settlements a second; %.2f us of CPU each, %zu posts meanwhile\n", n,
           (double)n / wall, used * 1e6 / (double)n, n_posts - posts);
    over = true;
    sem_post(&woken);
    pthread_join(poster, NULL);
    report("claim", claim_ns, n);
    report("settle", settle_ns, n);
    for (size_t i = 0; i < DEPTH; i++) {
        weirp_settlement none = {.at_ms = weirp_unix_ms()};
        weirp_bank_settle(bank, &claims[i], &none);
    }
    if (weirp_bank_close(bank, &err) != WEIR_OK) die("close", &err);
    audit(path);
    return 0;
}
