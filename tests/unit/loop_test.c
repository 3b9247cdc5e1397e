/* The event loop: order of tasks, timers, tasks from other threads. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/net/loop.h"

enum { N_POSTERS = 4, N_POSTS = 2000 };

typedef struct scene {
    weirp_loop *loop;
    char log[64]; /* a letter a task that ran */
    weirp_later a, b;
    weirp_timer *timer, *other;
    uint64_t started_ns, fired_ns;
    unsigned next[N_POSTERS]; /* number that each poster's next task must have */
    unsigned wrong, total;
} scene;

static void note(scene *s, char letter) {
    size_t n = strlen(s->log);
    if (n + 1 < sizeof s->log) s->log[n] = letter;
}

static int set_up(void **state) {
    static scene s;
    memset(&s, 0, sizeof s);
    *state = &s;
    return weirp_loop_new(&s.loop, NULL);
}

static int tear_down(void **state) {
    scene *s = *state;
    weirp_timer_free(s->timer);
    weirp_timer_free(s->other);
    weirp_loop_free(s->loop);
    return 0;
}

static void stop(void *user) {
    scene *s = user;
    note(s, '.');
    weirp_loop_stop(s->loop);
}

static void task_b(void *user) {
    note(user, 'b');
}

static void task_a(void *user) {
    scene *s = user;
    note(s, 'a');
    weirp_loop_later(s->loop, &s->b); /* queued already: passed over */
}

static void task_posted(void *user) {
    scene *s = user;
    note(s, 'p');
    weirp_loop_later(s->loop, &s->a);
    weirp_loop_later(s->loop, &s->b);
    weirp_loop_later(s->loop, &s->a);
}

static void task_second(void *user) {
    note(user, 'q');
}

static void later_runs_after_all_that_is_ready(void **state) {
    scene *s = *state;
    s->a = (weirp_later){.task = task_a, .user = s};
    s->b = (weirp_later){.task = task_b, .user = s};
    assert_true(weirp_loop_post(s->loop, task_posted, s));
    assert_true(weirp_loop_post(s->loop, task_second, s));
    assert_int_equal(weirp_timer_new(&s->timer, s->loop, stop, s, NULL), WEIR_OK);
    weirp_timer_start(s->timer, 30);
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    assert_string_equal(s->log, "pqab.");
}

static void task_again(void *user) {
    scene *s = user;
    note(s, 'a');
    if (strlen(s->log) < 5)
        weirp_loop_later(s->loop, &s->a);
    else
        weirp_loop_stop(s->loop);
}

static void later_may_queue_itself_again(void **state) {
    scene *s = *state;
    s->a = (weirp_later){.task = task_again, .user = s};
    weirp_loop_later(s->loop, &s->a); /* before the loop runs */
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    assert_string_equal(s->log, "aaaaa");
}

static void task_drop(void *user) {
    scene *s = user;
    note(s, 'd');
    weirp_loop_not_later(s->loop, &s->b); /* queued behind this one */
    memset(&s->b, 0xff, sizeof s->b);     /* as if it were freed */
    s->b.queued = false;
    weirp_loop_not_later(s->loop, &s->b); /* not queued: nothing */
}

static void later_can_be_taken_back(void **state) {
    scene *s = *state;
    weirp_later last = {.task = stop, .user = s}, lone = {.task = task_second, .user = s};
    s->a = (weirp_later){.task = task_drop, .user = s};
    s->b = (weirp_later){.task = task_b, .user = s};
    weirp_loop_later(s->loop, &lone);
    weirp_loop_not_later(s->loop, &lone); /* the only one, and the last */
    weirp_loop_later(s->loop, &s->a);
    weirp_loop_later(s->loop, &s->b);
    weirp_loop_later(s->loop, &last);
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    assert_string_equal(s->log, "d.");
}

static void on_time(void *user) {
    scene *s = user;
    s->fired_ns = weirp_monotonic_ns();
    note(s, 't');
}

