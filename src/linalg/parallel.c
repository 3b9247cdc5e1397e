/* parallel.c: a loop on a few POSIX threads. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/linalg/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

typedef struct loop {
    atomic_size_t next; /* first item that nobody has taken */
    size_t n, grain;
    weirp_range_fn fn;
    void *context;
} loop;

typedef struct worker {
    loop *work;
    unsigned index;
    bool started;
    pthread_t thread;
} worker;

static void *run(void *argument) {
    worker *self = argument;
    loop *w = self->work;
    for (;;) {
        size_t begin = atomic_fetch_add(&w->next, w->grain);
        if (begin >= w->n) return NULL;
        size_t end = w->n - begin < w->grain ? w->n : begin + w->grain;
        w->fn(w->context, self->index, begin, end);
    }
}

void weirp_parallel(size_t n, size_t grain, unsigned n_threads, weirp_range_fn fn, void *context) {
    if (!grain) grain = 1;
    if (n_threads < 1) n_threads = 1;
    if (n_threads > WEIRP_MAX_THREADS) n_threads = WEIRP_MAX_THREADS;
    size_t n_pieces = n / grain + (n % grain != 0);
    if (n_threads > n_pieces) n_threads = n_pieces ? (unsigned)n_pieces : 1;
    /* every thread adds one grain past the end before it stops: keep the counter from wrapping round */
    if (n > SIZE_MAX - (size_t)(n_threads + 1) * grain) n_threads = 1, grain = n;
    if (n_threads == 1) {
        for (size_t at = 0; at < n; at += grain) {
            fn(context, 0, at, n - at < grain ? n : at + grain);
            if (n - at <= grain) break;
        }
        return;
    }
    loop w = {.n = n, .grain = grain, .fn = fn, .context = context};
    atomic_init(&w.next, 0);
    worker workers[WEIRP_MAX_THREADS];
    for (unsigned i = 0; i < n_threads; i++) {
        workers[i] = (worker){.work = &w, .index = i};
        if (i) workers[i].started = pthread_create(&workers[i].thread, NULL, run, &workers[i]) == 0;
    }
    run(&workers[0]);
    for (unsigned i = 1; i < n_threads; i++)
        if (workers[i].started) pthread_join(workers[i].thread, NULL);
}

unsigned weirp_n_cores(void) {
    cpu_set_t set;
    const long n = sched_getaffinity(0, sizeof set, &set) ? sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
    return n < 1 ? 1 : n > WEIRP_MAX_THREADS ? WEIRP_MAX_THREADS : (unsigned)n;
}
