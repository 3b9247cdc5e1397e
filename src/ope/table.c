/* table.c: rows of a log into blocks. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/table_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "src/base/words.h"

enum { N_SLOTS = 2 * WEIRP_MAX_CLUSTERS };

/* False: out of memory. */
static bool add_trial(weirp_ope_table *t, const char *name, uint64_t digest) {
    if (!weirp_reserve((void **)&t->trial, &t->trial_capacity, t->n_trials + 1, sizeof *t->trial)) return false;
    t->trial[t->n_trials++] = (weirp_ope_trial){
        .name = name, .digest = digest, .first_ms = WEIRP_LOGGED_NO_TIME, .last_ms = WEIRP_LOGGED_NO_TIME};
    return true;
}

weir_status weirp_ope_table_new(weirp_ope_table **out, weir_error *err) {
    weirp_ope_table *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t) return weirp_nomem(err);
    t->last_ms = WEIRP_LOGGED_NO_TIME;
    t->told = true;
    weirp_blocks_init(&t->blocks);
    t->slot = calloc(N_SLOTS, sizeof *t->slot);
    if (!t->slot || !add_trial(t, "", 0)) {
        weirp_ope_table_free(t);
        return weirp_nomem(err);
    }
    *out = t;
    return WEIR_OK;
}

void weirp_ope_table_free(weirp_ope_table *t) {
    if (!t) return;
    weirp_names_free(&t->models);
    weirp_names_free(&t->segments);
    weirp_names_free(&t->loggers);
    weirp_names_free(&t->trial_names);
    free(t->trial);
    free(t->logger_rows);
    free(t->by_logger);
    free(t->slot);
    weirp_writer_free(&t->block);
    weirp_blocks_free(&t->blocks);
    free(t);
}

/* ---- names ---- */

weir_status weirp_ope_table_model(weirp_ope_table *t, const char *name, size_t *index, weir_error *err) {
    bool added;
    size_t len = strlen(name);
    char shown[64];
    *index = weirp_names_find(&t->models, name, len);
    if (*index != WEIRP_NO_NAME) return WEIR_OK;
    if (t->models.n >= WEIR_MAX_MODELS)
        return weirp_fail(err, WEIR_INVALID, 0, "model \"%s\" is one of more than %d different ones in the logs",
                          weirp_excerpt(shown, sizeof shown, name, len), WEIR_MAX_MODELS);
    *index = weirp_names_add(&t->models, name, len, &added);
    return *index == WEIRP_NO_NAME ? weirp_nomem(err) : WEIR_OK;
}

/* Rows repeat their neighbours' texts mostly, and there are few of them. */
static weir_status intern(weirp_names *names, const char *what, const weirp_logged_row *row, const char *text,
                          uint32_t *index, weir_error *err) {
    bool added;
    char shown[64];
    size_t len = strlen(text), i = weirp_names_find(names, text, len);
    if (i == WEIRP_NO_NAME && names->n >= WEIRP_MAX_TEXTS)
        return weirp_fail(err, WEIR_INVALID, row->line,
                          "%s:%zu: %s \"%s\" is one of more than %d different ones: choose a coarser column", row->file,
                          row->line, what, weirp_excerpt(shown, sizeof shown, text, len), WEIRP_MAX_TEXTS);
    if (i == WEIRP_NO_NAME) i = weirp_names_add(names, text, len, &added);
    if (i == WEIRP_NO_NAME) return weirp_nomem(err);
    *index = (uint32_t)i;
    return WEIR_OK;
}

