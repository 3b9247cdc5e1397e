/* sim_text.c: patterns to prompts. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "datasets/sim.h"

enum { MAX_DEPTH = 4, STREAM_TEXT = 0x7e47 };

typedef struct renderer {
    weirp_writer *text;
    uint64_t seed, stream, counter;
    size_t level;
} renderer;

static uint64_t draw(renderer *r) {
    return weirp_random_u64(r->seed, r->stream, r->counter++);
}

/* 0 .. n-1; the bias of the remainder is below 2^-50 for lists of this size */
static size_t below(renderer *r, size_t n) {
    return (size_t)(draw(r) % n);
}

static size_t count(const char *const *entries) {
    size_t n = 0;
    while (entries[n]) n++;
    return n;
}

static void put_number(renderer *r, size_t n) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%zu", n);
    weirp_put(r->text, digits, (size_t)len);
}

/* Two digits at the lowest level, six at the highest. */
static void put_long_number(renderer *r) {
    size_t ten = 10;
    for (size_t d = 0; d < r->level / 2; d++) ten *= 10;
    put_number(r, ten + below(r, ten * 9));
}

/* An entry whose place in the list goes with the level, give or take a tenth of the list. */
static const char *graded(renderer *r, const char *const *entries) {
    size_t n = count(entries);
    double at = ((double)r->level + 3 * (double)(draw(r) >> 11) * 0x1p-53 - 1) / WEIRP_SIM_LEVELS * (double)n;
    size_t i = at < 0 ? 0 : (size_t)at;
    return entries[i < n ? i : n - 1];
}

static void put_pattern(renderer *r, const char *pattern, int depth);

static void put_slot(renderer *r, const char *slot, size_t len, int depth) {
    char how = slot[0];
    if (how == '#') {
        put_long_number(r);
    } else if (how == '$') {
        put_number(r, 2 + below(r, 18));
    } else if (len == 2 && !memcmp(slot, "nl", 2)) {
        weirp_put(r->text, "\n", 1);
    } else {
        bool marked = how == '~' || how == '+';
        const weirp_sim_list *list = weirp_sim_lists;
        while (list->name && (strlen(list->name) != len - marked || memcmp(list->name, slot + marked, len - marked)))
            list++;
        if (!list->name || depth >= MAX_DEPTH) return;
        size_t times = how == '+' ? 1 + r->level / 2 : 1;
        for (size_t i = 0; i < times; i++) {
            if (i) weirp_put(r->text, " ", 1);
            const char *entry = how == '~' ? graded(r, list->entries) : list->entries[below(r, count(list->entries))];
            put_pattern(r, entry, depth + 1);
        }
    }
}

/* A slot is a brace pair around '#', '$' or a list's name; other braces are text. */
static size_t slot_length(const char *at) {
    size_t n = 0;
    if (at[1] == '#' || at[1] == '$') return at[2] == '}' ? 1 : 0;
    if (at[1] == '~' || at[1] == '+') n++;
    while ((at[1 + n] >= 'a' && at[1 + n] <= 'z') || at[1 + n] == '_') n++;
    return at[1 + n] == '}' ? n : 0;
}

static void put_pattern(renderer *r, const char *pattern, int depth) {
    while (*pattern) {
        size_t plain = strcspn(pattern, "{");
        weirp_put(r->text, pattern, plain);
        pattern += plain;
        if (!*pattern) break;
        size_t len = slot_length(pattern);
        if (len)
            put_slot(r, pattern + 1, len, depth);
        else
            weirp_put(r->text, "{", 1);
        pattern += len ? len + 2 : 1;
    }
}

void weirp_sim_render(weirp_writer *text, const char *const *patterns, size_t level, size_t prompt_bytes, uint64_t seed,
                      size_t i) {
    renderer r = {text, seed, STREAM_TEXT + ((uint64_t)i << 16), 0, level};
    text->size = 0;
    if (prompt_bytes) {
        /* what makes it longer comes first, so that the request itself stands at the end; lengths from half to one and
         * a half times the mean */
        size_t want = prompt_bytes / 2 + below(&r, prompt_bytes + 1);
        size_t n = count(weirp_sim_padding);
        for (size_t before = 1; text->size + 60 < want && text->size != before && !text->failed;) {
            before = text->size;
            put_pattern(&r, weirp_sim_padding[below(&r, n)], 0);
            weirp_put(text, below(&r, 5) ? " " : "\n", 1);
        }
    }
    put_pattern(&r, patterns[below(&r, count(patterns))], 0);
    weirp_put(text, "", 1);
    if (!text->failed) text->size--;
}

/* Runs of letters about four to a token, digits three, marks one each; other scripts as their UTF-8 weighs on
 * vocabularies that were learnt from mostly Latin text. */
double weirp_sim_tokens(const char *text, size_t len) {
    double tokens = 0;
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = 0;
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
        if (letter) {
            while (i + n < len && ((text[i + n] | 0x20) >= 'a' && (text[i + n] | 0x20) <= 'z')) n++;
            tokens += n <= 6 ? 1 : (double)(n + 3) / 4;
        } else if (digit) {
            while (i + n < len && text[i + n] >= '0' && text[i + n] <= '9') n++;
            tokens += (double)((n + 2) / 3);
        } else {
            n = 1;
            if (c >= 0x80)
                tokens += 0.4; /* a byte of a longer character */
            else if (c > ' ')
                tokens += 1;
        }
        i += n;
    }
    return tokens;
}
