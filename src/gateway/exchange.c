/* exchange.c: one client's request: admission, plan, tries, and its end. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/exchange.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"

enum {
    MAX_SPARE = 256,
    LARGE_BODY = 1 << 20,
    MAX_REST_MS = 600000, /* however long a vendor's Retry-After asks for: it may have recovered long before */
};

static uint64_t now_ms(void) {
    return weirp_monotonic_ns() / 1000000u;
}

/* ---- coming and going ---- */

static weirp_exchange *take(weirp_worker *w) {
    weirp_exchange *x = w->spare;
    if (x) {
        w->spare = x->next;
        w->n_spare--;
    } else if (!(x = weirp_array(1, sizeof *x))) {
        return NULL;
    }
    return x;
}

static void try_clear(weirp_try *t) {
    weirp_answer_free(t->answer);
    weirp_sse_free(&t->sse);
    weirp_writer_free(&t->body);
    weirp_writer_free(&t->got);
    weirp_timer_free(t->first_token);
    *t = (weirp_try){0};
}

/* Once the server has done with the call, and no try is out, nobody points here any more. */
static void release(weirp_exchange *x) {
    if (x->call || x->tries[0].live || x->tries[1].live || x->finish.queued) return;
    weirp_worker *w = x->worker;
    weirp_account_complete(x, x->served.status);
    for (size_t i = 0; i < 2; i++) try_clear(&x->tries[i]);
    if (x->parsed) weirp_request_free(&x->request);
    weirp_timer_free(x->pause);
    weirp_timer_free(x->hedge);
    weirp_spend_free(x);
    weirp_admit_free(x);
    weirp_writer_free(&x->record);
    weirp_setup_drop(x->setup);
    w->n_active--;
    w->n_streams -= x->streaming;
    weirp_metrics_active(w->metrics, -1, -(int)x->streaming);
    bool keep = w->n_spare<MAX_SPARE, large = x->body_len> LARGE_BODY;
    if (!keep) {
        free(x);
    } else {
        memset(x, 0, sizeof *x);
        x->next = w->spare;
        w->spare = x;
        w->n_spare++;
    }
    if (large) malloc_trim(0); /* a thread's own heap is never given back by itself */
    weirp_worker_stop_if_idle(w, 0);
}

void weirp_exchange_free_spares(weirp_worker *w) {
    while (w->spare) {
        weirp_exchange *x = w->spare;
        w->spare = x->next;
        free(x);
    }
    w->n_spare = 0;
}

/* ---- which deployment ---- */

static size_t tries_on(const weirp_exchange *x, size_t deployment) {
    size_t n = 0;
    for (size_t i = 0; i < x->served.n_attempts; i++) n += x->tried[i] == deployment;
    for (size_t i = 0; i < 2; i++) n += x->tries[i].live && x->tries[i].deployment == deployment;
    return n;
}

/* Its budget has said no, and won't say otherwise to this request. */
static bool is_blocked(const weirp_exchange *x, size_t deployment) {
    return deployment < 64 && x->spend.blocked >> deployment & 1;
}

/* By weight among those that may be asked and have had fewer than `most` tries; (size_t)-1: none. */
static size_t pick(weirp_exchange *x, size_t model, size_t most) {
    const weirp_config *c = x->setup->config;
    size_t n, first = weirp_config_deployments(c, model, &n), chosen = (size_t)-1;
    uint64_t now = now_ms();
    double total = 0;
    for (size_t d = first; d < first + n; d++) {
        if (weirp_breaker_wait_ms(x->setup->breaker[d], now) || tries_on(x, d) >= most) continue;
        if (is_blocked(x, d)) continue;
        total += c->deployments[d].weight;
        if (weirp_worker_random(x->worker) * total < c->deployments[d].weight) chosen = d;
    }
    return chosen != (size_t)-1 && weirp_breaker_enter(x->setup->breaker[chosen], now) ? chosen : (size_t)-1;
}

/* ---- tries ---- */

static void next_try(weirp_exchange *x, weirp_result after);

static bool out_of_time(const weirp_exchange *x) {
    return weirp_monotonic_ns() >= x->deadline_ns;
}