/* Index of the row's rollout; those beyond a bound are taken for one. */
static weir_status find_trial(weirp_ope_table *t, const weirp_logged_row *row, uint16_t *index, weir_error *err) {
    enum { DIGEST = sizeof row->trial_digest, LONGEST = 255 };
    char key[DIGEST + LONGEST];
    bool added;
    *index = 0;
    if (!row->target || !row->trial || !*row->trial) return WEIR_OK;
    const size_t len = strnlen(row->trial, LONGEST);
    memcpy(key, &row->trial_digest, DIGEST);
    memcpy(key + DIGEST, row->trial, len);
    size_t i = weirp_names_find(&t->trial_names, key, DIGEST + len);
    if (i == WEIRP_NO_NAME && t->n_trials == WEIRP_MAX_TEXTS) {
        t->more_trials = true;
        i = t->trial_names.n - 1;
    } else if (i == WEIRP_NO_NAME) {
        i = weirp_names_add(&t->trial_names, key, DIGEST + len, &added);
        if (i == WEIRP_NO_NAME || !add_trial(t, t->trial_names.text[i] + DIGEST, row->trial_digest))
            return weirp_nomem(err);
    }
    *index = (uint16_t)(i + 1);
    return WEIR_OK;
}

static void note_trial(weirp_ope_trial *trial, int64_t ms) {
    trial->n_rows++;
    if (ms == WEIRP_LOGGED_NO_TIME) return;
    if (trial->first_ms == WEIRP_LOGGED_NO_TIME || ms < trial->first_ms) trial->first_ms = ms;
    if (ms > trial->last_ms) trial->last_ms = ms; /* NO_TIME is the least there is */
}

/* ---- clusters ---- */

static size_t slot_of(const weirp_ope_table *t, uint64_t hash) {
    size_t i = (size_t)hash % N_SLOTS;
    while (t->slot[i].cluster && t->slot[i].hash != hash) i = (i + 1) % N_SLOTS;
    return i;
}

/* Sessions are told apart by 64 bits of hash. */
static uint32_t cluster_of(weirp_ope_table *t, const char *session) {
    if (!*session) {
        if (t->n_clusters < WEIRP_MAX_CLUSTERS) return (uint32_t)t->n_clusters++;
        return (uint32_t)(weirp_mix64(t->n) % WEIRP_MAX_CLUSTERS);
    }
    uint64_t hash = XXH3_64bits(session, strlen(session));
    size_t i = slot_of(t, hash);
    if (t->slot[i].cluster) {
        t->has_sessions = true;
        return t->slot[i].cluster - 1;
    }
    if (t->n_clusters < WEIRP_MAX_CLUSTERS) {
        t->slot[i].hash = hash;
        t->slot[i].cluster = (uint32_t)++t->n_clusters;
        return t->slot[i].cluster - 1;
    }
    t->has_sessions = true;
    return (uint32_t)(weirp_mix64(hash) % WEIRP_MAX_CLUSTERS);
}

/* ---- rows ---- */

static const double *model_array(const weirp_logged_row *row, size_t which) {
    const double *const arrays[WEIRP_PACKED_MODELS] = {row->propensity, row->target, row->quality_hat, row->cost_hat};
    return arrays[which];
}

/* The row's array in the order of the table's models: what the row doesn't tell of can't be chosen, where it told of
 * chances at all, and isn't known otherwise. */
static void put_array(uint8_t *out, size_t which, const double *v, size_t n, const size_t *model, size_t n_packed) {
    double missing = which < 2 ? 0 : NAN;
    for (size_t m = 0; m < n_packed; m++) memcpy(out + m * sizeof missing, &missing, sizeof missing);
    for (size_t m = 0; m < n; m++)
        if (model[m] != WEIRP_NO_NAME) memcpy(out + model[m] * sizeof *v, &v[m], sizeof *v);
}

static weir_status flush(weirp_ope_table *t, weir_error *err) {
    if (!t->block.size) return WEIR_OK;
    weir_status st = weirp_blocks_add(&t->blocks, t->block.data, t->block.size, err);
    t->block.size = 0;
    return st;
}

