/* audit.h: the traffic log as the ledger's audit reads it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_REPORT_AUDIT_H
#define WEIRP_REPORT_AUDIT_H

#include "src/budget/ledger.h"
#include "src/store/store.h"

typedef struct weirp_audit_log weirp_audit_log;

/* The snapshot's log, or, where `path` isn't NULL, a file of exported lines; *source is good until it is closed. The
 * snapshot is borrowed until then. */
weir_status weirp_audit_log_open(weirp_audit_log **out, weirp_snapshot *snapshot, const char *path,
                                 weirp_log_source *source, weir_error *err);
/* Rows that aren't decisions of a gateway's: feedback, what was learned without one. Of the last walk. */
uint64_t weirp_audit_log_n_other(const weirp_audit_log *log);
void weirp_audit_log_close(weirp_audit_log *log); /* NULL is fine */

#endif
