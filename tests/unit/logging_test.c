/* Log lines: whole, one line each whatever is in them, and without secrets. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/gateway/observe/logging_text.h"

/* What was logged since the last call; borrowed. */
static FILE *file;
static char *took(void) {
    static char text[1 << 20];
    size_t n;
    rewind(file);
    n = fread(text, 1, sizeof text - 1, file);
    text[n] = 0;
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    return text;
}

static weirp_log *new_log(weirp_log_format format) {
    weirp_log *log;
    file = tmpfile();
    assert_non_null(file);
    assert_int_equal(weirp_log_new(&log, fileno(file), format, WEIRP_LOG_INFO, NULL), WEIR_OK);
    return log;
}

static void end_log(weirp_log *log) {
    weirp_log_free(log);
    fclose(file);
}

static void assert_time(const char *text) {
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd')
            assert_in_range(text[i], '0', '9');
        else
            assert_int_equal(text[i], shape[i]);
}

static void as_text(void **state) {
    (void)state;
    weirp_log *log = new_log(WEIRP_LOG_TEXT);
    WEIRP_LOG(log, WEIRP_LOG_INFO, "request", WEIRP_S("id", "weir-1"), WEIRP_I("status", 200), WEIRP_F("ms", 12.5),
              WEIRP_B("stream", true), WEIRP_S("none", NULL), WEIRP_F("nan", NAN), WEIRP_S("empty", ""),
              WEIRP_S("words", "two words"), WEIRP_S("sum", "a=b"), WEIRP_S("quote", "a\"b"), WEIRP_S("name", "Zoë"),
              WEIRP_S("odd key\n", "x"), WEIRP_I("least", INT64_MIN));
    char *text = took();
    assert_time(text);
    assert_string_equal(text + 24,
                        " INFO  request id=weir-1 status=200 ms=12.5 stream=true empty=\"\" words=\"two words\" "
                        "sum=\"a=b\" quote=\"a\\\"b\" name=\"Zoë\" odd_key_=x least=-9223372036854775808\n");
    weirp_log_line(log, WEIRP_LOG_ERROR, "plain", NULL, 0);
    assert_string_equal(took() + 24, " ERROR plain\n");
    weirp_log_line(log, WEIRP_LOG_DEBUG, "quiet", NULL, 0);
    assert_string_equal(took(), "");
    weirp_log_set(log, WEIRP_LOG_JSON, WEIRP_LOG_DEBUG);
    weirp_log_line(log, WEIRP_LOG_DEBUG, "loud", NULL, 0);
    assert_string_equal(took() + 31, "\",\"level\":\"debug\",\"msg\":\"loud\"}\n");
    end_log(log);
}

static void as_json(void **state) {
    (void)state;
    weirp_log *log = new_log(WEIRP_LOG_JSON);
    WEIRP_LOG(log, WEIRP_LOG_WARN, "a \"message\"", WEIRP_S("text", "line\none\ttwo \\ Zoë \x01\x7f"), WEIRP_I("n", -5),
              WEIRP_F("x", 1.5e-7), WEIRP_F("inf", INFINITY), WEIRP_B("no", false), WEIRP_S("none", NULL),
              WEIRP_F("nan", NAN));
    char *text = took();
    assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
    json_t *line = json_loads(text, 0, NULL);
    assert_non_null(line);
    assert_int_equal(json_object_size(line), 8);
    assert_time(json_string_value(json_object_get(line, "ts")));
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(line, "msg")), "a \"message\"");
    assert_string_equal(json_string_value(json_object_get(line, "text")), "line\none\ttwo \\ Zoë \x01\x7f");
    assert_int_equal(json_integer_value(json_object_get(line, "n")), -5);
    assert_true(json_real_value(json_object_get(line, "x")) == 1.5e-7);
    assert_true(json_is_null(json_object_get(line, "inf")) && json_is_false(json_object_get(line, "no")));
    json_decref(line);
    end_log(log);
}

