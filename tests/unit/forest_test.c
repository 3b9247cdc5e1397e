/* Forest: closed forms on trees that have one way to grow, out-of-bag rows, threads, damage.
 *
 * Every tree draws its bag from a stream of its own, so that a test can draw the same bags: with one feature of two
 * values a tree is its root or one split, whatever the thresholds, and its leaves can be worked out from the formulas
 * at the top of forest.c. SPDX-License-Identifier: GPL-3.0-or-later */
#pragma GCC diagnostic ignored "-Wunused-function" /* of the suite's tests, those that a forest has to pass */
#include "tests/unit/estimator_suite.h"

enum { N_TREES = 256, N_LAMBDAS = 7 };
static const double lambdas[N_LAMBDAS] = {1, 3, 10, 30, 100, 300, 1000};
#define BAG_SHARE   0.7
#define POOL_PRIOR  5.0
#define LEAST_LEAF  4u
#define MOST_MODELS 4u

/* ---- the formulas, worked out once more ---- */

static size_t bag_size(size_t n) {
    size_t k = (size_t)(BAG_SHARE * (double)n);
    return k ? k : 1;
}

static void draw_bag(const weirp_sample *s, size_t tree, uint32_t *row) {
    uint64_t seed = weirp_random_u64(s->seed, 0xf0, tree);
    for (size_t i = 0; i < bag_size(s->n); i++) row[i] = (uint32_t)(weirp_random_uniform(seed, 1, i) * (double)s->n);
}

/* Labels of one side of a tree: their number and mean for each model. */
typedef struct side {
    size_t rows;
    double n[MOST_MODELS], mean[MOST_MODELS];
} side;

static side side_of(const weirp_sample *s, const uint32_t *bag, int value) {
    side out = {0};
    for (size_t i = 0; i < bag_size(s->n); i++) {
        if (value >= 0 && (s->dense[bag[i]] > 0.5f) != (value > 0)) continue;
        out.rows++;
        for (size_t m = 0; m < s->n_models; m++) {
            double y = s->target[bag[i] * s->n_models + m];
            if (!isnan(y)) out.mean[m] += y, out.n[m]++;
        }
    }
    for (size_t m = 0; m < s->n_models; m++) out.mean[m] = out.n[m] > 0 ? out.mean[m] / out.n[m] : NAN;
    return out;
}

/* What is known of the whole sample: share of labels, and means shrunk to the pool's. */
typedef struct whole {
    double share[MOST_MODELS], mean[MOST_MODELS];
} whole;

static whole whole_of(const weirp_sample *s) {
    whole out = {0};
    double sum = 0, n = 0;
    for (size_t i = 0; i < s->n * s->n_models; i++)
        if (!isnan(s->target[i])) sum += s->target[i], n++;
    for (size_t m = 0; m < s->n_models; m++) {
        double own = 0, labels = 0;
        for (size_t i = 0; i < s->n; i++)
            if (!isnan(s->target[i * s->n_models + m])) own += s->target[i * s->n_models + m], labels++;
        out.share[m] = labels / (double)s->n;
        out.mean[m] = (own + POOL_PRIOR * sum / n) / (labels + POOL_PRIOR);
    }
    return out;
}

/* One tree's values for a row whose feature is `value`. */
static void tree_says(const weirp_sample *s, const whole *all, const uint32_t *bag, double lambda, int value,
                      double *out) {
    side root = side_of(s, bag, -1), mine = side_of(s, bag, value), other = side_of(s, bag, !value);
    bool split = root.rows >= 2 * LEAST_LEAF && mine.rows >= LEAST_LEAF && other.rows >= LEAST_LEAF;
    double shared = 0, weight = 0;
    for (size_t m = 0; m < s->n_models; m++) {
        if (isnan(root.mean[m])) root.mean[m] = all->mean[m];
        if (isnan(mine.mean[m])) mine.mean[m] = root.mean[m];
        shared += all->share[m] * root.n[m] / (root.n[m] + lambda) * (mine.mean[m] - root.mean[m]);
        weight += all->share[m];
    }
    for (size_t m = 0; m < s->n_models; m++) {
        double keep = root.n[m] / (root.n[m] + lambda);
        out[m] = (root.n[m] * root.mean[m] + POOL_PRIOR * all->mean[m]) / (root.n[m] + POOL_PRIOR);
        if (split) out[m] += keep * (mine.mean[m] - root.mean[m]) + (1 - all->share[m]) * (1 - keep) * shared / weight;
    }
}

