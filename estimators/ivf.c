/* ivf.c: building, growing and searching the lists. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/ivf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "estimators/kernels.h"

enum {
    LIST_SIZE = 128, /* rows a list has after a fit, about */
    LIST_MAX = 256,  /* a list that is full is split */
    SAMPLE = 16384,  /* rows that centroids are found from */
    COARSE = 16,     /* clusters at the first of two levels */
    ITERATIONS = 8,
    BLOCK = 256,
    LEAST_SEEN = 512, /* rows that a search reads at least, where there are as many */
};

/* Squared distances of vectors of at most WEIRP_MAX_DIM such entries are below 2^32. */
#define LARGEST 127

static size_t columns_for(size_t n_models) {
    return (n_models + 2 + 7) / 8 * 8;
}

static size_t stride_for(size_t dim) {
    return (dim + 31) / 32 * 32;
}

/* The two columns that aren't a model's. */
static float *weight_of(const weirp_ivf *v, const weirp_list *l, size_t row) {
    return l->y + (row + 1) * v->columns - 2;
}

static float *deviation_of(const weirp_ivf *v, const weirp_list *l, size_t row) {
    return l->y + (row + 1) * v->columns - 1;
}

/* Rows that a search for k reads before it takes the nearest of them. */
static size_t enough(size_t k) {
    size_t n = 5 * k / 2;
    return n < LEAST_SEEN ? LEAST_SEEN : n;
}

/* ---- rows ---- */

/* x as integers, zeros past dim, both wide and narrow where those aren't NULL. Gives the squared length. */
static uint32_t quantise(const weirp_ivf *v, const float *x, int16_t *wide, int8_t *narrow) {
    uint32_t norm = 0;
    if (wide) memset(wide, 0, v->stride * sizeof *wide);
    if (narrow) memset(narrow, 0, v->stride * sizeof *narrow);
    for (size_t j = 0; j < v->dim; j++) {
        float steps = x[j] * v->scale;
        steps = steps > LARGEST ? LARGEST : steps < -LARGEST ? -LARGEST : steps;
        int step = (int)(steps + (steps < 0 ? -0.5f : 0.5f));
        norm += (uint32_t)(step * step);
        if (wide) wide[j] = (int16_t)step;
        if (narrow) narrow[j] = (int8_t)step;
    }
    return norm;
}

static void list_free(weirp_list *l) {
    free(l->x);
    free(l->norm);
    free(l->y);
}

static bool list_make(const weirp_ivf *v, weirp_list *l) {
    memset(l, 0, sizeof *l);
    l->x = weirp_aligned(LIST_MAX * v->stride, sizeof *l->x);
    l->norm = weirp_array(LIST_MAX, sizeof *l->norm);
    l->y = weirp_aligned(LIST_MAX * v->columns, sizeof *l->y);
    if (l->x && l->norm && l->y) return true;
    list_free(l);
    return false;
}

void weirp_ivf_free(weirp_ivf *v) {
    for (size_t i = 0; i < v->n_lists; i++) list_free(&v->lists[i]);
    free(v->lists);
    free(v->centroid);
    free(v->centroid_norm);
    memset(v, 0, sizeof *v);
}

/* One more list around a centroid; false: out of memory. */
static bool add_list(weirp_ivf *v, const float *centroid) {
    size_t n = v->n_lists;
    if (n + 1 > v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 16;
        weirp_list *lists = realloc(v->lists, capacity * sizeof *lists);
        if (lists) v->lists = lists;
        int8_t *c = weirp_aligned(capacity * v->stride, sizeof *c);
        uint32_t *norm = realloc(v->centroid_norm, capacity * sizeof *norm);
        if (norm) v->centroid_norm = norm;
        if (!lists || !c || !norm) {
            free(c);
            return false;
        }
        if (n) memcpy(c, v->centroid, n * v->stride * sizeof *c);
        free(v->centroid);
        v->centroid = c;
        v->capacity = capacity;
    }
    if (!list_make(v, &v->lists[n])) return false;
    v->centroid_norm[n] = quantise(v, centroid, NULL, v->centroid + n * v->stride);
    v->n_lists++;
    return true;
}