static void on_hedge(void *user) {
    weirp_exchange *x = user;
    const weirp_config *c = x->setup->config;
    if (x->winner || x->answered || x->gone || out_of_time(x) || x->served.n_attempts + 2 > WEIRP_MAX_ATTEMPTS) return;
    if (!x->tries[0].live && !x->tries[1].live) return; /* it has failed; the next waits for its turn, or for money */
    if ((double)(x->worker->n_hedges + 1) > c->hedge.max_share * (double)x->worker->n_requests) return;
    for (size_t at = x->at; at < x->plan.n; at++) {
        if (at != x->at && (x->plan.pinned || !c->retry.other_models)) return;
        size_t d = pick(x, x->plan.choice[at].model, 1);
        if (d == (size_t)-1) continue;
        const weirp_spend before = x->spend; /* a hedge that can't be paid for says nothing about the request */
        bool paid = weirp_spend_claim(x, at, d) == WEIRP_LEAVE_GO;
        if (paid && weirp_try_start(x, at, d, true)) {
            x->worker->n_hedges++;
            return;
        }
        weirp_spend_return(x);
        x->spend = before;
        weirp_breaker_leave(x->setup->breaker[d]);
        return;
    }
}

static void arm_hedge(weirp_exchange *x) {
    const weirp_config *c = x->setup->config;
    if (!c->hedge.on || x->n_tries != 1) return;
    double p95 = x->plan.choice[x->at].latency_p95_ms;
    double after = fmax(isfinite(p95) ? p95 : 0, c->hedge.least_ms);
    if (!x->hedge && weirp_timer_new(&x->hedge, x->worker->loop, on_hedge, x, NULL) != WEIR_OK) return;
    weirp_timer_start(x->hedge, (uint64_t)fmin(after, 1e9));
}

static void on_money(weirp_exchange *x);

/* False: the budgets don't let it go. */
static bool pay(weirp_exchange *x, size_t choice, size_t deployment) {
    weirp_leave leave = weirp_spend_claim(x, choice, deployment);
    if (leave == WEIRP_LEAVE_GO) return true;
    if (leave == WEIRP_LEAVE_WAIT && weirp_spend_wait(x, on_money)) return true;
    if (leave == WEIRP_LEAVE_WAIT) weirp_spend_give_up(x); /* it has waited long enough */
    if (deployment < 64) x->spend.blocked |= UINT64_C(1) << deployment;
    x->result = WEIRP_RESULT_BUDGET;
    return false;
}

/* False: the try couldn't even be started. True: it has been, or will be when its budget lets it go. */
static bool start(weirp_exchange *x, size_t choice, size_t deployment) {
    x->at = choice;
    bool paid = pay(x, choice, deployment);
    if (!paid || x->spend.patience || !weirp_try_start(x, choice, deployment, false)) {
        weirp_breaker_leave(x->setup->breaker[deployment]);
        if (x->spend.patience) return true;
        weirp_spend_return(x);
        return false;
    }
    arm_hedge(x);
    return true;
}

/* At any of the model's deployments that may be asked; (size_t)-1: none could be started. Budgets may let one go where
 * they hold another back. */
static size_t start_any(weirp_exchange *x, size_t choice, size_t most) {
    for (size_t i = 0; i < 64; i++) {
        size_t d = pick(x, x->plan.choice[choice].model, most);
        if (d == (size_t)-1) return d;
        if (start(x, choice, d)) return d;
        if (x->result != WEIRP_RESULT_BUDGET || x->spend.refused) return (size_t)-1;
    }
    return (size_t)-1;
}

static void on_pause_over(void *user) {
    weirp_exchange *x = user;
    if (x->gone || x->answered) return;
    size_t d = out_of_time(x) ? (size_t)-1 : pick(x, x->plan.choice[x->at].model, WEIRP_MAX_ATTEMPTS);
    if (d == (size_t)-1 || !start(x, x->at, d)) next_try(x, WEIRP_RESULT_OTHER);
}

/* What it waited for may be there now. */
static void on_money(weirp_exchange *x) {
    if (x->gone || x->answered || x->completed) return;
    x->result = WEIRP_RESULT_BREAKER;
    if (out_of_time(x) || start_any(x, x->at, WEIRP_MAX_ATTEMPTS) == (size_t)-1) next_try(x, x->result);
}

/* Waits before the present choice is tried again. False: the deadline comes first. */
static bool wait(weirp_exchange *x, uint64_t ms) {
    if (weirp_monotonic_ns() + ms * 1000000u >= x->deadline_ns) return false;
    if (!x->pause && weirp_timer_new(&x->pause, x->worker->loop, on_pause_over, x, NULL) != WEIR_OK) return false;
    weirp_timer_start(x->pause, ms);
    return true;
}

