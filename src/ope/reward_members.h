/* reward_members.h: a reward model as a combination of members; for reward.c, which fits and asks them, and
 * reward_choice.c, which says how much each counts. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_REWARD_MEMBERS_H
#define WEIRP_OPE_REWARD_MEMBERS_H

#include <math.h>

#include "src/ope/reward_parts.h"

typedef enum weirp_member_kind {
    WEIRP_MEMBER_TABLE,
    WEIRP_MEMBER_LOGGED,
    WEIRP_MEMBER_RIDGE,
    WEIRP_MEMBER_LOG_RIDGE
} weirp_member_kind;

struct weirp_reward {
    weirp_reward_frame frame;
    double most; /* predictions lie in [0, most]; 0: in no known range */
    char name[64];
    weirp_reward_table *table; /* always there: it predicts where features are missing */
    size_t n_members;
    weirp_member_kind kind[WEIRP_REWARD_MEMBERS];
    weirp_reward_linear linear[WEIRP_REWARD_MEMBERS];
    double weight[WEIRP_REWARD_MAX_FOLDS][WEIRP_REWARD_MEMBERS];
    double *smear; /* (n_folds, n_models) */
    weirp_reward_other *other;
    const weirp_reward_class *other_class; /* NULL: members */
};

static inline double weirp_clip(double x, double lo, double hi) {
    return x > lo ? (x < hi ? x : hi) : lo;
}

/* From a member's scale, before smearing; inside of what fit f may have seen. */
static inline double weirp_reward_unscaled(const weirp_reward *r, size_t f, weirp_member_kind kind, double x) {
    const weirp_reward_frame *o = &r->frame;
    if (kind != WEIRP_MEMBER_LOG_RIDGE) return weirp_clip(x, o->lo[f], o->hi[f]);
    return exp(weirp_clip(x, log(fmax(o->lo[f], 0) + o->log_shift), log(fmax(o->hi[f], 0) + o->log_shift))) -
           o->log_shift;
}

/* ---- choosing: weights and smearing factors, off inner fits ---- */

typedef struct weirp_reward_choosing {
    weirp_reward *r;
    double *moments; /* (n_folds, n_models, WEIRP_REWARD_MEMBERS + 1, WEIRP_REWARD_MEMBERS + 1) of y and the members'
                        predictions */
    double *sums;    /* (n_folds, n_models, WEIRP_REWARD_MEMBERS + 1) */
    const weirp_reward_rows *rows;
    unsigned n_threads;
    double *z; /* (threads, d) */
    size_t d;
} weirp_reward_choosing;

/* False: there is one member, which needs no factors. */
bool weirp_reward_needs_choice(const weirp_reward *r);
weir_status weirp_reward_choosing_init(weirp_reward_choosing *c, weirp_reward *r, weir_error *err); /* r is borrowed */
void weirp_reward_choosing_add(void *choosing, const weirp_reward_rows *rows);
void weirp_reward_choosing_end(const weirp_reward_choosing *c); /* tells the reward model */
void weirp_reward_choosing_free(weirp_reward_choosing *c);

#endif