static void copy_row(const weirp_ivf *v, weirp_list *to, size_t at, const weirp_list *from, size_t row) {
    memcpy(to->x + at * v->stride, from->x + row * v->stride, v->stride * sizeof *to->x);
    memcpy(to->y + at * v->columns, from->y + row * v->columns, v->columns * sizeof *to->y);
    to->norm[at] = from->norm[row];
}

/* Splits a full list in two around two means of its rows; rows that are all alike are halved. */
static bool split(weirp_ivf *v, size_t index) {
    size_t dim = v->dim ? v->dim : 1;
    float *x = weirp_array(LIST_MAX * dim, sizeof *x), *mean = weirp_array(2 * dim, sizeof *mean);
    uint32_t *side = weirp_array(LIST_MAX, sizeof *side);
    bool ok = x && mean && side;
    size_t n = v->lists[index].n, right = 0;
    if (ok) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < v->dim; j++) x[i * dim + j] = (float)v->lists[index].x[i * v->stride + j] / v->scale;
        ok = weirp_kmeans(x, n, dim, 2, ITERATIONS, n, mean, side, NULL) == WEIR_OK && add_list(v, mean + dim);
    }
    if (ok) {
        for (size_t i = 0; i < n; i++) right += side[i];
        if (!right || right == n)
            for (size_t i = 0; i < n; i++) side[i] = i % 2;
        weirp_list *from = &v->lists[index], *to = &v->lists[v->n_lists - 1];
        v->centroid_norm[index] = quantise(v, mean, NULL, v->centroid + index * v->stride);
        from->n = 0;
        for (size_t i = 0; i < n; i++) {
            weirp_list *l = side[i] ? to : from;
            if (l != from || l->n != i) copy_row(v, l, l->n, from, i);
            l->n++;
        }
        v->last_list = v->last_row = SIZE_MAX;
    }
    free(x);
    free(mean);
    free(side);
    return ok;
}

static size_t nearest_list(const weirp_ivf *v, const int16_t *x) {
    size_t best = 0;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < v->n_lists; i += BLOCK) {
        int32_t dot[BLOCK];
        size_t n = v->n_lists - i < BLOCK ? v->n_lists - i : BLOCK;
        weirp_rows_dot_i8(v->centroid + i * v->stride, n, v->stride, x, dot);
        for (size_t k = 0; k < n; k++) {
            int64_t d = (int64_t)v->centroid_norm[i + k] - 2 * (int64_t)dot[k];
            if (d < least) least = d, best = i + k;
        }
    }
    return best;
}

/* An empty place in a list, which is split first where it is full; SIZE_MAX: out of memory. Past the most rows, the
 * place of another row of that list. `list` is where x belongs, then where the place is. */
static size_t place(weirp_ivf *v, const int16_t *x, size_t *list) {
    weirp_list *l = &v->lists[*list];
    if (v->n_rows >= WEIRP_IVF_MAX_ROWS && l->n)
        return (size_t)(weirp_random_u64(0x69766600, 0, v->n_replaced++) % l->n);
    if (l->n == LIST_MAX) {
        if (!split(v, *list)) return SIZE_MAX;
        *list = nearest_list(v, x);
        l = &v->lists[*list];
        if (l->n == LIST_MAX) { /* the nearest is another full one */
            if (!split(v, *list)) return SIZE_MAX;
            *list = nearest_list(v, x);
            l = &v->lists[*list];
            if (l->n == LIST_MAX) *list = v->n_lists - 1, l = &v->lists[*list];
        }
    }
    v->n_rows++;
    return l->n++;
}

/* ---- fitting ---- */

