/* parallel.h: one loop over independent items, on a few threads.
 *
 * Lives here: the loop and nothing of what it does. Results must not depend on which worker takes which items: then
 * they don't depend on the number of threads either. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PARALLEL_H
#define WEIRP_PARALLEL_H

#include <stddef.h>

#define WEIRP_MAX_THREADS 64u

/* Handles items [begin, end). `worker` is below the number of threads, and no two calls with the same worker overlap.
 */
typedef void (*weirp_range_fn)(void *context, unsigned worker, size_t begin, size_t end);

/* Runs fn over [0, n) in pieces of `grain` items (the last may be shorter). The calling thread takes part; where
 * threads can't be had, it does all the work. n_threads 0 counts as 1, more than WEIRP_MAX_THREADS as that many. */
void weirp_parallel(size_t n, size_t grain, unsigned n_threads, weirp_range_fn fn, void *context);

/* Processors that this process may run on, at least 1: a container's share counts, not the machine. */
unsigned weirp_n_cores(void);

/* Loops that are worth a version a processor: compiled for each of these, chosen when the program is loaded. All give
 * the same bits, because sums have a fixed order in the source and no multiply-add is fused. Sanitizers instrument the
 * choosing code, which runs before they are ready, so that there it is left out. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEIRP_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIRP_SANITIZED 1
#endif
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(WEIRP_SANITIZED)
#define WEIRP_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WEIRP_CLONES
#endif

#endif
