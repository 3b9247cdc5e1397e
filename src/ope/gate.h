/* gate.h: a staged rollout: whether a candidate policy may have a larger share of the traffic, from what came of the
 * decisions that it had a chance in.
 *
 * Every decision of a step was drawn from (1 - s) base + s candidate, s being the step's share. With the chosen model's
 * chances, w = (candidate - base) / drawn lies in [-1/(1-s), 1/s] and has the mean 0, so that the mean of w r is the
 * difference of the two policies' r, candidate minus base, on the step's requests. Two confidence sequences follow it
 * (sequence.h), one on quality (labels), one on errors (all requests), so that it may be looked at after every
 * observation. Each step has a pair of its own; 1 - level is split evenly over all of them. In shadow s is 0, and what
 * bounds w is the base's exploration floor f: [-1, 1/f - 1].
 *
 * That w has the mean 0 is so of decisions, and of what came of them only if it comes as often from both policies (in
 * experiments with two arms its failure is known as a sample ratio mismatch). While it can't be so, as two more
 * sequences on w itself tell, the rollout doesn't go on; harm stops it all the same, for the difference's sign stands.
 *
 * Plain numbers, no memory of its own. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_GATE_H
#define WEIRP_OPE_GATE_H

#include "src/base/base.h"
#include "src/ope/sequence.h"
#include "weir/error.h"

enum {
    WEIRP_GATE_STEPS = 16,
    WEIRP_GATE_NAME = 64,
    WEIRP_GATE_POLICY = 256,
    WEIRP_GATE_EVENTS = 24,
    WEIRP_GATE_OFF = 255
};

/* What is asked for. Changing anything above `margin` makes it another rollout: the digest tells. */
typedef struct weirp_gate_plan {
    char name[WEIRP_GATE_NAME];
    uint64_t digest; /* of all that it is about: name, policies, mode, steps, level; never 0 */
    char base[WEIRP_GATE_POLICY], candidate[WEIRP_GATE_POLICY]; /* for reports: "NAME,KEY=VALUE,..." */
    bool shadow;                                                /* one step, of share 0 */
    double floor;                                               /* shadow: the base's exploration floor; 0: none */
    size_t n_steps;
    double step[WEIRP_GATE_STEPS]; /* (n_steps) shares, ascending, in (0,1); shadow: 0 */
    double level;
    double margin, margin_error; /* losses that don't matter */
    uint64_t min_feedback;       /* a step takes at least so many */
    double hold_ms;              /* and so long */
} weirp_gate_plan;

/* X(name, text) */
#define WEIRP_GATE_STATUS_TABLE(X)                                                                                     \
    X(RUNNING, "running")                                                                                              \
    X(PASSED, "passed") /* the last step, whose share stays, and is still watched */                                   \
    X(STOPPED, "stopped")

typedef enum weirp_gate_status {
#define WEIRP_GATE_STATUS_ENUM(name, text) WEIRP_GATE_##name,
    WEIRP_GATE_STATUS_TABLE(WEIRP_GATE_STATUS_ENUM)
#undef WEIRP_GATE_STATUS_ENUM
        WEIRP_N_GATE_STATUSES
} weirp_gate_status;

/* X(name, text): what happened, and why. */
#define WEIRP_GATE_CHANGE_TABLE(X)                                                                                     \
    X(STARTED, "started")                                                                                              \
    X(ADVANCED, "went on: no harm above the margins")                                                                  \
    X(FINISHED, "passed: no harm above the margins at the last step")                                                  \
    X(HARM_QUALITY, "stopped: quality is lower by more than the margin")                                               \
    X(HARM_ERRORS, "stopped: errors are more frequent by more than the margin")

typedef enum weirp_gate_change {
#define WEIRP_GATE_CHANGE_ENUM(name, text) WEIRP_GATE_##name,
    WEIRP_GATE_CHANGE_TABLE(WEIRP_GATE_CHANGE_ENUM)
#undef WEIRP_GATE_CHANGE_ENUM
        WEIRP_N_GATE_CHANGES
} weirp_gate_change;

typedef struct weirp_gate_event {
    int64_t time_ms;
    weirp_gate_change change;
    size_t step;                      /* whose figures these are: the one that ended */
    uint64_t n_decisions, n_feedback; /* of that step */
    weirp_interval quality, error;    /* candidate minus base */
} weirp_gate_event;

typedef struct weirp_gate {
    weirp_gate_plan plan;
    weirp_gate_status status;
    size_t step;
    int64_t since_ms;                 /* the step began */
    uint64_t n_decisions, n_feedback; /* counted in the step */
    uint64_t n_late;                  /* labels on decisions of earlier steps, which nobody counts */
    weirp_sequence quality, error;
    weirp_sequence labels, answers;        /* mean of w over labels, and over answers: 0 if both policies' come alike */
    weirp_interval quality_now, error_now; /* of the sequences, which take their time to tell */
    size_t n_events;
    weirp_gate_event event[WEIRP_GATE_EVENTS]; /* oldest first */
} weirp_gate;

const char *weirp_gate_status_name(weirp_gate_status status); /* borrowed, static */
const char *weirp_gate_change_text(weirp_gate_change change);
/* NULL, or what is wrong with the plan (borrowed, static). */
const char *weirp_gate_check(const weirp_gate_plan *plan);

void weirp_gate_start(weirp_gate *gate, const weirp_gate_plan *plan, int64_t now_ms);
/* Another margin, least number or time for the rollout that runs; and the policies as they are written now. */
void weirp_gate_retune(weirp_gate *gate, const weirp_gate_plan *plan);
/* The step whose share the candidate has now; WEIRP_GATE_OFF: it has nothing to decide. */
unsigned weirp_gate_now(const weirp_gate *gate);
/* Whether anything can be learned at all: shadow needs a floor. */
bool weirp_gate_is_blind(const weirp_gate *gate);

/* The mean weight of labels and of answers. */
void weirp_gate_weights(const weirp_gate *gate, weirp_interval *labels, weirp_interval *answers);
/* Whether they may come as often from both policies: neither mean weight is surely off 0. */
bool weirp_gate_is_even(const weirp_gate *gate);

/* A decision of the rollout, and whether it ended in an error; or a label on one, the first that it got. `p`: the
 * chosen model's chance in what was drawn from, `candidate`: under the candidate. True: the gate has moved, and the
 * last event says where to. */
bool weirp_gate_decision(weirp_gate *gate, size_t step, double p, double candidate, bool failed, int64_t now_ms);
bool weirp_gate_feedback(weirp_gate *gate, size_t step, double p, double candidate, double quality, int64_t now_ms);
/* Time has passed, or it was retuned. */
bool weirp_gate_tick(weirp_gate *gate, int64_t now_ms);

/* About how many labels more until the step is decided, if what they say goes on as it was; INFINITY: the difference is
 * the margin itself, nothing can be learned; NAN: too few to tell. */
double weirp_gate_needs(const weirp_gate *gate);

void weirp_gate_save(const weirp_gate *gate, weirp_writer *w);
/* Any bytes: WEIR_CORRUPT, WEIR_NEWER, never a crash. */
weir_status weirp_gate_load(weirp_gate *gate, const uint8_t *data, size_t size, weir_error *err);

/* Where a store's table keeps it. */
#define WEIRP_GATE_KEY "Rg"

#endif
