/* config_keys.c: secrets, from the environment and from files, and out of messages.
 *
 * Whoever puts a key where its variable's or file's name belongs must not find it in the log: names that look like keys
 * aren't shown. SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/words.h"
#include "src/gateway/config/config_file.h"

enum { KEY_BYTES = 4096, KEYS_FILE_BYTES = 1 << 20, SHORT_CLIENT_KEY = 16, SHOWN = 128 };

void weirp_forget(char *secret) {
    if (!secret) return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* Random letters: a long run without a separator that holds a digit. Words in capitals are a variable's name. */
static bool looks_like_key(const char *text) {
    size_t run = 0;
    bool digit = false, capitals = true;
    for (const char *c = text; *c; c++) {
        if (islower((unsigned char)*c)) capitals = false;
        bool separates = *c == '/' || *c == '.';
        run = separates ? 0 : run + 1;
        digit = !separates && (digit || isdigit((unsigned char)*c));
        if (run >= 16 && digit && !(capitals && strchr(text, '_'))) return true;
    }
    return !strncmp(text, "sk-", 3);
}

static const char *shown(char out[SHOWN], const char *name) {
    return looks_like_key(name) ? "(a name not shown, as it looks like a key)"
                                : weirp_excerpt(out, SHOWN, name, strlen(name));
}

static bool is_variable(const char *name) {
    if (isdigit((unsigned char)*name)) return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_') return false;
    return true;
}

/* Cuts line ends; the rest must be printable, so that it can stand in a header. `from` ends "the key from ...". */
static weir_status clean_key(const weirp_maker *m, size_t line, char *text, size_t len, const char *from, char **key) {
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r')) len--;
    if (!len) return weirp_maker_wrong(m, line, "the key from %s is empty", from);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] > '~')
            return weirp_maker_wrong(
                m, line, "the key from %s holds a space, a control character or one outside ASCII: no key has those",
                from);
    if (len > KEY_BYTES) return weirp_maker_wrong(m, line, "the key from %s is longer than %d bytes", from, KEY_BYTES);
    *key = weirp_strndup(text, len);
    return *key ? WEIR_OK : weirp_nomem(m->err);
}

weir_status weirp_maker_key_env(weirp_maker *m, size_t line, const char *variable, char **key) {
    char name[SHOWN], from[SHOWN + 32];
    if (!is_variable(variable))
        return weirp_maker_wrong(m, line, "what names the variable of a key must be letters, digits and \"_\"");
    snprintf(from, sizeof from, "variable %s", shown(name, variable));
    const char *value = getenv(variable);
    if (!value) return weirp_maker_wrong(m, line, "environment variable %s isn't set", shown(name, variable));
    return clean_key(m, line, (char *)value, strlen(value), from, key);
}

/* The file as it stands, without stdio's buffer, which would keep a copy. *text is new. */
static weir_status read_secret(weirp_maker *m, size_t line, const char *file, char **text, size_t *len) {
    char name[SHOWN];
    *text = NULL;
    *len = 0;
    char *path = weirp_maker_path(m, file);
    if (!path) return weirp_nomem(m->err);
    int fd = open(path, O_RDONLY | O_CLOEXEC), failed = errno;
    free(path);
    struct stat info;
    if (fd >= 0 && fstat(fd, &info)) info.st_mode = 0;
    if (fd >= 0 && S_ISDIR(info.st_mode)) {
        close(fd);
        fd = -1;
        failed = EISDIR;
    }
    if (fd < 0) return weirp_maker_wrong(m, line, "key file %s can't be read: %s", shown(name, file), strerror(failed));
    weir_status st = WEIR_OK;
    if (S_ISREG(info.st_mode) && info.st_mode & S_IROTH)
        st = weirp_maker_warn(m, line, "key file %s can be read by every user of this machine (chmod o-r)",
                              shown(name, file));
    char *bytes = st ? NULL : malloc(KEYS_FILE_BYTES + 1);
    if (!st && !bytes) st = weirp_nomem(m->err);
    size_t size = 0;
    while (!st && size <= KEYS_FILE_BYTES) {
        ssize_t n = read(fd, bytes + size, KEYS_FILE_BYTES + 1 - size);
        if (n > 0) size += (size_t)n;
        if (!n) break;
        if (n < 0 && errno != EINTR)
            st = weirp_maker_wrong(m, line, "key file %s can't be read: %s", shown(name, file), strerror(errno));
    }
    close(fd);
    if (!st && size > KEYS_FILE_BYTES)
        st = weirp_maker_wrong(m, line, "key file %s is larger than 1 MiB", shown(name, file));
    if (!st && (*text = weirp_strndup(bytes, size)))
        *len = size;
    else if (!st)
        st = weirp_nomem(m->err);
    if (bytes) explicit_bzero(bytes, size);
    free(bytes);
    return st;
}

weir_status weirp_maker_key_file(weirp_maker *m, size_t line, const char *file, char **key) {
    char *text, name[SHOWN], from[SHOWN + 32];
    size_t len;
    weir_status st = read_secret(m, line, file, &text, &len);
    if (st) return st;
    snprintf(from, sizeof from, "file %s", shown(name, file));
    st = clean_key(m, line, text, len, from, key);
    explicit_bzero(text, len);
    free(text);
    return st;
}

/* ---- clients' keys ---- */

static weir_status add_client_key(weirp_maker *m, size_t line, char *key) {
    weirp_config *c = m->config;
    weir_status st = WEIR_OK;
    if (!weirp_reserve((void **)&c->client_keys, &m->client_keys_capacity, c->n_client_keys + 1, sizeof(char *))) {
        weirp_forget(key);
        return weirp_nomem(m->err);
    }
    if (strlen(key) < SHORT_CLIENT_KEY)
        st = weirp_maker_warn(m, line, "a client's key is shorter than %d characters: it may be guessed",
                              SHORT_CLIENT_KEY);
    c->client_keys[c->n_client_keys++] = key;
    return st;
}

/* A key a line; empty lines and those that begin with # are passed over. */
static weir_status client_key_file(weirp_maker *m, size_t line, const char *file) {
    char *text, name[SHOWN], from[SHOWN + 32];
    size_t len, before = m->config->n_client_keys;
    weir_status st = read_secret(m, line, file, &text, &len);
    if (st) return st;
    snprintf(from, sizeof from, "file %s", shown(name, file));
    for (size_t at = 0; at < len && !st;) {
        char *end = memchr(text + at, '\n', len - at), *key = NULL;
        size_t n = end ? (size_t)(end - (text + at)) : len - at;
        bool empty = !n || text[at] == '#' || (n == 1 && text[at] == '\r');
        if (!empty) st = clean_key(m, line, text + at, n, from, &key);
        if (key) st = add_client_key(m, line, key);
        at += n + 1;
    }
    explicit_bzero(text, len);
    free(text);
    if (!st && m->config->n_client_keys == before)
        st = weirp_maker_wrong(m, line, "key file %s holds no key", shown(name, file));
    return st;
}

weir_status weirp_maker_client_keys(weirp_maker *m) {
    char **files = m->file.auth.key_files.items, **variables = m->file.auth.key_envs.items;
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < m->file.auth.key_files.n && !st; i++)
        st = client_key_file(m, m->file.auth.key_files_line, files[i]);
    for (size_t i = 0; i < m->file.auth.key_envs.n && !st; i++) {
        char *key = NULL;
        st = weirp_maker_key_env(m, m->file.auth.key_envs_line, variables[i], &key);
        if (key) st = add_client_key(m, m->file.auth.key_envs_line, key);
    }
    return st;
}