static bool row_seen(const weirp_sample *s, size_t row) {
    for (size_t m = 0; m < s->n_models; m++)
        if (weirp_seen(s->target[row * s->n_models + m])) return true;
    return false;
}

/* Centroids in two levels: COARSE clusters of a sample, then as many in each as its share calls for. x: (n, dim) in
 * random order. */
static weir_status find_centroids(weirp_ivf *v, const float *x, size_t n, size_t wanted, uint64_t seed,
                                  weir_error *err) {
    size_t dim = v->dim, coarse = wanted < COARSE ? wanted : COARSE, most = wanted + coarse;
    float *mean = weirp_array(most * dim, sizeof *mean), *part = weirp_array(n * dim, sizeof *part);
    uint32_t *side = weirp_array(n, sizeof *side);
    weir_status st = mean && part && side ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_kmeans(x, n, dim, coarse, ITERATIONS, seed, mean, side, err);
    for (size_t c = 0; c < coarse && st == WEIR_OK; c++) {
        size_t members = 0;
        for (size_t i = 0; i < n; i++)
            if (side[i] == c) memcpy(part + members++ * dim, x + i * dim, dim * sizeof *part);
        size_t k = (members * wanted + n / 2) / n;
        if (!members) continue;
        if (!k) k = 1;
        st = weirp_kmeans(part, members, dim, k, ITERATIONS, seed + c + 1, mean, NULL, err);
        for (size_t i = 0; i < k && st == WEIR_OK; i++)
            if (!add_list(v, mean + i * dim)) st = weirp_nomem(err);
    }
    free(mean);
    free(part);
    free(side);
    return st;
}

/* Rows with outcomes, at most MAX_ROWS of them, in random order. */
static size_t *choose_rows(const weirp_sample *s, size_t *n) {
    size_t *order = weirp_array(s->n, sizeof *order);
    *n = 0;
    for (size_t i = 0; order && i < s->n; i++)
        if (row_seen(s, i)) order[(*n)++] = i;
    if (order) weirp_shuffle(order, *n, s->seed);
    if (*n > WEIRP_IVF_MAX_ROWS) *n = WEIRP_IVF_MAX_ROWS;
    return order;
}

static void choose_scale(weirp_ivf *v, const weirp_sample *s) {
    float largest = 0;
    for (size_t i = 0; i < s->n * s->dim; i++) largest = fmaxf(largest, fabsf(s->dense[i]));
    v->scale = largest > 1e-30f ? LARGEST / largest : LARGEST;
}

static double deviation(const weirp_levels *l, const float *y) {
    double sum = 0, n = 0;
    for (size_t m = 0; m < l->n_models; m++)
        if (weirp_seen(y[m])) sum += y[m] - l->mean[m], n++;
    return n > 0 ? sum / n : 0;
}

/* Puts a row without outcomes where it belongs; false: out of memory. wide: (stride) work. */
static bool insert(weirp_ivf *v, const float *x, float weight, int16_t *wide, size_t *list, size_t *at) {
    uint32_t norm = quantise(v, x, wide, NULL);
    *list = nearest_list(v, wide);
    *at = place(v, wide, list);
    if (*at == SIZE_MAX) return false;
    weirp_list *l = &v->lists[*list];
    for (size_t j = 0; j < v->stride; j++) l->x[*at * v->stride + j] = (int8_t)wide[j];
    for (size_t m = 0; m < v->columns; m++) l->y[*at * v->columns + m] = NAN;
    l->norm[*at] = norm;
    *weight_of(v, l, *at) = weight;
    *deviation_of(v, l, *at) = 0;
    return true;
}

