/* Pools and the YAML loader: what is right is read as it stands, what is wrong is named with line and key.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <math.h>

#include "src/base/words.h"
#include "src/base/yaml.h"
#include "src/price/price.h"
#include "tests/unit/cases.h"

static void print_pool(FILE *out) {
    weir_pool *pool;
    weir_error err = {0};
    weir_status st = weir_pool_load(&pool, "pool.yaml", &err);
    if (st) {
        fprintf(out, "%s line %zu: %s\n", weir_status_name(st), err.line, err.text);
        assert_null(pool);
        return;
    }
    for (size_t i = 0; i < pool->n_models; i++) {
        const weir_model *m = &pool->models[i];
        fprintf(out, "%s: %g %g %g %g %g\n", m->name, m->input_usd_per_mtok, m->output_usd_per_mtok, m->request_usd,
                m->max_input_tokens, m->max_output_tokens);
        const double rate[] = {m->cached_input_usd_per_mtok, m->cache_write_usd_per_mtok, m->audio_input_usd_per_mtok,
                               m->reasoning_usd_per_mtok, m->audio_output_usd_per_mtok};
        static const char *const of[] = {"cached input", "cache write", "audio input", "reasoning", "audio output"};
        for (size_t k = 0; k < sizeof rate / sizeof rate[0]; k++)
            if (!isnan(rate[k])) fprintf(out, "    %s %g\n", of[k], rate[k]);
    }
    weir_pool_free(pool);
}

static void pool_cases(void **state) {
    (void)state;
    assert_int_equal(cases_run("pool", print_pool), 0);
}

static void no_file(void **state) {
    (void)state;
    weir_pool *pool;
    weir_error err = {0};
    assert_int_equal(weir_pool_load(&pool, "/nowhere/pool.yaml", &err), WEIR_NOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere/pool.yaml"));
    assert_int_not_equal(weir_pool_load(&pool, "/tmp", NULL), WEIR_OK);
}

static void price_of_tokens(void **state) {
    (void)state;
    weir_model m = weir_model_defaults();
    m.input_usd_per_mtok = 2.5;
    m.output_usd_per_mtok = 10;
    m.request_usd = 0.001;
    assert_true(fabs(weirp_price(&m, 1000, 100) - (0.0025 + 0.001 + 0.001)) < 1e-15);
    assert_true(isnan(weirp_price(&m, NAN, 100)));
    assert_true(weirp_price(&m, 0, 0) == 0.001);
    m.input_usd_per_mtok = 0; /* free: how many doesn't matter */
    assert_true(fabs(weirp_price(&m, NAN, 100) - 0.002) < 1e-15);
    m.output_usd_per_mtok = NAN;
    assert_true(isnan(weirp_price(&m, 1, 1)));
    assert_true(weirp_price(&m, 1, 0) == 0.001);
}

static weir_pool *sample(void) {
    weir_pool *pool = calloc(1, sizeof *pool);
    assert_int_equal(weirp_pool_add(pool, "a"), 0);
    assert_int_equal(weirp_pool_add(pool, "b"), 1);
    assert_int_equal(weirp_pool_add(pool, "a"), 0); /* there already */
    pool->models[1].input_usd_per_mtok = 3;
    pool->models[1].cache_write_usd_per_mtok = 3.75;
    pool->models[1].audio_output_usd_per_mtok = 80;
    return pool;
}

static void bytes_round_trip(void **state) {
    (void)state;
    weir_pool *pool = sample(), *copy, *back;
    assert_int_equal(weirp_pool_copy(&copy, pool, NULL), WEIR_OK);
    weirp_writer w = {0};
    weirp_pool_save(copy, &w);
    assert_false(w.failed);
    weirp_bytes r = {w.data, w.size, 0, false};
    assert_int_equal(weirp_pool_read(&back, &r, NULL), WEIR_OK);
    assert_int_equal(back->n_models, 2);
    assert_string_equal(back->models[1].name, "b");
    assert_true(back->models[1].input_usd_per_mtok == 3 && isnan(back->models[1].output_usd_per_mtok));
    assert_true(isinf(back->models[0].max_input_tokens));
    assert_true(back->models[1].cache_write_usd_per_mtok == 3.75 && back->models[1].audio_output_usd_per_mtok == 80);
    assert_true(isnan(back->models[1].cached_input_usd_per_mtok) && isnan(back->models[1].reasoning_usd_per_mtok));
    weir_pool_free(back);
    for (size_t cut = 0; cut < w.size; cut++) {
        weirp_bytes t = {w.data, cut, 0, false};
        weir_error err = {0};
        assert_int_equal(weirp_pool_read(&back, &t, &err), WEIR_CORRUPT);
        assert_null(back);
    }
    w.data[0] = 3;
    r = (weirp_bytes){w.data, w.size, 0, false};
    assert_int_equal(weirp_pool_read(&back, &r, NULL), WEIR_NEWER);
    weirp_writer_free(&w);
    weir_pool_free(copy);
    weir_pool_free(pool);
}