/* Whatever a vendor or a client sends: one line of printable UTF-8. */
static void nothing_is_injected(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\nERROR b", "\"a\\nERROR b\""},
        {"a\r\n", "\"a\\r\\n\""},
        {"\x1b[31mred", "\"\\u001b[31mred\""},
        {"a\xc2\x85"
         "b",
         "\"a\\u0085b\""}, /* NEL */
        {"a\xe2\x80\xa8"
         "b",
         "\"a\\u2028b\""}, /* line separator */
        {"a\xe2\x80\xae"
         "b",
         "\"a\\u202eb\""}, /* right-to-left override */
        {"a\xff"
         "b",
         "\"a\xef\xbf\xbd"
         "b\""},                                                      /* not UTF-8 */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
        {"\xf0\x9f\x98", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* cut */
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"\" level=error x=\"", "\"\\\" level=error x=\\\"\""},
        {"a\\", "\"a\\\\\""},
        {"\x7f", "\"\\u007f\""},
    };
    weirp_log *log = new_log(WEIRP_LOG_TEXT);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[128];
        weirp_log_set(log, WEIRP_LOG_TEXT, WEIRP_LOG_INFO);
        WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_S("v", cases[i].in));
        snprintf(expected, sizeof expected, " INFO  m v=%s\n", cases[i].out);
        assert_string_equal(took() + 24, expected);
        weirp_log_set(log, WEIRP_LOG_JSON, WEIRP_LOG_INFO);
        WEIRP_LOG(log, WEIRP_LOG_INFO, cases[i].in, WEIRP_S("v", cases[i].in));
        char *text = took();
        snprintf(expected, sizeof expected, ",\"v\":%s}\n", cases[i].out);
        assert_non_null(strstr(text, expected));
        json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(line);
        json_decref(line);
    }
    weirp_log_set(log, WEIRP_LOG_TEXT, WEIRP_LOG_INFO);
    weirp_log_line(log, WEIRP_LOG_INFO, "a\nb", NULL, 0);
    assert_string_equal(took() + 24, " INFO  a\\nb\n");
    end_log(log);
}

static void secrets_never_appear(void **state) {
    (void)state;
    weirp_log *log = new_log(WEIRP_LOG_TEXT);
    const char *key = "sk-proj-geheim\"\\0123456789", *longer = "sk-proj-geheim\"\\0123456789-and-more";
    assert_int_equal(weirp_log_hide(log, "", NULL), WEIR_INVALID);
    assert_int_equal(weirp_log_hide(log, key, NULL), WEIR_OK);
    assert_int_equal(weirp_log_hide(log, longer, NULL), WEIR_OK);
    assert_int_equal(weirp_log_hide(log, key, NULL), WEIR_OK); /* again */
    assert_int_equal(weirp_log_hide(log, "Z", NULL), WEIR_OK); /* of one byte */
    char text[256];
    for (int json = 0; json < 2; json++) {
        weirp_log_set(log, json ? WEIRP_LOG_JSON : WEIRP_LOG_TEXT, WEIRP_LOG_INFO);
        snprintf(text, sizeof text, "Incorrect API key: %s.", key);
        WEIRP_LOG(log, WEIRP_LOG_INFO, text, WEIRP_S("alone", key), WEIRP_S("within", text), WEIRP_S("longer", longer),
                  WEIRP_S("one", "aZb"));
        char *line = took();
        assert_null(strstr(line, "geheim"));
        assert_null(strstr(line, "and-more"));
        assert_non_null(strstr(line, "Incorrect API key: [secret]."));
        assert_non_null(strstr(line, "a[secret]b"));
        snprintf(text, sizeof text, "\xc3\xa9\n%s%s", key, key);
        WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_S("twice", text));
        assert_non_null(strstr(took(), "\xc3\xa9\\n[secret][secret]\""));
        for (size_t cut = 8; cut < strlen(key); cut++) { /* where a caller cut a text in its middle */
            snprintf(text, sizeof text, "key %.*s", (int)cut, key);
            WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_S("cut", text));
            assert_non_null(strstr(took(), "\"key [secret]\""));
        }
        WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_S("like", "sk-proj-other"), WEIRP_S("start", "sk-proj"));
        assert_non_null(
            strstr(took(), json ? "\"sk-proj-other\",\"start\":\"sk-proj\"" : "like=sk-proj-other start=sk-proj"));
    }
    end_log(log);
}