/* The forest's prediction for `value`; with `row` < n, of the trees alone that didn't see that row. */
static bool forest_says(const weirp_sample *s, double lambda, int value, size_t row, double *out) {
    uint32_t *bag = weirp_array(s->n, sizeof *bag);
    whole all = whole_of(s);
    size_t trees = 0;
    memset(out, 0, s->n_models * sizeof *out);
    for (size_t t = 0; t < N_TREES; t++) {
        double one[MOST_MODELS];
        bool seen = false;
        draw_bag(s, t, bag);
        for (size_t i = 0; i < bag_size(s->n); i++) seen |= bag[i] == row;
        if (seen) continue;
        tree_says(s, &all, bag, lambda, value, one);
        for (size_t m = 0; m < s->n_models; m++) out[m] += one[m];
        trees++;
    }
    for (size_t m = 0; m < s->n_models; m++) out[m] /= (double)(trees ? trees : 1);
    free(bag);
    return trees > 0;
}

/* One feature that is 0 or 1. */
static world two_values(size_t n, size_t n_models, double missing, uint64_t seed) {
    world w = world_new(n, n_models, 1, 0, 0.3, missing, seed, 0);
    for (size_t i = 0; i < n; i++) {
        w.dense[i] = weirp_random_uniform(seed, 9, i) < 0.4f ? 0 : 1;
        for (size_t m = 0; m < n_models; m++) w.target[i * n_models + m] += 0.2 * (double)m * w.dense[i];
    }
    return w;
}

static void trees_are_the_formulas(void **state) {
    (void)state;
    static const struct {
        size_t n, models;
        double missing;
    } cases[] = {{60, 3, 0}, {60, 4, 0.4}, {11, 2, 0}, {13, 2, 0.3}, {25, 1, 0}, {1, 2, 0}, {2, 3, 0.5}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        world w = two_values(cases[c].n, cases[c].models, cases[c].missing, 201 + c);
        if (cases[c].missing > 0.3 && cases[c].models == 4) /* a model without any outcome */
            for (size_t i = 0; i < cases[c].n; i++) w.target[i * 4 + 2] = NAN;
        size_t n = cases[c].n, k = cases[c].models;
        double *bagless = weirp_array(N_LAMBDAS * n * k, sizeof *bagless), want[MOST_MODELS];
        weir_error err = {0};
        assert_int_equal(suite->out_of_bag(&w.sample, bagless, &err), WEIR_OK);
        for (size_t h = 0; h < N_LAMBDAS; h++) {
            weirp_estimator *e = fitted(&w.sample, h);
            double *q = ask(e, &w.sample, NULL);
            whole all = whole_of(&w.sample);
            for (size_t i = 0; i < n; i++) {
                forest_says(&w.sample, lambdas[h], w.dense[i] > 0.5f, n, want);
                assert_true(largest_difference(q + i * k, want, k) < 1e-5);
                bool left_out = forest_says(&w.sample, lambdas[h], w.dense[i] > 0.5f, i, want);
                assert_true(largest_difference(bagless + (h * n + i) * k, left_out ? want : all.mean, k) < 1e-5);
            }
            free(q);
            suite->free(e);
        }
        free(bagless);
        world_free(&w);
    }
}

