/* session.h: what a router and a session are made of. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SESSION_H
#define WEIRP_SESSION_H

#include <stdatomic.h>

#include "src/router/workspace.h"

struct weir_router {
    weirp_state *state; /* immutable once it is shared */
    bool has_cost;
    atomic_uint refs;
};

struct weir_session {
    weirp_workspace workspace;
};

/* A router on `state`, which is stolen, also on failure. *out is new. */
weir_status weirp_router_new(weir_router **out, weirp_state *state, weir_error *err);

/* The decision that the session made last, to be changed before it is recorded. */
weir_decision *weirp_session_decision(weir_session *session);

#endif