/* What may go well with the same vendor a moment later. */
static bool passing(weirp_result r) {
    return r == WEIRP_RESULT_CONNECT || r == WEIRP_RESULT_CUT || r == WEIRP_RESULT_SERVER ||
           r == WEIRP_RESULT_OVERLOADED || r == WEIRP_RESULT_MALFORMED || r == WEIRP_RESULT_OTHER;
}

/* What no other vendor would do better. */
static bool final(weirp_result r) {
    return r == WEIRP_RESULT_INVALID || r == WEIRP_RESULT_FILTERED;
}

/* What no other deployment of the model would do better, and another model may. */
static bool of_model(weirp_result r) {
    return r == WEIRP_RESULT_TOO_LONG || r == WEIRP_RESULT_UNSUPPORTED;
}

/* Exponential, with full jitter in its upper half (both ends bounded). */
static uint64_t backoff_ms(weirp_exchange *x) {
    const weirp_config *c = x->setup->config;
    size_t doublings = x->n_tries > 10 ? 10 : x->n_tries;
    double most = fmin((double)c->retry.base_ms * (double)(1u << (doublings ? doublings - 1 : 0)), c->retry.max_ms);
    return (uint64_t)(most * (0.5 + 0.5 * weirp_worker_random(x->worker)));
}

/* The next of the plan's models that may be asked; false: none. */
static bool fall_back(weirp_exchange *x) {
    const weirp_config *c = x->setup->config;
    if (x->plan.pinned || !c->retry.other_models) return false;
    size_t from = x->plan.choice[x->at].model;
    for (size_t at = x->at + 1; at < x->plan.n; at++) {
        weirp_result result = x->result;
        weirp_vendor_fault fault = x->fault;
        if (start_any(x, at, 1) == (size_t)-1) { /* what was wrong first is what the client is told */
            x->result = result;
            x->fault = fault;
            continue;
        }
        weirp_metrics_fallback(x->worker->metrics, weirp_worker_model(x->worker, x->setup, from),
                               weirp_worker_model(x->worker, x->setup, x->plan.choice[at].model));
        return true;
    }
    return false;
}

/* All have been tried: whoever may be asked again first, if that's within the deadline. */
static bool wait_for_anyone(weirp_exchange *x) {
    uint64_t now = now_ms(), least = UINT64_MAX;
    size_t n_choices = x->plan.pinned || !x->setup->config->retry.other_models ? x->at + 1 : x->plan.n;
    for (size_t at = 0; at < n_choices; at++) {
        size_t n, first = weirp_config_deployments(x->setup->config, x->plan.choice[at].model, &n);
        for (size_t d = first; d < first + n; d++) {
            uint64_t ms = weirp_breaker_wait_ms(x->setup->breaker[d], now);
            if (ms >= least || is_blocked(x, d)) continue;
            least = ms;
            x->at = at;
        }
    }
    uint64_t back = backoff_ms(x);
    return least != UINT64_MAX && wait(x, least > back ? least + 1 : back);
}

static void next_try(weirp_exchange *x, weirp_result after) {
    const weirp_config *c = x->setup->config;
    if (x->tries[0].live || x->tries[1].live) return; /* the other one may still make it */
    bool more = !x->spend.refused && !final(after) && x->n_tries <= c->retry.max && !out_of_time(x) &&
                x->served.n_attempts < WEIRP_MAX_ATTEMPTS;
    size_t model = x->plan.choice[x->at].model;
    if (more && !of_model(after)) {
        size_t d = start_any(x, x->at, 1);
        if (d != (size_t)-1) {
            weirp_metrics_retry(x->worker->metrics, weirp_worker_deployment(x->worker, x->setup, d));
            return;
        }
        /* the same place once more, unless its breaker has opened meanwhile */
        if (passing(after)) {
            size_t n, first = weirp_config_deployments(c, model, &n);
            for (size_t i = first; i < first + n; i++)
                if (tries_on(x, i) < 2 && !is_blocked(x, i) && !weirp_breaker_wait_ms(x->setup->breaker[i], now_ms()) &&
                    wait(x, backoff_ms(x))) {
                    weirp_metrics_retry(x->worker->metrics, weirp_worker_deployment(x->worker, x->setup, i));
                    return;
                }
        }
    }
    if (more && fall_back(x)) return;
    bool patient = after == WEIRP_RESULT_RATE_LIMIT || passing(after);
    if (more && patient && wait_for_anyone(x)) return;
    weirp_reply_result(x);
}

