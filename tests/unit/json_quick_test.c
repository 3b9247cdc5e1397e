/* The fast JSON reader beside Jansson's: it may leave text to Jansson, but what it reads must be what Jansson reads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/translate/quick.h"

#define FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

/* From memory of just this size, so that a sanitizer sees what reads too far. Gives whether it was read. */
static bool agree(const char *text, size_t len) {
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    json_t *quick = weirp_json_quick(exact, len), *full = json_loadb(exact, len, FLAGS, NULL);
    bool read = quick != NULL;
    if (read && (!full || !json_equal(quick, full))) fail_msg("%.*s", (int)len, text);
    if (read) { /* json_equal doesn't look at the members' order */
        char *a = json_dumps(quick, JSON_COMPACT), *b = json_dumps(full, JSON_COMPACT);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
    json_decref(quick);
    json_decref(full);
    free(exact);
    return read;
}

static const char *const plain[] = {
    "{}",
    " [ ] \n",
    "{\"model\":\"weir\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"hi\\\"\\n\\t\\/\\\\ \\b\\f\\r\"}]}",
    "{\"temperature\":0.7,\"n\":1,\"max_tokens\":100,\"stream\":false,\"a\":null,\"b\":true,\"c\":-1.5e-3,\"d\":0}",
    "[\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\uFFFF\",\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80\",\"\x7f\"]",
    "[999999999999999999,123456789012345678,-9223372036854775808,9223372036854775807]",
    "{\"z\":1,\"a\":[[],[[]],{}],\"\":\"\",\"\xc3\xa9\":2}",
    "[\"12345678\",\"1234567\",\"123456789012345\\n\",\"1234567\xc3\xa9\"]",
};

static const char *const others[] = {
    "",
    " ",
    "1",
    "\"a\"",
    "null",
    "{",
    "}",
    "[1,]",
    "[,1]",
    "{\"a\":1,}",
    "{\"a\"}",
    "{\"a\":}",
    "{a:1}",
    "[1 2]",
    "{\"a\":1,\"a\":2}",
    "{\"a\":1,\"\\u0061\":2}",
    "{\"a\":{\"b\":1,\"b\":1}}",
    "[01]",
    "[-]",
    "[+1]",
    "[1.]",
    "[.5]",
    "[1e]",
    "[1-2]",
    "[--1]",
    "[9223372036854775808]",
    "[1e999]",
    "[nul]",
    "[nulll]",
    "[True]",
    "[NaN]",
    "[\"a]",
    "[\"\\\"]",
    "[\"\\x\"]",
    "[\"\\u00g0\"]",
    "[\"\\u12\"]",
    "[\"\\ud800\"]",
    "[\"\\udc00\"]",
    "[\"\\ud800\\u0041\"]",
    "[\"a\nb\"]",
    "[\"\x01\"]",
    "[\"\xff\"]",
    "[\"\xc0\x80\"]",
    "[\"\xed\xa0\x80\"]",
    "[\"\xf5\x80\x80\x80\"]",
    "[\"\xe2\x82\"]",
    "{} {}",
    "[]]",
    "\xef\xbb\xbf{}",
    "{'a':1}",
    "[1]//",
    "[\"\\\xc3\xa9\"]",
    "[\"a\\",
    "[\"a\\u",
};

static void plain_text_is_read(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (!agree(plain[i], strlen(plain[i]))) fail_msg("not read: %s", plain[i]);
}

static void what_is_wrong_is_left_to_jansson(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (agree(others[i], strlen(others[i]))) fail_msg("read: %s", others[i]);
    assert_false(agree("[1\0]", 4));
    assert_false(agree("[\"\0\"]", 5));
    assert_false(agree("[1]\0", 4));
    assert_false(agree("[\"\\u0000\"]", 10));
}

static void depth_and_number_of_values_are_bounded(void **state) {
    (void)state;
    static char text[400000];
    for (size_t depth = 1; depth < 200; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(agree(text, 2 * depth), depth <= 64);
    }
    for (size_t n = 65530; n < 65540; n++) { /* values besides the array */
        size_t len = 0;
        text[len++] = '[';
        for (size_t i = 0; i < n; i++) {
            text[len++] = '1';
            text[len++] = i + 1 < n ? ',' : ']';
        }
        assert_int_equal(agree(text, len), n < 65536);
    }
}

/* Every text cut short, and with a byte changed, removed or doubled. */
static void no_change_makes_the_readers_disagree(void **state) {
    (void)state;
    static const char bytes[] = "{}[]\",:\\u0019.-+eEn \n\xc3\xed\x80\x01";
    char text[300];
    size_t read = 0;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        size_t len = strlen(plain[i]);
        assert_true(len + 1 < sizeof text);
        for (size_t at = 0; at < len; at++) {
            read += agree(plain[i], at);
            memcpy(text, plain[i], at);
            memcpy(text + at, plain[i] + at + 1, len - at - 1);
            read += agree(text, len - 1);
            memcpy(text + at + 1, plain[i] + at, len - at);
            for (size_t b = 0; b < sizeof bytes; b++) {
                text[at] = bytes[b];
                read += agree(text, len + 1); /* inserted */
            }
            memcpy(text, plain[i], len);
            for (size_t b = 0; b < sizeof bytes; b++) {
                text[at] = bytes[b];
                read += agree(text, len);
            }
        }
    }
    assert_true(read > 1000); /* most changes inside of strings */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_is_read),
        cmocka_unit_test(what_is_wrong_is_left_to_jansson),
        cmocka_unit_test(depth_and_number_of_values_are_bounded),
        cmocka_unit_test(no_change_makes_the_readers_disagree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
