/* The simulated vendor from within: scenarios and which rule a request meets, text, gzip, answers' determinism, and a
 * whole vendor started, stopped and refused. Its misbehaviour on the wire is in tests/integration/vendor_test.py.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "src/base/words.h"
#include "src/vendor/json.h"
#include "src/vendor/vendor.h"
#include "tests/unit/cases.h"

static const char *no_header(const void *user, const char *name) {
    return user && !strcmp(name, "x-team") ? user : NULL;
}

static vend_scenario *parse(const char *text) {
    vend_scenario *s;
    weir_error err = {0};
    if (vend_scenario_parse(&s, "test", text, strlen(text), &err)) fail_msg("%s", err.text);
    return s;
}

static const char *met(vend_scenario *s, vend_api api, const char *model, const char *text, const char *team) {
    vend_shown shown = {api, model, false, text, no_header, team};
    const vend_rule *rule = vend_scenario_match(s, &shown, 1);
    return rule ? rule->name : "none";
}

static void rules_are_met_in_order(void **state) {
    (void)state;
    vend_scenario *s = parse("rules:\n"
                             "  - {name: team, match: {headers: {x-team: red*}}}\n"
                             "  - {name: glob, match: {model: 'gpt-4*', api: chat}}\n"
                             "  - {name: text, match: {prompt: river}}\n"
                             "  - {name: nth, match: {model: m, from: 2, to: 5, every: 2}}\n"
                             "  - {name: rest, match: {api: messages}}\n");
    assert_string_equal(met(s, VEND_CHAT, "gpt-4o", "", "redder"), "team");
    assert_string_equal(met(s, VEND_CHAT, "gpt-4o", "", "blue"), "glob");
    assert_string_equal(met(s, VEND_MESSAGES, "gpt-4o", "", NULL), "rest");
    assert_string_equal(met(s, VEND_MESSAGES, "x", "the river rises", NULL), "text");
    static const char *const nth[] = {"none", "nth", "none", "nth", "none", "none"};
    for (size_t i = 0; i < 6; i++) assert_string_equal(met(s, VEND_CHAT, "m", "", NULL), nth[i]);
    vend_scenario_reset(s);
    assert_string_equal(met(s, VEND_CHAT, "m", "", NULL), "none");
    assert_string_equal(met(s, VEND_CHAT, "m", "", NULL), "nth");
    vend_scenario_unref(s);
}

static void shares_are_what_they_say_and_repeat(void **state) {
    (void)state;
    vend_scenario *s = parse("rules: [{name: some, match: {share: 0.3}}]");
    char first[2000];
    size_t n = 0;
    for (int round = 0; round < 2; round++, vend_scenario_reset(s))
        for (size_t i = 0; i < sizeof first; i++) {
            bool hit = *met(s, VEND_CHAT, "m", "", NULL) == 's';
            if (!round) n += hit, first[i] = hit;
            assert_int_equal(first[i], hit);
        }
    assert_in_range(n, 530, 670); /* 600 +- 3.4 standard deviations */
    vend_scenario_unref(s);
}

static void wrong_scenarios_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {{"rules: [{latncy_ms: 3}]", "did you mean \"latency_ms\""},
                 {"rules: [{error: {status: 500}}]", "\"kind\" is missing"},
                 {"rules: [{error: {kind: rate_limit, status: 200}}]", "from 400 to 599"},
                 {"rules: [{match: {from: 5, to: 2}}]", "never matches"},
                 {"rules: [{cut: {reset: true}}]", "doesn't say where"},
                 {"rules: [{endless: true, drip_ms: 1}]", "needs a cut by bytes"},
                 {"rules: [{encoding: gzip, cut: {bytes: 3}}]", "doesn't go with"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vend_scenario *s;
        weir_error err = {0};
        assert_int_equal(vend_scenario_parse(&s, "test", cases[i].text, strlen(cases[i].text), &err), WEIR_PARSE);
        assert_null(s);
        if (!strstr(err.text, cases[i].part)) fail_msg("%s: %s", cases[i].text, err.text);
    }
}

