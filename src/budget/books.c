/* books.c: one transaction of the ledger. SPDX-License-Identifier: GPL-3.0-or-later */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/budget/books.h"

enum { WORDS_KEPT = 1 << 16 };

/* ---- texts by number ---- */

static void forget_words(weirp_books *b) {
    for (size_t i = 0; i < b->n_word_slots; i++) free(b->words[i].text);
    free(b->words);
    b->words = NULL;
    b->n_words = b->n_word_slots = 0;
}

static weirp_word *word_slot(weirp_word *words, size_t n_slots, const char *text) {
    for (size_t i = XXH3_64bits(text, strlen(text)) & (n_slots - 1);; i = (i + 1) & (n_slots - 1))
        if (!words[i].text || strcmp(words[i].text, text) == 0) return &words[i];
}

static bool grow_words(weirp_books *b) {
    if (b->n_words * 2 < b->n_word_slots) return true;
    size_t n = b->n_word_slots ? b->n_word_slots * 2 : 256;
    weirp_word *words = weirp_array(n, sizeof *words);
    if (!words) return false;
    for (size_t i = 0; i < b->n_word_slots; i++)
        if (b->words[i].text) *word_slot(words, n, b->words[i].text) = b->words[i];
    free(b->words);
    b->words = words;
    b->n_word_slots = n;
    return true;
}

static const char *digest_text(char *out, size_t size, const char *text) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)text, strlen(text), digest);
    size_t n = (size_t)snprintf(out, size, "sha256:");
    for (size_t i = 0; i < sizeof digest; i++) n += (size_t)snprintf(out + n, size - n, "%02x", digest[i]);
    return out;
}

/* Reads a text's number, or gives it one. */
static weir_status number_text(weirp_books *b, const char *text, uint32_t *id, weir_error *err) {
    weirp_row_key word, number;
    const uint8_t *data;
    size_t size, n = strlen(text);
    uint8_t bytes[4];
    weirp_row_key_bytes(&word, WEIRP_ROW_WORD, text, n);
    weir_status st = weirp_txn_get(b->txn, word.bytes, word.size, &data, &size, err);
    if (st && st != WEIR_NOTFOUND) return st;
    if (!st && size != 4) return weirp_fail(err, WEIR_CORRUPT, 0, "a text's row is damaged");
    if (!st) *id = weirp_be32(data);
    if (!st) return WEIR_OK;
    *id = b->counters.next_text++;
    for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(*id >> (24 - 8 * i));
    weirp_row_key_u32(&number, WEIRP_ROW_TEXT, *id);
    b->moved = true;
    st = weirp_txn_put(b->txn, word.bytes, word.size, bytes, 4, err);
    return st ? st : weirp_txn_put(b->txn, number.bytes, number.size, (const uint8_t *)text, n, err);
}

static weir_status text_id(weirp_books *b, const char *text, uint32_t *id, weir_error *err) {
    char shorter[WEIRP_SCOPE_TEXT];
    *id = 0;
    if (!text || !*text) return WEIR_OK;
    if (strlen(text) >= sizeof shorter) text = digest_text(shorter, sizeof shorter, text);
    if (!grow_words(b)) return weirp_nomem(err);
    weirp_word *word = word_slot(b->words, b->n_word_slots, text);
    if (word->text) {
        *id = word->id;
        return WEIR_OK;
    }
    weir_status st = number_text(b, text, id, err);
    if (st) return st;
    word->text = strdup(text);
    if (!word->text) return weirp_nomem(err);
    word->id = *id;
    b->n_words++;
    return WEIR_OK;
}

/* ---- rows ---- */

static size_t row_slot(const weirp_books *b, uint64_t number) {
    size_t mask = b->n_row_slots - 1;
    size_t i = weirp_mix64(number) & mask;
    while (b->row_slots[i] && b->rows[b->row_slots[i] - 1]->row.number != number) i = (i + 1) & mask;
    return i;
}

