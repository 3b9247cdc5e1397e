/* setup.h: a configuration that is in force, with what is derived from it. Immutable but for the breakers, which
 * outlive it; shared by threads and by the requests that began under it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SETUP_H
#define WEIRP_SETUP_H

#include <regex.h>
#include <stdatomic.h>

#include "src/gateway/breaker.h"
#include "src/gateway/config/config.h"
#include "src/gateway/observe/logging.h"
#include "src/gateway/observe/metrics.h"
#include "src/price/money.h"

#define WEIRP_KEY_DIGEST 32 /* bytes of SHA-256 */

/* Breakers by deployment name, for the life of the gateway: a reload keeps what is known of a vendor. */
typedef struct weirp_breakers {
    size_t n;
    struct weirp_named_breaker {
        char *name;
        weirp_breaker *breaker;
    } * item; /* (n) */
} weirp_breakers;

void weirp_breakers_free(weirp_breakers *breakers);

typedef struct weirp_setup {
    atomic_size_t refs;
    weirp_config *config;
    size_t *n_heads; /* (n_providers) */
    char ***head;    /* (n_providers)(n_heads) lines that go with every request: content type, key, further ones */
    weirp_breaker **breaker; /* (n_deployments) borrowed */
    weirp_rates *rates;      /* (pool->n_models) */
    weirp_breaker_limits breaker_limits;
    uint8_t (*key_digest)[WEIRP_KEY_DIGEST]; /* (n_client_keys) */
    size_t n_redact;
    regex_t *redact;          /* (n_redact) traffic.redact, compiled */
    weirp_metric_names names; /* borrowed from config */
    const char **name_lists;  /* what `names` points to */
    size_t *deployment_model;
} weirp_setup;

/* Steals `config`, also on failure. Secrets are registered with the log. *out is new, with one reference. */
weir_status weirp_setup_new(weirp_setup **out, weirp_config *config, weirp_breakers *breakers, weirp_log *log,
                            weir_error *err);
weirp_setup *weirp_setup_keep(weirp_setup *setup);
void weirp_setup_drop(weirp_setup *setup); /* NULL is fine */
/* Whether a client that shows `key` (NULL: none) may ask. Takes the same time whichever key is right. */
bool weirp_setup_admits(const weirp_setup *setup, const char *key);

#endif
