/* webhook.h: warnings about budgets, sent to a URL of the operator's. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WEBHOOK_H
#define WEIRP_WEBHOOK_H

#include "src/gateway/treasury.h"
#include "src/gateway/worker.h"

/* Posts the warning as JSON (docs/budgets.md) from the worker's loop, if the configuration in force has a webhook. Any
 * thread. Tried once; a failure is logged. */
void weirp_webhook_send(weirp_worker *worker, const weirp_warning *warning);

#endif