static bool grow_rows(weirp_books *b) {
    if (!weirp_reserve((void **)&b->rows, &b->rows_capacity, b->n_rows + 1, sizeof(weirp_open_row *))) return false;
    if (b->n_made == b->n_rows) {
        weirp_open_row *row = calloc(1, sizeof *row);
        if (!row) return false;
        b->rows[b->n_made++] = row;
    }
    if (b->n_row_slots > 2 * b->n_rows) return true;
    size_t n = b->n_row_slots ? 2 * b->n_row_slots : 64;
    uint32_t *slots = weirp_array(n, sizeof *slots);
    if (!slots) return false;
    free(b->row_slots);
    b->row_slots = slots;
    b->n_row_slots = n;
    for (size_t i = 0; i < b->n_rows; i++) b->row_slots[row_slot(b, b->rows[i]->row.number)] = (uint32_t)(i + 1);
    return true;
}

static void add_row(weirp_books *b) {
    size_t slot = row_slot(b, b->rows[b->n_rows]->row.number);
    b->row_slots[slot] = (uint32_t)++b->n_rows;
}

weir_status weirp_books_row(weirp_books *b, uint64_t number, weirp_open_row **out, weir_error *err) {
    if (b->n_row_slots) {
        uint32_t slot = b->row_slots[row_slot(b, number)];
        if (slot) {
            *out = b->rows[slot - 1];
            return WEIR_OK;
        }
    }
    if (!grow_rows(b)) return weirp_nomem(err);
    weirp_open_row *open = b->rows[b->n_rows];
    memset(open, 0, sizeof *open);
    weir_status st;
    WEIRP_TRY(weirp_account_row_read(b->txn, number, &open->row, err));
    if (b->process) {
        WEIRP_TRY(weirp_amount_read(b->txn, WEIRP_ROW_HOLDING, b->process, number, &open->holding, err));
        WEIRP_TRY(weirp_amount_read(b->txn, WEIRP_ROW_UNPROVEN, b->process, number, &open->unproven, err));
    }
    if (open->row.number != number) return weirp_fail(err, WEIR_CORRUPT, 0, "an account's row is another's");
    open->holding_was = open->holding;
    open->unproven_was = open->unproven;
    add_row(b);
    *out = open;
done:
    return st;
}

weir_status weirp_books_find(weirp_books *b, const weirp_account_key *key, weirp_open_row **row, weir_error *err) {
    weirp_row_key name;
    const uint8_t *data;
    size_t size;
    weirp_row_key_of_account(&name, key);
    weir_status st = weirp_txn_get(b->txn, name.bytes, name.size, &data, &size, err);
    if (st) return st;
    if (size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "an account's name is damaged");
    st = weirp_books_row(b, weirp_be64(data), row, err);
    if (!st && ((*row)->row.key.size != key->size || memcmp((*row)->row.key.bytes, key->bytes, key->size) != 0))
        return weirp_fail(err, WEIR_CORRUPT, 0, "an account's name leads to another account");
    return st;
}

weir_status weirp_books_open_account(weirp_books *b, const weirp_budget *budget, weirp_span span,
                                     const weirp_account_key *key, weirp_open_row **out, weir_error *err) {
    weirp_row_key name, number;
    if (!grow_rows(b)) return weirp_nomem(err);
    weirp_open_row *open = b->rows[b->n_rows];
    memset(open, 0, sizeof *open);
    open->row = (weirp_account_row){
        .number = b->counters.next_account, .budget = budget->id, .unit = budget->unit, .span = span, .key = *key};
    open->changed = true;
    weirp_row_key_of_account(&name, key);
    weirp_row_key_u64(&number, WEIRP_ROW_ACCOUNT, open->row.number); /* its last 8 bytes are the number's */
    weir_status st = weirp_txn_put(b->txn, name.bytes, name.size, number.bytes + 2, 8, err);
    if (st) return st;
    b->counters.next_account++;
    b->moved = true;
    add_row(b);
    *out = open;
    return WEIR_OK;
}

/* ---- entries ---- */

static bool within(int64_t *bucket, int64_t amount, int sign) {
    int64_t sum = *bucket + (sign > 0 ? amount : -amount); /* both below 2^61 */
    if (sum < 0 || sum > WEIRP_MOST_MONEY) return false;
    *bucket = sum;
    return true;
}