/* Chances under each policy, in the table's order of policies: the log has its own. NAN: not told. */
static weir_status sort_by_logger(weirp_ope_table *t, const weirp_logged_row *row, uint16_t *n, weir_error *err) {
    uint32_t at;
    for (size_t l = 0; row->loggers && l < row->n_loggers; l++) {
        weir_status st = intern(&t->loggers, "logger", row, row->loggers[l], &at, err);
        if (st != WEIR_OK) return st;
    }
    *n = (uint16_t)(row->loggers ? t->loggers.n : row->n_loggers);
    if (!weirp_reserve((void **)&t->by_logger, &t->by_logger_capacity, *n, sizeof *t->by_logger))
        return weirp_nomem(err);
    for (size_t l = 0; l < *n; l++) t->by_logger[l] = row->loggers ? NAN : row->by_logger[l];
    for (size_t l = 0; row->loggers && l < row->n_loggers; l++)
        t->by_logger[weirp_names_find(&t->loggers, row->loggers[l], strlen(row->loggers[l]))] = row->by_logger[l];
    return WEIR_OK;
}

static weir_status pack(weirp_ope_table *t, const weirp_packed *head, const weirp_logged_row *row, size_t n_models,
                        const size_t *model, weir_error *err) {
    size_t size = sizeof *head, floats = (head->dim + 1) / 2 * 8, one = head->n_models * sizeof(double);
    for (size_t i = 0; i < WEIRP_PACKED_MODELS; i++)
        if (head->has >> i & 1) size += one;
    size += head->n_loggers * sizeof(double) + floats;
    if (!weirp_reserve((void **)&t->block.data, &t->block.capacity, t->block.size + size, 1)) return weirp_nomem(err);
    uint8_t *at = t->block.data + t->block.size;
    t->block.size += size;
    memcpy(at, head, sizeof *head);
    at += sizeof *head;
    for (size_t i = 0; i < WEIRP_PACKED_MODELS; i++) {
        if (!(head->has >> i & 1)) continue;
        put_array(at, i, model_array(row, i), n_models, model, head->n_models);
        at += one;
    }
    if (head->n_loggers) memcpy(at, t->by_logger, head->n_loggers * sizeof(double));
    at += head->n_loggers * sizeof(double);
    if (head->dim) {
        memset(at, 0, floats);
        memcpy(at, row->dense, head->dim * sizeof(float));
    }
    return WEIR_OK;
}

static void note_metrics(weirp_ope_table *t, const double *metric, bool decided) {
    for (size_t i = 0; i < WEIR_N_METRICS; i++) {
        const bool loss = i == WEIR_METRIC_LOSS;
        if (loss ? isnan(metric[WEIR_METRIC_QUALITY]) || isnan(metric[WEIR_METRIC_COST]) : isnan(metric[i])) continue;
        t->mentioned |= 1u << i;
        t->known[i] += decided;
    }
    t->n_decided += decided;
}

static weir_status note_logger(weirp_ope_table *t, uint32_t logger, bool decided, weir_error *err) {
    size_t before = t->logger_rows_capacity;
    if (!weirp_reserve((void **)&t->logger_rows, &t->logger_rows_capacity, t->loggers.n, sizeof *t->logger_rows))
        return weirp_nomem(err);
    for (; before < t->logger_rows_capacity; before++) t->logger_rows[before] = 0;
    t->logger_rows[logger] += decided;
    return WEIR_OK;
}