/* ---- what attempt.c tells ---- */

static bool vendor_is_ill(weirp_result r) {
    switch (r) {
    case WEIRP_RESULT_CONNECT:
    case WEIRP_RESULT_TLS:
    case WEIRP_RESULT_FIRST_TIMEOUT:
    case WEIRP_RESULT_IDLE_TIMEOUT:
    case WEIRP_RESULT_TOTAL_TIMEOUT:
    case WEIRP_RESULT_CUT:
    case WEIRP_RESULT_MALFORMED:
    case WEIRP_RESULT_TOO_LARGE:
    case WEIRP_RESULT_OVERLOADED:
    case WEIRP_RESULT_SERVER:
    case WEIRP_RESULT_AUTH:
    case WEIRP_RESULT_QUOTA:
    case WEIRP_RESULT_NOT_FOUND: return true;
    default: return false;
    }
}

/* Time ran out, but not because of the vendor: most of it was gone before it was asked, or its client didn't read. */
static bool was_hurried(const weirp_exchange *x, const weirp_try *t, weirp_result result) {
    bool late = t->started_ns - x->arrived_ns > (x->deadline_ns - x->arrived_ns) / 2;
    return result == WEIRP_RESULT_TOTAL_TIMEOUT && (t->held || (late && out_of_time(x)));
}

void weirp_exchange_try_failed(weirp_exchange *x, weirp_try *t, weirp_result result, int64_t retry_after_ms) {
    weirp_breaker *b = x->setup->breaker[t->deployment];
    uint64_t now = now_ms();
    if (retry_after_ms > MAX_REST_MS) retry_after_ms = MAX_REST_MS;
    if (retry_after_ms > 0) weirp_breaker_rest(b, now + (uint64_t)retry_after_ms);
    bool hopeless = result == WEIRP_RESULT_AUTH || result == WEIRP_RESULT_QUOTA || result == WEIRP_RESULT_NOT_FOUND;
    if (vendor_is_ill(result) && !was_hurried(x, t, result))
        weirp_breaker_failure(b, &x->setup->breaker_limits, now, hopeless);
    else
        weirp_breaker_leave(b);
    x->result = result;
    x->retry_after_ms = retry_after_ms;
    bool committed = x->winner == t;
    weirp_account_try(x, t, result);
    if (committed) weirp_account_served(x, t);
    if (committed && !x->gone && x->call) weirp_reply_broken(x, t);
    t->live = false;
    if (committed) {
        weirp_account_complete(x, 200);
    } else if (!x->gone && !x->answered) {
        try_clear(t);
        next_try(x, result);
    }
    release(x);
}

void weirp_exchange_commit(weirp_exchange *x, weirp_try *t) {
    x->winner = t;
    if (x->hedge) weirp_timer_stop(x->hedge);
    for (size_t i = 0; i < 2; i++) {
        weirp_try *other = &x->tries[i];
        if (other != t && other->live) weirp_try_give_up(other, WEIRP_RESULT_HEDGED);
    }
    if (x->n_tries > 1 && x->worker->n_hedges && (t->hedge || x->tries[t == &x->tries[0]].hedge))
        weirp_metrics_hedge(x->worker->metrics, weirp_worker_deployment(x->worker, x->setup, t->deployment), t->hedge);
}

/* After the server has sent what there was: writing a log line costs the client no time. */
static void finish(void *user) {
    weirp_exchange *x = user;
    weirp_account_complete(x, 200);
    release(x);
}

void weirp_exchange_try_done(weirp_exchange *x, weirp_try *t) {
    weirp_breaker_success(x->setup->breaker[t->deployment]);
    t->live = false;
    weirp_account_record(x, 200); /* feedback may come before this turn ends */
    x->finish = (weirp_later){finish, x, false, NULL};
    weirp_loop_later(x->worker->loop, &x->finish);
}

/* ---- what the server tells ---- */

void weirp_exchange_drained(weirp_exchange *x) {
    if (!x->winner || !x->winner->live || !x->winner->fetch) return;
    x->winner->held = false;
    weirp_fetch_resume(x->winner->fetch);
}

static void give_up(weirp_exchange *x, weirp_result result) {
    for (size_t i = 0; i < 2; i++)
        if (x->tries[i].live) weirp_try_give_up(&x->tries[i], result);
}