/* A line ends whatever its length, JSON stays JSON, and what was cut says so. */
static void long_lines_are_cut(void **state) {
    (void)state;
    weirp_log *log = new_log(WEIRP_LOG_JSON);
    static char text[20000];
    static const char *const units[] = {"x", "\xc3\xa9", "\n", "\x01", "\xf0\x9f\x98\x80", "\xff"};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        for (size_t first = 8020; first < 8200; first++) {
            size_t step = strlen(units[u]);
            memset(text, 'a', first);
            for (size_t i = first; i + step < sizeof text; i += step) memcpy(text + i, units[u], step + 1);
            weirp_log_set(log, WEIRP_LOG_JSON, WEIRP_LOG_INFO);
            WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_I("n", 1), WEIRP_S("text", text), WEIRP_S("after", "no"));
            char *line = took();
            size_t len = strlen(line);
            assert_in_range(len, 8150, 8192);
            assert_int_equal(line[len - 1], '\n');
            json_t *json = json_loads(line, 0, NULL);
            assert_non_null(json);
            assert_true(json_is_true(json_object_get(json, "cut")));
            assert_null(json_object_get(json, "after"));
            json_decref(json);
            weirp_log_set(log, WEIRP_LOG_TEXT, WEIRP_LOG_INFO);
            WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_S("text", text), WEIRP_S("after", "no"));
            line = took();
            assert_in_range(strlen(line), 8150, 8192);
            assert_string_equal(line + strlen(line) - 10, " cut=true\n");
        }
    }
    /* many small pairs: whole ones stay */
    weirp_log_pair pairs[2000];
    for (size_t i = 0; i < 2000; i++) pairs[i] = i % 2 ? WEIRP_I("number", i) : WEIRP_F("real", (double)i / 8);
    weirp_log_set(log, WEIRP_LOG_TEXT, WEIRP_LOG_INFO);
    for (size_t skip = 0; skip < 20; skip++) {
        weirp_log_line(log, WEIRP_LOG_INFO, &"xxxxxxxxxxxxxxxxxxxx"[skip], pairs, 2000);
        char *line = took(), *last = strstr(line, " cut=true\n");
        assert_non_null(last);
        *last = 0;
        last = strrchr(line, ' ');
        assert_true(!strncmp(last, " number=", 8) || !strncmp(last, " real=", 6));
        assert_true(strlen(strchr(last, '=')) > 3);
    }
    end_log(log);
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        double x;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-1, "-1"},
        {10, "10"},
        {100000, "100000"},
        {1234567, "1234570"},
        {999999.5, "1000000"},
        {0.1, "0.1"},
        {0.000123456, "0.000123456"},
        {1e-5, "0.00001"},
        {1e-6, "1e-06"},
        {123456e-12, "1.23456e-07"},
        {1e15, "1e+15"},
        {123456e-3, "123.456"},
        {1e-300, "1e-300"},
        {5e-324, "4.94066e-324"},
        {1.7976931348623157e308, "1.79769e+308"},
        {0.5, "0.5"},
        {12.5, "12.5"},
        {-2.5e-3, "-0.0025"},
        {9.999995, "10"},
        {0.09999999, "0.1"},
        {1e14, "100000000000000"},
    };
    char buffer[64];
    static weirp_secrets none;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weirp_line line = {buffer, buffer + sizeof buffer, false, false, &none};
        weirp_line_real(&line, cases[i].x);
        *line.at = 0;
        assert_string_equal(buffer, cases[i].text);
    }
    for (uint64_t i = 0; i < 200000; i++) { /* any number is right to its sixth digit */
        uint64_t bits = weirp_random_u64(1, 2, i);
        double x;
        memcpy(&x, &bits, sizeof x);
        if (i % 2) x = weirp_random_normal(1, 3, i) * pow(10, (double)(i % 19) - 9);
        if (!isfinite(x)) continue;
        weirp_line line = {buffer, buffer + sizeof buffer, false, false, &none};
        weirp_line_real(&line, x);
        *line.at = 0;
        double back = strtod(buffer, NULL), unit = pow(10, floor(log10(fabs(x))) - 5);
        if (!(fabs(back - x) <= 0.501 * unit)) fail_msg("%.17g became %s", x, buffer);
    }
}

static void times(void **state) {
    (void)state;
    char buffer[32];
    static weirp_secrets none;
    for (uint64_t i = 0; i < 100000; i++) { /* up to the year 9999 */
        int64_t ms = i ? (int64_t)(weirp_random_u64(5, 6, i) % 253402300800000) : 0;
        time_t s = ms / 1000;
        struct tm tm;
        char expected[64];
        gmtime_r(&s, &tm);
        size_t n = strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(expected + n, sizeof expected - n, ".%03dZ", (int)(ms % 1000));
        weirp_line line = {buffer, buffer + sizeof buffer, false, false, &none};
        weirp_line_time(&line, ms);
        *line.at = 0;
        assert_string_equal(buffer, expected);
    }
}