/* As stores of the first version hold it: the rates that came later are unknown, not free. */
static void bytes_of_version_1(void **state) {
    (void)state;
    weirp_writer w = {0};
    weirp_put_u32(&w, 1);
    weirp_put_u64(&w, 2);
    for (int i = 0; i < 2; i++) {
        weirp_put_text(&w, i ? "b" : "a");
        weirp_put_f64(&w, 2.5 + i);
        weirp_put_f64(&w, 10);
        weirp_put_f64(&w, 0);
        weirp_put_f64(&w, 128000);
        weirp_put_f64(&w, INFINITY);
    }
    weirp_bytes r = {w.data, w.size, 0, false};
    weir_pool *back;
    assert_int_equal(weirp_pool_read(&back, &r, NULL), WEIR_OK);
    assert_int_equal(r.at, w.size);
    assert_true(back->models[1].input_usd_per_mtok == 3.5 && back->models[1].max_input_tokens == 128000);
    for (int i = 0; i < 2; i++) {
        const weir_model *m = &back->models[i];
        assert_true(isnan(m->cached_input_usd_per_mtok) && isnan(m->cache_write_usd_per_mtok));
        assert_true(isnan(m->audio_input_usd_per_mtok) && isnan(m->reasoning_usd_per_mtok));
        assert_true(isnan(m->audio_output_usd_per_mtok));
    }
    weir_pool_free(back);
    w.data[0] = 0; /* there never was a version 0 */
    r = (weirp_bytes){w.data, w.size, 0, false};
    assert_int_equal(weirp_pool_read(&back, &r, NULL), WEIR_CORRUPT);
    weirp_writer_free(&w);
}

/* ---- the loader, with every type ---- */

typedef struct inner {
    char *host;
    int64_t port;
    size_t line;
} inner;
typedef struct outer {
    char *title;
    double rate;
    bool on;
    int mode;
    inner listen;
    weirp_yaml_list peers, words, headers;
    size_t rate_line;
} outer;

static const char *const modes[] = {"slow", "quick", "wild", NULL};
static const weirp_yaml_key inner_keys[] = {
    {"host", WEIRP_YAML_TEXT, offsetof(inner, host), .text = "localhost"},
    {"port", WEIRP_YAML_COUNT, offsetof(inner, port), .min = 1, .max = 65535, .fallback = 8080},
};
static const weirp_yaml_map inner_map = {"an address", sizeof(inner),    2,
                                         inner_keys,   .has_line = true, .line_offset = offsetof(inner, line)};
static const weirp_yaml_key outer_keys[] = {
    {"title", WEIRP_YAML_TEXT, offsetof(outer, title), .required = true},
    {"rate", WEIRP_YAML_NUMBER, offsetof(outer, rate), .fallback = 0.5, .has_line = true,
     .line_offset = offsetof(outer, rate_line)},
    {"on", WEIRP_YAML_FLAG, offsetof(outer, on), .fallback = 1},
    {"mode", WEIRP_YAML_CHOICE, offsetof(outer, mode), .choices = modes, .fallback = 1},
    {"listen", WEIRP_YAML_MAP, offsetof(outer, listen), .map = &inner_map},
    {"peers", WEIRP_YAML_MAPS, offsetof(outer, peers), .map = &inner_map},
    {"words", WEIRP_YAML_TEXTS, offsetof(outer, words)},
    {"headers", WEIRP_YAML_PAIRS, offsetof(outer, headers)},
};
static const weirp_yaml_map outer_map = {"a test file", sizeof(outer), 8, outer_keys};

