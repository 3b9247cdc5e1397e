/* The gateway's configuration: what is right is read as it stands, what is wrong is named with file, line and key, and
 * no key is ever shown. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "src/gateway/config/config_file.h"
#include "src/ope/target_parts.h"
#include "tests/unit/cases.h"
#include "tests/unit/ope_made.h"
#include "weir/gateway.h"

static const char provider_key[] = "geheim-provider-key-0123456789";
static const char client_key[] = "geheim-client-key-0123456789";

static void set_keys(void) {
    setenv("WEIR_TEST_KEY", provider_key, 1);
    setenv("WEIR_TEST_CLIENT_KEY", client_key, 1);
    setenv("WEIR_TEST_SHORT_KEY", "geheim", 1);
    setenv("WEIR_TEST_EMPTY_KEY", "\n", 1);
    setenv("WEIR_TEST_BROKEN_KEY", "geheim\r\nX-Other: geheim", 1);
    unsetenv("WEIR_TEST_UNSET_KEY");
}

static void print_config(FILE *out) {
    weir_error err = {0};
    char *json = NULL;
    weir_status st = weir_gateway_check("weir.yaml", &json, &err);
    if (st)
        fprintf(out, "%s line %zu: %s\n", weir_status_name(st), err.line, err.text);
    else
        fprintf(out, "%s\n", json);
    assert_null(strstr(st ? err.text : json, "geheim"));
    if (st) assert_null(json);
    free(json);
}

static void cases(void **state) {
    (void)state;
    assert_int_equal(cases_run("config", print_config), 0);
}

/* ---- files ---- */

