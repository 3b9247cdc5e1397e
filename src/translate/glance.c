/* glance.c: the facts of a whole answer that passes through, without parsing it. An answer is mostly text that nobody
 * here reads: its members are walked. Whatever is unusual is left to the parser.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "src/translate/members.h"
#include "src/translate/openai.h"

/* A plain string's text into out; false: not one, or with escapes, or too long. */
static bool plain(const weirp_member *m, char *out, size_t size) {
    if (m->value_len < 2 || m->value_len - 2 >= size || m->value[0] != '"') return false;
    if (memchr(m->value, '\\', m->value_len)) return false;
    memcpy(out, m->value + 1, m->value_len - 2);
    out[m->value_len - 2] = 0;
    return true;
}

static bool choices(const weirp_member *m, weirp_answer_facts *facts) {
    const char *at = NULL, *element;
    size_t len, n = 0;
    if (!m->value_len || m->value[0] != '[') return false;
    while ((element = weirp_element_next(m->value, m->value_len, &at, &len))) {
        weirp_members inside;
        weirp_member member;
        bool finished = false;
        weirp_members_init(&inside, element, len);
        while (weirp_members_next(&inside, &member)) {
            if (!weirp_member_is(&member, "finish_reason")) continue;
            char name[48];
            if (!plain(&member, name, sizeof name)) return false;
            weirp_finish finish = weirp_openai_finish(name, strlen(name));
            if (!n) facts->finish = finish;
            finished = true;
        }
        if (inside.failed || !finished) return false;
        n++;
    }
    return n > 0;
}

bool weirp_openai_glance(const char *text, size_t len, weirp_answer_facts *facts) {
    weirp_answer_facts seen = *facts;
    weirp_members members;
    weirp_member m;
    bool has_choices = false, has_usage = false;
    weirp_members_init(&members, text, len);
    while (weirp_members_next(&members, &m)) {
        if (weirp_member_is(&m, "choices")) {
            if (has_choices || !choices(&m, &seen)) return false;
            has_choices = true;
        } else if (weirp_member_is(&m, "usage")) {
            if (has_usage || !weirp_openai_usage_glance(m.value, m.value_len, &seen.usage)) return false;
            has_usage = true;
        } else if (weirp_member_is(&m, "error")) {
            return false;
        } else if (weirp_member_is(&m, "model")) {
            if (!plain(&m, seen.model, sizeof seen.model)) return false;
        } else if (weirp_member_is(&m, "id")) {
            if (!plain(&m, seen.id, sizeof seen.id)) return false;
        }
    }
    if (members.failed || !has_choices || !has_usage) return false;
    for (const char *rest = weirp_members_end(&members); rest < text + len; rest++)
        if (*rest != ' ' && *rest != '\n' && *rest != '\r' && *rest != '\t') return false;
    seen.has_content = true;
    *facts = seen;
    return true;
}
