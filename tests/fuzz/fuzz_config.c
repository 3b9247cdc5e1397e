/* Any bytes as the gateway's configuration: an error or something whole, and never a key in a message.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/gateway/config/config.h"
#include "tests/fuzz/memory_file.h"
#include "weir/gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "q8Zt-geheim-7vKd";

static void check(const weirp_config *c) {
    size_t n_deployments = 0;
    if (!c->listen || !c->store || !c->threads || !c->n_providers || !c->policy.policy) abort();
    for (size_t m = 0; m < c->pool->n_models; m++) {
        size_t n, first = weirp_config_deployments(c, m, &n);
        if (!n || first != n_deployments || weir_pool_find(c->pool, c->pool->models[m].name) != m) abort();
        n_deployments += n;
    }
    if (n_deployments != c->n_deployments) abort();
    for (size_t i = 0; i < c->n_deployments; i++)
        if (c->deployments[i].provider >= c->n_providers || !(c->deployments[i].weight > 0)) abort();
    for (size_t i = 0; i < c->n_providers; i++)
        for (size_t k = 0; k < c->providers[i].n_headers; k++)
            if (strpbrk(c->providers[i].headers[k], "\r\n")) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[32], *json;
    bool ours = !memmem(data, size, key, strlen(key)); /* the fuzzer learns what it is compared with */
    setenv("WEIR_TEST_KEY", key, 1);
    int fd = memory_file(data, size, path);
    weirp_config *c;
    weir_error err = {0};
    weir_status st = weirp_config_load(&c, path, &err);
    if ((st == WEIR_OK) != (c != NULL) || (st && !*err.text)) abort();
    if (ours && strstr(err.text, key)) abort();
    if (c) check(c);
    weirp_config_free(c);
    if (weir_gateway_check(path, &json, NULL) != st || (st == WEIR_OK) != (json != NULL)) abort();
    if (ours && json && strstr(json, key)) abort();
    free(json);
    close(fd);
    return 0;
}