/* The client has left, or the gateway ends before it has answered. */
void weirp_exchange_gone(weirp_exchange *x) {
    bool left = !x->worker->ended;
    x->gone = left;
    if (left) weirp_metrics_client_gone(x->worker->metrics);
    if (x->pause) weirp_timer_stop(x->pause);
    if (x->hedge) weirp_timer_stop(x->hedge);
    weirp_spend_end(x);
    give_up(x, left ? WEIRP_RESULT_GONE : WEIRP_RESULT_SHUTDOWN);
    if (!left)
        snprintf(x->fault.text, sizeof x->fault.text, "The gateway was shut down before the answer was complete.");
    weirp_account_complete(x, left ? 499 : x->streaming ? 200 : 503);
}

void weirp_exchange_end(weirp_exchange *x) {
    x->call = NULL;
    give_up(x, x->worker->ended ? WEIRP_RESULT_SHUTDOWN : WEIRP_RESULT_GONE);
    release(x);
}

/* ---- arriving ---- */

static const char *header_of(void *user, const char *name) {
    return weirp_call_header(((weirp_exchange *)user)->call, name);
}

/* "00-" 32 hex "-" 16 hex "-" 2 hex (W3C Trace Context, section 3.2), neither id all zeros; later versions may go on.
 */
static bool traceparent_good(const char *text) {
    static const unsigned char dash[] = {2, 35, 52};
    size_t len = strlen(text), at = 0;
    if (len < 55 || len > 63 || (len > 55 && text[55] != '-')) return false;
    for (size_t i = 0; i < 55; i++) {
        bool is_dash = at < sizeof dash && i == dash[at];
        at += is_dash;
        if (is_dash ? text[i] != '-' : !((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    }
    for (size_t i = 55; i < len; i++)
        if (text[i] < 0x21 || text[i] > 0x7e) return false;
    if (len > 55 && !memcmp(text, "00", 2)) return false;
    return memcmp(text, "ff", 2) != 0 && strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
}

static void read_ids(weirp_exchange *x) {
    const char *id = weirp_call_header(x->call, "x-request-id"), *trace = weirp_call_header(x->call, "traceparent");
    size_t n = 0;
    for (; id && id[n] && n < sizeof x->request_id - 1; n++) {
        if (id[n] < 0x21 || id[n] > 0x7e || id[n] == '"' || id[n] == '\\') break;
        x->request_id[n] = id[n];
    }
    x->request_id[n] = 0;
    if (!n) { /* the decision's id comes later, or never */
        uint64_t drawn = weirp_random_u64(x->worker->gateway->started_ns, x->worker->number, x->worker->n_requests);
        char *at = x->request_id + weirp_copy_text(x->request_id, sizeof x->request_id, "req-");
        for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[drawn >> shift & 15];
        *at = '\0';
    }
    if (trace && traceparent_good(trace)) snprintf(x->traceparent, sizeof x->traceparent, "%s", trace);
}

/* Embeddings aren't routed: the client names a model, or the configuration does. */
static weir_status plan_embeddings(weirp_exchange *x, weirp_fault *fault) {
    const weirp_config *c = x->setup->config;
    size_t m = x->knobs.pinned;
    if (m == WEIRP_UNPINNED && c->embeddings) m = weir_pool_find(c->pool, c->embeddings);
    if (m == WEIRP_UNPINNED) {
        snprintf(fault->text, sizeof fault->text, "Embeddings aren't routed: name a model of the pool.");
        snprintf(fault->param, sizeof fault->param, "model");
        snprintf(fault->code, sizeof fault->code, "model_not_found");
        return WEIR_NOTFOUND;
    }
    if (x->knobs.key && !weirp_key_allows(x->knobs.key, c->pool->models[m].name)) {
        snprintf(fault->text, sizeof fault->text, "The API key isn't allowed this model.");
        snprintf(fault->code, sizeof fault->code, "model_not_allowed");
        return WEIR_NOTFOUND;
    }
    weir_router *router = weirp_planner_router_of(x->worker->planner);
    size_t r = weir_router_find_model(router, c->pool->models[m].name);
    x->plan = (weirp_plan){.pinned = true, .n = 1, .rule = WEIR_RULE_FIXED, .reason = WEIR_REASON_ASKED};
    x->plan.choice[0] = (weirp_choice){m, r, NAN, NAN, 0};
    weirp_id_new(x->plan.id, x->worker->n_requests, x->worker->number);
    x->plan.input_tokens = (double)x->request.len / 4;
    if (r != (size_t)-1) weirp_record_pinned(&x->record, router, r, x->plan.id);
    return WEIR_OK;
}

static weir_status plan(weirp_exchange *x, uint64_t *wait_ms, weirp_fault *fault, weir_error *err) {
    weir_status st = weirp_knobs_read(&x->knobs, x->setup, x->request.model, header_of, x, fault);
    if (st != WEIR_OK) return st;
    x->knobs.key = x->admission.key;
    x->knobs.pacing = x->worker->gateway->pacing;
    x->knobs.rollout = x->worker->gateway->rollout;
    x->knobs.subject = &x->spend.subject;
    if (x->api == WEIRP_API_EMBEDDINGS) return plan_embeddings(x, fault);
    uint64_t began = weirp_monotonic_ns();
    st = weirp_plan_make(x->worker->planner, &x->request, &x->knobs, began / 1000000u, &x->plan,
                         x->setup->config->traffic.on ? &x->record : NULL, wait_ms, fault, err);
    if (st == WEIR_OK)
        weirp_metrics_decision(x->worker->metrics, x->plan.choice[0].model, x->plan.rule,
                               (double)(weirp_monotonic_ns() - began) * 1e-9);
    return st;
}

static void refuse(weirp_exchange *x, weir_status st, const weirp_fault *fault, uint64_t wait_ms,
                   const weir_error *err) {
    const char *code = fault->code[0] ? fault->code : NULL, *param = fault->param[0] ? fault->param : NULL;
    int status = weirp_plan_http_status(st, wait_ms, fault);
    if (status != 500)
        weirp_reply_error(x, status, NULL, code, param, fault->text, (int64_t)wait_ms);
    else
        weirp_reply_error(x, 500, NULL, "internal_error", NULL, err->text[0] ? err->text : weir_status_text(st), 0);
}

static void serve(weirp_exchange *x) {
    weirp_fault fault = {{0}, {0}, {0}};
    weir_error err = {0};
    uint64_t wait_ms = 0;
    size_t len;
    const char *body = weirp_call_body(x->call, &len);
    x->body_len = len;
    weir_status st = weirp_request_parse(&x->request, x->api, body, len, &fault);
    x->parsed = st == WEIR_OK;
    weirp_admit_begin(x);
    if (st == WEIR_OK) weirp_spend_begin(x);
    if (st == WEIR_OK) st = plan(x, &wait_ms, &fault, &err);
    if (st != WEIR_OK) {
        refuse(x, st, &fault, wait_ms, &err);
        return;
    }
    if (!weirp_admit_enter(x)) return;
    x->result = WEIRP_RESULT_BREAKER;
    if (start_any(x, 0, 1) != (size_t)-1) return;
    /* what can't be said in this vendor's protocol, another's may have words for */
    next_try(x, WEIRP_RESULT_TOO_LONG);
}

void weirp_exchange_begin(weirp_worker *w, weirp_call *call, weirp_endpoint endpoint) {
    weirp_exchange *x = take(w);
    if (!x) {
        weirp_call_answer(call, 500, NULL, 0, "", 0);
        return;
    }
    weirp_call_set_user(call, x);
    x->worker = w;
    x->setup = weirp_setup_keep(w->setup);
    x->call = call;
    x->endpoint = endpoint;
    x->api = weirp_endpoint_api(endpoint);
    x->arrived_ns = weirp_monotonic_ns();
    x->deadline_ns = x->arrived_ns + x->setup->config->limits.request_ms * UINT64_C(1000000);
    x->served = (weirp_served){.model = (size_t)-1,
                               .api = weirp_endpoint_name(endpoint),
                               .predicted_cost_usd = NAN,
                               .cost_usd = 0,
                               .latency_ms = NAN,
                               .first_token_ms = NAN};
    w->n_active++;
    w->n_requests++;
    weirp_metrics_active(w->metrics, 1, 0);
    read_ids(x);
    size_t most = x->setup->config->limits.concurrent / w->gateway->n_workers;
    if (w->n_active > (most ? most : 1))
        weirp_reply_error(x, 503, NULL, "too_many_requests_under_way", NULL,
                          "The gateway has as many requests under way as it is allowed to; try again in a moment.",
                          1000);
    else
        serve(x);
}