static weir_status insert_rows(weirp_ivf *v, const weirp_sample *s, const weirp_levels *l, const size_t *order,
                               size_t n, weir_error *err) {
    int16_t *wide = weirp_aligned(v->stride, sizeof *wide);
    weir_status st = wide ? WEIR_OK : weirp_nomem(err);
    for (size_t i = 0; i < n && st == WEIR_OK; i++) {
        size_t list, at;
        if (!insert(v, s->dense + order[i] * s->dim, 1, wide, &list, &at)) {
            st = weirp_nomem(err);
            break;
        }
        weirp_list *to = &v->lists[list];
        for (size_t m = 0; m < s->n_models; m++) {
            double t = s->target[order[i] * s->n_models + m];
            if (weirp_seen(t)) to->y[at * v->columns + m] = (float)(t - l->offset);
        }
        *deviation_of(v, to, at) = (float)deviation(l, to->y + at * v->columns);
    }
    free(wide);
    return st;
}

weir_status weirp_ivf_fit(weirp_ivf *v, const weirp_sample *s, const weirp_levels *l, weir_error *err) {
    memset(v, 0, sizeof *v);
    v->dim = s->dim;
    v->stride = stride_for(s->dim);
    v->n_models = s->n_models;
    v->columns = columns_for(s->n_models);
    v->last_list = v->last_row = SIZE_MAX;
    choose_scale(v, s);
    size_t n = 0, *order = choose_rows(s, &n), some = n < SAMPLE ? n : SAMPLE;
    float *x = weirp_array(some * s->dim + 1, sizeof *x), *nowhere = weirp_array(s->dim, sizeof *nowhere);
    weir_status st = order && x && nowhere ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK && n > LIST_MAX && s->dim) {
        for (size_t i = 0; i < some; i++) memcpy(x + i * s->dim, s->dense + order[i] * s->dim, s->dim * sizeof *x);
        st = find_centroids(v, x, some, (n + LIST_SIZE - 1) / LIST_SIZE, s->seed, err);
    } else if (st == WEIR_OK && !add_list(v, nowhere)) {
        st = weirp_nomem(err);
    }
    if (st == WEIR_OK) st = insert_rows(v, s, l, order, n, err);
    free(order);
    free(x);
    free(nowhere);
    if (st != WEIR_OK) weirp_ivf_free(v);
    return st;
}

/* ---- searching ---- */

static size_t most_seen(const weirp_ivf *v, size_t k) {
    size_t n = enough(k) + LIST_MAX;
    return v->probe_all || n > v->n_rows ? v->n_rows : n;
}

size_t weirp_ivf_scratch_size(const weirp_ivf *v, size_t k) {
    size_t seen = weirp_padded(most_seen(v, k)), lists = weirp_padded(v->n_lists);
    return v->stride * sizeof(int16_t) + 3 * weirp_padded(v->columns) * sizeof(float) +
           (3 * seen + 3 * lists + 2 * LIST_MAX) * sizeof(uint32_t);
}

void weirp_ivf_begin(const weirp_ivf *v, const float *x, void *scratch, weirp_near *near) {
    size_t lists = weirp_padded(v->n_lists), columns = weirp_padded(v->columns);
    memset(near, 0, sizeof *near);
    int16_t *q = scratch;
    near->count = (float *)(q + v->stride);
    near->sum = near->count + columns;
    near->square = near->sum + columns;
    near->centroid_distance = (uint32_t *)(near->square + columns);
    near->order = near->centroid_distance + lists;
    near->dot = (int32_t *)(near->order + lists);
    near->chosen = (uint32_t *)(near->dot + LIST_MAX);
    near->distance = near->chosen + lists;
    near->norm = quantise(v, x, q, NULL);
    near->x = q;
    for (size_t i = 0; i < v->n_lists; i += LIST_MAX) {
        size_t n = v->n_lists - i < LIST_MAX ? v->n_lists - i : LIST_MAX;
        weirp_rows_dot_i8(v->centroid + i * v->stride, n, v->stride, q, near->dot);
        for (size_t k = 0; k < n; k++)
            near->centroid_distance[i + k] = near->norm + v->centroid_norm[i + k] - 2 * (uint32_t)near->dot[k];
    }
    for (size_t i = 0; i < v->n_lists; i++) near->order[i] = (uint32_t)i;
}