/* Every scenario file that the tests share is one. */
static void shipped_scenarios_load(void **state) {
    (void)state;
    char folder[512], path[1024];
    struct dirent **entry = NULL;
    snprintf(folder, sizeof folder, "%s/tests/cases/scenarios", WEIR_SOURCE_DIR);
    int n = scandir(folder, &entry, case_name, alphasort);
    assert_true(n > 30);
    for (int i = 0; i < n; i++) {
        vend_scenario *s;
        weir_error err = {0};
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        if (vend_scenario_load(&s, path, &err)) fail_msg("%s", err.text);
        vend_scenario_unref(s);
        free(entry[i]);
    }
    free(entry);
}

static void split_keeps_characters_whole(void **state) {
    (void)state;
    static const char text[] =
        "na\u00efve  \u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34 end\n";
    size_t at = 0, len = strlen(text);
    while (at < len) {
        size_t n = vend_split(text + at, len - at);
        assert_in_range(n, 1, 34);
        assert_int_equal(weirp_utf8_valid(text + at, n), n);
        at += n;
    }
    assert_int_equal(at, len);
    for (uint64_t i = 0; i < 500; i++) {
        char piece[VEND_PIECE];
        size_t n = vend_word(piece, 5, i);
        assert_in_range(n, 1, VEND_PIECE - 1);
        assert_int_equal(weirp_utf8_valid(piece, n), n);
    }
}

static void samples_fit_their_schema(void **state) {
    (void)state;
    json_t *schema = json_loads("{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"i\":{\"type\":"
                                "\"INTEGER\"},\"e\":{\"enum\":[\"a\",\"b\"]},\"l\":{\"type\":\"array\",\"items\":{"
                                "\"type\":\"boolean\"}},\"n\":{\"type\":[\"number\",\"null\"]}}}",
                                0, NULL);
    for (uint64_t seed = 0; seed < 50; seed++) {
        weirp_writer w = {0};
        vend_sample(&w, schema, seed);
        json_t *v = json_loadb((const char *)w.data, w.size, 0, NULL);
        assert_true(json_is_string(json_object_get(v, "s")) && json_is_integer(json_object_get(v, "i")));
        assert_true(json_is_real(json_object_get(v, "n")));
        assert_true(json_is_boolean(json_array_get(json_object_get(v, "l"), 0)));
        const char *e = json_string_value(json_object_get(v, "e"));
        assert_true(e && (!strcmp(e, "a") || !strcmp(e, "b")));
        json_decref(v);
        weirp_writer_free(&w);
    }
    json_decref(schema);
}

/* RFC 1952: the check value of "123456789" is cbf43926; the frame is what the RFC says. */
static void gzip_is_gzip(void **state) {
    (void)state;
    vend_gzip z = {0};
    weirp_writer w = {0};
    vend_gzip_write(&z, &w, "12345", 5, false);
    vend_gzip_write(&z, &w, "6789", 4, true);
    assert_int_equal(w.size, 10 + 5 + 5 + 5 + 4 + 8);
    static const uint8_t end[] = {0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0};
    assert_memory_equal(w.data + w.size - 8, end, 8);
    assert_int_equal(w.data[10], 0); /* not the last block */
    assert_int_equal(w.data[20], 1);
    weirp_writer_free(&w);
}

static void starts_stops_and_says_what_is_wrong(void **state) {
    (void)state;
    vend_vendor *v;
    weir_error err = {0};
    weir_vendor_options options = {.listen = "127.0.0.1:0", .threads = 2};
    assert_int_equal(vend_vendor_start(&v, &options, &err), WEIR_OK);
    assert_non_null(strstr(vend_vendor_address(v), "127.0.0.1:"));
    vend_vendor_stop(v);
    options.scenario_path = "/nowhere.yaml";
    assert_int_not_equal(vend_vendor_start(&v, &options, &err), WEIR_OK);
    assert_non_null(strstr(err.text, "/nowhere.yaml"));
    options = (weir_vendor_options){.listen = "nonsense"};
    err = (weir_error){0};
    assert_int_not_equal(vend_vendor_start(&v, &options, &err), WEIR_OK);
    assert_non_null(strstr(err.text, "nonsense"));
    vend_vendor_stop(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_met_in_order),
        cmocka_unit_test(shares_are_what_they_say_and_repeat),
        cmocka_unit_test(wrong_scenarios_are_named),
        cmocka_unit_test(shipped_scenarios_load),
        cmocka_unit_test(split_keeps_characters_whole),
        cmocka_unit_test(samples_fit_their_schema),
        cmocka_unit_test(gzip_is_gzip),
        cmocka_unit_test(starts_stops_and_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
