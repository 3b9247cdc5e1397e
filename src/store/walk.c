/* walk.c: LMDB's own pages, checked before LMDB follows them.
 *
 * LMDB trusts its file: a page number past the end of the file is a SIGBUS, a node offset past the end of a page is a
 * wild read, a branch page with one key is an abort(), and a free list that names a page in use overwrites that page at
 * some later commit. So a file is walked once when it is opened, by code that trusts nothing: pages within the file,
 * nodes within their pages, keys in order, no page used twice, none both used and free, and every count in agreement.
 *
 * Is a file shorter than its last page number damaged? Not always: pages that a transaction took and gave back before
 * it committed lie on the free list without ever having been written. So the test isn't the file's size but whether a
 * page in use, or one that isn't even free, lies past the end.
 *
 * The layout is that of LMDB 0.9's data version 1 (mdb.c: MDB_meta, MDB_db, MDB_page, MDB_node), 64-bit little-endian.
 * The bulk of the log, of the index and of the table isn't read: long values' first pages are visited only where LMDB
 * would write, at the log's last batch (table.c looks at what it replaces), and in a thorough walk.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "src/store/internal.h"

#if SIZE_MAX < UINT64_MAX
#error "the walk knows LMDB's 64-bit layout only"
#endif

enum {
    NODE_BIG = 0x01, /* the value is a page number */
    NODE_DB = 0x02,  /* the value is an MDB_db */
    DB_SIZE = 48,
    DB_INTEGER_KEYS = 0x08,
    FLAG_NO_FOLDER = 0x4000, /* of the environment that made the file; kept among the free list's flags */
    HEADER_BYTES = WEIRP_PAGE_HEADER + 136, /* a meta page's used part */
    MAX_DEPTH = 32,                         /* LMDB's cursor stack */
};
#define META_MAGIC 0xBEEFC0DEu
#define NO_PAGE    UINT64_MAX
/* Pages past the end of the file that were never written: of one transaction, so not without end. */
#define MAX_UNWRITTEN ((uint64_t)1 << 22)

typedef struct tree {
    uint32_t flags, depth; /* as wide as this so that nothing pads the struct: trees are compared as bytes */
    uint64_t n_branch, n_leaf, n_overflow, n_entries, root;
} tree;

typedef struct header {
    uint64_t last_page, txnid;
    tree free_list, main;
} header;

typedef struct key_ref {
    const uint8_t *bytes;
    size_t size;
} key_ref;

typedef struct walk {
    const char *path;
    weir_error *err;
    const uint8_t *base;
    size_t page_size;
    uint64_t n_file, n_pages; /* pages in the file; pages that the file claims */
    uint64_t txnid;
    uint8_t *used, *free; /* a bit a page */
    weirp_pages *pages;
    /* the tree at hand */
    enum { IN_FREE, IN_MAIN, IN_META, IN_SECTIONS, IN_LOG, IN_INDEX, IN_TABLE } in;
    tree expected, seen;
    key_ref last, floor; /* the key before this one; the separator that keys must reach */
    /* what the trees hold */
    tree meta, sections, log, index, table;
    bool has_meta, has_sections, has_log, has_index, has_table, has_other, has_record;
    weirp_meta record;
    uint64_t log_end; /* number after the last batch */
} walk;

static uint16_t get16(const uint8_t *in) {
    return (uint16_t)(in[0] | in[1] << 8);
}

static weir_status damaged(walk *w, uint64_t page, const char *what) {
    return weirp_fail(w->err, WEIR_CORRUPT, 0, "%s: damaged: page %llu: %s", w->path, (unsigned long long)page, what);
}

static tree read_tree(const uint8_t *in) {
    return (tree){get16(in + 4),           get16(in + 6),           weirp_get_le64(in + 8), weirp_get_le64(in + 16),
                  weirp_get_le64(in + 24), weirp_get_le64(in + 32), weirp_get_le64(in + 40)};
}

/* ---- meta pages ---- */

static header read_header(const uint8_t *page) {
    const uint8_t *m = page + WEIRP_PAGE_HEADER; /* magic 0, version 4, address 8, map size 16, trees 24 and 72 */
    return (header){weirp_get_le64(m + 120), weirp_get_le64(m + 128), read_tree(m + 24), read_tree(m + 72)};
}

static bool is_meta_page(const uint8_t *page) {
    return (get16(page + 10) & WEIRP_PAGE_META) && weirp_get_le32(page + WEIRP_PAGE_HEADER) == META_MAGIC;
}