weir_status weirp_ope_table_add(weirp_ope_table *t, const weirp_logged_row *row, size_t n_models, const size_t *model,
                                weir_error *err) {
    weirp_packed head = {.time_ms = row->time_ms,
                         .training = row->training,
                         .p = row->p,
                         .chosen = (uint32_t)model[row->chosen],
                         .flags = row->flags};
    const bool decided = !(row->flags & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED));
    size_t last = 0;
    weir_status st;
    WEIRP_TRY(intern(&t->segments, "segment", row, row->segment, &head.segment, err));
    WEIRP_TRY(intern(&t->loggers, "logger", row, row->logger, &head.logger, err));
    for (size_t i = 0; i < WEIRP_PACKED_MODELS; i++)
        if (model_array(row, i)) head.has |= (uint16_t)(1u << i);
    for (size_t m = 0; head.has && m < n_models; m++)
        if (model[m] + 1 > last) last = model[m] + 1;
    head.n_models = (uint16_t)last;
    if (row->by_logger) {
        WEIRP_TRY(sort_by_logger(t, row, &head.n_loggers, err));
        head.has |= WEIRP_PACKED_BY_LOGGER;
    }
    WEIRP_TRY(note_logger(t, head.logger, decided, err));
    WEIRP_TRY(find_trial(t, row, &head.trial, err));
    if (row->dense && !t->dim_known) {
        t->dim = row->dim;
        t->dim_known = true;
    }
    if (row->dense && row->dim && row->dim == t->dim) {
        head.dim = (uint32_t)row->dim;
        head.has |= WEIRP_PACKED_DENSE;
    }
    memcpy(head.metric, row->metric, sizeof head.metric);
    if (decided) head.cluster = cluster_of(t, row->session); /* what nobody decided is no observation, of no session */
    WEIRP_TRY(pack(t, &head, row, n_models, model, err));
    note_metrics(t, row->metric, decided);
    if (decided && row->target) note_trial(&t->trial[head.trial], row->time_ms);
    if (row->time_ms > t->last_ms) t->last_ms = row->time_ms; /* NO_TIME is the least there is */
    if (head.n_loggers > t->n_loggers) t->n_loggers = head.n_loggers;
    t->has |= head.has;
    t->told &= !decided || head.has & WEIRP_PACKED_PROPENSITY || head.p == 1;
    t->n++;
    if (t->n % WEIRP_BLOCK_ROWS == 0) WEIRP_TRY(flush(t, err));
done:
    return st;
}

weir_status weirp_ope_table_finish(weirp_ope_table *t, double value_usd, weir_error *err) {
    weir_status st = flush(t, err);
    if (!(value_usd > 0)) {
        t->known[WEIR_METRIC_LOSS] = 0;
        t->mentioned &= ~(1u << WEIR_METRIC_LOSS);
    }
    if (t->n && !t->n_clusters) t->n_clusters = 1; /* rows that nobody decided are said to be of the first */
    t->value_usd = value_usd;
    t->finished = true;
    weirp_writer_free(&t->block);
    return st;
}

/* ---- what it holds ---- */

size_t weirp_ope_table_n(const weirp_ope_table *t) {
    return t->n;
}

size_t weirp_ope_table_n_decided(const weirp_ope_table *t) {
    return t->n_decided;
}

size_t weirp_ope_table_n_models(const weirp_ope_table *t) {
    return t->models.n;
}

const char *weirp_ope_table_model_name(const weirp_ope_table *t, size_t index) {
    return t->models.text[index];
}

size_t weirp_ope_table_n_segments(const weirp_ope_table *t) {
    return t->segments.n;
}

const char *weirp_ope_table_segment(const weirp_ope_table *t, size_t index) {
    return t->segments.text[index];
}

size_t weirp_ope_table_n_loggers(const weirp_ope_table *t) {
    return t->loggers.n;
}

size_t weirp_ope_table_logger_rows(const weirp_ope_table *t, size_t index) {
    return t->logger_rows[index];
}

size_t weirp_ope_table_n_trials(const weirp_ope_table *t) {
    return t->n_trials;
}

const weirp_ope_trial *weirp_ope_table_trial(const weirp_ope_table *t, size_t index) {
    return &t->trial[index];
}

bool weirp_ope_table_has_more_trials(const weirp_ope_table *t) {
    return t->more_trials;
}

size_t weirp_ope_table_n_clusters(const weirp_ope_table *t) {
    return t->n_clusters;
}

bool weirp_ope_table_has_sessions(const weirp_ope_table *t) {
    return t->has_sessions;
}

size_t weirp_ope_table_dim(const weirp_ope_table *t) {
    return t->dim;
}

int64_t weirp_ope_table_last_ms(const weirp_ope_table *t) {
    return t->last_ms;
}

size_t weirp_ope_table_known(const weirp_ope_table *t, weir_metric metric) {
    return t->known[metric];
}

bool weirp_ope_table_mentions(const weirp_ope_table *t, weir_metric metric) {
    return t->mentioned >> metric & 1;
}
