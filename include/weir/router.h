/* router.h: train a router, ask it, let it learn.
 *
 * A store is one LMDB file (docs/formats.md, "Store"). weir_train writes it; a weir_router is a snapshot of it, safe to
 * share between threads that each hold a weir_session of their own; a weir_learner is the store's one writer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_ROUTER_H
#define WEIR_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/data.h"
#include "weir/error.h"
#include "weir/policy.h"
#include "weir/pool.h"

WEIR_BEGIN_DECLS

/* ---- training ---- */

typedef struct weir_train_options {
    const char *estimator; /* a name that weir_estimator_name lists; NULL: "auto" */
    const weir_pool *pool; /* borrowed; prices and limits; NULL: costs come from the outcomes alone */
    uint64_t seed;         /* same data, seed and version: same store */
    unsigned n_threads;    /* 0: as many as there are cores */
    weir_progress_fn progress;
    void *progress_user;
} weir_train_options;

typedef struct weir_train_report {
    size_t n_prompts, n_models, n_outcomes;
    double seconds;
    size_t n_members; /* estimators that were tried */
    struct {
        char name[32]; /* with its setting */
        double weight; /* share in the combination; 0: left out */
        double score;  /* area under the cost-quality hull (AIQ) of held-out predictions; NAN: not scored */
    } member[16];
    double constant_score; /* the same for constant estimates */
    bool has_cost;
    char note[256]; /* one line about what is missing, or "" */
} weir_train_report;

/* Names of the estimators, "auto" first; NULL past the last. Borrowed, static. */
WEIR_API const char *weir_estimator_name(size_t index);

/* Fits and replaces what the store at `path` holds in one transaction; creates the file where there is none.
 * Readers see the old state or the new one, never a mixture. `report` may be NULL. */
WEIR_API WEIR_MUST_CHECK weir_status weir_train(const char *path, const weir_dataset *data,
                                                const weir_train_options *options, weir_train_report *report,
                                                weir_error *err);

/* Adds, re-prices (a name that is there) or disables models without refitting the others. */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_set_pool(const char *path, const weir_pool *pool, bool remove_others,
                                                         weir_error *err);

/* ---- asking ---- */

typedef struct weir_router weir_router;   /* immutable snapshot of a store; threads may share it */
typedef struct weir_session weir_session; /* one thread's scratch memory; warm after its first decision */

/* Reads the store's state. *out is new. */
WEIR_API WEIR_MUST_CHECK weir_status weir_router_open(weir_router **out, const char *path, weir_error *err);
WEIR_API void weir_router_close(weir_router *router); /* after its sessions; NULL is fine */
WEIR_API size_t weir_router_n_models(const weir_router *router);
WEIR_API const char *weir_router_model(const weir_router *router, size_t index);     /* borrowed */
WEIR_API size_t weir_router_find_model(const weir_router *router, const char *name); /* (size_t)-1: none */
WEIR_API bool weir_router_has_cost(const weir_router *router);
WEIR_API uint64_t weir_router_version(const weir_router *router); /* grows with each change to the store */

WEIR_API WEIR_MUST_CHECK weir_status weir_session_new(weir_session **out, const weir_router *router, weir_error *err);
WEIR_API void weir_session_free(weir_session *session); /* NULL is fine */

/* Estimates for a prompt of any length (UTF-8; anything else is repaired). The result is borrowed from the session
 * until its next call. Does not allocate once warm. */
WEIR_API WEIR_MUST_CHECK weir_status weir_estimate(weir_session *session, const char *prompt, size_t prompt_len,
                                                   const weir_estimates **out, weir_error *err);
/* Estimates, then decides. *out (and *estimates, where not NULL) are borrowed until the session's next call. */
WEIR_API WEIR_MUST_CHECK weir_status weir_decide(weir_session *session, const char *prompt, size_t prompt_len,
                                                 const weir_policy_options *options, const weir_decision **out,
                                                 const weir_estimates **estimates, weir_error *err);
