/* record.h: one record of the traffic log: a decision, what came of it, and feedback on it. Bytes as in
 * docs/formats.md, "Log record". SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_RECORD_H
#define WEIRP_RECORD_H

#include "src/base/base.h"
#include "src/price/usage.h"
#include "src/store/store.h"
#include "weir/router.h"

/* Decision ids are "weir-" and 24 hexadecimal digits: 16 of a number that grows with time (so that an index over them
 * grows at its end), 8 of chance. */
#define WEIRP_ID_SIZE 32
/* A new id; `sequence` is the caller's own counter, `salt` tells callers of one process apart. */
void weirp_id_new(char id[WEIRP_ID_SIZE], uint64_t sequence, uint32_t salt);
/* The growing number of an id, or 0 if it isn't one of ours. */
uint64_t weirp_id_number(const char *id);

#define WEIRP_MAX_ATTEMPTS 16

/* One try at one vendor. */
typedef struct weirp_attempt {
    uint32_t model; /* index */
    char deployment[48];
    char result[32];      /* "ok", "rate_limit", "connect", "first_token_timeout", "cut", "hedge_lost", ... */
    int32_t status;       /* HTTP; 0: none */
    float started_ms, ms; /* after the request came in; how long it took */
    double cost_usd;      /* what it cost, also where it failed or was given up; NAN: not known */
} weirp_attempt;

/* X(name, text): what a budget did to a request. */
#define WEIRP_BUDGET_ACTION_TABLE(X)                                                                                   \
    X(NONE, "none")                                                                                                    \
    X(LOWERED, "lowered")                                                                                              \
    X(CHEAPER, "cheaper")                                                                                              \
    X(REFUSED, "refused")

typedef enum weirp_budget_action {
#define WEIRP_BUDGET_ACTION_ENUM(name, text) WEIRP_BUDGET_##name,
    WEIRP_BUDGET_ACTION_TABLE(WEIRP_BUDGET_ACTION_ENUM)
#undef WEIRP_BUDGET_ACTION_ENUM
        WEIRP_N_BUDGET_ACTIONS
} weirp_budget_action;
const char *weirp_budget_action_name(weirp_budget_action action); /* borrowed, static */

/* What came of a decision. Texts are borrowed. */
typedef struct weirp_served {
    size_t model;           /* whose answer the client got; (size_t)-1: nobody's */
    const char *api;        /* "chat", "messages", ... */
    const char *request_id; /* of the client or ours */
    int status;             /* HTTP, to the client */
    bool streamed, client_gone, pinned;
    bool usage_estimated;                     /* of some try, so that cost_usd is */
    weirp_usage usage;                        /* of the answer */
    double predicted_cost_usd;                /* of the model that answered; NAN */
    double cost_usd;                          /* all attempts together; NAN: not known */
    double latency_ms;                        /* from the request's end to the answer's; NAN where there was none */
    double first_token_ms;                    /* NAN */
    uint64_t price_version, features_version; /* digest of the price list; store version of the snapshot */
    size_t n_attempts;
    weirp_attempt attempt[WEIRP_MAX_ATTEMPTS];
    /* On whose account; NULL: not known. At most 255 bytes each are kept. */
    const char *key, *team, *user, *tag;
    weirp_budget_action budget_action;
    const char *budget; /* that did it; NULL: none */
    const char *prompt; /* NULL unless prompts are to be stored; as redacted */
    size_t prompt_len;
} weirp_served;

/* How a request ended for its client. Whoever counts errors goes by this: a rollout's gate, `weir ope`, log lines. */
typedef enum weirp_ending {
    WEIRP_ENDING_ANSWERED,
    WEIRP_ENDING_ERROR,    /* it got an error, or an answer that broke off */
    WEIRP_ENDING_UNDECIDED /* it had left, or the gateway was shut down: nobody knows what would have come */
} weirp_ending;
/* `answered`: by a model. `result`: of the last try; NULL: there was none, or it isn't known. A stream that breaks off
 * has sent status 200 by then, and its try tells: it is the last one, for losers of a hedge end before it. */
weirp_ending weirp_ending_of(int status, bool client_gone, bool answered, const char *result);
weirp_ending weirp_served_ending(const weirp_served *served);

/* A rollout that a decision is part of: a candidate decided on the same request. */
typedef struct weirp_trial {
    const char *name;         /* of the rollout; NULL: there is none */
    uint64_t digest;          /* of all that it is about */
    unsigned step;            /* which one was under way */
    double share;             /* of the candidate in what was drawn from: [0,1) */
    bool arm;                 /* the candidate's decision was drawn, not the base's */
    const double *propensity; /* (n_models) the candidate's own */
} weirp_trial;