static bool move_bucket(weirp_open_row *open, weirp_bucket bucket, int64_t amount, int sign) {
    switch (bucket) {
    case WEIRP_OUTSIDE: return within(&open->row.limit, amount, -sign);
    case WEIRP_LEASED: return within(&open->holding, amount, sign) && within(&open->row.leased, amount, sign);
    case WEIRP_SPENT: return within(&open->row.spent, amount, sign);
    case WEIRP_UNPROVEN: return within(&open->unproven, amount, sign) && within(&open->row.unproven, amount, sign);
    default: return true; /* free is what is left of the limit */
    }
}

/* All of the postings, or none. */
static weir_status move_postings(weirp_books *b, const weirp_entry *e, weir_error *err) {
    weirp_open_row *open[WEIRP_MAX_POSTINGS];
    weirp_open_row was;
    for (size_t i = 0; i < e->n_postings; i++) {
        weir_status st = weirp_books_row(b, e->postings[i].account, &open[i], err);
        if (st) return st;
    }
    size_t i = 0;
    for (; i < e->n_postings; i++) {
        const weirp_posting *p = &e->postings[i];
        was = *open[i];
        open[i]->changed = true;
        if (p->amount < 0 || p->amount > WEIRP_MOST_MONEY || !move_bucket(open[i], p->from, p->amount, -1) ||
            !move_bucket(open[i], p->to, p->amount, 1)) {
            *open[i] = was;
            break;
        }
    }
    if (i == e->n_postings) return WEIR_OK;
    while (i-- > 0) {
        const weirp_posting *p = &e->postings[i];
        (void)(move_bucket(open[i], p->to, p->amount, -1) && move_bucket(open[i], p->from, p->amount, 1));
    }
    return weirp_fail(err, WEIR_NUMERIC, 0, "a posting would move more than there is in an account");
}

static weir_status flush_batch(weirp_books *b, weir_error *err) {
    if (!b->n_batch) return WEIR_OK;
    weirp_row_key key;
    weirp_row_key_u64(&key, WEIRP_ROW_ENTRIES, b->counters.next_entry);
    memcpy(b->batch.data + 4, &b->n_batch, 4);
    weir_status st = weirp_txn_put(b->txn, key.bytes, key.size, b->batch.data, b->batch.size, err);
    b->counters.next_entry += b->n_batch;
    b->n_batch = 0;
    b->batch.size = 0;
    return st;
}

static weir_status write_entry(weirp_books *b, const weirp_entry *e, const uint32_t texts[WEIRP_N_DIMS],
                               weir_error *err) {
    uint8_t bytes[WEIRP_ENTRY_MOST];
    weir_status st = WEIR_OK;
    size_t n = b->n_batch ? weirp_entry_encode(e, b->batch_ms, texts, bytes) : 0;
    if (n && b->batch.size + n > WEIRP_BATCH_MOST) {
        if ((st = flush_batch(b, err))) return st;
        n = 0;
    }
    if (!n) {
        b->batch.size = 0;
        b->batch_ms = e->at_ms;
        weirp_put_u32(&b->batch, 1);
        weirp_put_u32(&b->batch, 0);
        weirp_put_u64(&b->batch, (uint64_t)e->at_ms);
        n = weirp_entry_encode(e, b->batch_ms, texts, bytes);
    }
    weirp_put(&b->batch, bytes, n);
    b->n_batch++;
    b->moved = true;
    return b->batch.failed ? weirp_nomem(err) : WEIR_OK;
}

weir_status weirp_books_enter(weirp_books *b, weirp_entry *e, weir_error *err) {
    uint32_t texts[WEIRP_N_DIMS] = {0};
    e->process = b->process;
    for (int d = 0; e->kind == WEIRP_ENTRY_SETTLE && d < WEIRP_N_DIMS; d++) {
        weir_status st = text_id(b, e->subject.value[d], &texts[d], err);
        if (st) return st;
    }
    weir_status st = move_postings(b, e, err);
    return st ? st : write_entry(b, e, texts, err);
}

