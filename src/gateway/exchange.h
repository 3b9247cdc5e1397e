/* exchange.h: one client's request from its arrival to its record.
 *
 *     arrive -> plan -> try -> (fail -> next try)* -> commit -> relay -> complete
 *
 * A try is an attempt at one deployment. Nothing goes to the client before a try commits: with its first token where
 * the answer is a stream, with the whole answer otherwise; until then another model can take over unseen. Two tries run
 * at once only while a hedge is out. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_EXCHANGE_H
#define WEIRP_EXCHANGE_H

#include "src/gateway/admit.h"
#include "src/gateway/endpoints.h"
#include "src/gateway/spend.h"
#include "src/gateway/worker.h"
#include "src/net/sse.h"

typedef struct weirp_exchange weirp_exchange;

/* A try under way. */
typedef struct weirp_try {
    weirp_exchange *exchange;
    size_t choice;     /* index into the plan */
    size_t deployment; /* index into the setup's configuration */
    bool live;         /* has a slot */
    bool hedge;
    bool streaming; /* a good head has come, and events follow */
    bool held;      /* waits for its client to read */
    int status;     /* HTTP; 0: no head yet */
    weirp_fetch *fetch;
    weirp_answer *answer;
    weirp_sse sse;
    weirp_writer body; /* the request to the vendor */
    weirp_writer got;  /* whole answers and error bodies: the vendor's bytes; streams: the client's, until commit */
    weirp_timer *first_token;
    uint64_t started_ns, first_ns;
    weirp_claim claim;            /* on the budgets */
    int64_t worst[WEIRP_N_UNITS]; /* what the claim is for */
} weirp_try;

struct weirp_exchange {
    weirp_worker *worker;
    weirp_setup *setup; /* the one it began under; a reference */
    weirp_call *call;   /* NULL once the server has done with it */
    weirp_endpoint endpoint;
    weirp_api api;
    weirp_request request;
    bool parsed;
    size_t body_len;
    char request_id[72];
    char traceparent[64]; /* "" where the client sent none that is well-formed */
    weirp_knobs knobs;
    weirp_plan plan;
    weirp_admission admission;
    weirp_spend spend;
    weirp_writer record; /* the decision, for the log */
    size_t at;           /* choice that is being tried */
    size_t n_tries;
    weirp_try tries[2];
    weirp_try *winner; /* committed */
    bool gone;         /* the client has left */
    bool streaming;    /* its stream has begun */
    bool answered;     /* the client has all it will get */
    bool completed;    /* recorded */
    uint64_t arrived_ns, deadline_ns, answered_ns;
    weirp_timer *pause; /* before the next try */
    weirp_timer *hedge;
    weirp_vendor_fault fault; /* of the last try that failed */
    weirp_result result;
    int64_t retry_after_ms;
    weirp_served served;
    size_t tried[WEIRP_MAX_ATTEMPTS]; /* (served.n_attempts) deployments */
    int64_t billed_tokens;            /* of all tries */
    double vendor_ms;                 /* of the try that answered */
    weirp_later finish;               /* the log line of a good answer waits until it has gone out */
    struct weirp_exchange *next;      /* in the free list */
};

/* A request has come: `call` belongs to the exchange from here on. */
void weirp_exchange_begin(weirp_worker *worker, weirp_call *call, weirp_endpoint endpoint);
/* What the server says of that call. */
void weirp_exchange_drained(weirp_exchange *x);
void weirp_exchange_gone(weirp_exchange *x);
void weirp_exchange_end(weirp_exchange *x);
void weirp_exchange_free_spares(weirp_worker *worker);

/* ---- between exchange.c, attempt.c and reply.c ---- */

enum { WEIRP_MAX_FIELDS = 32 };

/* attempt.c: starts a try; false: it couldn't be started, and x->result and x->fault say why. */
bool weirp_try_start(weirp_exchange *x, size_t choice, size_t deployment, bool hedge);
/* Ends a live try from our side and notes it. */
void weirp_try_give_up(weirp_try *t, weirp_result result);
/* Handlers that attempt.c calls. */
void weirp_exchange_try_failed(weirp_exchange *x, weirp_try *t, weirp_result result, int64_t retry_after_ms);
void weirp_exchange_try_done(weirp_exchange *x, weirp_try *t); /* whole and well, accounted and answered */
void weirp_exchange_commit(weirp_exchange *x, weirp_try *t);   /* this one's answer goes to the client */

/* reply.c: what the client gets. */
void weirp_reply_error(weirp_exchange *x, int status, const char *type, const char *code, const char *param,
                       const char *text, int64_t retry_after_ms);
void weirp_reply_result(weirp_exchange *x);              /* of x->result and x->fault */
void weirp_reply_begin(weirp_exchange *x, weirp_try *t); /* a stream's head */
/* The end of a stream that failed, of x->result and x->fault: the client must not take its part for the whole. */
void weirp_reply_broken(weirp_exchange *x, const weirp_try *t);
void weirp_reply_whole(weirp_exchange *x, weirp_try *t, const char *body, size_t len);
void weirp_reply_note(void *one_try, const weirp_answer_facts *facts, weirp_writer *out);

/* account.c: what it cost, and the record. */
void weirp_account_try(weirp_exchange *x, weirp_try *t, weirp_result result); /* into x->served.attempt */
void weirp_account_served(weirp_exchange *x, weirp_try *t);                   /* who answered: usage and cost */
void weirp_account_record(weirp_exchange *x, int status);                     /* into metrics and traffic log: once */
void weirp_account_complete(weirp_exchange *x, int status);                   /* that, and the log line: once */
/* Nano-USD; WEIRP_UNKNOWN_COST. */
int64_t weirp_account_cost(weirp_exchange *x, const weirp_try *t, weirp_usage *usage);
double weirp_account_usd(int64_t nano); /* NAN: unknown */

#endif
