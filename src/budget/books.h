/* books.h: the ledger's rows within one transaction; nobody outside src/budget/ includes this.
 *
 * rows.c     bytes of rows and their keys
 * entry.c    bytes of entries, in batches
 * books.c    one transaction: an entry moves balances and is written down, or neither
 * process.c  who shares the ledger; bury.c  what the dead have left in their spools
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BOOKS_H
#define WEIRP_BOOKS_H

#include <stddef.h>

#include "src/budget/ledger.h"
#include "src/store/spool.h"

/* No sum of ours comes near an overflow: each bucket stays below this, and so does a limit. */
#define WEIRP_MOST_MONEY (INT64_C(1) << 61)

/* First two bytes of our rows' keys. */
#define WEIRP_ROW_COUNTERS   "Lc"
#define WEIRP_ROW_BUDGET     "Lb" /* budget u32 */
#define WEIRP_ROW_NAME       "Ln" /* a budget's name */
#define WEIRP_ROW_CONFIGURED "Lf" /* a budget's name: a configuration file has set it */
#define WEIRP_ROW_ACCOUNT    "La" /* account u64 */
#define WEIRP_ROW_KEY        "Lk" /* an account's key */
#define WEIRP_ROW_HOLDING    "Lh" /* process u32, account u64 */
#define WEIRP_ROW_UNPROVEN   "Lu" /* process u32, account u64 */
#define WEIRP_ROW_PROCESS    "Lp" /* process u32 */
#define WEIRP_ROW_TEXT       "Lt" /* text u32 */
#define WEIRP_ROW_WORD       "Lw" /* a text's bytes */
#define WEIRP_ROW_ENTRIES    "Le" /* number of the first entry u64 */

typedef struct weirp_row_key {
    size_t size;
    uint8_t bytes[WEIRP_TABLE_KEY];
} weirp_row_key;
void weirp_row_key_u32(weirp_row_key *key, const char *kind, uint32_t n);
void weirp_row_key_u64(weirp_row_key *key, const char *kind, uint64_t n);
void weirp_row_key_pair(weirp_row_key *key, const char *kind, uint32_t process, uint64_t account);
void weirp_row_key_bytes(weirp_row_key *key, const char *kind, const void *bytes, size_t n);
void weirp_row_key_of_account(weirp_row_key *key, const weirp_account_key *account);
uint32_t weirp_be32(const uint8_t *bytes);
uint64_t weirp_be64(const uint8_t *bytes);

typedef struct weirp_counters {
    uint32_t next_budget, next_process, next_text; /* all from 1 */
    uint64_t next_account, next_entry;             /* from 1; from 0 */
    uint64_t version;                              /* moved by every change of budgets */
    uint64_t n_posts;                              /* moved by every transaction of ours */
} weirp_counters;
/* A table without a ledger: the counters of a new one. */
weir_status weirp_counters_read(weirp_txn *txn, weirp_counters *counters, weir_error *err);
weir_status weirp_counters_write(weirp_txn *txn, const weirp_counters *counters, weir_error *err);

enum { WEIRP_ROW_MOST = 128 + WEIRP_ACCOUNT_KEY };
size_t weirp_account_row_encode(const weirp_account_row *row, uint8_t bytes[WEIRP_ROW_MOST]);
weir_status weirp_account_row_decode(weirp_account_row *row, const uint8_t *data, size_t size, weir_error *err);
weir_status weirp_account_row_read(weirp_txn *txn, uint64_t number, weirp_account_row *row, weir_error *err);
/* 0 where there is no such row. */
weir_status weirp_amount_read(weirp_txn *txn, const char *kind, uint32_t process, uint64_t account, int64_t *amount,
                              weir_error *err);
weir_status weirp_budget_row_write(weirp_txn *txn, const weirp_budget *budget, bool removed, weir_error *err);
weir_status weirp_budget_row_read(weirp_txn *txn, uint32_t id, weirp_budget *budget, bool *removed, weir_error *err);