/* Decides on the session's last estimates once more: with other options, or after the caller has taken models out of
 * them (estimates->eligible may be cleared). *out as above. */
WEIR_API WEIR_MUST_CHECK weir_status weir_session_decide(weir_session *session, const weir_policy_options *options,
                                                         const weir_decision **out, weir_error *err);

/* The same decision explained as JSON: estimates with intervals, risks, rule, reason. *json is new: free() it. */
WEIR_API WEIR_MUST_CHECK weir_status weir_explain_json(const weir_router *router, const weir_policy_options *options,
                                                       const weir_estimates *estimates, const weir_decision *decision,
                                                       char **json, weir_error *err);

/* Where one decision's time goes: phases by name ("features", each estimator, "policy"), nanoseconds of the last call.
 * Turned on by weir_session_profile(session, true). */
typedef struct weir_phase {
    const char *name; /* borrowed, static */
    uint64_t ns;
} weir_phase;
WEIR_API void weir_session_profile(weir_session *session, bool on);
WEIR_API size_t weir_session_phases(const weir_session *session, const weir_phase **out); /* borrowed */

/* ---- learning ---- */

typedef struct weir_learner weir_learner; /* the store's one writer; one thread */

typedef struct weir_learn_options {
    bool full_feedback;    /* every model's outcome is revealed, not only the chosen one's */
    size_t group_commit;   /* feedbacks a durable transaction; 0: 64 */
    bool create;           /* make a store without estimators where there is none */
    const weir_pool *pool; /* borrowed; the models of a store that is created; NULL: as they appear */
    uint64_t seed;
    /* Holds the store at once, and reads its state only when it is first needed: until then there are no models. */
    bool lazy;
} weir_learn_options;

/* A drift alarm: this model no longer does what it did. */
typedef struct weir_drift {
    uint64_t at;          /* number of the feedback at which it was raised, from 1 */
    size_t model;         /* index */
    double before, after; /* mean quality expected and seen lately */
} weir_drift;

/* Another writer is at work: WEIR_BUSY. */
WEIR_API WEIR_MUST_CHECK weir_status weir_learner_open(weir_learner **out, const char *path,
                                                       const weir_learn_options *options, weir_error *err);
WEIR_API size_t weir_learner_n_models(const weir_learner *learner);
WEIR_API const char *weir_learner_model(const weir_learner *learner, size_t index); /* borrowed */
/* Index of a model by name; a name that is new joins the pool with what the pool's other models suggest. */
WEIR_API WEIR_MUST_CHECK weir_status weir_learner_model_index(weir_learner *learner, const char *name, size_t *index,
                                                              weir_error *err);
/* Decides on what has been learned so far; as weir_decide. */
WEIR_API WEIR_MUST_CHECK weir_status weir_learner_decide(weir_learner *learner, const char *prompt, size_t prompt_len,
                                                         const weir_policy_options *options, const weir_decision **out,
                                                         const weir_estimates **estimates, weir_error *err);
/* Learns what `n` models did with the prompt of the last weir_learner_decide. In memory at once, on disk with the next
 * commit: by itself every group_commit feedbacks, or by weir_learner_commit. `id` names the decision in the log. */
WEIR_API WEIR_MUST_CHECK weir_status weir_learner_observe(weir_learner *learner, const char *id, size_t n,
                                                          const size_t *models, const weir_outcome *outcomes,
                                                          weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_learner_commit(weir_learner *learner, weir_error *err);
/* Feedbacks that are durable: none of them is lost by kill -9 or power loss. */
WEIR_API uint64_t weir_learner_n_durable(const weir_learner *learner);
/* Alarms raised so far; *out is borrowed until the next observe. */
WEIR_API size_t weir_learner_drifts(const weir_learner *learner, const weir_drift **out);
/* Commits, then closes. The handle is gone whatever the status says. */
WEIR_API WEIR_MUST_CHECK weir_status weir_learner_close(weir_learner *learner, weir_error *err);

WEIR_END_DECLS

#endif