static void timers_fire_once_and_move(void **state) {
    scene *s = *state;
    assert_int_equal(weirp_timer_new(&s->timer, s->loop, on_time, s, NULL), WEIR_OK);
    assert_int_equal(weirp_timer_new(&s->other, s->loop, stop, s, NULL), WEIR_OK);
    s->started_ns = weirp_monotonic_ns();
    weirp_timer_start(s->timer, 5);
    weirp_timer_start(s->timer, 40); /* moved, not doubled */
    weirp_timer_start(s->other, 120);
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    assert_string_equal(s->log, "t.");
    assert_in_range(s->fired_ns - s->started_ns, 30000000, 115000000);
    weirp_timer_start(s->timer, 1);
    weirp_timer_stop(s->timer);
    weirp_timer_start(s->other, 20);
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    assert_string_equal(s->log, "t..");
}

/* ---- other threads ---- */

typedef struct numbered {
    scene *s;
    unsigned poster, number;
} numbered;

static numbered tasks[N_POSTERS][N_POSTS];

static void take(void *user) {
    const numbered *n = user;
    scene *s = n->s;
    s->wrong += s->next[n->poster] != n->number;
    s->next[n->poster] = n->number + 1;
    if (++s->total == N_POSTERS * N_POSTS) weirp_loop_stop(s->loop);
}

static void *post_all(void *user) {
    numbered *mine = user;
    for (unsigned i = 0; i < N_POSTS; i++)
        if (!weirp_loop_post(mine[i].s->loop, take, &mine[i])) return user;
    return NULL;
}

static void posts_keep_their_order(void **state) {
    scene *s = *state;
    pthread_t threads[N_POSTERS];
    for (unsigned t = 0; t < N_POSTERS; t++) {
        for (unsigned i = 0; i < N_POSTS; i++) tasks[t][i] = (numbered){s, t, i};
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, tasks[t]), 0);
    }
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    for (unsigned t = 0; t < N_POSTERS; t++) {
        void *failed;
        pthread_join(threads[t], &failed);
        assert_null(failed);
    }
    assert_int_equal(s->wrong, 0);
    assert_int_equal(s->total, N_POSTERS * N_POSTS);
}

static void *stop_soon(void *user) {
    weirp_loop_stop(user);
    return NULL;
}

static void stop_reaches_a_sleeping_loop_and_one_not_yet_running(void **state) {
    scene *s = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, s->loop), 0);
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    pthread_join(thread, NULL);
    weirp_loop_stop(s->loop);
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
}

static void posts_that_never_ran_are_dropped(void **state) {
    scene *s = *state;
    for (int i = 0; i < 3; i++) assert_true(weirp_loop_post(s->loop, task_b, s));
    weirp_loop_free(s->loop); /* the leak checker sees to the rest */
    s->loop = NULL;
    assert_string_equal(s->log, "");
    weirp_loop_free(NULL);
    weirp_timer_free(NULL);
}

static double cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* CPU that a loop takes which has something to do at first, and then nothing for 100 ms. */
static double cpu_of_a_quiet_loop(scene *s, unsigned busy_us) {
    weirp_loop_busy_poll(s->loop, busy_us);
    s->a = (weirp_later){task_b, s, false, NULL};
    weirp_loop_later(s->loop, &s->a);
    weirp_timer_start(s->timer, 100);
    double began = cpu_ms();
    assert_int_equal(weirp_loop_run(s->loop, NULL), WEIR_OK);
    return cpu_ms() - began;
}

static void busy_polling_looks_for_events_only_for_a_while(void **state) {
    scene *s = *state;
    assert_int_equal(weirp_timer_new(&s->timer, s->loop, stop, s, NULL), WEIR_OK);
    /* Others take processors, too: one quiet moment of five is enough. */
    bool right = false;
    for (int i = 0; i < 5 && !right; i++) {
        memset(s->log, 0, sizeof s->log);
        double asleep = cpu_of_a_quiet_loop(s, 0), awhile = cpu_of_a_quiet_loop(s, 10000),
               always = cpu_of_a_quiet_loop(s, 1000000);
        assert_string_equal(s->log, "b.b.b.");
        /* in ratios: a polling loop yields to whoever else wants the processor */
        right = asleep < 5 && always > 4 * asleep && awhile < 0.6 * always;
    }
    assert_true(right);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(later_runs_after_all_that_is_ready),
        TEST(later_may_queue_itself_again),
        TEST(later_can_be_taken_back),
        TEST(timers_fire_once_and_move),
        TEST(posts_keep_their_order),
        TEST(stop_reaches_a_sleeping_loop_and_one_not_yet_running),
        TEST(posts_that_never_ran_are_dropped),
        TEST(busy_polling_looks_for_events_only_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