/* Standard errors are out-of-bag residuals', all models' over the same number of rows. */
static void sd_is_the_held_out_error(void **state) {
    (void)state;
    world w = world_new(400, 3, 6, 0.2, 0.2, 0, 211, 0);
    for (size_t i = 0; i < 400; i++) w.target[i * 3 + 1] += 0.5 * weirp_random_normal(5, 5, i);
    double *held_out = weirp_array(N_LAMBDAS * 400 * 3, sizeof *held_out), square[3] = {0};
    assert_int_equal(suite->out_of_bag(&w.sample, held_out, NULL), WEIR_OK);
    for (size_t i = 0; i < 400 * 3; i++) square[i % 3] += pow(held_out[2 * 400 * 3 + i] - w.target[i], 2) / 400;
    weirp_estimator *e = fitted(&w.sample, 2);
    double *sd, *q = ask(e, &w.sample, &sd);
    double rows = square[0] / (sd[0] * sd[0]);
    for (size_t m = 1; m < 3; m++) assert_true(fabs(square[m] / (sd[m] * sd[m]) / rows - 1) < 1e-9);
    assert_true(rows > 1 && rows <= 400);
    free(q), free(sd), free(held_out);
    suite->free(e);
    world_free(&w);
}

/* ---- what a forest is for ---- */

static void steps_are_recovered(void **state) {
    (void)state;
    world w = world_new(1500, 1, 1, 0, 0, 0, 221, 0);
    for (size_t i = 0; i < 1500; i++) {
        w.dense[i] = (float)weirp_random_uniform(3, 3, i);
        w.target[i] = w.dense[i] < 0.3f ? 0.2 : 0.8;
    }
    weirp_estimator *e = fitted(&w.sample, 0);
    double *q = ask(e, &w.sample, NULL);
    double worst = 0, mean = 0;
    for (size_t i = 0; i < 1500; i++) {
        double d = fabs(q[i] - w.target[i]);
        if (fabsf(w.dense[i] - 0.3f) > 0.05f) worst = fmax(worst, d);
        mean += d / 1500;
    }
    print_message("forest: a step of 0.6 is missed by %.4f on average, %.4f at worst away from it\n", mean, worst);
    assert_true(mean < 0.01);
    assert_true(worst < 0.05);
    free(q);
    suite->free(e);
    world_free(&w);
}

/* Squared distance from the truth on fresh rows, at the lambda with the least out-of-bag error; its predictions' spread
 * about their mean in *spread. */
static double error_at_the_chosen(size_t n, double signal, uint64_t seed, double *spread) {
    world train = world_new(n, 3, 8, signal, 0.3, 0, seed, 0), test = world_new(300, 3, 8, signal, 0, 0, seed, 1000000);
    double *held_out = weirp_array(N_LAMBDAS * n * 3, sizeof *held_out), least = INFINITY, error;
    size_t chosen = 0;
    assert_int_equal(suite->out_of_bag(&train.sample, held_out, NULL), WEIR_OK);
    for (size_t h = 0; h < N_LAMBDAS; h++) {
        double d = mean_square(held_out + h * n * 3, train.target, n * 3);
        if (d < least) least = d, chosen = h;
    }
    weirp_estimator *e = fitted(&train.sample, chosen);
    double *q = ask(e, &test.sample, NULL), mean[3] = {0};
    error = mean_square(q, test.truth, 900);
    for (size_t i = 0; i < 900; i++) mean[i % 3] += q[i] / 300;
    *spread = 0;
    for (size_t i = 0; i < 900; i++) *spread = fmax(*spread, fabs(q[i] - mean[i % 3]));
    free(q), free(held_out);
    suite->free(e);
    world_free(&train);
    world_free(&test);
    return error;
}

static void noise_is_left_alone(void **state) {
    (void)state;
    double spread, error = error_at_the_chosen(1200, 0, 231, &spread);
    print_message("forest: pure noise: squared error %.5f, predictions move by at most %.4f\n", error, spread);
    assert_true(spread < 0.03);
    assert_true(error < 0.001);
}

static void error_falls_with_rows(void **state) {
    (void)state;
    double at[3] = {0}, spread;
    static const size_t n[] = {60, 500, 3000};
    for (uint64_t seed = 241; seed < 243; seed++)
        for (size_t k = 0; k < 3; k++) at[k] += error_at_the_chosen(n[k], 0.2, seed, &spread) / 2;
    print_message("forest: squared error at 60, 500, 3000 rows: %.5f %.5f %.5f\n", at[0], at[1], at[2]);
    assert_true(at[1] < 0.8 * at[0]);
    assert_true(at[2] < 0.8 * at[1]);
}