static void texts_are_cleaned(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"", ""},
        {"nothing to see", "nothing to see"},
        {"key sk-0123456789!", "key [secret]!"},
        {"sk-0123456789sk-0123456789", "[secret][secret]"},
        {"abc", "[secret]"},                                                     /* grows */
        {"abcabcabcabc", "[secret][secret][secret][secret]"},                    /* and grows */
        {"it was sk-0123456", "it was [secret]"},                                /* cut in it */
        {"it was sk-01", "it was sk-01"},                                        /* too little of it to say */
        {"0123456789012345678901234567abc", "0123456789012345678901234567[sec"}, /* to the last byte */
        {"abc01234567890123456789\xc3\xa4\xc3\xa4", "[secret]01234567890123456789\xc3\xa4\xc3\xa4"},
        {"abc012345678901234567890\xc3\xa4\xc3\xa4", "[secret]012345678901234567890\xc3\xa4"},
    };
    static weirp_secrets secrets;
    weir_error err;
    assert_int_equal(weirp_secrets_add(&secrets, "sk-0123456789", &err), WEIR_OK);
    assert_int_equal(weirp_secrets_add(&secrets, "abc", &err), WEIR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[33]; /* 32 bytes and the NUL */
        snprintf(text, sizeof text, "%s", cases[i].before);
        weirp_secrets_clean(&secrets, text, sizeof text);
        assert_string_equal(text, cases[i].after);
    }
    weirp_secrets_free(&secrets);
}

/* ---- threads ---- */

enum { THREADS = 4, LINES = 400 };
static weirp_log *shared;

static void *log_many(void *user) {
    char who = (char)('a' + *(int *)user), text[8000], secret[32];
    for (int i = 0; i < LINES; i++) {
        size_t len = i % 5 ? 40 : 7000; /* longer than a pipe keeps whole */
        memset(text, who, len);
        text[len] = 0;
        WEIRP_LOG(shared, WEIRP_LOG_INFO, "m", WEIRP_S("text", text), WEIRP_I("i", i));
        if (i % 50) continue;
        snprintf(secret, sizeof secret, "%c-secret-%d", who, i);
        assert_int_equal(weirp_log_hide(shared, secret, NULL), WEIR_OK);
        weirp_log_set(shared, WEIRP_LOG_TEXT, WEIRP_LOG_INFO);
    }
    return NULL;
}

static void lines_stay_whole(void **state) {
    (void)state;
    int ends[2], who[THREADS] = {0, 1, 2, 3}, next[THREADS] = {0}, n = 0;
    pthread_t thread[THREADS];
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096); /* so that long lines go out in pieces */
    assert_int_equal(weirp_log_new(&shared, ends[1], WEIRP_LOG_TEXT, WEIRP_LOG_INFO, NULL), WEIR_OK);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, log_many, &who[i]), 0);
    FILE *in = fdopen(ends[0], "r");
    static char line[16384];
    while (n < THREADS * LINES && fgets(line, sizeof line, in)) {
        char *text = strstr(line, "text=");
        assert_non_null(text);
        int t = text[5] - 'a', i;
        assert_in_range(t, 0, THREADS - 1);
        size_t run = strspn(text + 5, (char[]){(char)('a' + t), 0});
        assert_int_equal(sscanf(text + 5 + run, " i=%d\n", &i), 1);
        assert_int_equal(i, next[t]++);
        assert_int_equal(run, i % 5 ? 40 : 7000);
        n++;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    fclose(in);
    close(ends[1]);
    weirp_log_free(shared);
}

/* A pipe that nobody reads, not blocking: lines are lost, and what comes after starts on a line of its own. */
static void a_full_pipe_costs_lines(void **state) {
    (void)state;
    int ends[2];
    weirp_log *log;
    static char text[7000], all[1 << 20];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    assert_int_equal(weirp_log_new(&log, ends[1], WEIRP_LOG_TEXT, WEIRP_LOG_INFO, NULL), WEIR_OK);
    memset(text, 'x', sizeof text - 1);
    errno = 77;
    for (int i = 0; i < 12; i++) WEIRP_LOG(log, WEIRP_LOG_INFO, "m", WEIRP_S("text", text));
    assert_int_equal(errno, 77);
    ssize_t n = read(ends[0], all, sizeof all - 1);
    assert_true(n > 0);
    WEIRP_LOG(log, WEIRP_LOG_INFO, "after", WEIRP_I("n", 1));
    ssize_t more = read(ends[0], all + n, sizeof all - 1 - (size_t)n);
    assert_true(more > 0);
    all[n + more] = 0;
    char *line = strstr(all, " INFO  after n=1\n");
    assert_non_null(line);
    assert_int_equal(line[-25], '\n');
    weirp_log_free(log);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_text),
        cmocka_unit_test(as_json),
        cmocka_unit_test(nothing_is_injected),
        cmocka_unit_test(secrets_never_appear),
        cmocka_unit_test(texts_are_cleaned),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(numbers),
        cmocka_unit_test(times),
        cmocka_unit_test(lines_stay_whole),
        cmocka_unit_test(a_full_pipe_costs_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