static char folder[] = "/tmp/weir-config-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[4][128];
    static size_t next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void put(const char *name, const char *text, mode_t mode) {
    const char *path = in_folder(name);
    remove(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static int make_folder(void **state) {
    (void)state;
    set_keys();
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"weir.yaml", "provider", "clients", "empty"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) remove(in_folder(names[i]));
    return rmdir(folder);
}

#define MODELS                                                                                                         \
    "models:\n  - name: m\n    input_usd_per_mtok: 1\n    output_usd_per_mtok: 2\n    deployments: [{provider: "       \
    "openai}]\n"

static weir_status load(weirp_config **c, const char *text, weir_error *err) {
    put("weir.yaml", text, 0644);
    memset(err, 0, sizeof *err);
    return weirp_config_load(c, in_folder("weir.yaml"), err);
}

static void keys_from_files(void **state) {
    (void)state;
    weirp_config *c;
    weir_error err;
    put("provider", "geheim-of-the-file\r\n\n", 0600);
    put("clients", "# ours\ngeheim-client-one-0001\r\n\n   \n", 0600);
    const char *text =
        "store: s.mdb\nauth:\n  key_files: [clients]\nproviders:\n  - {name: openai, key_file: provider}\n" MODELS;
    assert_int_equal(load(&c, text, &err), WEIR_PARSE); /* a line of spaces is no key */
    assert_non_null(strstr(err.text, "weir.yaml:3: the key from file clients holds a space"));
    assert_null(c);
    put("clients", "# ours\ngeheim-client-one-0001\r\n\ngeheim-client-two-0002", 0600);
    assert_int_equal(load(&c, text, &err), WEIR_OK);
    assert_string_equal(c->providers[0].key, "geheim-of-the-file");
    assert_int_equal(c->n_client_keys, 2);
    assert_string_equal(c->client_keys[0], "geheim-client-one-0001");
    assert_string_equal(c->client_keys[1], "geheim-client-two-0002");
    assert_string_equal(c->store, in_folder("s.mdb")); /* beside the configuration, wherever weir runs */
    assert_int_equal(c->n_warnings, 0);
    weirp_config_free(c);
    put("provider", "geheim", 0644);
    assert_int_equal(load(&c, text, &err), WEIR_OK);
    assert_int_equal(c->n_warnings, 1);
    assert_non_null(strstr(c->warnings[0], "weir.yaml:5: key file provider can be read by every user"));
    weirp_config_free(c);
}

static void wrong_key_files(void **state) {
    (void)state;
    weirp_config *c;
    weir_error err;
    put("empty", "\n\n", 0600);
    assert_int_equal(load(&c, "store: s\nproviders:\n  - name: openai\n    key_file: empty\n" MODELS, &err),
                     WEIR_PARSE);
    assert_non_null(strstr(err.text, "weir.yaml:4: the key from file empty is empty"));
    assert_int_equal(err.line, 4);
    put("empty", "# none\n", 0600);
    assert_int_equal(load(&c, "store: s\nauth: {key_files: [empty]}\nproviders: [{name: openai}]\n" MODELS, &err),
                     WEIR_PARSE);
    assert_non_null(strstr(err.text, "weir.yaml:2: key file empty holds no key"));
    put("empty", "geheim of two words\n", 0600);
    assert_int_equal(load(&c, "store: s\nauth: {key_files: [empty]}\nproviders: [{name: openai}]\n" MODELS, &err),
                     WEIR_PARSE);
    assert_null(strstr(err.text, "geheim"));
    char *large = malloc((1 << 20) + 2);
    memset(large, 'k', (1 << 20) + 1);
    large[(1 << 20) + 1] = 0;
    put("empty", large, 0600);
    assert_int_equal(load(&c, "store: s\nauth: {key_files: [empty]}\nproviders: [{name: openai}]\n" MODELS, &err),
                     WEIR_PARSE);
    assert_non_null(strstr(err.text, "larger than 1 MiB"));
    large[5000] = 0;
    put("empty", large, 0600);
    assert_int_equal(load(&c, "store: s\nauth: {key_files: [empty]}\nproviders: [{name: openai}]\n" MODELS, &err),
                     WEIR_PARSE);
    assert_non_null(strstr(err.text, "longer than 4096 bytes"));
    free(large);
}

static void no_file(void **state) {
    (void)state;
    weirp_config *c;
    weir_error err = {0};
    assert_int_equal(weirp_config_load(&c, "/nowhere/weir.yaml", &err), WEIR_NOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere/weir.yaml"));
    assert_int_not_equal(weir_gateway_check("/nowhere/weir.yaml", NULL, NULL), WEIR_OK);
    weirp_config_free(NULL);
}

/* ---- the documents ---- */

static char *document(const char *path) {
    char full[512];
    snprintf(full, sizeof full, "%s/docs/%s", WEIR_SOURCE_DIR, path);
    char *text = case_read(full);
    assert_non_null(text);
    return text;
}

/* What is shown works, without a warning where keys are there. */
static void examples_are_taken(void **state) {
    (void)state;
    static const char *const variables[] = {"OPENAI_API_KEY",  "ANTHROPIC_API_KEY", "GEMINI_API_KEY",
                                            "MISTRAL_API_KEY", "TOGETHER_API_KEY",  "GROQ_API_KEY"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) setenv(variables[i], provider_key, 1);
    put("clients", "geheim-client-one-0001\n", 0600);
    weir_error err = {0};
    weirp_config *c;
    size_t n = 0;
    char *chapter = document("gateway.md"), *next = chapter;
    while ((next = strstr(next, "```yaml\n"))) {
        char *text = next + 8, *end = strstr(text, "```"), *path;
        assert_non_null(end);
        *end = 0;
        if ((path = strstr(text, "/etc/weir/clients"))) memmove(path, path + 10, strlen(path + 10) + 1);
        if (load(&c, text, &err)) fail_msg("%s\n%s", err.text, text);
        if (c->n_warnings) fail_msg("%s", c->warnings[0]);
        weirp_config_free(c);
        next = end + 1;
        n++;
    }
    assert_int_equal(n, 3);
    free(chapter);
    static const char *const files[] = {"examples/weir.yaml", "examples/simulator.yaml"};
    for (size_t i = 0; i < 2; i++) {
        char *text = document(files[i]);
        if (load(&c, text, &err)) fail_msg("%s: %s", files[i], err.text);
        if (c->n_warnings) fail_msg("%s: %s", files[i], c->warnings[0]);
        weirp_config_free(c);
        free(text);
    }
}

/* Every key has its place in a table, with its default where that is a whole number. */
static void find_keys(const char *text, const weirp_yaml_map *map, const char *section) {
    for (size_t k = 0; k < map->n_keys; k++) {
        const weirp_yaml_key *key = &map->keys[k];
        char plain[96], dotted[96], line[96], fallback[32];
        snprintf(plain, sizeof plain, "`%s`", key->name);
        snprintf(line, sizeof line, "\n| `%s`", key->name);
        snprintf(dotted, sizeof dotted, "`%s.%s`", section, key->name);
        const char *at = strstr(text, dotted), *row_of = strstr(text, line);
        if (!at) at = row_of ? row_of + 1 : strstr(text, plain);
        if (!at) fail_msg("docs/gateway.md doesn't know the key %s of %s", key->name, map->what);
        if (key->map) find_keys(text, key->map, key->name);
        if (key->type != WEIRP_YAML_COUNT) continue;
        snprintf(fallback, sizeof fallback, " | %.0f", key->fallback);
        size_t row = strcspn(at, "\n");
        const char *cell = at;
        while ((cell = strstr(cell, fallback)) && cell < at + row && cell[strlen(fallback)] != ' ') cell++;
        if (!cell || cell >= at + row) fail_msg("docs/gateway.md: the default of %s is%s", dotted, fallback + 2);
    }
}

static void every_key_is_documented(void **state) {
    (void)state;
    char *chapter = document("gateway.md");
    const char *from = strstr(chapter, "\n## Configuration");
    assert_non_null(from);
    find_keys(from, &weirp_file_schema, "");
    free(chapter);
}

/* ---- what it means ---- */

static uint64_t price_version(const char *models) {
    weirp_config *c;
    weir_error err;
    char text[1024];
    snprintf(text, sizeof text, "store: s\nproviders: [{name: openai, key_env: WEIR_TEST_KEY}]\nmodels:\n%s", models);
    assert_int_equal(load(&c, text, &err), WEIR_OK);
    uint64_t version = c->price_version;
    weirp_config_free(c);
    return version;
}

/* It changes with each price and name, and with nothing else. */
static void price_versions(void **state) {
    (void)state;
#define END "deployments: [{provider: openai}]}\n"
    uint64_t first = price_version("  - {name: a, input_usd_per_mtok: 0, " END);
    assert_true(first == price_version("  - {name: a, max_input_tokens: 5, input_usd_per_mtok: -0.0, " END));
    static const char *const others[] = {
        "  - {name: b, input_usd_per_mtok: 0, " END,
        "  - {name: a, " END,
        "  - {name: a, input_usd_per_mtok: 1e-9, " END,
        "  - {name: a, input_usd_per_mtok: 0, output_usd_per_mtok: 0, " END,
        "  - {name: a, input_usd_per_mtok: 0, request_usd: 1, " END,
        "  - {name: a, input_usd_per_mtok: 0, cached_input_usd_per_mtok: 0, " END,
        "  - {name: a, input_usd_per_mtok: 0, cache_write_usd_per_mtok: 0, " END,
        "  - {name: a, input_usd_per_mtok: 0, audio_input_usd_per_mtok: 0, " END,
        "  - {name: a, input_usd_per_mtok: 0, reasoning_usd_per_mtok: 0, " END,
        "  - {name: a, input_usd_per_mtok: 0, audio_output_usd_per_mtok: 0, " END,
        "  - {name: a, input_usd_per_mtok: 0, " END "  - {name: b, " END,
    };
    enum { N = sizeof others / sizeof others[0] };
    uint64_t seen[N];
    for (size_t i = 0; i < N; i++) {
        seen[i] = price_version(others[i]);
        assert_true(seen[i] != first);
        for (size_t k = 0; k < i; k++) assert_true(seen[k] != seen[i]);
    }
}

static void deployments_of_models(void **state) {
    (void)state;
    weirp_config *c;
    weir_error err;
    const char *text = "store: s\nproviders: [{name: openai}, {name: mistral}]\nmodels:\n"
                       "  - {name: a, deployments: [{provider: openai}]}\n"
                       "  - {name: b, deployments: [{provider: mistral}, {provider: openai, model: x}]}\n"
                       "  - {name: c, deployments: [{provider: openai, no_stream_options: true}]}\n";
    assert_int_equal(load(&c, text, &err), WEIR_OK);
    size_t n;
    assert_int_equal(weirp_config_deployments(c, 0, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(weirp_config_deployments(c, 1, &n), 1);
    assert_int_equal(n, 2);
    assert_string_equal(c->deployments[1].name, "mistral/b");
    assert_string_equal(c->deployments[1].vendor_model, "b");
    assert_true(c->deployments[1].no_stream_options && !c->deployments[1].max_completion_tokens);
    assert_string_equal(c->deployments[2].name, "openai/x");
    assert_true(!c->deployments[2].no_stream_options && c->deployments[2].max_completion_tokens);
    assert_true(c->deployments[3].no_stream_options);
    weirp_config_deployments(c, 3, &n);
    assert_int_equal(n, 0);
    assert_true(c->threads >= 1);
    weirp_config_free(c);
}

/* ---- policies as reports write them ---- */

static const char *const three[] = {"small", "middle", "large"};

/* With two policies, each the YAML of a map, and a rollout of one to the other. */
static weirp_config *rolling(const char *base, const char *candidate) {
    weirp_config *c;
    weir_error err;
    char text[2048];
    snprintf(
        text, sizeof text,
        "store: s.mdb\n%s%s\nrollout: {name: r, mode: shadow, policy: %s}\n"
        "providers: [{name: local, protocol: openai, base_url: \"http://127.0.0.1:1/v1\"}]\nmodels:\n"
        "  - {name: small, deployments: [{provider: local}]}\n  - {name: middle, deployments: [{provider: local}]}\n"
        "  - {name: large, deployments: [{provider: local}]}\n",
        *base ? "policy: " : "", base, candidate);
    if (load(&c, text, &err) != WEIR_OK) fail_msg("%s: %s", candidate, err.text);
    return c;
}

/* `weir ope --policy` takes the text for the policy that is in force. */
static void assert_means(const char *text, const weir_policy_options *right) {
    weir_error err = {0};
    weirp_ope_table *table = table_of(three, 3);
    weirp_target_spec spec;
    must(weirp_target_spec_parse(&spec, text, table, &err), &err);
    const weir_policy_options *o = &spec.options;
    const double a[] = {o->value_usd,      o->latency_usd_per_s, o->max_cost_usd,  o->min_quality,
                        o->max_latency_ms, o->threshold,         o->novelty_limit, o->explore_floor};
    const double b[] = {right->value_usd,      right->latency_usd_per_s, right->max_cost_usd,  right->min_quality,
                        right->max_latency_ms, right->threshold,         right->novelty_limit, right->explore_floor};
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        if (!(a[i] == b[i])) fail_msg("%s: number %zu is %.17g, not %.17g", text, i, a[i], b[i]);
    assert_string_equal(o->policy, right->policy);
    assert_true(o->strong == right->strong && o->weak == right->weak && o->fallback == right->fallback);
    if (!strcmp(o->policy, "fixed")) assert_true(o->fixed == right->fixed);
    weirp_target_spec_clear(&spec);
    weirp_ope_table_free(table);
}

static void policies_are_written_as_on_the_command_line(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *text;
    } known[] = {
        {"{value_usd: 0.05}", "plugin,value=0.05"},
        {"{value_usd: .inf, explore_floor: 0.01}", "plugin,value=inf,explore=0.01"},
        {"{name: plugin, value_usd: 1}", "plugin,value=1"},
        {"{mu: 0.3, fallback: false, novelty_limit: 0.9, seed: 4}", "plugin,mu=0.3,novelty_limit=0.9,fallback=off"},
        {"{name: minimax, latency_usd_per_s: 0.125}", "minimax,latency_usd_per_s=0.125"},
        {"{fixed: large}", "fixed,model=large"},
        {"{strong: large, weak: small, threshold: 0.7}", "threshold,threshold=0.7,strong=large,weak=small"},
        {"{max_cost_usd: 0.002, max_latency_ms: 300}", "constrained,max_cost=0.002,max_latency=300"},
        {"{min_quality: 0.8}", "constrained,value=0,min_quality=0.8"},
        {"{min_quality: 0.8, value_usd: 0.1}", "constrained,value=0.1,min_quality=0.8"},
        {"{min_quality: 0.8, mu: 0.25}", "constrained,mu=0.25,min_quality=0.8"},
        {"{name: random, explore_floor: 0.3333333333333333}", "random,explore=0.3333333333333333"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *right = known[i].text;
        weirp_config *c = rolling(known[i].yaml, known[i].yaml);
        const weirp_gate_plan *g = &c->rollout.gate;
        assert_string_equal(g->base, right);
        assert_string_equal(g->candidate, right);
        assert_means(g->candidate, &c->rollout.policy);
        weirp_config_free(c);
    }
    weirp_config *c = rolling("", "{name: fixed, fixed: small, value_usd: 3}"); /* which `fixed` doesn't look at */
    assert_string_equal(c->rollout.gate.base, "plugin");
    assert_string_equal(c->rollout.gate.candidate, "fixed,model=small");
    weirp_config_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases),
        cmocka_unit_test(keys_from_files),
        cmocka_unit_test(wrong_key_files),
        cmocka_unit_test(no_file),
        cmocka_unit_test(price_versions),
        cmocka_unit_test(deployments_of_models),
        cmocka_unit_test(policies_are_written_as_on_the_command_line),
        cmocka_unit_test(examples_are_taken),
        cmocka_unit_test(every_key_is_documented),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