/* Rows to come, all under way at once; into the second-level cache, for the first has too few places. */
static void send_for(const void *from, size_t bytes) {
    enum { LINE = 64 };
    for (size_t at = 0; at < bytes; at += LINE) __builtin_prefetch((const char *)from + at, 0, 2);
}

/* Chooses the next nearest list, and sends for its rows. */
static void choose_list(const weirp_ivf *v, weirp_near *near) {
    size_t at = near->n_probed++;
    uint32_t *d = near->centroid_distance;
    size_t best = at + weirp_first_smallest(d + at, v->n_lists - at);
    uint32_t t = d[at], o = near->order[at];
    d[at] = d[best], near->order[at] = near->order[best];
    d[best] = t, near->order[best] = o;
    const weirp_list *l = &v->lists[near->order[at]];
    send_for(l->x, l->n * v->stride * sizeof *l->x);
    send_for(l->norm, l->n * sizeof *l->norm);
    near->n_seen += l->n;
}

/* Distances to the rows of a list. */
static void measure_list(const weirp_ivf *v, const weirp_list *l, const weirp_near *near, uint32_t *distance) {
    weirp_rows_dot_i8(l->x, l->n, v->stride, near->x, near->dot);
    for (size_t i = 0; i < l->n; i++) distance[i] = near->norm + l->norm[i] - 2 * (uint32_t)near->dot[i];
}

/* The rows of one list that are nearer than `limit`, and the first `*equal` that are just so far, which then says how
 * many of those are still to come. Gives their number. */
static size_t choose_rows_of(const weirp_list *l, const uint32_t *distance, uint32_t limit, size_t *equal,
                             uint32_t *slot) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) { /* without branches: half of them would go wrong */
        slot[n] = (uint32_t)i;
        n += distance[i] < limit;
    }
    for (size_t i = 0; i < l->n && *equal; i++) {
        if (distance[i] != limit) continue;
        slot[n++] = (uint32_t)i;
        --*equal;
    }
    return n;
}

/* Adds the k nearest of the rows seen; all of their outcomes are sent for before the first is read. */
static void add_nearest(const weirp_ivf *v, size_t k, weirp_near *near) {
    const uint32_t *distance = near->distance;
    uint32_t limit = UINT32_MAX, *work = near->distance + near->n_seen, *slot = work + near->n_seen;
    size_t equal = k;
    if (near->n_seen > k) {
        limit = weirp_kth_smallest(distance, near->n_seen, k, work);
        for (size_t i = 0; i < near->n_seen; i++) equal -= distance[i] < limit;
    }
    for (size_t i = 0; i < near->n_probed; i++) {
        const weirp_list *l = &v->lists[near->order[i]];
        size_t n = choose_rows_of(l, distance, limit, &equal, slot);
        for (size_t j = 0; j < n; j++) __builtin_prefetch(l->y + slot[j] * v->columns, 0, 2);
        distance += l->n;
        slot += n;
        near->chosen[i] = (uint32_t)n;
    }
    slot = work + near->n_seen;
    for (size_t i = 0; i < near->n_probed; slot += near->chosen[i++])
        weirp_rows_gather(v->lists[near->order[i]].y, v->columns, slot, near->chosen[i], near->count, near->sum,
                          near->square);
}

void weirp_ivf_gather(const weirp_ivf *v, size_t k, weirp_near *near) {
    size_t wanted = v->probe_all ? SIZE_MAX : enough(k), from = near->n_probed;
    uint32_t *distance = near->distance + near->n_seen;
    while (near->n_probed < v->n_lists && near->n_seen < wanted) choose_list(v, near);
    for (; from < near->n_probed; from++) {
        const weirp_list *l = &v->lists[near->order[from]];
        measure_list(v, l, near, distance);
        distance += l->n;
    }
    near->weight = near->deviation = 0;
    memset(near->count, 0, 3 * weirp_padded(v->columns) * sizeof *near->count);
    if (!near->n_seen) return;
    add_nearest(v, k, near);
    near->weight = near->count[v->columns - 1]; /* a deviation is never missing */
    near->deviation = near->sum[v->columns - 1];
}