/* Both meta pages as they are now, and the size of the file. */
static weir_status read_headers(int fd, const char *path, uint8_t page[2][HEADER_BYTES], size_t *size, uint64_t *bytes,
                                weir_error *err) {
    struct stat st;
    memset(page, 0, 2 * HEADER_BYTES);
    if (fstat(fd, &st) != 0) return weirp_fail_errno(err, errno, "fstat", path);
    if (!S_ISREG(st.st_mode)) return weirp_fail(err, WEIR_FOREIGN, 0, "%s: not a file", path);
    if (st.st_size == 0) return weirp_fail(err, WEIR_FOREIGN, 0, "%s: not a weir store: empty", path);
    *bytes = (uint64_t)st.st_size;
    ssize_t n = pread(fd, page[0], HEADER_BYTES, 0);
    if (n < 0) return weirp_fail_errno(err, errno, "can't read", path);
    if (n < WEIRP_PAGE_HEADER + 4 || !is_meta_page(page[0]))
        return weirp_fail(err, WEIR_FOREIGN, 0, "%s: not a weir store", path);
    if (n < HEADER_BYTES) return weirp_fail(err, WEIR_CORRUPT, 0, "%s: cut off in its first page", path);
    *size = weirp_get_le32(page[0] + WEIRP_PAGE_HEADER + 24); /* the free list's pad */
    if (*size < 512 || *size > 65536 || (*size & (*size - 1)))
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: page size %zu", path, *size);
    n = pread(fd, page[1], HEADER_BYTES, (off_t)*size);
    if (n < HEADER_BYTES || *bytes < 2 * *size)
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: cut off in its second page", path);
    return WEIR_OK;
}

static weir_status check_headers(const char *path, uint8_t page[2][HEADER_BYTES], size_t size, uint64_t bytes,
                                 uint64_t *n_pages, weir_error *err) {
    uint32_t version = weirp_get_le32(page[0] + WEIRP_PAGE_HEADER + 4);
    if (version != 1) return weirp_fail(err, WEIR_FOREIGN, 0, "%s: LMDB data version %u; 1 is known", path, version);
    if (!is_meta_page(page[1]) || memcmp(page[0] + WEIRP_PAGE_HEADER, page[1] + WEIRP_PAGE_HEADER, 8) != 0 ||
        weirp_get_le32(page[1] + WEIRP_PAGE_HEADER + 24) != size)
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: its first two pages don't agree", path);
    /* The newer one counts. They are written in turn, so they are one apart, and each has its place: a flipped bit must
     * not bring back the state before the last commit. */
    header a = read_header(page[0]), b = read_header(page[1]);
    bool fresh = a.txnid == 0 && b.txnid <= 1;
    if (!fresh && ((a.txnid & 1) || !(b.txnid & 1) || (a.txnid + 1 != b.txnid && b.txnid + 1 != a.txnid)))
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: transactions %llu and %llu in its first two pages", path,
                          (unsigned long long)a.txnid, (unsigned long long)b.txnid);
    const header *h = a.txnid < b.txnid ? &b : &a;
    uint64_t in_file = (bytes + size - 1) / size;
    if (h->last_page < 1 || h->last_page >= in_file + MAX_UNWRITTEN)
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged or cut off: %llu pages, but its last is page %llu", path,
                          (unsigned long long)in_file, (unsigned long long)h->last_page);
    *n_pages = h->last_page + 1;
    return WEIR_OK;
}

