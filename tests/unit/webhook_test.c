/* What a rollout's webhook is told, and what the log says where it can't be. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/setup.h"
#include "src/gateway/webhook.h"

#define OK(call) assert_int_equal((call), WEIR_OK)

static const weirp_gate_plan plan = {.name = "trial",
                                     .digest = 0x100,
                                     .base = "fixed,model=small",
                                     .candidate = "fixed,model=large",
                                     .n_steps = 2,
                                     .step = {0.25, 0.5},
                                     .level = 0.95};
static const weirp_gate_event harm = {.time_ms = 1795190000000,
                                      .change = WEIRP_GATE_HARM_QUALITY,
                                      .step = 1,
                                      .n_decisions = 50,
                                      .n_feedback = 20,
                                      .quality = {-0.5, -0.25},
                                      .error = {-0.125, 0.125}};

static json_t *told(const weirp_gate_event *e, double share) {
    char *body = weirp_webhook_move_body(&plan, e, share);
    assert_non_null(body);
    json_t *o = json_loads(body, 0, NULL);
    assert_non_null(o);
    free(body);
    return o;
}

static const char *word(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

static void policies_are_told_apart(void **state) {
    (void)state;
    json_t *o = told(&harm, 0);
    assert_string_equal(word(o, "event"), "rollout_stopped");
    assert_string_equal(word(o, "base"), "fixed,model=small");
    assert_string_equal(word(o, "candidate"), "fixed,model=large");
    assert_int_equal(json_integer_value(json_object_get(o, "step")), 2);
    const json_t *q = json_object_get(o, "quality_difference");
    assert_true(json_real_value(json_array_get(q, 0)) == -0.5 && json_real_value(json_array_get(q, 1)) == -0.25);
    json_decref(o);
}

static void what_isnt_finite_is_null(void **state) {
    (void)state;
    weirp_gate_event e = harm;
    e.quality.lo = NAN;
    e.error.hi = INFINITY;
    json_t *o = told(&e, NAN);
    const json_t *q = json_object_get(o, "quality_difference"), *errors = json_object_get(o, "error_difference");
    assert_true(json_is_null(json_array_get(q, 0)));
    assert_true(json_real_value(json_array_get(q, 1)) == -0.25);
    assert_true(json_real_value(json_array_get(errors, 0)) == -0.125);
    assert_true(json_is_null(json_array_get(errors, 1)));
    assert_true(json_is_null(json_object_get(o, "share")));
    json_decref(o);
}

/* ---- the log ---- */

/* What is logged when a move goes to a worker whose loop has ended; url NULL: no webhook is configured. */
static const char *logged(const weirp_gate_plan *p, const weirp_gate_event *e, char *url) {
    static char text[2048];
    weir_error err = {0};
    FILE *file = tmpfile();
    weirp_config config = {.rollout = {.on = true, .webhook = url}};
    weirp_setup setup = {.config = &config};
    weirp_gateway gateway = {.n_workers = 1};
    weirp_worker worker = {.gateway = &gateway, .setup = &setup, .ended = true};
    assert_non_null(file);
    OK(weirp_log_new(&gateway.log, fileno(file), WEIRP_LOG_TEXT, WEIRP_LOG_INFO, &err));
    OK(weirp_loop_new(&worker.loop, &err));
    weirp_webhook_move(&worker, p, e, 0);
    weirp_loop_run_posts(worker.loop);
    weirp_loop_free(worker.loop);
    weirp_log_free(gateway.log);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void a_body_that_cant_be_built_is_logged(void **state) {
    (void)state;
    char url[] = "http://127.0.0.1:1/";
    weirp_gate_plan broken = plan;
    weirp_gate_event unknown = harm;
    memcpy(broken.candidate, "fixed,model=\xff", 14);
    assert_null(weirp_webhook_move_body(&broken, &harm, 0));
    const char *text = logged(&broken, &harm, url);
    assert_non_null(strstr(text, "the webhook's message can't be built"));
    assert_non_null(strstr(text, "rollout=trial"));
    assert_string_equal(logged(&broken, &harm, NULL), "");
    unknown.quality.lo = NAN; /* is sent: the loop's end is what hinders it */
    text = logged(&plan, &unknown, url);
    assert_non_null(strstr(text, "the webhook can't be reached"));
    assert_non_null(strstr(text, "weir ends"));
    assert_null(strstr(text, "built"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_are_told_apart),
        cmocka_unit_test(what_isnt_finite_is_null),
        cmocka_unit_test(a_body_that_cant_be_built_is_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
