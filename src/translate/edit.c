/* edit.c: changes members of a JSON object's text; what isn't named stays as it was, byte for byte.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <string.h>

#include "src/translate/members.h"
#include "src/translate/parts.h"

enum { MAX_EDITS = 32 };

static size_t edit_of(const weirp_member *member, const weirp_edit *edits, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (weirp_member_is(member, edits[i].key)) return i;
    return n;
}

static void put_member(weirp_writer *out, const weirp_member *member, const char *value, bool *any) {
    if (*any) weirp_put(out, ",", 1);
    *any = true;
    if (!value) {
        weirp_put(out, member->begin, (size_t)(member->end - member->begin));
        return;
    }
    const char *after = member->value + member->value_len;
    weirp_put(out, member->begin, (size_t)(member->value - member->begin));
    weirp_put(out, value, strlen(value));
    weirp_put(out, after, (size_t)(member->end - after));
}

weir_status weirp_json_edit(const char *text, size_t len, const weirp_edit *edits, size_t n, weirp_writer *out) {
    bool seen[MAX_EDITS] = {0}, any = false;
    if (n > MAX_EDITS) return WEIR_INVALID;
    weirp_members members;
    weirp_member member;
    weirp_members_init(&members, text, len);
    if (members.failed) return WEIR_PARSE;
    weirp_put(out, text, (size_t)(members.at - text));
    while (weirp_members_next(&members, &member)) {
        size_t i = edit_of(&member, edits, n);
        if (i == n)
            put_member(out, &member, NULL, &any);
        else if (edits[i].value && !seen[i])
            put_member(out, &member, edits[i].value, &any);
        if (i < n) seen[i] = true;
    }
    if (members.failed) return WEIR_PARSE;
    for (size_t i = 0; i < n; i++) {
        if (seen[i] || !edits[i].value) continue;
        if (any) weirp_put(out, ",", 1);
        any = true;
        weirp_put_json_text(out, edits[i].key, strlen(edits[i].key));
        weirp_put(out, ":", 1);
        weirp_put(out, edits[i].value, strlen(edits[i].value));
    }
    const char *after = weirp_members_end(&members) - 1; /* at the brace */
    weirp_put(out, after, (size_t)(text + len - after));
    return out->failed ? WEIR_NOMEM : WEIR_OK;
}
