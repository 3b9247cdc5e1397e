/* knobs.h: what a request says about routing: in its model's name, or in headers.
 *
 *     "model": "weir"                       the configured policy
 *     "model": "weir:value=0.02"            knobs, several with commas: value, mu, max_cost, min_quality,
 * max_latency_ms, policy, explore "model": "gpt-4o"                     a model of the pool: no routing x-weir-value:
 * 0.02                    the same as headers (x-weir-max-cost and so on; x-weir-model pins)
 *
 * Headers go over the name, the name goes over the configuration. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_KNOBS_H
#define WEIRP_KNOBS_H

#include "src/budget/keys.h"
#include "src/gateway/setup.h"

#define WEIRP_UNPINNED ((size_t)-1)

typedef struct weirp_knobs {
    weir_policy_options policy;
    size_t pinned;  /* index into the configuration's pool, or WEIRP_UNPINNED */
    bool steered;   /* the client set some knob of its own */
    bool own_value; /* the client named what an answer is worth */
    /* Set by the caller afterwards; borrowed. */
    const weirp_key *key;          /* whose list of models holds; NULL: nobody's */
    struct weirp_pacing *pacing;   /* whose value holds for who named none; NULL: nothing is paced */
    struct weirp_rollout *rollout; /* of a candidate that decides along; NULL: there is none */
    const weirp_subject *subject;  /* who asks, for that; NULL: not known */
    bool dry;                      /* nothing comes of it: it is no request that pacing should count */
} weirp_knobs;

/* `header` looks a header up (NULL: absent). WEIR_PARSE: a knob is wrong (400); WEIR_NOTFOUND: no such model (404); the
 * fault says which. */
typedef const char *(*weirp_header_fn)(void *user, const char *name);
weir_status weirp_knobs_read(weirp_knobs *knobs, const weirp_setup *setup, const char *model, weirp_header_fn header,
                             void *user, weirp_fault *fault);

#endif