typedef struct weirp_process_row {
    uint32_t id, pid;
    int64_t started_ms, died_ms; /* unix; died_ms 0: thought alive */
    int64_t missing_ms;          /* when its spool was first found gone; 0: never */
    uint32_t spool;              /* the spool's number and id: it lives as long as that is locked */
    uint64_t spool_id;
    uint64_t done; /* the spool's records below this number are in the ledger */
} weirp_process_row;
weir_status weirp_process_row_write(weirp_txn *txn, const weirp_process_row *row, weir_error *err);
/* WEIR_NOTFOUND. */
weir_status weirp_process_row_read(weirp_txn *txn, uint32_t process, weirp_process_row *row, weir_error *err);
weir_status weirp_process_row_decode(weirp_process_row *row, const uint8_t *data, size_t size, weir_error *err);

/* ---- entries ---- */

enum { WEIRP_SPOOLED_PARTS = 16 };
enum { WEIRP_ENTRY_MOST = 2048, WEIRP_BATCH_MOST = 65536, WEIRP_BATCH_HEAD = 16 };
/* An entry's bytes; texts by number (0: NULL). */
size_t weirp_entry_encode(const weirp_entry *entry, int64_t base_ms, const uint32_t texts[WEIRP_N_DIMS],
                          uint8_t bytes[WEIRP_ENTRY_MOST]);
typedef struct weirp_entry_reader {
    const uint8_t *data;
    size_t size, at;
    uint32_t n;
    int64_t base_ms;
    char id[WEIRP_ENTRY_ID];
    uint32_t texts[WEIRP_N_DIMS];
} weirp_entry_reader;
weir_status weirp_batch_open(weirp_entry_reader *reader, const uint8_t *data, size_t size, weir_error *err);
/* All but the subject; entry->id is borrowed from the reader until the next call. WEIR_END. */
weir_status weirp_batch_next(weirp_entry_reader *reader, weirp_entry *entry, weir_error *err);
/* Every entry in order: subjects by number only. */
typedef weir_status (*weirp_raw_visit)(void *user, uint64_t number, const weirp_entry *entry,
                                       const uint32_t texts[WEIRP_N_DIMS], weir_error *err);
weir_status weirp_entries_scan(weirp_txn *txn, weirp_raw_visit visit, void *user, uint64_t *n_entries, weir_error *err);

/* ---- one transaction ---- */

typedef struct weirp_open_row {
    weirp_account_row row;
    int64_t holding;  /* what the books' process holds */
    int64_t unproven; /* and what of it is unproven */
    int64_t holding_was, unproven_was;
    bool changed;
} weirp_open_row;

typedef struct weirp_word {
    char *text; /* owned */
    uint32_t id;
} weirp_word;

/* Zeros; used again for one transaction after the other, it keeps its memory and the numbers of texts. */
typedef struct weirp_books {
    weirp_txn *txn;
    uint32_t process; /* whose leases are moved */
    weirp_counters counters;
    weirp_open_row **rows;                /* (n_rows,) */
    size_t n_rows, rows_capacity, n_made; /* n_made: rows that have memory */
    uint32_t *row_slots;                  /* by number; index + 1 */
    size_t n_row_slots;
    weirp_writer batch;
    uint32_t n_batch;
    int64_t batch_ms;
    weirp_word *words; /* (n_word_slots,): open addressing */
    size_t n_words, n_word_slots;
    bool moved; /* there is something to write */
    bool open;  /* begun, and not known to be committed */
} weirp_books;
weir_status weirp_books_begin(weirp_books *books, weirp_txn *txn, uint32_t process, weir_error *err);
/* Writes all that has changed. The transaction may still fail: weirp_books_done tells that it has not. */
weir_status weirp_books_end(weirp_books *books, weir_error *err);
void weirp_books_done(weirp_books *books);
void weirp_books_free(weirp_books *books);
/* Rows are borrowed until the books end. WEIR_NOTFOUND. */
weir_status weirp_books_row(weirp_books *books, uint64_t number, weirp_open_row **row, weir_error *err);
weir_status weirp_books_find(weirp_books *books, const weirp_account_key *key, weirp_open_row **row, weir_error *err);
/* A new account: nothing in it yet. */
weir_status weirp_books_open_account(weirp_books *books, const weirp_budget *budget, weirp_span span,
                                     const weirp_account_key *key, weirp_open_row **row, weir_error *err);