weir_status weirp_walk_headers(int fd, const char *path, size_t *page_size, uint64_t *n_pages, weir_error *err) {
    /* A writer may be at work on these very bytes, and nothing makes our read and its write atomic: what looks damaged
     * counts as damaged once it has stood still for a while. */
    uint8_t page[2][HEADER_BYTES], before[2][HEADER_BYTES];
    for (int i = 0;; i++) {
        uint64_t bytes = 0;
        weir_error quiet = {0};
        weir_status st = read_headers(fd, path, page, page_size, &bytes, &quiet);
        if (st == WEIR_OK) st = check_headers(path, page, *page_size, bytes, n_pages, &quiet);
        if (st == WEIR_OK) return WEIR_OK;
        if (i == 100 || (i > 0 && memcmp(page, before, sizeof page) == 0))
            return weirp_fail(err, st, 0, "%s", quiet.text);
        memcpy(before, page, sizeof page);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
}

/* ---- pages ---- */

static bool bit(const uint8_t *bits, uint64_t page) {
    return bits[page / 8] >> (page % 8) & 1;
}

/* Takes `n` pages from `page` on for `bits`; they must lie in the file if they are to be read, and belong to nobody. */
static weir_status claim(walk *w, uint8_t *bits, uint64_t page, uint64_t n, bool in_file) {
    if (page < 2 || page >= w->n_pages || n > w->n_pages - page) return damaged(w, page, "no such page");
    if (in_file && (page >= w->n_file || n > w->n_file - page))
        return damaged(w, page, "past the end of the file: cut off");
    for (uint64_t p = page; p < page + n; p++) {
        if (bit(w->used, p)) return damaged(w, p, bits == w->used ? "used twice" : "in use, yet on the free list");
        if (bit(w->free, p)) return damaged(w, p, "twice on the free list");
        bits[p / 8] |= (uint8_t)(1u << (p % 8));
    }
    return WEIR_OK;
}

static int compare(walk *w, key_ref a, key_ref b) {
    if (w->in == IN_FREE) {
        uint64_t x = weirp_get_le64(a.bytes), y = weirp_get_le64(b.bytes);
        return (x > y) - (x < y);
    }
    size_t n = a.size < b.size ? a.size : b.size;
    int order = n ? memcmp(a.bytes, b.bytes, n) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* An overflow run's first page. The run may be longer than its value: a value that is put twice in one transaction
 * keeps its first run where that is long enough. */
static weir_status check_run(walk *w, uint64_t page, uint64_t *n) {
    if (page < 2 || page >= w->n_file) return damaged(w, page, "past the end of the file: cut off");
    const uint8_t *p = w->base + page * w->page_size;
    if (weirp_get_le64(p) != page || get16(p + 10) != WEIRP_PAGE_OVERFLOW || weirp_get_le32(p + 12) < *n)
        return damaged(w, page, "not the start of a long value");
    *n = weirp_get_le32(p + 12);
    return WEIR_OK;
}

static weir_status take_free_list(walk *w, uint64_t page, key_ref key, const uint8_t *data, size_t size) {
    if (weirp_get_le64(key.bytes) > w->txnid) return damaged(w, page, "free list of a later transaction");
    if (size < 8 || size % 8) return damaged(w, page, "free list of odd length");
    uint64_t n = weirp_get_le64(data), before = NO_PAGE;
    /* LMDB may leave room after the list (mdb_freelist_save reserves before it knows the length) */
    if (n > size / 8 - 1) return damaged(w, page, "free list longer than its value");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t entry = weirp_get_le64(data + 8 + 8 * i);
        if (entry >= before) return damaged(w, page, "free list out of order");
        before = entry;
        weir_status st = claim(w, w->free, entry, 1, false);
        if (st != WEIR_OK) return st;
    }
    w->pages->n_free += n;
    return WEIR_OK;
}

static bool key_is(key_ref key, const char *text) {
    return key.size == strlen(text) && memcmp(key.bytes, text, key.size) == 0;
}

static weir_status take_database(walk *w, uint64_t page, key_ref key, unsigned flags, const uint8_t *data,
                                 size_t size) {
    if (flags != NODE_DB) {
        w->has_other = true;
        return WEIR_OK;
    }
    if (size != DB_SIZE) return damaged(w, page, "database record of the wrong size");
    tree t = read_tree(data);
    if (key_is(key, WEIRP_DB_META)) {
        w->meta = t;
        w->has_meta = true;
    } else if (key_is(key, WEIRP_DB_SECTIONS)) {
        w->sections = t;
        w->has_sections = true;
    } else if (key_is(key, WEIRP_DB_LOG)) {
        w->log = t;
        w->has_log = true;
    } else if (key_is(key, WEIRP_DB_INDEX)) {
        w->index = t;
        w->has_index = true;
    } else if (key_is(key, WEIRP_DB_TABLE)) {
        w->table = t;
        w->has_table = true;
    } else {
        w->has_other = true;
    }
    return WEIR_OK;
}

static weir_status take_value(walk *w, uint64_t page, key_ref key, unsigned flags, const uint8_t *data, size_t size) {
    switch (w->in) {
    case IN_FREE: return take_free_list(w, page, key, data, size);
    case IN_MAIN: return take_database(w, page, key, flags, data, size);
    case IN_META:
        if (!key_is(key, WEIRP_META_KEY)) return WEIR_OK;
        w->has_record = true;
        return weirp_meta_decode(&w->record, data, size, w->path, w->err);
    case IN_SECTIONS: w->pages->n_sections++; return WEIR_OK;
    case IN_LOG:
        /* batches follow each other without a gap; what they hold is read by those who read the log */
        if (key.size != 8 || size < WEIRP_BATCH_HEADER) return damaged(w, page, "not a batch of the log");
        if (weirp_log_number(key.bytes) < w->log_end) return damaged(w, page, "the log's numbers overlap");
        if (!w->log_end && weirp_log_number(key.bytes) != w->record.first_log)
            return damaged(w, page, "the log doesn't begin where its header says");
        w->log_end = weirp_log_number(key.bytes) + 1;
        w->pages->n_batches++;
        return WEIR_OK;
    case IN_INDEX:
        if (key.size != WEIRP_INDEX_KEY || size < WEIRP_INDEX_HEADER + WEIRP_INDEX_ENTRY ||
            (size - WEIRP_INDEX_HEADER) % WEIRP_INDEX_ENTRY)
            return damaged(w, page, "not a part of the index");
        return WEIR_OK;
    case IN_TABLE:
        if (key.size > WEIRP_TABLE_KEY || size < WEIRP_TABLE_HEADER) return damaged(w, page, "not of the table");
        w->pages->n_table++;
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* A leaf's node at offset `at`, known to lie in its page as far as its header and key go. */
static weir_status take_node(walk *w, uint64_t page, const uint8_t *p, size_t at, key_ref key, size_t *room) {
    weir_status st;
    const uint8_t *node = p + at, *data = key.bytes + key.size;
    size_t size = get16(node) | (size_t)get16(node + 2) << 16, left = w->page_size - at - WEIRP_NODE_HEADER - key.size;
    unsigned flags = get16(node + 4);
    if (flags & ~(unsigned)(NODE_BIG | NODE_DB)) return damaged(w, page, "node flags that this store never has");
    if (!(flags & NODE_BIG)) {
        if (size > left) return damaged(w, page, "value past the end of its page");
        *room += WEIRP_NODE_HEADER + key.size + size;
        return take_value(w, page, key, flags, data, size);
    }
    if (left < 8) return damaged(w, page, "value past the end of its page");
    *room += WEIRP_NODE_HEADER + key.size + 8;
    uint64_t run = weirp_get_le64(data), n = (WEIRP_PAGE_HEADER - 1 + size) / w->page_size + 1;
    bool last = w->in == IN_LOG && w->seen.n_entries + 1 == w->expected.n_entries;
    bool bulk = w->in == IN_LOG || w->in == IN_INDEX ||
                w->in == IN_TABLE; /* LMDB reads them when they are asked for or deleted */
    if (!bulk || last || w->pages->thorough) WEIRP_TRY(check_run(w, run, &n));
    WEIRP_TRY(claim(w, w->used, run, n, true));
    w->seen.n_overflow += n;
    const uint8_t *value = w->base + run * w->page_size + WEIRP_PAGE_HEADER;
    return take_value(w, page, key, flags & ~(unsigned)NODE_BIG, value, size);
done:
    return st;
}

static weir_status walk_page(walk *w, uint64_t page, unsigned depth);

/* Key i of a page and where its node lies. */
static weir_status read_key(walk *w, uint64_t page, const uint8_t *p, size_t i, size_t upper, size_t *at,
                            key_ref *key) {
    *at = get16(p + WEIRP_PAGE_HEADER + 2 * i);
    if (*at < upper || (*at & 1) || *at > w->page_size - WEIRP_NODE_HEADER)
        return damaged(w, page, "node outside of its page");
    key->size = get16(p + *at + 6);
    key->bytes = p + *at + WEIRP_NODE_HEADER;
    if (key->size > w->page_size - *at - WEIRP_NODE_HEADER || key->size > WEIRP_NAME_MAX)
        return damaged(w, page, "key past the end of its page");
    return WEIR_OK;
}

static weir_status walk_leaf(walk *w, uint64_t page, const uint8_t *p, size_t n, size_t upper, size_t *room) {
    weir_status st = WEIR_OK;
    w->seen.n_leaf++;
    for (size_t i = 0; i < n; i++) {
        size_t at, exact = 0;
        key_ref key;
        WEIRP_TRY(read_key(w, page, p, i, upper, &at, &key));
        if (key.size == 0 || (w->in == IN_FREE && key.size != 8)) return damaged(w, page, "key of the wrong size");
        if (w->last.bytes && compare(w, w->last, key) >= 0) return damaged(w, page, "keys out of order");
        if (w->floor.bytes && compare(w, w->floor, key) > 0) return damaged(w, page, "key before its branch's");
        w->last = key;
        w->floor.bytes = NULL;
        WEIRP_TRY(take_node(w, page, p, at, key, &exact));
        *room += (exact + 1) & ~(size_t)1;
        w->seen.n_entries++;
    }
done:
    return st;
}

static weir_status walk_branch(walk *w, uint64_t page, const uint8_t *p, size_t n, size_t upper, size_t *room,
                               unsigned depth) {
    weir_status st = WEIR_OK;
    w->seen.n_branch++;
    for (size_t i = 0; i < n; i++) {
        size_t at;
        key_ref key;
        WEIRP_TRY(read_key(w, page, p, i, upper, &at, &key));
        *room += (WEIRP_NODE_HEADER + key.size + 1) & ~(size_t)1;
        /* the first key stands for "anything below the second" */
        if (i) {
            if (key.size == 0 || (w->in == IN_FREE && key.size != 8)) return damaged(w, page, "key of the wrong size");
            if (w->last.bytes && compare(w, w->last, key) >= 0) return damaged(w, page, "branches out of order");
            w->floor = key;
        }
        uint64_t child = get16(p + at) | (uint64_t)get16(p + at + 2) << 16 | (uint64_t)get16(p + at + 4) << 32;
        WEIRP_TRY(walk_page(w, child, depth + 1));
    }
done:
    return st;
}

static weir_status walk_page(walk *w, uint64_t page, unsigned depth) {
    weir_status st;
    WEIRP_TRY(claim(w, w->used, page, 1, true));
    const uint8_t *p = w->base + page * w->page_size;
    unsigned flags = get16(p + 10);
    size_t lower = get16(p + 12), upper = get16(p + 14), room = 0;
    bool leaf = depth == w->expected.depth;
    if (weirp_get_le64(p) != page || flags != (leaf ? WEIRP_PAGE_LEAF : WEIRP_PAGE_BRANCH))
        return damaged(w, page, leaf ? "not a leaf of this tree" : "not a branch of this tree");
    if (lower < WEIRP_PAGE_HEADER || (lower & 1) || lower > upper || upper > w->page_size)
        return damaged(w, page, "its borders are impossible");
    size_t n = (lower - WEIRP_PAGE_HEADER) / 2;
    /* LMDB asserts two keys in a branch everywhere but in the free list's tree */
    if (n < (leaf || w->in == IN_FREE ? 1u : 2u)) return damaged(w, page, "too few keys");
    WEIRP_TRY(leaf ? walk_leaf(w, page, p, n, upper, &room) : walk_branch(w, page, p, n, upper, &room, depth));
    if (room != w->page_size - upper) return damaged(w, page, "its nodes don't fill it as they should");
done:
    return st;
}

static weir_status walk_tree(walk *w, int in, const tree *t) {
    weir_status st;
    w->in = in;
    w->expected = *t;
    w->seen = (tree){t->flags, t->depth, 0, 0, 0, 0, t->root};
    w->last = w->floor = (key_ref){NULL, 0};
    if (in == IN_FREE ? (t->flags & ~(uint32_t)FLAG_NO_FOLDER) != DB_INTEGER_KEYS : t->flags != 0)
        return weirp_fail(w->err, WEIR_CORRUPT, 0, "%s: damaged: flags %#x of a tree", w->path, t->flags);
    if (t->root == NO_PAGE) {
        w->expected.root = 0;
        w->seen.root = 0;
    } else {
        if (t->depth < 1 || t->depth > MAX_DEPTH) return damaged(w, t->root, "root of an impossible tree");
        WEIRP_TRY(walk_page(w, t->root, 1));
    }
    if (memcmp(&w->seen, &w->expected, sizeof w->seen) != 0 || (t->root == NO_PAGE && t->depth != 0))
        return weirp_fail(w->err, WEIR_CORRUPT, 0, "%s: damaged: a tree's counts don't agree with its pages", w->path);
    st = WEIR_OK;
done:
    return st;
}

static weir_status walk_trees(walk *w, const header *h) {
    weir_status st;
    if (h->main.flags != 0)
        return weirp_fail(w->err, WEIR_FOREIGN, 0, "%s: not a weir store: other LMDB data", w->path);
    WEIRP_TRY(walk_tree(w, IN_MAIN, &h->main));
    if (!w->has_meta) return weirp_fail(w->err, WEIR_FOREIGN, 0, "%s: not a weir store: other LMDB data", w->path);
    WEIRP_TRY(walk_tree(w, IN_META, &w->meta));
    if (!w->has_record || !w->has_sections || !w->has_log || w->has_other ||
        w->has_index != (w->record.schema >= WEIRP_SCHEMA_INDEX) ||
        w->has_table != (w->record.schema >= WEIRP_SCHEMA_TABLE))
        return weirp_fail(w->err, WEIR_CORRUPT, 0, "%s: damaged: not the databases of a store", w->path);
    WEIRP_TRY(walk_tree(w, IN_SECTIONS, &w->sections));
    WEIRP_TRY(walk_tree(w, IN_LOG, &w->log));
    if (w->has_index) WEIRP_TRY(walk_tree(w, IN_INDEX, &w->index));
    if (w->has_table) WEIRP_TRY(walk_tree(w, IN_TABLE, &w->table));
    WEIRP_TRY(walk_tree(w, IN_FREE, &h->free_list));
    if (w->pages->n_sections != w->record.n_sections || w->pages->n_table != w->record.n_table ||
        w->log_end > w->record.n_log || (w->log_end == 0) != (w->record.n_log == 0))
        return weirp_fail(w->err, WEIR_CORRUPT, 0, "%s: damaged: its header's counts don't agree with its contents",
                          w->path);
    for (uint64_t p = 2; p < w->n_pages; p++) {
        if (bit(w->used, p) || bit(w->free, p)) continue;
        if (p >= w->n_file) return damaged(w, p, "past the end of the file: cut off");
        w->pages->n_lost++;
    }
done:
    return st;
}

/* One meta page as it stood still: a writer that overwrites it between two numbers would give one transaction's number
 * and another's trees. */
static weir_status steady_header(int fd, off_t at, const char *path, header *h, weir_error *err) {
    enum { TRIES = 100 };
    uint8_t page[2][HEADER_BYTES];
    for (int i = 0; i < TRIES; i++) {
        for (int k = 0; k < 2; k++) {
            const ssize_t n = pread(fd, page[k], HEADER_BYTES, at);
            if (n < 0) return weirp_fail_errno(err, errno, "can't read", path);
            if (n < HEADER_BYTES) return weirp_fail(err, WEIR_CORRUPT, 0, "%s: cut off in its first pages", path);
        }
        if (memcmp(page[0], page[1], HEADER_BYTES) != 0) continue;
        *h = read_header(page[0]);
        return WEIR_OK;
    }
    return weirp_fail(err, WEIR_BUSY, 0, "%s: is being written to too fast", path);
}

weir_status weirp_walk(int fd, uint64_t txnid, const char *path, weirp_pages *pages, weir_error *err) {
    weirp_pages own = {0};
    walk w = {.path = path, .err = err, .txnid = txnid, .pages = pages ? pages : &own};
    struct stat st;
    header h;
    weir_status status = weirp_walk_headers(fd, path, &w.page_size, &w.n_pages, err);
    if (status == WEIR_OK) status = steady_header(fd, (off_t)((txnid & 1) * w.page_size), path, &h, err);
    if (status != WEIR_OK) return status;
    if (fstat(fd, &st) != 0) return weirp_fail_errno(err, errno, "fstat", path);
    size_t bytes = (size_t)st.st_size;
    w.n_file = bytes / w.page_size; /* a page that is there in part isn't there */
    w.base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (w.base == MAP_FAILED) return weirp_fail_errno(err, errno, "can't map", path);
    if (h.txnid == 0 && txnid == 0) h.txnid = txnid;
    if (h.txnid != txnid) {
        status =
            weirp_fail(err, WEIR_BUSY, 0,
                       "%s: is being written to too fast, or another file took its place while it was in use", path);
    } else if (h.last_page < 1 || h.last_page >= w.n_file + MAX_UNWRITTEN) {
        status = weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: its last page can't be %llu", path,
                            (unsigned long long)h.last_page);
    } else {
        w.n_pages = h.last_page + 1;
        size_t bits = (size_t)(w.n_pages / 8 + 1);
        w.used = weirp_array(bits, 1);
        w.free = weirp_array(bits, 1);
        *w.pages = (weirp_pages){.n_pages = w.n_pages, .thorough = w.pages->thorough};
        status = w.used && w.free ? walk_trees(&w, &h) : weirp_nomem(err);
    }
    free(w.used);
    free(w.free);
    munmap((void *)(uintptr_t)w.base, bytes);
    return status;
}