weir_status weirp_books_move(weirp_books *b, weirp_entry_kind kind, weirp_open_row *row, weirp_bucket from,
                             weirp_bucket to, int64_t amount, int64_t at_ms, weir_error *err) {
    if (amount <= 0) return WEIR_OK;
    weirp_entry e = {.kind = kind, .at_ms = at_ms, .n_postings = 1};
    e.postings[0] = (weirp_posting){row->row.number, from, to, amount};
    return weirp_books_enter(b, &e, err);
}

weir_status weirp_books_limit(weirp_books *b, weirp_open_row *row, int64_t limit, int64_t at_ms, weir_error *err) {
    int64_t was = row->row.limit;
    if (limit > WEIRP_MOST_MONEY) limit = WEIRP_MOST_MONEY;
    if (limit < 0) limit = 0;
    return limit > was
               ? weirp_books_move(b, WEIRP_ENTRY_LIMIT, row, WEIRP_OUTSIDE, WEIRP_FREE, limit - was, at_ms, err)
               : weirp_books_move(b, WEIRP_ENTRY_LIMIT, row, WEIRP_FREE, WEIRP_OUTSIDE, was - limit, at_ms, err);
}

/* ---- begin and end ---- */

weir_status weirp_books_begin(weirp_books *b, weirp_txn *txn, uint32_t process, weir_error *err) {
    /* numbers that were given by a transaction that failed are somebody else's by now */
    if (b->n_words > WORDS_KEPT || b->open) forget_words(b);
    b->txn = txn;
    b->process = process;
    b->n_rows = 0;
    if (b->row_slots) memset(b->row_slots, 0, b->n_row_slots * sizeof *b->row_slots);
    b->batch.size = 0;
    b->batch.failed = false;
    b->n_batch = 0;
    b->open = true;
    b->moved = false;
    return weirp_counters_read(txn, &b->counters, err);
}

static weir_status write_amount(weirp_books *b, const char *kind, uint64_t account, int64_t was, int64_t now,
                                weir_error *err) {
    weirp_row_key key;
    if (was == now) return WEIR_OK;
    weirp_row_key_pair(&key, kind, b->process, account);
    if (!now) return weirp_txn_delete(b->txn, key.bytes, key.size, err);
    return weirp_txn_put(b->txn, key.bytes, key.size, (const uint8_t *)&now, 8, err);
}

static weir_status write_account(weirp_books *b, weirp_open_row *open, weir_error *err) {
    uint8_t bytes[WEIRP_ROW_MOST];
    weirp_row_key key;
    uint64_t number = open->row.number;
    weir_status st;
    WEIRP_TRY(write_amount(b, WEIRP_ROW_HOLDING, number, open->holding_was, open->holding, err));
    WEIRP_TRY(write_amount(b, WEIRP_ROW_UNPROVEN, number, open->unproven_was, open->unproven, err));
    if (open->holding && !open->holding_was) open->row.holders++;
    if (!open->holding && open->holding_was && open->row.holders) open->row.holders--;
    weirp_row_key_u64(&key, WEIRP_ROW_ACCOUNT, number);
    size_t size = weirp_account_row_encode(&open->row, bytes);
    WEIRP_TRY(weirp_txn_put(b->txn, key.bytes, key.size, bytes, size, err));
    b->moved = true;
done:
    return st;
}

weir_status weirp_books_end(weirp_books *b, weir_error *err) {
    weir_status st = flush_batch(b, err);
    for (size_t i = 0; !st && i < b->n_rows; i++)
        if (b->rows[i]->changed) st = write_account(b, b->rows[i], err);
    if (!st && b->moved) {
        b->counters.n_posts++;
        st = weirp_counters_write(b->txn, &b->counters, err);
    }
    b->txn = NULL;
    return st;
}

void weirp_books_done(weirp_books *b) {
    b->open = false;
}

void weirp_books_free(weirp_books *b) {
    forget_words(b);
    for (size_t i = 0; i < b->n_made; i++) free(b->rows[i]);
    free(b->rows);
    free(b->row_slots);
    weirp_writer_free(&b->batch);
    memset(b, 0, sizeof *b);
}
