/* reading.h: log records, read back. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_READING_H
#define WEIRP_READING_H

#include "src/router/record.h"
#include "src/router/workspace.h"

/* X(name, text): what a record tells. The number is in the record. */
#define WEIRP_KIND_TABLE(X)                                                                                            \
    X(LEARNED, "learned")                                                                                              \
    X(SERVED, "served")                                                                                                \
    X(FEEDBACK, "feedback")

typedef enum weirp_kind_of_record {
#define WEIRP_KIND_ENUM(name, text) WEIRP_RECORD_##name,
    WEIRP_KIND_TABLE(WEIRP_KIND_ENUM)
#undef WEIRP_KIND_ENUM
        WEIRP_N_KINDS_OF_RECORDS
} weirp_kind_of_record;

const char *weirp_record_kind_name(weirp_kind_of_record kind); /* borrowed, static */

/* A record, whatever its kind and version: docs/formats.md, "Log record". Arrays are (n_models) unless they say
 * otherwise; all memory, and every text, is the record's own and good until the next one is decoded into it. */
typedef struct weirp_log_record {
    weirp_kind_of_record kind;
    int64_t time_ms;
    uint64_t features_version; /* commit that the router had been read at; 0: not said (version 1) */
    const char *id;
    uint32_t n_models, model, rule, reason; /* of the decision */
    bool *eligible;
    double *propensity, *quality, *cost; /* NAN: not known, or not eligible (propensity: 0) */
    uint32_t dim;                        /* 0: no features */
    float *dense;                        /* (dim) */
    double approximate_tokens;
    weirp_trial trial; /* SERVED; its propensities: 0 where not eligible */
    /* LEARNED */
    uint32_t n_outcomes;
    size_t *outcome_model; /* (n_outcomes) */
    weir_outcome *outcome; /* (n_outcomes) */
    /* SERVED */
    weirp_served served;
    /* FEEDBACK */
    size_t label_model;
    double label; /* [0,1] */
    const char *source;
    bool stale; /* its features are another training's: kept, and not learned from */

    uint8_t *memory;
    size_t capacity;
} weirp_log_record;

/* Fills `record` (zeros, or an earlier one, whose memory is used again). Any bytes: an error, never a crash. */
weir_status weirp_log_decode(weirp_log_record *record, const uint8_t *data, size_t size, weir_error *err);
void weirp_log_record_free(weirp_log_record *record);
/* What kind a record is, without reading it; an unreadable one is LEARNED, so that reading it tells what is wrong. */
weirp_kind_of_record weirp_log_kind(const uint8_t *data, size_t size);

/* What weir_learner_observe appends: outcomes of the decision in the workspace. */
void weirp_record_learned(weirp_writer *w, const weirp_workspace *from, const char *id, size_t n, const size_t *models,
                          const weir_outcome *outcomes);
/* Feedback on `decision`, whose features it copies. */
void weirp_record_feedback(weirp_writer *w, const weirp_log_record *decision, size_t model, double quality,
                           const char *source, bool stale);

#endif