static void targets_that_never_vary(void **state) {
    (void)state;
    world w = world_new(80, 3, 6, 0, 0, 0, 251, 0);
    for (size_t i = 0; i < 240; i++) w.target[i] = 0.25;
    for (size_t h = 0; h < N_LAMBDAS; h += 3) {
        weirp_estimator *e = fitted(&w.sample, h);
        double *sd, *q = ask(e, &w.sample, &sd);
        for (size_t i = 0; i < 240; i++) assert_true(fabs(q[i] - 0.25) < 1e-6 && sd[i] < 1e-6);
        free(q), free(sd);
        suite->free(e);
    }
    world_free(&w);
}

/* Sizes at the edge: one row, no features, features that never vary, more features than rows, no label at all. */
static void odd_shapes_fit(void **state) {
    (void)state;
    static const struct {
        size_t n, models, dim;
        double missing;
    } cases[] = {{1, 1, 1, 0}, {1, 3, 5, 0}, {3, 2, 40, 0}, {20, 3, 0, 0}, {25, 4, 6, 2}, {60, 1, 7, 0.5}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t n = cases[c].n, k = cases[c].models;
        world w = world_new(n, k, cases[c].dim, 0.1, 0.1, cases[c].missing, 261, 0);
        world test = world_new(9, k, cases[c].dim, 0.1, 0.1, 0, 262, 0);
        w.sample.lo = test.sample.lo = 0, w.sample.hi = test.sample.hi = 1;
        if (c == 2) memset(w.dense, 0, n * cases[c].dim * sizeof *w.dense);
        double *held_out = weirp_array(N_LAMBDAS * n * k, sizeof *held_out);
        assert_int_equal(suite->out_of_bag(&w.sample, held_out, NULL), WEIR_OK);
        for (size_t i = 0; i < N_LAMBDAS * n * k; i++) assert_true(held_out[i] >= 0 && held_out[i] <= 1);
        weirp_estimator *e = fitted(&w.sample, 3);
        for (int round = 0; round < 2; round++) {
            double *q = ask(e, &test.sample, NULL);
            for (size_t i = 0; i < 9 * k; i++) assert_true(q[i] >= 0 && q[i] <= 1);
            free(q);
            for (size_t i = 0; i < 9 * k; i++) learn(e, &test.sample, i / k, i % k);
        }
        free(held_out);
        suite->free(e);
        world_free(&w);
        world_free(&test);
    }
}

/* ---- threads ---- */

static void threads_change_no_bit(void **state) {
    (void)state;
    world w = world_new(300, 4, 10, 0.2, 0.2, 0.3, 271, 0);
    size_t size = N_LAMBDAS * 300 * 4;
    double *first = weirp_array(size, sizeof *first), *held_out = weirp_array(size, sizeof *held_out);
    weirp_writer reference = {0};
    static const unsigned threads[] = {1, 2, 3, 8, 64};
    for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
        w.sample.n_threads = threads[k];
        weirp_estimator *e = fitted(&w.sample, 2);
        weirp_writer bytes = {0};
        suite->save(e, &bytes);
        suite->free(e);
        assert_false(bytes.failed);
        assert_int_equal(suite->out_of_bag(&w.sample, k ? held_out : first, NULL), WEIR_OK);
        if (!k) {
            reference = bytes;
            continue;
        }
        assert_int_equal(bytes.size, reference.size);
        assert_memory_equal(bytes.data, reference.data, bytes.size);
        assert_memory_equal(held_out, first, size * sizeof *first);
        weirp_writer_free(&bytes);
    }
    weirp_writer_free(&reference);
    free(first), free(held_out);
    world_free(&w);
}

/* ---- learning ---- */