static weir_status parse(const char *text, outer *o, weir_error *err) {
    return weirp_yaml_parse("f", text, strlen(text), &outer_map, o, err);
}

static void every_type(void **state) {
    (void)state;
    outer o;
    weir_error err = {0};
    const char *text = "title: 'x y'\nrate: -2.5e3\non: false\nmode: wild\nlisten: {port: 1}\n"
                       "peers:\n  - &p {host: a, port: 2}\n  - *p\n  - {}\nwords: [a, \"b\", 3]\n"
                       "headers: {X-A: b, X-C: 7}\n";
    assert_int_equal(parse(text, &o, &err), WEIR_OK);
    assert_string_equal(o.title, "x y");
    assert_true(o.rate == -2500 && !o.on && o.mode == 2);
    assert_string_equal(o.listen.host, "localhost");
    assert_int_equal(o.listen.port, 1);
    assert_int_equal(o.listen.line, 5);
    assert_int_equal(o.rate_line, 2);
    const inner *peer = o.peers.items;
    assert_int_equal(o.peers.n, 3);
    assert_string_equal(peer[1].host, "a");
    assert_int_equal(peer[1].port, 2);
    assert_int_equal(peer[2].port, 8080);
    assert_int_equal(peer[2].line, 9);
    assert_int_equal(o.words.n, 3);
    assert_string_equal(((char **)o.words.items)[2], "3");
    const weirp_yaml_pair *pair = o.headers.items;
    assert_int_equal(o.headers.n, 2);
    assert_string_equal(pair[1].key, "X-C");
    assert_string_equal(pair[1].value, "7");
    weirp_yaml_free(&outer_map, &o);
    /* absent and null keys take their defaults */
    assert_int_equal(parse("{\"title\": \"json\", \"rate\": null}", &o, &err), WEIR_OK);
    assert_int_equal(o.rate_line, 0);
    assert_true(o.rate == 0.5 && o.on && o.mode == 1 && o.listen.port == 8080 && o.peers.n == 0);
    weirp_yaml_free(&outer_map, &o);
}

static void wrong_values(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"title: a\nrat: 1\n", "f:2: unknown key \"rat\" (did you mean \"rate\"?)"},
        {"title: a\nzzzzzzzz: 1\n",
         "f:2: unknown key \"zzzzzzzz\" (known: title, rate, on, mode, listen, peers, words, "
         "headers)"},
        {"rate: 1\n", "f:1: key \"title\" is missing: a test file needs it"},
        {"title: ~\n", "f:1: key \"title\" is missing: a test file needs it"},
        {"title: a\n\nrate: fast\n", "f:3: key \"rate\" is fast: must be a number"},
        {"title: a\nrate: \"1\"\n", "f:2: key \"rate\" is 1: must be a number"},
        {"title: a\nrate: .nan\n", "f:2: key \"rate\" is .nan: must be a number"},
        {"title: a\nrate: .inf\n", "f:2: key \"rate\" is .inf: must be a number"},
        {"title: a\nrate: 1e999\n", "f:2: key \"rate\" is 1e999: must be a number"},
        {"title: a\non: yes\n", "f:2: key \"on\" is yes: must be true or false"},
        {"title: a\nmode: quik\n", "f:2: key \"mode\" is quik: must be slow, quick or wild"},
        {"title: a\nlisten: {port: 0}\n", "f:2: key \"port\" is 0: must be from 1 to 65535"},
        {"title: a\nlisten: {port: 1.5}\n", "f:2: key \"port\" is 1.5: must be a whole number"},
        {"title: a\nlisten: 80\n", "f:2: key \"listen\" is 80: must be a map: an address"},
        {"title: a\npeers:\n- a\n", "f:3: key \"peers\" is a: must be a list of maps, each an address"},
        {"title: a\nwords: [a, [b]]\n", "f:2: key \"words\" is a list: must be a list of texts"},
        {"title: a\nheaders: {a: b, a: c}\n", "f:2: key \"a\" comes twice in \"headers\""},
        {"title: a\ntitle: b\n", "f:2: key \"title\" comes twice (first on line 1)"},
        {"title: !!str a\n", "f:1: tags such as \"tag:yaml.org,2002:str\" aren't read: leave it out"},
        {"title: *a\n", "f:1: \"*a\" names no anchor that comes before it"},
        {"title: &a [*a]\n", "f:1: \"*a\" names no anchor that comes before it"},
        {"? [a]\n: b\n", "f:1: a key must be plain text, not a list or map"},
        {"title: a\n---\ntitle: b\n", "f:2: a second document begins: there must be one"},
        {"- a\n", "f:1: must be a map: a test file"},
        {"", "f:1: must be a map: a test file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        outer o;
        weir_error err = {0};
        assert_int_equal(parse(cases[i].text, &o, &err), WEIR_PARSE);
        assert_string_equal(err.text, cases[i].says);
        assert_null(o.title);
    }
}

