/* Out of memory at the n-th allocation, for every n until it succeeds: reading, simulating and converting say so, and
 * leave nothing behind. Not under AddressSanitizer, which brings an allocator of its own.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/weir.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OTHER_ALLOCATOR 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define OTHER_ALLOCATOR 1
#endif

static long left = -1; /* allocations until they fail; -1: never */
static long live;      /* pieces of memory in use */

#ifndef OTHER_ALLOCATOR
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *memory);

static int fails(void) {
    if (left < 0) return 0;
    if (left > 0) return left--, 0;
    errno = ENOMEM;
    return 1;
}

static void *counted(void *memory) {
    live += memory != NULL;
    return memory;
}

void *malloc(size_t size) {
    return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *old, size_t size) {
    if (fails()) return NULL;
    return old ? __libc_realloc(old, size) : counted(__libc_malloc(size));
}

void free(void *memory) {
    live -= memory != NULL;
    __libc_free(memory);
}
#endif

#define CASES WEIR_SOURCE_DIR "/tests/cases/"

static FILE *sink;

static weir_status load(weir_error *err) {
    static const char *const paths[] = {CASES "outcomes/messages/input", CASES "outcomes/invalid-utf8/input",
                                        CASES "outcomes/nul/input"};
    weir_dataset *d;
    weir_status st = weir_dataset_load(&d, paths, 3, NULL, err);
    weir_dataset_free(d);
    return st;
}

static weir_status pool(weir_error *err) {
    weir_pool *p;
    weir_status st = weir_pool_load(&p, CASES "pool/plain/pool.yaml", err);
    weir_pool_free(p);
    return st;
}

static const weir_simulate_options few = {.n_prompts = 3, .n_models = 14};

static weir_status simulate(weir_error *err) {
    weir_dataset *d;
    double *truth;
    weir_status st = weir_simulate(&d, &truth, &few, err);
    weir_dataset_free(d);
    free(truth);
    return st;
}

static weir_status simulate_lines(weir_error *err) {
    return weir_simulate_write(sink, &few, err);
}

static weir_status simulate_pool(weir_error *err) {
    return weir_simulate_write_pool(sink, &few, err);
}

static weir_status convert(const char *one, const char *other, weir_error *err) {
    const char *inputs[] = {one, other};
    return weir_convert(NULL, inputs, other ? 2 : 1, sink, NULL, NULL, err);
}

static weir_status routerbench(weir_error *err) {
    return convert(CASES "convert/routerbench/table.csv", NULL, err);
}

static weir_status routellm(weir_error *err) {
    return convert(CASES "convert/routellm-mmlu/mmlu_college_physics.csv", NULL, err);
}

static weir_status sprout(weir_error *err) {
    return convert(CASES "convert/sprout-array/rows.json", NULL, err);
}

static weir_status mtbench(weir_error *err) {
    return convert(CASES "convert/mtbench/judgements.jsonl", CASES "convert/mtbench/questions.jsonl", err);
}

static void sweep(weir_status (*work)(weir_error *err)) {
    weir_error err = {0};
    assert_int_equal(work(&err), WEIR_OK); /* what libraries keep for good is there now */
    long before = live;
    for (long n = 0;; n++) {
        err = (weir_error){0};
        left = n;
        weir_status st = work(&err);
        long unused = left;
        left = -1;
        assert_int_equal(live, before);
        if (st == WEIR_OK) {
            assert_true(unused >= 0);
            break;
        }
        assert_int_equal(st, WEIR_NOMEM);
        assert_int_equal(err.status, WEIR_NOMEM);
        assert_true(n < 100000);
    }
}

static void sweeps(void **state) {
    (void)state;
#ifdef OTHER_ALLOCATOR
    print_message("no allocation failures here: another allocator is in place\n");
    skip();
#endif
    sink = fopen("/dev/null", "wb");
    setvbuf(sink, NULL, _IONBF, 0);
    weir_status (*const all[])(weir_error * err) = {load,        pool,     simulate, simulate_lines, simulate_pool,
                                                    routerbench, routellm, sprout,   mtbench};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) sweep(all[i]);
    fclose(sink);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sweeps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
