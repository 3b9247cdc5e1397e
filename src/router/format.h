/* format.h: numbers that writing and reading log records share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_FORMAT_H
#define WEIRP_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "src/router/record.h"

#define WEIRP_RECORD_VERSION 4u
#define WEIRP_RECORD_PLAIN   3u /* of a record without a rollout: as weir wrote it before there were any */
#define WEIRP_MAX_DIM        65535u
#define WEIRP_MAX_ID         (1u << 20) /* bytes of an id that is the caller's own; longer ones are cut */
#define WEIRP_MAX_SOURCE     63u
#define WEIRP_MAX_PROMPT     (1u << 30)
#define WEIRP_NOBODY         0xffffu /* a model's index; a pool holds fewer */

enum {
    WEIRP_HEAD_BYTES = 64,  /* at least what a head takes without its id, models and features */
    WEIRP_TAIL_GUESS = 320, /* room that is asked for along with the head: what follows mostly fits */
    WEIRP_SERVED_BYTES = 1 + 2 + 2 + 70 + 4 + 8 + 4 + 4 + 8 + 256 + 256 + 1 + 1 + 5 * 256 + 4,
    WEIRP_ATTEMPT_BYTES = 2 + 48 + 32 + 2 + 16,
    /* flags of a head */
    WEIRP_HEAD_OWN_ID = 1,
    WEIRP_HEAD_CERTAIN = 2,
    WEIRP_HEAD_TRIAL = 4,
    WEIRP_TRIAL_BYTES = 8 + 1 + 1 + 8 + 1 + 255, /* of a rollout, beside the candidate's propensities */
    /* flags of a served record */
    WEIRP_SERVED_STREAMED = 1,
    WEIRP_SERVED_GONE = 2,
    WEIRP_SERVED_PINNED = 4,
    WEIRP_SERVED_ESTIMATED = 8,
    WEIRP_USAGE_KNOWN = 16,
    WEIRP_USAGE_ESTIMATED = 32,
    WEIRP_SERVED_PROMPT = 64,
};

/* An id of ours taken apart and put together. */
bool weirp_id_parse(const char *id, uint64_t *number, uint32_t *chance);
void weirp_id_print(char id[WEIRP_ID_SIZE], uint64_t number, uint32_t chance);

#endif