/* Starts a record with the decision that the session made last: id, time, eligible models, propensities, choice, rule,
 * reason, estimates, dense features. About 60 bytes a model and 4 a dimension. w->failed: out of memory. */
void weirp_record_decision(weirp_writer *w, const weir_session *session, const char *id);
/* The same, with what a candidate would have done. */
void weirp_record_trial(weirp_writer *w, const weir_session *session, const char *id, const weirp_trial *trial);
/* For a request that nobody had to decide on (a pinned model, a failing estimator): choice `model`, propensity 1. */
void weirp_record_pinned(weirp_writer *w, const weir_router *router, size_t model, const char *id);
/* Completes it. */
void weirp_record_served(weirp_writer *w, const weirp_served *served);

/* ---- the learner's side (src/router/learner.c), for callers that decide elsewhere ---- */

/* Takes in a completed record as it stands: it is logged with the next commit, and its tokens, cost and latency are
 * learned from. Does not touch quality. */
weir_status weirp_learner_append(weir_learner *learner, const uint8_t *record, size_t size, weir_error *err);

/* Takes the pool's models and prices into the store, without letting go of it. */
weir_status weirp_learner_set_pool(weir_learner *learner, const weir_pool *pool, weir_error *err);

/* The learner's next commit does this, too, in its transaction; once it has been committed, it is forgotten. */
void weirp_learner_beside(weir_learner *learner, weirp_table_work work, void *user);
bool weirp_learner_has_beside(const weir_learner *learner);
weirp_store *weirp_learner_store(const weir_learner *learner); /* borrowed */

/* What the log is told of a rollout: a decision, or the first label on the model that answered it. */
typedef struct weirp_watched {
    weirp_trial trial;     /* without the propensities; its name is borrowed */
    int64_t time_ms;       /* of the decision */
    double p, p_candidate; /* of the model that was chosen: as it was drawn, and the candidate's own */
    double label;          /* [0,1]; NAN: it is the decision */
    bool failed;           /* the client got an error */
} weirp_watched;
typedef void (*weirp_watch)(void *user, const weirp_watched *seen);
/* `watch` hears of everything that is taken in from now on, once; `save` is done in the transaction that makes it
 * durable. NULLs: nobody does. */
void weirp_learner_watch(weir_learner *learner, weirp_watch watch, weirp_table_work save, void *user);
/* The next commit saves, though nothing was heard. */
void weirp_learner_save_due(weir_learner *learner);
bool weirp_learner_saves(const weir_learner *learner); /* the next commit will */

typedef struct weirp_feedback {
    const char *id;     /* of the decision */
    double quality;     /* [0,1] */
    const char *source; /* "user", "judge", ...; at most 63 bytes are kept */
    const char *model;  /* NULL: the one that answered */
} weirp_feedback;

/* Looks the decision up, among what waits for its commit and then in the store, teaches the estimators, and logs the
 * feedback with the features it was learned from. WEIR_NOTFOUND: no such decision. A second feedback from the same
 * source on the same decision: WEIR_INVALID, also after a restart; a decision takes some thousand feedbacks. */
weir_status weirp_learner_feedback(weir_learner *learner, const weirp_feedback *feedback, weir_error *err);

/* What is known of a decision, for those who can't ask the learner. Start with zeros. */
typedef struct weirp_seen {
    bool decision; /* it is there */
    bool answered; /* by a model */
    bool repeated; /* the feedback's source has spoken before */
} weirp_seen;
/* What one record says, whatever it is a record of. */
weir_status weirp_seen_in(weirp_seen *seen, const weirp_feedback *feedback, const uint8_t *record, size_t size,
                          weir_error *err);
/* And all of the log. */
weir_status weirp_seen_log(weirp_seen *seen, const weirp_feedback *feedback, weirp_snapshot *snapshot, weir_error *err);
/* The number of a record's id (weirp_id_number), without decoding it. */
uint64_t weirp_record_number(const uint8_t *record, size_t size);

/* The learner's present state as a router for sessions, without going through the disk. *out is new and shares nothing
 * that changes. */
weir_status weirp_learner_router(const weir_learner *learner, weir_router **out, weir_error *err);

/* A router is shared: each holder keeps a reference of its own. Any thread. weir_router_close gives one back. */
weir_router *weirp_router_keep(weir_router *router);
/* New prices and limits for the models that `pool` names, before the router is shared. */
void weirp_router_reprice(weir_router *router, const weir_pool *pool);

#endif