/* With a tree of one leaf, or of two, what an update does is known; nothing else may move. */
static void updates_move_their_own_leaf(void **state) {
    (void)state;
    world w = two_values(60, 3, 0.2, 281);
    w.target[0] = 0.4;
    weirp_estimator *e = fitted(&w.sample, 2);
    double *before = ask(e, &w.sample, NULL), want = 0;
    size_t learned = 0, split = 0;
    uint32_t bag[60];
    whole all = whole_of(&w.sample);
    int value = w.dense[learned] > 0.5f;
    bool spills = false; /* some tree has one leaf for both values */
    for (size_t t = 0; t < N_TREES; t++) {
        draw_bag(&w.sample, t, bag);
        double one[MOST_MODELS];
        tree_says(&w.sample, &all, bag, lambdas[2], value, one);
        side mine = side_of(&w.sample, bag, value), other = side_of(&w.sample, bag, !value);
        bool splits = mine.rows >= LEAST_LEAF && other.rows >= LEAST_LEAF;
        double n = mine.n[1] + (splits ? 0 : other.n[1]);
        want += (one[1] + 0.75 * (0.9 - one[1]) / (n + lambdas[2] + 0.75)) / N_TREES;
        split += splits;
        spills |= !splits;
    }
    assert_true(split > 200);
    weirp_features x = row_of(&w.sample, learned);
    assert_int_equal(suite->update(e, &x, 1, 0.9, 0.75, NULL), WEIR_OK);
    double *after = ask(e, &w.sample, NULL);
    for (size_t i = 0; i < 60; i++) {
        bool same = (w.dense[i] > 0.5f) == value;
        if (same) assert_true(fabs(after[i * 3 + 1] - want) < 1e-5);
        if (!same && !spills) assert_true(after[i * 3 + 1] == before[i * 3 + 1]);
        assert_true(after[i * 3] == before[i * 3] && after[i * 3 + 2] == before[i * 3 + 2]);
    }
    free(before), free(after);
    suite->free(e);
    world_free(&w);
}

/* Splits stay as fitted, so that learning isn't refitting; it goes the same way. */
static void learning_lessens_the_error(void **state) {
    (void)state;
    world w = world_new(1500, 4, 12, 0.2, 0.2, 0.3, 83, 0), test = world_new(300, 4, 12, 0.2, 0, 0, 83, 1000000);
    weirp_sample some = w.sample;
    some.n = 300;
    weirp_estimator *e = fitted(&some, 2);
    double *before = ask(e, &test.sample, NULL);
    for (size_t i = 300; i < 1500; i++)
        for (size_t m = 0; m < 4; m++) learn(e, &w.sample, i, m);
    double *after = ask(e, &test.sample, NULL);
    double was = mean_square(before, test.truth, 1200), is = mean_square(after, test.truth, 1200);
    print_message("forest: squared error %.5f at 300 rows, %.5f after learning 1200 more\n", was, is);
    assert_true(is < 0.95 * was);
    free(before), free(after);
    suite->free(e);
    world_free(&w);
    world_free(&test);
}

/* Rows on a line, far apart: an update at one end leaves the other end as it was, bit by bit. */
static void updates_stay_where_they_are(void **state) {
    (void)state;
    world w = world_new(200, 2, 16, 0, 0.1, 0, 291, 0);
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < 16; j++) w.dense[i * 16 + j] = (float)i;
        w.target[2 * i] += i < 100 ? 0 : 1;
    }
    weirp_estimator *e = fitted(&w.sample, 0);
    double *before = ask(e, &w.sample, NULL);
    weirp_features x = row_of(&w.sample, 3);
    for (int k = 0; k < 400; k++) assert_int_equal(suite->update(e, &x, 0, 0.6, 1, NULL), WEIR_OK);
    double *after = ask(e, &w.sample, NULL);
    assert_true(fabs(after[6] - 0.6) < 0.2 * fabs(before[6] - 0.6));
    for (size_t i = 190; i < 200; i++) assert_memory_equal(after + 2 * i, before + 2 * i, 2 * sizeof *after);
    for (size_t i = 0; i < 200; i++) assert_true(after[2 * i + 1] == before[2 * i + 1]);
    free(before), free(after);
    suite->free(e);
    world_free(&w);
}