/* ---- learning ---- */

/* Whether the last row is this prompt with this weight, and has no outcome of `model` yet. */
static bool fills_last(const weirp_ivf *v, const int16_t *wide, size_t model, float weight) {
    if (v->last_list >= v->n_lists) return false;
    const weirp_list *l = &v->lists[v->last_list];
    size_t at = v->last_row;
    if (*weight_of(v, l, at) != weight || weirp_seen(l->y[at * v->columns + model])) return false;
    for (size_t j = 0; j < v->stride; j++)
        if (l->x[at * v->stride + j] != wide[j]) return false;
    return true;
}

weir_status weirp_ivf_add(weirp_ivf *v, const float *x, size_t model, double y, double weight, weir_error *err) {
    int16_t *wide = weirp_aligned(v->stride, sizeof *wide);
    if (!wide) return weirp_nomem(err);
    weir_status st = WEIR_OK;
    size_t list = v->last_list, at = v->last_row;
    quantise(v, x, wide, NULL);
    if (!fills_last(v, wide, model, (float)weight) && !insert(v, x, (float)weight, wide, &list, &at))
        st = weirp_nomem(err);
    free(wide);
    if (st != WEIR_OK) return st;
    v->last_list = list;
    v->last_row = at;
    v->lists[list].y[at * v->columns + model] = (float)y;
    return WEIR_OK;
}

void weirp_ivf_settle_last(weirp_ivf *v, const weirp_levels *levels) {
    if (v->last_list >= v->n_lists) return;
    weirp_list *l = &v->lists[v->last_list];
    *deviation_of(v, l, v->last_row) = (float)deviation(levels, l->y + v->last_row * v->columns);
}

weir_status weirp_ivf_add_model(weirp_ivf *v, weir_error *err) {
    size_t columns = columns_for(v->n_models + 1);
    if (columns != v->columns) { /* all or none */
        float **grown = weirp_array(v->n_lists, sizeof *grown);
        bool room = grown != NULL;
        for (size_t i = 0; room && i < v->n_lists; i++)
            room = (grown[i] = weirp_aligned(LIST_MAX * columns, sizeof **grown)) != NULL;
        for (size_t i = 0; grown && i < v->n_lists; i++) {
            weirp_list *l = &v->lists[i];
            if (!room) {
                free(grown[i]);
                continue;
            }
            for (size_t row = 0; row < l->n; row++) {
                float *to = grown[i] + row * columns;
                for (size_t m = 0; m < columns; m++) to[m] = m < v->n_models ? l->y[row * v->columns + m] : NAN;
                to[columns - 2] = *weight_of(v, l, row);
                to[columns - 1] = *deviation_of(v, l, row);
            }
            free(l->y);
            l->y = grown[i];
        }
        free(grown);
        if (!room) return weirp_nomem(err);
        v->columns = columns;
    }
    v->n_models++;
    return WEIR_OK;
}

void weirp_ivf_remove_model(weirp_ivf *v, size_t index) {
    for (size_t i = 0; i < v->n_lists; i++)
        for (size_t row = 0; row < v->lists[i].n; row++) {
            float *y = v->lists[i].y + row * v->columns;
            weirp_take_out(y, v->n_models, index, sizeof *y);
            y[v->n_models - 1] = NAN;
        }
    v->n_models--;
}

/* ---- storing ---- */

