/* knobs_test.c: what a request may say about routing. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/gateway/knobs.h"

static const char yaml[] =
    "listen: 127.0.0.1:0\n"
    "store: none.mdb\n"
    "policy: {value_usd: 0.05}\n"
    "providers:\n"
    "  - {name: v, protocol: openai, base_url: \"http://127.0.0.1:1/v1\"}\n"
    "models:\n"
    "  - {name: small, input_usd_per_mtok: 1, output_usd_per_mtok: 2, deployments: [{provider: v}]}\n"
    "  - {name: \"large:1\", input_usd_per_mtok: 1, output_usd_per_mtok: 2, deployments: [{provider: v}]}\n";

static int open_setup(void **state) {
    char path[] = "/tmp/weir-knobs-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, yaml, sizeof yaml - 1) != (ssize_t)sizeof yaml - 1) return 1;
    close(fd);
    weir_error err = {0};
    weirp_config *config = NULL;
    static weirp_breakers breakers;
    weir_status st = weirp_config_load(&config, path, &err);
    if (st == WEIR_OK) st = weirp_setup_new((weirp_setup **)state, config, &breakers, NULL, &err);
    unlink(path);
    if (st != WEIR_OK) fprintf(stderr, "%s\n", err.text);
    return st != WEIR_OK;
}

static int close_setup(void **state) {
    weirp_setup_drop(*state);
    return 0;
}

typedef struct fields {
    const char *name[4], *value[4];
} fields;

static const char *header(void *user, const char *name) {
    const fields *f = user;
    for (size_t i = 0; i < 4 && f->name[i]; i++)
        if (!strcmp(f->name[i], name)) return f->value[i];
    return NULL;
}

static weirp_knobs good(const weirp_setup *setup, const char *model, fields f) {
    weirp_knobs k;
    weirp_fault fault = {{0}, {0}, {0}};
    weir_status st = weirp_knobs_read(&k, setup, model, header, &f, &fault);
    if (st != WEIR_OK) fail_msg("%s: %s", model, fault.text);
    return k;
}

static void names_and_headers(void **state) {
    const weirp_setup *s = *state;
    weirp_knobs k = good(s, "weir", (fields){{0}, {0}});
    assert_true(k.pinned == WEIRP_UNPINNED && k.policy.value_usd == 0.05);
    k = good(s, "weir:value=0.02", (fields){{0}, {0}});
    assert_true(k.policy.value_usd == 0.02);
    k = good(s, "weir:mu=0.5", (fields){{0}, {0}});
    assert_true(k.policy.value_usd == 1);
    k = good(s, "weir:max_cost=0.001,min_quality=0.8", (fields){{0}, {0}});
    assert_true(k.policy.max_cost_usd == 0.001 && k.policy.min_quality == 0.8);
    assert_string_equal(k.policy.policy, "constrained");
    k = good(s, "weir:policy=thompson,max_cost=1", (fields){{0}, {0}}); /* a policy that was named stays */
    assert_string_equal(k.policy.policy, "thompson");
    k = good(s, "large:1", (fields){{0}, {0}});
    assert_int_equal(k.pinned, 1);
    /* headers go over the name */
    k = good(s, "weir:value=0.02", (fields){{"x-weir-value"}, {"7"}});
    assert_true(k.policy.value_usd == 7);
    k = good(s, "weir", (fields){{"x-weir-model"}, {"small"}});
    assert_int_equal(k.pinned, 0);
    k = good(s, "anything", (fields){{"x-weir-model"}, {"weir:mu=0"}});
    assert_true(isinf(k.policy.value_usd));
}

static void what_is_wrong_is_named(void **state) {
    static const struct {
        const char *model, *name, *value;
        weir_status status;
        const char *param, *words;
    } cases[] = {
        {"weir:", NULL, NULL, WEIR_PARSE, "model", "KNOB=VALUE"},
        {"weir:value", NULL, NULL, WEIR_PARSE, "model", "KNOB=VALUE"},
        {"weir:value=", NULL, NULL, WEIR_PARSE, "model", "USD, 0 or more"},
        {"weir:value=-1", NULL, NULL, WEIR_PARSE, "model", "USD, 0 or more"},
        {"weir:value=nan", NULL, NULL, WEIR_PARSE, "model", "USD, 0 or more"},
        {"weir:value=1,", NULL, NULL, WEIR_PARSE, "model", "KNOB=VALUE"},
        {"weir:mu=1.5", NULL, NULL, WEIR_PARSE, "model", "from 0 to 1"},
        {"weir:min_qualty=0.5", NULL, NULL, WEIR_PARSE, "model", "min_quality"},
        {"weir:policy=oracle", NULL, NULL, WEIR_PARSE, "model", "thompson"},
        {"weird", NULL, NULL, WEIR_NOTFOUND, "model", "weird"},
        {"gpt-9", NULL, NULL, WEIR_NOTFOUND, "model", "gpt-9"},
        {"router-mf-0.116", NULL, NULL, WEIR_NOTFOUND, "model", "reserved"},
        {"weir", "x-weir-max-cost", "much", WEIR_PARSE, "x-weir-max-cost", "USD, 0 or more"},
        {"weir", "x-weir-policy", "fastest", WEIR_PARSE, "x-weir-policy", "plugin"},
        {"weir", "x-weir-model", "gpt-9", WEIR_NOTFOUND, "model", "gpt-9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weirp_knobs k;
        weirp_fault fault = {{0}, {0}, {0}};
        fields f = {{cases[i].name}, {cases[i].value}};
        weir_status st = weirp_knobs_read(&k, *state, cases[i].model, header, &f, &fault);
        if (st != cases[i].status || strcmp(fault.param, cases[i].param) != 0 || !strstr(fault.text, cases[i].words))
            fail_msg("%s: %s, param \"%s\": %s", cases[i].model, weir_status_name(st), fault.param, fault.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_headers),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, open_setup, close_setup);
}