static void newcomers_leave_the_others(void **state) {
    (void)state;
    world w = world_new(300, 3, 8, 0.2, 0.2, 0.2, 301, 0);
    weirp_estimator *e = fitted(&w.sample, 3);
    double *sd0, *q0 = ask(e, &w.sample, &sd0);
    for (size_t k = 4; k < 6; k++) {
        assert_int_equal(suite->add_model(e, NULL), WEIR_OK);
        assert_int_equal(e->n_models, k);
        double *sd, *q = ask(e, &w.sample, &sd);
        for (size_t i = 0; i < 300; i++) {
            assert_memory_equal(q + i * k, q0 + i * 3, 3 * sizeof *q);
            assert_memory_equal(sd + i * k, sd0 + i * 3, 3 * sizeof *q);
            /* it is the pool's mean, and says that it knows nothing */
            assert_true(fabs(q[i * k + 3] - (q[i * k] + q[i * k + 1] + q[i * k + 2]) / 3) < 1e-5);
            assert_true(sd[i * k + k - 1] >= 0.99);
        }
        free(q), free(sd);
    }
    weirp_features x = row_of(&w.sample, 0);
    double before = q0[0], q[5], scratch[16];
    assert_true(suite->scratch_size(e) <= sizeof scratch);
    for (int k = 0; k < 300; k++) assert_int_equal(suite->update(e, &x, 4, 0.9, 1, NULL), WEIR_OK);
    suite->predict(e, &x, scratch, q, NULL);
    assert_true(fabs(q[4] - 0.9) < 0.1);
    assert_true(q[0] == before);
    free(q0), free(sd0);
    suite->free(e);
    world_free(&w);
}

static void leavers_leave_the_others(void **state) {
    (void)state;
    world w = world_new(300, 3, 8, 0.2, 0.2, 0.2, 305, 0);
    weirp_estimator *e = fitted(&w.sample, 3);
    double *sd0, *q0 = ask(e, &w.sample, &sd0);
    assert_int_equal(suite->remove_model(e, 3, NULL), WEIR_INVALID);
    assert_int_equal(suite->remove_model(e, 1, NULL), WEIR_OK);
    assert_int_equal(e->n_models, 2);
    double *sd, *q = ask(e, &w.sample, &sd);
    for (size_t i = 0; i < 300; i++)
        for (size_t m = 0; m < 2; m++) {
            assert_true(q[i * 2 + m] == q0[i * 3 + 2 * m]);
            assert_true(sd[i * 2 + m] == sd0[i * 3 + 2 * m]);
        }
    free(q), free(sd), free(q0), free(sd0);
    suite->free(e);
    world_free(&w);
}

/* ---- bytes ---- */

static void bytes_are_the_forest(void **state) {
    (void)state;
    world w = world_new(300, 4, 10, 0.2, 0.2, 0.3, 311, 0);
    w.sample.lo = 0, w.sample.hi = 1;
    weirp_estimator *e = fitted(&w.sample, 4), *back = NULL;
    assert_int_equal(suite->add_model(e, NULL), WEIR_OK);
    for (size_t i = 0; i < 40; i++) learn(e, &w.sample, i, i % 4);
    weirp_writer bytes = {0}, again = {0};
    weirp_put_u32(&bytes, 42); /* it may begin anywhere */
    suite->save(e, &bytes);
    weirp_bytes r = {bytes.data, bytes.size, 4, false};
    weir_error err = {0};
    if (suite->load(&back, &r, &err) != WEIR_OK) fail_msg("load: %s", err.text);
    assert_int_equal(r.at, r.size);
    for (int round = 0; round < 2; round++) {
        double *sda, *sdb, *qa = ask(e, &w.sample, &sda), *qb = ask(back, &w.sample, &sdb);
        assert_memory_equal(qa, qb, 300 * 5 * sizeof *qa);
        assert_memory_equal(sda, sdb, 300 * 5 * sizeof *qa);
        free(qa), free(qb), free(sda), free(sdb);
        for (size_t i = 0; i < 40; i++) {
            weirp_features x = row_of(&w.sample, i);
            assert_int_equal(suite->update(e, &x, i % 5, 0.3, 1, NULL), WEIR_OK);
            assert_int_equal(suite->update(back, &x, i % 5, 0.3, 1, NULL), WEIR_OK);
        }
    }
    weirp_writer_free(&bytes);
    suite->save(e, &again);
    suite->save(back, &bytes);
    assert_int_equal(again.size, bytes.size);
    assert_memory_equal(again.data, bytes.data, bytes.size);
    weirp_writer_free(&again);
    weirp_writer_free(&bytes);
    suite->free(e);
    suite->free(back);
    world_free(&w);
}