void weirp_ivf_save(const weirp_ivf *v, weirp_writer *w) {
    weirp_put_f64(w, (double)v->scale);
    weirp_put_u64(w, v->n_replaced);
    weirp_put_u64(w, v->last_list);
    weirp_put_u64(w, v->last_row);
    weirp_put_u64(w, v->columns);
    weirp_put_u64(w, v->n_lists);
    for (size_t i = 0; i < v->n_lists; i++) {
        const weirp_list *l = &v->lists[i];
        weirp_put_u64(w, l->n);
        weirp_put_u8s(w, v->centroid + i * v->stride, v->stride);
        weirp_put_u8s(w, l->x, l->n * v->stride);
        weirp_put_f32s(w, l->y, l->n * v->columns);
    }
}

/* Reads n items of `size` bytes into memory that is there. */
static void get_into(weirp_bytes *r, void *to, size_t n, size_t size) {
    if (weirp_get_u64(r) != n) r->failed = true;
    if (!r->failed && n) weirp_get(r, to, n * size);
}

/* Squared length of a row; false where an entry is out of range or not zero past dim. */
static bool measure(const weirp_ivf *v, const int8_t *x, uint32_t *norm) {
    *norm = 0;
    for (size_t j = 0; j < v->stride; j++) {
        if (x[j] < -LARGEST || (j >= v->dim && x[j])) return false;
        *norm += (uint32_t)((int)x[j] * x[j]);
    }
    return true;
}

static bool load_list(weirp_ivf *v, weirp_bytes *r, size_t index) {
    weirp_list *l = &v->lists[index];
    int8_t *centroid = v->centroid + index * v->stride;
    uint64_t n = weirp_get_u64(r);
    if (n > LIST_MAX) r->failed = true;
    if (r->failed) return false;
    get_into(r, centroid, v->stride, 1);
    get_into(r, l->x, (size_t)n * v->stride, 1);
    get_into(r, l->y, (size_t)n * v->columns, sizeof(float));
    if (r->failed || !measure(v, centroid, &v->centroid_norm[index])) return false;
    for (size_t i = 0; i < n; i++) {
        float weight = *weight_of(v, l, i), away = *deviation_of(v, l, i);
        if (!measure(v, l->x + i * v->stride, &l->norm[i])) return false;
        if (!(weight > 0) || !isfinite(weight) || !isfinite(away)) return false;
        for (size_t m = 0; m + 2 < v->columns; m++) {
            float y = l->y[i * v->columns + m];
            if (isinf(y) || (m >= v->n_models && !isnan(y))) return false;
        }
    }
    l->n = (size_t)n;
    v->n_rows += l->n;
    return true;
}

bool weirp_ivf_load(weirp_ivf *v, weirp_bytes *r, size_t dim, size_t n_models) {
    memset(v, 0, sizeof *v);
    v->dim = dim;
    v->stride = stride_for(dim);
    v->n_models = n_models;
    v->scale = (float)weirp_get_f64(r);
    v->n_replaced = weirp_get_u64(r);
    v->last_list = (size_t)weirp_get_u64(r);
    v->last_row = (size_t)weirp_get_u64(r);
    uint64_t columns = weirp_get_u64(r), n_lists = weirp_get_u64(r);
    float *nowhere = r->failed ? NULL : weirp_array(dim, sizeof *nowhere);
    bool ok = nowhere && v->scale > 0 && isfinite(v->scale) && columns >= n_models + 2 && columns % 8 == 0 &&
              columns <= WEIRP_MAX_MODELS + 16 && n_lists >= 1;
    v->columns = ok ? (size_t)columns : 0;
    for (uint64_t i = 0; ok && i < n_lists; i++) { /* a list holds bytes, so that memory follows what is there */
        ok = r->size - r->at >= 6 * sizeof(uint64_t) && add_list(v, nowhere) && load_list(v, r, (size_t)i) &&
             v->n_rows <= WEIRP_IVF_MAX_ROWS;
    }
    if (ok && v->last_list != SIZE_MAX) ok = v->last_list < v->n_lists && v->last_row < v->lists[v->last_list].n;
    free(nowhere);
    if (!ok) r->failed = true;
    return ok;
}