/* Nine anchors, each nine times the one before: 9^9 values if unfolded. */
static void bombs_are_refused(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++) {
        fprintf(f, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++) fprintf(f, "%s*a%d", j ? "," : "", i - 1);
        fprintf(f, "]\n");
    }
    fclose(f);
    outer o;
    weir_error err = {0};
    assert_int_equal(parse(text, &o, &err), WEIR_PARSE);
    assert_non_null(strstr(err.text, "too many values (aliases unfolded)"));
    free(text);
    text = malloc(2000001);
    memset(text, '[', 2000000);
    text[2000000] = 0;
    memset(&err, 0, sizeof err);
    assert_int_equal(parse(text, &o, &err), WEIR_PARSE);
    assert_non_null(strstr(err.text, "nested too deeply"));
    free(text);
}

static void words(void **state) {
    (void)state;
    double x;
    assert_true(weirp_number_parse("-1.5e2", 6, &x) && x == -150);
    assert_true(weirp_number_parse("1e999", 5, &x) && isinf(x));
    assert_false(weirp_number_parse("", 0, &x));
    assert_false(weirp_number_parse("0x10", 4, &x));
    assert_false(weirp_number_parse("nan", 3, &x));
    assert_false(weirp_number_parse("1 ", 2, &x));
    assert_false(weirp_number_parse("1\0", 2, &x));
    assert_false(weirp_number_parse("--1", 3, &x));
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) { /* where it is installed */
        assert_true(weirp_number_parse("2.5", 3, &x) && x == 2.5);
        setlocale(LC_NUMERIC, "C");
    }
    char out[64];
    assert_int_equal(weirp_utf8_valid("abcdefgh\xc3\xa9xyz", 13), 13);
    assert_int_equal(weirp_utf8_valid("abcdefghi\xed\xa0\x80", 12), 9); /* a surrogate */
    assert_int_equal(weirp_utf8_valid("\xc0\x80", 2), 0);               /* overlong */
    assert_int_equal(weirp_utf8_valid("\xe4\xbd", 2), 0);               /* cut */
    assert_int_equal(weirp_utf8_repair(out, "a\xff\xc3\xa9\x80", 5), 9);
    assert_string_equal(out, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
    assert_string_equal(weirp_excerpt(out, 9, "abcde\xc3\xa9 and more", 16), "abcde...");
    assert_string_equal(weirp_excerpt(out, 8, "a\tb", 3), "a?b");
    assert_int_equal(weirp_copy_text(out, 4, "abc"), 3);
    assert_string_equal(out, "abc");
    assert_int_equal(weirp_copy_text(out, 4, "abcd"), 4);
    assert_string_equal(out, "abc");
    assert_int_equal(weirp_copy_text(out, 1, "abcd"), 4);
    assert_string_equal(out, "");
    const char *const names[] = {"train", "eval", "route"};
    assert_string_equal(weirp_suggest("trian", names, 3), "train");
    assert_string_equal(weirp_suggest("EVAL", names, 3), "eval");
    assert_null(weirp_suggest("xyzzy", names, 3));
    assert_null(weirp_suggest("", names, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_cases), cmocka_unit_test(no_file),          cmocka_unit_test(price_of_tokens),
        cmocka_unit_test(every_type), cmocka_unit_test(wrong_values),     cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(words),      cmocka_unit_test(bytes_round_trip), cmocka_unit_test(bytes_of_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
