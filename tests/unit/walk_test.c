/* Walks through blocks of trees against plain walks of the steps that they were made of, and back to those steps.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "estimators/walk.h"

enum { DIM = 40, MOST = 301, ROUNDS = 300 };

/* Random trees, breadth-first: `lean` is how probable a node is to be a leaf; each has MOST nodes at most. */
static void make_steps(weirp_steps *s, size_t dim, double lean, uint64_t seed) {
    uint64_t draws = 0;
    memset(s, 0, sizeof *s);
    s->step = calloc((size_t)WEIRP_N_TREES * MOST, sizeof *s->step);
    assert_non_null(s->step);
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
        weirp_step *to = s->step + s->first[t];
        uint32_t n = 1, leaves = 0, depth = 0, level_end = 1;
        for (uint32_t i = 0; i < n; i++) {
            if (i == level_end) level_end = n, depth++;
            bool leaf =
                !dim || n + 2 > MOST || depth == WEIRP_TREE_DEPTH || weirp_random_uniform(seed, t, draws++) < lean;
            if (leaf) {
                to[i] = (weirp_step){WEIRP_LEAF_BITS | leaves++, (i - 1) & WEIRP_LEFT_MASK};
                continue;
            }
            /* few different thresholds, so that features meet them */
            float threshold = (float)(weirp_random_u64(seed, t, draws++) % 9) / 4 - 1;
            memcpy(&to[i].threshold, &threshold, sizeof threshold);
            to[i].next = (uint32_t)(weirp_random_u64(seed, t, draws++) % dim) << WEIRP_LEFT_BITS | n;
            n += 2;
        }
        s->first[t + 1] = s->first[t] + n;
        s->first_leaf[t + 1] = s->first_leaf[t] + leaves;
        s->depth[t] = depth;
    }
}

/* As the format says it. */
static uint32_t straight(const weirp_steps *s, size_t t, const float *x) {
    const weirp_step *root = s->step + s->first[t];
    uint32_t at = 0;
    while ((root[at].threshold & ~WEIRP_LEAF_MASK) != WEIRP_LEAF_BITS) {
        float threshold;
        memcpy(&threshold, &root[at].threshold, sizeof threshold);
        at = (root[at].next & WEIRP_LEFT_MASK) + !(x[root[at].next >> WEIRP_LEFT_BITS] < threshold);
    }
    return s->first_leaf[t] + (root[at].threshold & WEIRP_LEAF_MASK);
}

static void make_x(float *x, uint64_t round) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f};
    for (size_t j = 0; j < DIM; j++) {
        uint64_t kind = weirp_random_u64(77, round, j) % 16;
        x[j] = kind < 4   ? odd[kind]
               : kind < 8 ? (float)(weirp_random_u64(78, round, j) % 9) / 4 - 1
                          : (float)weirp_random_normal(79, round, j);
    }
}

static void check(size_t dim, double lean, uint64_t seed) {
    weirp_steps s;
    make_steps(&s, dim, lean, seed);
    assert_true(weirp_steps_sound(&s, dim));
    size_t n = s.first_leaf[WEIRP_N_TREES], n_steps = s.first[WEIRP_N_TREES], n_models = 1 + seed % 20;
    uint32_t *row = calloc(n, sizeof *row), *back = calloc(n, sizeof *back);
    weirp_step *again = calloc(n_steps, sizeof *again);
    float *value = calloc(n * n_models, sizeof *value);
    uint8_t *taken = calloc(n, 1);
    assert_true(row && back && again && value && taken);
    weirp_walk *w = weirp_walk_new(&s, dim, row);
    assert_non_null(w);
    for (size_t l = 0; l < n; l++) { /* each row is one leaf's */
        assert_true(row[l] < n && !taken[row[l]]);
        taken[row[l]] = 1;
    }
    for (uint64_t round = 0; round < ROUNDS; round++) {
        float x[DIM];
        uint32_t leaf[WEIRP_N_TREES];
        make_x(x, round);
        weirp_walk_leaves(w, x, leaf, value, n_models);
        for (size_t t = 0; t < WEIRP_N_TREES; t++) assert_int_equal(leaf[t], row[straight(&s, t, x)]);
    }
    assert_true(weirp_walk_steps(w, again, back));
    assert_memory_equal(again, s.step, n_steps * sizeof *again);
    assert_memory_equal(back, row, n * sizeof *row);
    weirp_walk_free(w);
    free(row), free(back), free(again), free(value), free(taken), free(s.step);
}

static void walks_are_straight(void **state) {
    (void)state;
    check(DIM, 0.3, 1);
    check(DIM, 0.45, 8);
    check(DIM, 0.05, 9);
    check(1, 0.4, 11);
    check(DIM, 0.6, 19);
}

static void single_leaves(void **state) {
    (void)state;
    check(DIM, 1.1, 3);
    check(0, 0, 4);
}

/* Steps that aren't trees are refused: no walk could leave its tree, and none is laid out for ever. */
static void damage_is_refused(void **state) {
    (void)state;
    weirp_steps s;
    make_steps(&s, DIM, 0.3, 5);
    size_t t = 0;
    while (s.first[t + 1] - s.first[t] < 9) t++;
    weirp_step *root = s.step + s.first[t];
    uint32_t n = s.first[t + 1] - s.first[t];
    for (uint32_t i = 0; i < n; i++) {
        weirp_step was = root[i];
        bool leaf = (was.threshold & ~WEIRP_LEAF_MASK) == WEIRP_LEAF_BITS;
        root[i].next ^= 1; /* another's children; another node before */
        assert_false(weirp_steps_sound(&s, DIM));
        root[i] = was;
        root[i].next = (uint32_t)DIM << WEIRP_LEFT_BITS | (was.next & WEIRP_LEFT_MASK); /* no such feature */
        assert_false(weirp_steps_sound(&s, DIM));
        root[i] = was;
        if (leaf)
            root[i].threshold ^= 1; /* another's row */
        else
            root[i].threshold = WEIRP_LEAF_BITS; /* children without a parent */
        assert_false(weirp_steps_sound(&s, DIM));
        root[i] = was;
    }
    assert_true(weirp_steps_sound(&s, DIM));
    s.depth[t]--;
    assert_false(weirp_steps_sound(&s, DIM));
    s.depth[t] = WEIRP_TREE_DEPTH + 1;
    assert_false(weirp_steps_sound(&s, DIM));
    free(s.step);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_are_straight),
        cmocka_unit_test(single_leaves),
        cmocka_unit_test(damage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
