/* bank_threads_test.c: threads that claim, wait and settle while others post, on two banks of one store. Also run under
 * ThreadSanitizer. SPDX-License-Identifier: GPL-3.0-or-later */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "src/budget/bank.h"
#include "src/budget/ledger.h"
#include "store_helpers.h"

#define LONG_NS UINT64_C(10000000000)
enum { BANKS = 2, THREADS = 8, CALLS = 400, LIMIT = 100000 };

typedef struct side {
    weirp_bank *bank;
    sem_t woken;
    atomic_bool over;
    pthread_t poster;
} side;

typedef struct client {
    side *side;
    int number;
    pthread_t thread;
    int64_t spent;
    int n_refused, n_waited, n_lowered;
    uint64_t longest_ns;
} client;

static side sides[BANKS];
static atomic_int n_failed;
static atomic_llong total;

static void complain(void *user, const char *text) {
    (void)user;
    fprintf(stderr, "%s\n", text);
    n_failed++;
}

static void wake(void *user) {
    sem_post(&((side *)user)->woken);
}

static void wait_for(sem_t *sem, unsigned ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)sem_timedwait(sem, &until);
}

static void *post(void *user) {
    side *s = user;
    weir_error err = {0};
    while (!s->over) {
        unsigned wait = 1;
        if (weirp_bank_post(s->bank, &wait, &err) != WEIR_OK) complain(NULL, err.text);
        wait_for(&s->woken, wait);
    }
    return NULL;
}

typedef struct patient {
    weirp_waiter waiter;
    sem_t ready;
} patient;

static void ready(weirp_waiter *waiter) {
    sem_post(&((patient *)waiter)->ready); /* the first member */
}

/* Waits until it may be worth asking again, and now and then loses patience. */
static void be_patient(client *c, const weirp_claim *claim, unsigned i) {
    patient p = {.waiter.ready = ready};
    sem_init(&p.ready, 0, 0);
    c->n_waited++;
    weirp_bank_wait(c->side->bank, &p.waiter, claim);
    wait_for(&p.ready, i % 7 == 0 ? 1 : 500);
    weirp_bank_unwait(c->side->bank, &p.waiter);
    sem_destroy(&p.ready);
}

static void *call(void *user) {
    client *c = user;
    char id[40], name[8];
    weirp_subject subject = {.value = {[WEIRP_DIM_USER] = name}};
    for (unsigned i = 0; i < CALLS; i++) {
        weirp_claim claim = {0};
        weirp_shortage why;
        snprintf(name, sizeof name, "u%d", (c->number + (int)i) % 3);
        weirp_need need = {.worst = {40 + i % 60, 10, 1}, .likely = {20, 5, 1}};
        weirp_claim_result result = WEIRP_CLAIM_WAIT;
        uint64_t begin = weirp_monotonic_ns();
        while (result == WEIRP_CLAIM_WAIT && weirp_monotonic_ns() - begin < LONG_NS) {
            result = weirp_bank_claim(c->side->bank, &subject, &need, 1800000000000, &claim, &why);
            if (result == WEIRP_CLAIM_WAIT) be_patient(c, &claim, i);
        }
        if (result == WEIRP_CLAIM_WAIT) complain(NULL, "it waits for ever");
        if (weirp_monotonic_ns() - begin > c->longest_ns) c->longest_ns = weirp_monotonic_ns() - begin;
        c->n_refused += result == WEIRP_CLAIM_EXHAUSTED;
        c->n_lowered += result == WEIRP_CLAIM_LOWERED;
        if (result != WEIRP_CLAIM_GRANTED && result != WEIRP_CLAIM_LOWERED) continue;
        int64_t most = claim.most[0] < need.worst[0] ? claim.most[0] : need.worst[0];
        snprintf(id, sizeof id, "weir-%08x%016x", (unsigned)c->number, i);
        weirp_settlement s = {.id = id, .at_ms = 1800000000000, .subject = &subject, .amount = {most - i % 20, 8, 1}};
        if (i % 11 == 0 || s.amount[0] < 0) memset(s.amount, 0, sizeof s.amount);
        total += s.amount[0];
        weirp_bank_settle(c->side->bank, &claim, &s);
    }
    return NULL;
}

static weir_status check_row(void *user, const weirp_account_row *row, weir_error *err) {
    (void)err;
    if (row->spent > row->limit || row->leased || row->unproven) complain(NULL, "too much is spent, or still leased");
    if (row->budget == 1) *(int64_t *)user += row->spent;
    return WEIR_OK;
}

static void threads_share_a_limit(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_audit audit = {0};
    client clients[THREADS] = {0};
    int64_t spent = 0;
    weirp_budget budget = {
        .name = "all", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_TOTAL, .hard = true, .limit = LIMIT};
    assert_int_equal(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_set(store, &budget, NULL, &err), WEIR_OK);
    budget = (weirp_budget){.name = "user",
                            .unit = WEIRP_UNIT_USD,
                            .period = WEIRP_PERIOD_DAY,
                            .hard = true,
                            .limit = LIMIT / 3,
                            .match = {[WEIRP_DIM_USER] = "*"}};
    assert_int_equal(weirp_ledger_set(store, &budget, NULL, &err), WEIR_OK);
    for (int i = 0; i < BANKS; i++) {
        weirp_bank_options options = {.wake = wake, .user = &sides[i]};
        sem_init(&sides[i].woken, 0, 0);
        assert_int_equal(weirp_bank_open(&sides[i].bank, path, &options, &err), WEIR_OK);
        assert_int_equal(pthread_create(&sides[i].poster, NULL, post, &sides[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        clients[i] = (client){.side = &sides[i % BANKS], .number = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, call, &clients[i]), 0);
    }
    int refused = 0, waited = 0, lowered = 0;
    uint64_t longest = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(clients[i].thread, NULL);
        refused += clients[i].n_refused;
        if (clients[i].longest_ns > longest) longest = clients[i].longest_ns;
        waited += clients[i].n_waited;
        lowered += clients[i].n_lowered;
    }
    for (int i = 0; i < BANKS; i++) {
        sides[i].over = true;
        wake(&sides[i]);
        pthread_join(sides[i].poster, NULL);
        assert_int_equal(weirp_bank_close(sides[i].bank, &err), WEIR_OK);
    }
    assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
    weirp_txn *table = weirp_snapshot_table(snapshot);
    assert_int_equal(weirp_ledger_audit(table, &audit, complain, NULL, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_accounts(table, check_row, &spent, &err), WEIR_OK);
    print_message("spent %lld of %d; %d waited, %d lowered, %d refused, the longest after %llu ms\n", (long long)spent,
                  LIMIT, waited, lowered, refused, (unsigned long long)(longest / 1000000));
    assert_int_equal(n_failed, 0);
    assert_int_equal(spent, total);
    assert_true(refused > 0 && waited > 0);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_share_a_limit, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