/* Moves the balances that its postings say, in rows that are read as needed, and writes it down. entry->process is set.
 * WEIR_NUMERIC: a bucket would leave what it can hold. Nothing has changed then. */
weir_status weirp_books_enter(weirp_books *books, weirp_entry *entry, weir_error *err);
/* An entry of one posting. An amount of 0 or less does nothing. */
weir_status weirp_books_move(weirp_books *books, weirp_entry_kind kind, weirp_open_row *row, weirp_bucket from,
                             weirp_bucket to, int64_t amount, int64_t at_ms, weir_error *err);
/* Brings the row to this limit. */
weir_status weirp_books_limit(weirp_books *books, weirp_open_row *row, int64_t limit, int64_t at_ms, weir_error *err);

/* ---- what a process writes to its spool (src/store/spool.h) ---- */

/* A call's settlement on its way to the ledger: this, then texts (id and the subject's values, each with its NUL;
 * missing ones are empty), then the keys of accounts that have no number yet, in their parts' order (u16 size, bytes).
 * Read by the same build only: `form` tells. */
typedef struct weirp_spooled {
    uint32_t form;
    uint32_t size; /* bytes of all, a multiple of 8 */
    uint64_t call; /* names it in its process: the slot's, too */
    int64_t at_ms;
    uint64_t price_version;
    weirp_usage usage;
    int64_t amount[WEIRP_N_UNITS];
    uint32_t attempt, slot, texts_size;
    bool in_ring;
    uint32_t n;
    struct weirp_spooled_part {
        void *account;        /* the bank's; means nothing to others */
        uint64_t number;      /* 0: see its key */
        int64_t leased, free; /* what of it the lease covers, and what not */
        bool overrun;
    } part[WEIRP_SPOOLED_PARTS]; /* written up to n */
} weirp_spooled;
#define WEIRP_SPOOLED_FORM (1u << 16 | (uint32_t)sizeof(weirp_spooled))
#define WEIRP_SPOOLED_TEXTS(spooled)                                                                                   \
    ((const char *)(spooled) + offsetof(weirp_spooled, part) + (spooled)->n * sizeof(struct weirp_spooled_part))
/* Fills the members of an entry that aren't postings; texts are borrowed. */
void weirp_spooled_entry(const weirp_spooled *spooled, const char *texts, weirp_entry *entry);

/* A slot: the call u64, number of accounts u8, then account and worst case of each, 7 bits a byte. 0: too long. */
size_t weirp_slot_encode(uint64_t call, const uint64_t *accounts, const int64_t *worst, size_t n,
                         uint8_t bytes[WEIRP_SPOOL_SLOT]);
bool weirp_slot_decode(const uint8_t *bytes, size_t size, uint64_t *call, uint64_t *accounts, int64_t *worst,
                       size_t *n);

/* ---- processes ---- */

/* Registers it in the transaction; gives it its id. */
weir_status weirp_process_register(weirp_books *books, weirp_process_row *row, weir_error *err);
weir_status weirp_process_leave(weirp_books *books, uint32_t id, weir_error *err);
bool weirp_process_lives(weirp_txn *txn, uint32_t id); /* as far as anybody has noticed */
/* It has ended, and left something unproven. */
weir_status weirp_process_end(weirp_books *books, uint32_t id, weir_error *err);
/* As weirp_ledger_bury; `self` isn't looked at. *n_alive counts the others. `path`: the store's. */
weir_status weirp_processes_bury(weirp_store *store, const char *path, uint32_t self, size_t *n_dead, size_t *n_alive,
                                 weir_error *err);

#endif
