/* books.h: the ledger's rows within one transaction; nobody outside src/budget/ includes this.
 *
 * rows.c     bytes of rows and their keys
 * entry.c    bytes of entries, in batches
 * books.c    one transaction: an entry moves balances and is written down, or neither
 * process.c  who is alive; what the dead held
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BOOKS_H
#define WEIRP_BOOKS_H

#include "src/budget/ledger.h"

/* No sum of ours comes near an overflow: each bucket stays below this, and so does a limit. */
#define WEIRP_MOST_MONEY (INT64_C(1) << 61)

/* First two bytes of our rows' keys. */
#define WEIRP_ROW_COUNTERS "Lc"
#define WEIRP_ROW_BUDGET   "Lb" /* budget u32 */
#define WEIRP_ROW_NAME     "Ln" /* a budget's name */
#define WEIRP_ROW_ACCOUNT  "La" /* account u64 */
#define WEIRP_ROW_KEY      "Lk" /* an account's key */
#define WEIRP_ROW_HOLDING  "Lh" /* process u32, account u64 */
#define WEIRP_ROW_UNPROVEN "Lu" /* process u32, account u64 */
#define WEIRP_ROW_PROCESS  "Lp" /* process u32 */
#define WEIRP_ROW_TEXT     "Lt" /* text u32 */
#define WEIRP_ROW_WORD     "Lw" /* a text's bytes */
#define WEIRP_ROW_ENTRIES  "Le" /* number of the first entry u64 */

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
    char boot[40];               /* the kernel's boot id */
    char lock[64];               /* name of the file beside the store that it holds a lock on */
} weirp_process_row;
weir_status weirp_process_row_write(weirp_txn *txn, const weirp_process_row *row, weir_error *err);
weir_status weirp_process_row_decode(weirp_process_row *row, const uint8_t *data, size_t size, weir_error *err);

/* ---- entries ---- */

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

/* ---- processes ---- */

/* A file beside the store that is locked for as long as this lives. */
typedef struct weirp_life {
    int fd;
    char name[64]; /* of the file */
    char *path;    /* owned */
} weirp_life;
weir_status weirp_life_begin(weirp_life *life, const char *store, weir_error *err);
void weirp_life_end(weirp_life *life, bool remove_file);
void weirp_boot_id(char out[40]);
/* Registers a process in the transaction. */
weir_status weirp_process_register(weirp_books *books, const weirp_life *life, uint32_t *id, weir_error *err);
weir_status weirp_process_leave(weirp_books *books, uint32_t id, weir_error *err);
bool weirp_process_lives(weirp_txn *txn, uint32_t id); /* as far as anybody has noticed */
/* It has ended, and left something unproven. */
weir_status weirp_process_end(weirp_books *books, uint32_t id, weir_error *err);
/* As weirp_ledger_bury; `self` isn't looked at. *n_alive counts the others. `path`: the store's. */
weir_status weirp_processes_bury(weirp_store *store, const char *path, uint32_t self, size_t *n_dead, size_t *n_alive,
                                 weir_error *err);

#endif
