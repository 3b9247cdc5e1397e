/* service.h: the endpoints that no vendor is asked for: models, feedback, route, health, metrics.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SERVICE_H
#define WEIRP_SERVICE_H

#include "src/gateway/endpoints.h"
#include "src/gateway/worker.h"

/* Answers, now or later. */
void weirp_service(weirp_worker *worker, weirp_call *call, weirp_endpoint endpoint);
/* The call has ended: whoever still waits for it must forget it. */
void weirp_service_end(weirp_worker *worker, weirp_call *call);
/* Once the journal is closed: lets go of what still waited for it. */
void weirp_service_clear(weirp_worker *worker);
/* An error in the shape of the endpoint's API. */
void weirp_service_error(weirp_call *call, weirp_endpoint endpoint, int status, const char *code, const char *param,
                         const char *text);

#endif