/* One tampered byte: an error that says so, or a forest that walks, learns and grows without leaving its memory. */
static size_t try_damaged(const uint8_t *data, size_t size, const weirp_sample *s) {
    weirp_bytes r = {data, size, 0, false};
    weirp_estimator *e = NULL;
    weir_error err = {0};
    weir_status st = suite->load(&e, &r, &err);
    if (st != WEIR_OK) {
        assert_int_equal(st, WEIR_CORRUPT);
        assert_true(strlen(err.text) > 0);
        return 0;
    }
    if (e->dim == s->dim && e->n_models == s->n_models) {
        double q[16], sd[16];
        float scratch[16];
        for (size_t i = 0; i < s->n; i += 7) {
            weirp_features x = row_of(s, i);
            suite->predict(e, &x, scratch, q, sd);
            assert_int_equal(suite->update(e, &x, i % s->n_models, 0.5, 1, NULL), WEIR_OK);
        }
    }
    suite->free(e);
    return 1;
}

static void damage_is_no_crash(void **state) {
    (void)state;
    world w = world_new(24, 2, 3, 0.2, 0.2, 0.2, 321, 0);
    weirp_estimator *e = fitted(&w.sample, 2), *back = NULL;
    weirp_writer bytes = {0};
    suite->save(e, &bytes);
    assert_false(bytes.failed);
    for (size_t cut = 0; cut < bytes.size; cut += cut < 300 ? 1 : 97) {
        uint8_t *part = malloc(cut + 1); /* so that a sanitizer sees a read past the end */
        memcpy(part, bytes.data, cut);
        weirp_bytes r = {part, cut, 0, false};
        assert_int_equal(suite->load(&back, &r, NULL), WEIR_CORRUPT);
        free(part);
    }
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    size_t loaded = 0;
    for (size_t at = 0; at < bytes.size; at++)
        for (size_t k = 0; k < 3; k++) {
            bytes.data[at] ^= masks[k];
            loaded += try_damaged(bytes.data, bytes.size, &w.sample);
            bytes.data[at] ^= masks[k];
        }
    print_message("forest: %zu of %zu damaged copies could be read\n", loaded, 3 * bytes.size);
    assert_true(loaded > 0 && loaded < 3 * bytes.size);
    weirp_writer_free(&bytes);
    suite->free(e);
    world_free(&w);
}

int main(void) {
    suite = &weirp_forest_class;
    suite_setting = 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suite_is_registered),        cmocka_unit_test(suite_path_is_single_fits),
        cmocka_unit_test(suite_ignores_test_targets), cmocka_unit_test(suite_is_deterministic),
        cmocka_unit_test(suite_sd_is_optional),       cmocka_unit_test(suite_unseen_model_borrows),
        cmocka_unit_test(suite_few_outcomes_borrow),  cmocka_unit_test(trees_are_the_formulas),
        cmocka_unit_test(sd_is_the_held_out_error),   cmocka_unit_test(steps_are_recovered),
        cmocka_unit_test(noise_is_left_alone),        cmocka_unit_test(error_falls_with_rows),
        cmocka_unit_test(targets_that_never_vary),    cmocka_unit_test(odd_shapes_fit),
        cmocka_unit_test(threads_change_no_bit),      cmocka_unit_test(updates_move_their_own_leaf),
        cmocka_unit_test(learning_lessens_the_error), cmocka_unit_test(updates_stay_where_they_are),
        cmocka_unit_test(newcomers_leave_the_others), cmocka_unit_test(leavers_leave_the_others),
        cmocka_unit_test(bytes_are_the_forest),       cmocka_unit_test(damage_is_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
