/* gate_store.h: rollouts in a store's table (docs/formats.md, "Rollout"): how the one under way stands, which of them
 * were stopped for harm, so that they stay so whatever ran in between, and whether one is configured.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_GATE_STORE_H
#define WEIRP_OPE_GATE_STORE_H

#include "src/ope/gate.h"
#include "src/store/store.h"

#define WEIRP_GATE_STOPPED_KEY    "Rs" /* and the digest */
#define WEIRP_GATE_CONFIGURED_KEY "Rc"

enum { WEIRP_GATE_STOPPED_KEPT = 64 }; /* those that were stopped last */

/* The one that was configured last. WEIR_NOTFOUND (says nothing in `err`); what weirp_gate_load says of its bytes. */
weir_status weirp_gate_read(weirp_txn *txn, weirp_gate *gate, weir_error *err);
weir_status weirp_gate_write(weirp_txn *txn, const weirp_gate *gate, weir_error *err);

/* Before a rollout of this digest is written over the one that is there: if that is another one, and was stopped, it is
 * kept beside. */
weir_status weirp_gate_keep_stopped(weirp_txn *txn, uint64_t digest, weir_error *err);
/* The one of this digest that was kept. WEIR_NOTFOUND: none was; what weirp_gate_load says of its bytes: one was. */
weir_status weirp_gate_read_stopped(weirp_txn *txn, uint64_t digest, weirp_gate *gate, weir_error *err);

/* What the configuration of the process that has the store says, and since when. */
typedef struct weirp_gate_configured {
    uint64_t digest; /* of its rollout; 0: it has none */
    int64_t since_ms;
} weirp_gate_configured;

weir_status weirp_gate_read_configured(weirp_txn *txn, weirp_gate_configured *out, weir_error *err);
/* Where it says so already it stays as it is, with its time. */
weir_status weirp_gate_write_configured(weirp_txn *txn, const weirp_gate_configured *configured, weir_error *err);

#endif
