/* spend.c: between an exchange and the budgets. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/spend.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/exchange.h"
#include "src/gateway/money/treasury.h"

/* What vendors put before and around a prompt, in tokens: roles and separators of a chat's template, and, where tools
 * are given, instructions on how to call them (Anthropic documents up to 804 of those, "Tool use", "Pricing"). */
enum { TEMPLATE_TOKENS = 64, TOOL_TOKENS = 1024 };
/* Amounts that nothing can pay for, and sums of which still fit. */
#define BEYOND (INT64_MAX / 8)

struct weirp_patience {
    weirp_waiter waiter; /* first: it is what the bank gives back */
    weirp_loop *loop;
    weirp_exchange *x; /* NULL: it has ended meanwhile; the loop's thread alone looks here */
    void (*resume)(weirp_exchange *x);
    weirp_timer *timer;
    atomic_bool posted; /* set in any thread, before `ready` is over */
};

static weirp_bank *bank_of(const weirp_exchange *x) {
    weirp_treasury *t = x->worker->gateway->treasury;
    return t ? weirp_treasury_bank(t) : NULL;
}

/* ---- who ---- */

void weirp_spend_begin(weirp_exchange *x) {
    weirp_spend *s = &x->spend;
    s->most_output = s->lowered_to = NAN;
    const char *user = weirp_call_header(x->call, "x-weir-user"), *tag = weirp_call_header(x->call, "x-weir-tag");
    if (!user || !*user) user = x->request.end_user;
    /* the call's and the request's texts go before the last of the exchange is written down */
    if (user && *user) s->user = weirp_strndup(user, strlen(user));
    if (tag && *tag) s->tag = weirp_strndup(tag, strlen(tag));
    s->subject.value[WEIRP_DIM_USER] = s->user;
    s->subject.value[WEIRP_DIM_TAG] = s->tag;
    x->served.user = s->subject.value[WEIRP_DIM_USER];
    x->served.tag = s->subject.value[WEIRP_DIM_TAG];
}

/* ---- how much ---- */

/* No tokenizer makes more tokens of a text than it has bytes, and everything that is said in a request is in its body;
 * what is only pointed at (an image, a file) can fill whatever room the model has. */
static int64_t input_bound(const weirp_exchange *x, const weir_model *m) {
    double bytes = (double)x->request.len + TEMPLATE_TOKENS + (x->request.has_tools ? TOOL_TOKENS : 0);
    double room = m->max_input_tokens;
    if (x->request.has_images || x->request.has_audio) bytes = room;
    double most = fmin(bytes, room);
    return isfinite(most) ? (int64_t)most : BEYOND;
}

/* The most output tokens of an answer. Where nobody has said any number (not the client, nor the pool for the model),
 * one is put into the request. */
static double output_bound(const weirp_exchange *x, const weirp_deployment *d, const weir_model *m) {
    if (x->api == WEIRP_API_EMBEDDINGS) return 0;
    double asked = x->request.max_output_tokens, own = d->default_max_output_tokens;
    bool needs_one = x->setup->config->providers[d->provider].protocol == WEIRP_PROTOCOL_ANTHROPIC;
    if (isnan(asked) && (needs_one || isinf(m->max_output_tokens))) asked = own > 0 ? own : WEIRP_DEFAULT_MAX_TOKENS;
    return fmin(asked, m->max_output_tokens); /* fmin passes over a NAN */
}

static bool has_bound(const weirp_exchange *x, const weir_model *m) {
    return x->api == WEIRP_API_EMBEDDINGS || isfinite(m->max_output_tokens) || isfinite(x->request.max_output_tokens);
}

/* The output that is likely enough: what the upper end of the cost's interval leaves after the input. */
static double likely_output(const weirp_choice *c, const weirp_rates *r, double input_tokens) {
    double in = (double)r->input * input_tokens * 1e-12, each = (double)r->output * 1e-12;
    double most = each > 0 ? (c->cost_hi_usd - in) / each : NAN;
    return isfinite(most) ? fmax(most, isfinite(c->output_tokens) ? c->output_tokens : 0) : INFINITY;
}

static int64_t bounded(int64_t amount) {
    return amount < 0 || amount > BEYOND ? BEYOND : amount;
}

static int64_t whole(double tokens) {
    return tokens < (double)BEYOND ? (int64_t)ceil(tokens) : BEYOND;
}

static weirp_rates rates_for(const weirp_exchange *x, size_t model) {
    weirp_rates r = x->setup->rates[model];
    if (!x->request.has_audio) r.audio_input = r.audio_output = 0;
    return r;
}

static int64_t cost_of(const weirp_rates *r, int64_t input, int64_t output) {
    return output >= BEYOND || input >= BEYOND ? BEYOND : bounded(weirp_bill_most(r, input, output));
}

static weirp_need need_of(const weirp_exchange *x, const weirp_choice *c, const weirp_deployment *d) {
    const weir_model *m = &x->setup->config->pool->models[d->model];
    const weirp_rates r = rates_for(x, d->model);
    const int64_t input = input_bound(x, m);
    const double most = output_bound(x, d, m) * (double)x->request.n_choices;
    const int64_t output = whole(most), likely = whole(fmin(most, likely_output(c, &r, x->plan.input_tokens)));
    weirp_need need;
    need.worst[WEIRP_UNIT_REQUESTS] = need.likely[WEIRP_UNIT_REQUESTS] = 1;
    need.worst[WEIRP_UNIT_TOKENS] = bounded(input >= BEYOND ? BEYOND : input + output);
    need.likely[WEIRP_UNIT_TOKENS] = bounded(input >= BEYOND ? BEYOND : input + likely);
    need.worst[WEIRP_UNIT_USD] = cost_of(&r, input, output);
    need.likely[WEIRP_UNIT_USD] = cost_of(&r, input, likely);
    return need;
}

/* What the claim leaves for each answer's output; below 1: nothing. */
static double affordable_output(const weirp_exchange *x, const weirp_claim *claim, size_t model) {
    const weirp_rates r = rates_for(x, model);
    const int64_t input = input_bound(x, &x->setup->config->pool->models[model]);
    int64_t most = weirp_affordable_output(&r, input, claim->most[WEIRP_UNIT_USD]);
    const int64_t tokens = claim->most[WEIRP_UNIT_TOKENS] - input;
    if (tokens < most) most = tokens;
    return floor((double)most / (double)x->request.n_choices);
}

/* ---- claiming ---- */

static bool is_limited(const weirp_claim *claim) {
    return claim->most[WEIRP_UNIT_USD] < INT64_MAX || claim->most[WEIRP_UNIT_TOKENS] < INT64_MAX;
}

/* No other of the plan's models may be asked instead. */
static bool is_last(const weirp_exchange *x, size_t choice) {
    return x->plan.pinned || !x->setup->config->retry.other_models || choice + 1 >= x->plan.n;
}

weirp_leave weirp_spend_claim(weirp_exchange *x, size_t choice, size_t deployment) {
    weirp_spend *s = &x->spend;
    weirp_bank *bank = bank_of(x);
    s->most_output = NAN;
    if (!bank || !weirp_bank_n_budgets(bank)) return WEIRP_LEAVE_GO;
    const weirp_config *c = x->setup->config;
    const weirp_deployment *d = &c->deployments[deployment];
    const weirp_need need = need_of(x, &x->plan.choice[choice], d);
    s->subject.value[WEIRP_DIM_MODEL] = c->pool->models[d->model].name;
    s->subject.value[WEIRP_DIM_PROVIDER] = c->providers[d->provider].name;
    weirp_shortage why = {.unit = WEIRP_UNIT_USD};
    weirp_claim_result result = weirp_bank_claim(bank, &s->subject, &need, weirp_unix_ms(), &s->offer, &why);
    if (result != WEIRP_CLAIM_GRANTED) s->shortage = why; /* one that was granted keeps what has sent it here */
    switch (result) {
    case WEIRP_CLAIM_GRANTED:
        s->until_ns = 0;
        memcpy(s->worst, need.worst, sizeof s->worst);
        if (is_limited(&s->offer) && !has_bound(x, &c->pool->models[d->model]))
            s->most_output = output_bound(x, d, &c->pool->models[d->model]);
        return WEIRP_LEAVE_GO;
    case WEIRP_CLAIM_WAIT:
        if (!why.hope || why.exhausted == WEIRP_EXHAUSTED_REFUSE || is_last(x, choice)) return WEIRP_LEAVE_WAIT;
        weirp_spend_give_up(x); /* another model that fits now is better than waiting for luck */
        return WEIRP_LEAVE_NO;
    case WEIRP_CLAIM_LOWERED:
        s->most_output = affordable_output(x, &s->offer, d->model);
        if (s->most_output >= 1) {
            s->until_ns = 0;
            s->lowered_to = s->most_output;
            for (int u = 0; u < WEIRP_N_UNITS; u++)
                s->worst[u] = need.worst[u] < s->offer.most[u] ? need.worst[u] : s->offer.most[u];
            return WEIRP_LEAVE_GO;
        }
        weirp_spend_return(x);
        break;
    case WEIRP_CLAIM_EXHAUSTED: break;
    }
    s->until_ns = 0;
    weirp_spend_give_up(x);
    return WEIRP_LEAVE_NO;
}

void weirp_spend_give_up(weirp_exchange *x) {
    weirp_spend *s = &x->spend;
    s->refused = s->shortage.exhausted == WEIRP_EXHAUSTED_REFUSE || s->shortage.too_many;
    s->dodged = true;
    memset(&s->offer.queued, 0, sizeof s->offer.queued);
}

static void settle(weirp_exchange *x, weirp_claim *claim, weirp_settlement *s) {
    s->id = x->plan.id;
    s->price_version = x->setup->config->price_version;
    s->at_ms = weirp_unix_ms();
    s->subject = &x->spend.subject;
    weirp_bank_settle(bank_of(x), claim, s);
}

void weirp_spend_return(weirp_exchange *x) {
    if (!x->spend.offer.n) return;
    weirp_settlement nothing = {.attempt = (unsigned)x->served.n_attempts};
    settle(x, &x->spend.offer, &nothing);
}

/* Whether what has come is all that was made. Of what a stream's vendor has put out some may be on its way, or stay
 * unread behind a client that doesn't read, when the connection ends; only the answer's end, or an error that comes in
 * its place, tells that nothing does. */
static bool came_whole(const weirp_try *t, weirp_result result) {
    const weirp_answer_facts *f = weirp_answer_facts_of(t->answer);
    switch (result) {
    case WEIRP_RESULT_OK: return true;
    case WEIRP_RESULT_MALFORMED:
    case WEIRP_RESULT_TOO_LARGE:
    case WEIRP_RESULT_CUT:
    case WEIRP_RESULT_FIRST_TIMEOUT:
    case WEIRP_RESULT_IDLE_TIMEOUT:
    case WEIRP_RESULT_TOTAL_TIMEOUT:
    case WEIRP_RESULT_HEDGED:
    case WEIRP_RESULT_GONE:
    case WEIRP_RESULT_SHUTDOWN:
    case WEIRP_RESULT_OTHER: return f->done;
    default: return f->done || (t->streaming && f->has_content);
    }
}

/* Where the vendor hasn't said what it bills, the client and the log are told what is likeliest, and hard budgets what
 * is on the safe side of it, so that they hold against the vendor's bill as well. What nobody has seen may be as much
 * as was asked for; and where short texts are counted here, vendors may count more. Soft budgets alone, whose calls
 * nothing may bound, are told what has come of a stream, and a little more. */
static void keep_safe(const weirp_exchange *x, const weirp_try *t, weirp_result result, weirp_settlement *s) {
    enum { UNSEEN_TOKENS = 16 };
    const weirp_answer_facts *f = weirp_answer_facts_of(t->answer);
    const bool some = t->streaming && f->has_content && result != WEIRP_RESULT_MALFORMED;
    const bool seen = came_whole(t, result) || (some && !t->claim.hard);
    for (int u = 0; u < WEIRP_N_UNITS && !seen; u++) /* what nothing bounds, no hard limit has let go */
        if (t->worst[u] < BEYOND && s->amount[u] < t->worst[u]) s->amount[u] = t->worst[u];
    if (!seen) return;
    const size_t model = x->setup->config->deployments[t->deployment].model;
    const weirp_rates r = rates_for(x, model);
    const int64_t bound = input_bound(x, &x->setup->config->pool->models[model]);
    int64_t input = s->usage.input_tokens, output = s->usage.output_tokens;
    if (!f->usage.known && input < bound) input += input / 4 + UNSEEN_TOKENS / 2;
    if (!f->usage.known && input > bound) input = bound;
    output += output / 4 + UNSEEN_TOKENS;
    const int64_t safe[WEIRP_N_UNITS] = {cost_of(&r, input, output), bounded(input + output), 1};
    for (int u = 0; u < WEIRP_N_UNITS; u++) {
        int64_t most = safe[u] < t->worst[u] ? safe[u] : t->worst[u];
        if (s->amount[u] < most) s->amount[u] = most;
    }
}

void weirp_spend_settle(weirp_exchange *x, weirp_try *t, weirp_result result, bool billed, int64_t nano,
                        const weirp_usage *usage) {
    if (!t->claim.n) return;
    const weirp_config *c = x->setup->config;
    const weirp_deployment *d = &c->deployments[t->deployment];
    weirp_settlement s = {.attempt = (unsigned)x->served.n_attempts};
    if (billed) {
        s.usage = *usage;
        s.amount[WEIRP_UNIT_REQUESTS] = 1;
        s.amount[WEIRP_UNIT_TOKENS] = usage->input_tokens + usage->output_tokens;
        s.amount[WEIRP_UNIT_USD] = nano > 0 ? nano : 0;
        if (usage->estimated) keep_safe(x, t, result, &s);
    }
    /* another try may have been made since this one was claimed */
    x->spend.subject.value[WEIRP_DIM_MODEL] = c->pool->models[d->model].name;
    x->spend.subject.value[WEIRP_DIM_PROVIDER] = c->providers[d->provider].name;
    settle(x, &t->claim, &s);
}

/* ---- waiting ---- */

/* The loop's thread. */
static void wait_is_over(void *user) {
    struct weirp_patience *p = user;
    weirp_exchange *x = p->x;
    void (*resume)(weirp_exchange *) = p->resume;
    weirp_timer_free(p->timer);
    free(p);
    if (!x) return;
    x->spend.patience = NULL;
    resume(x);
}

static void on_ready(weirp_waiter *waiter) {
    struct weirp_patience *p = (struct weirp_patience *)waiter;
    atomic_store(&p->posted, true); /* once it is posted, it may be gone */
    if (!weirp_loop_post(p->loop, wait_is_over, p)) atomic_store(&p->posted, false); /* then the timer ends the wait */
}

static void on_timer(void *user) {
    struct weirp_patience *p = user;
    weirp_exchange *x = p->x;
    weirp_bank_unwait(bank_of(x), &p->waiter);
    if (!atomic_load(&p->posted)) wait_is_over(p);
}

bool weirp_spend_wait(weirp_exchange *x, void (*resume)(weirp_exchange *x)) {
    weirp_spend *s = &x->spend;
    uint64_t now = weirp_monotonic_ns();
    if (!s->until_ns) {
        s->until_ns = now + x->setup->config->budgets.wait_ms * UINT64_C(1000000);
        if (s->until_ns > x->deadline_ns) s->until_ns = x->deadline_ns;
    }
    if (now >= s->until_ns) return false;
    struct weirp_patience *p = weirp_array(1, sizeof *p);
    if (!p) return false;
    *p = (struct weirp_patience){.waiter = {.ready = on_ready}, .loop = x->worker->loop, .x = x, .resume = resume};
    if (weirp_timer_new(&p->timer, p->loop, on_timer, p, NULL) != WEIR_OK) {
        free(p);
        return false;
    }
    s->patience = p;
    s->had_to_wait = true;
    weirp_timer_start(p->timer, (s->until_ns - now) / 1000000u + 1);
    weirp_bank_wait(bank_of(x), &p->waiter, &s->offer);
    return true;
}

void weirp_spend_end(weirp_exchange *x) {
    struct weirp_patience *p = x->spend.patience;
    x->spend.patience = NULL;
    if (p) {
        weirp_bank_unwait(bank_of(x), &p->waiter);
        weirp_timer_stop(p->timer);
        p->x = NULL;
        if (!atomic_load(&p->posted)) wait_is_over(p);
    }
    weirp_spend_return(x);
}

void weirp_spend_free(weirp_exchange *x) {
    weirp_spend_end(x);
    free(x->spend.user);
    free(x->spend.tag);
    x->spend = (weirp_spend){.user = NULL};
}

/* ---- telling ---- */

void weirp_spend_room(const weirp_exchange *x, weirp_room room[WEIRP_N_UNITS]) {
    weirp_bank *bank = bank_of(x);
    for (int u = 0; u < WEIRP_N_UNITS; u++) room[u].limit = -1;
    if (bank) weirp_bank_room(bank, &x->spend.subject, weirp_unix_ms(), room);
}

weirp_budget_action weirp_spend_action(const weirp_exchange *x) {
    if (x->result == WEIRP_RESULT_BUDGET && !x->winner) return WEIRP_BUDGET_REFUSED;
    if (isfinite(x->spend.lowered_to)) return WEIRP_BUDGET_LOWERED;
    return x->spend.dodged ? WEIRP_BUDGET_CHEAPER : WEIRP_BUDGET_NONE;
}

void weirp_spend_note(const weirp_exchange *x) {
    weirp_budget_action action = weirp_spend_action(x);
    if (action || x->spend.had_to_wait) weirp_treasury_note(x->worker->gateway->treasury, action, x->spend.had_to_wait);
}

static void amount_text(char *out, size_t size, weirp_unit unit, int64_t amount) {
    char money[WEIRP_MONEY_TEXT];
    weirp_money_text(money, sizeof money, amount > 0 ? amount : 0);
    if (unit == WEIRP_UNIT_USD)
        snprintf(out, size, "%s USD", money);
    else
        snprintf(out, size, "%" PRId64 " %s", amount > 0 ? amount : 0, weirp_unit_name(unit));
}

void weirp_spend_refuse(weirp_exchange *x) {
    const weirp_shortage *s = &x->spend.shortage;
    char text[320], limit[64], left[64];
    int64_t now = weirp_unix_ms(), wait_ms = 0;
    amount_text(limit, sizeof limit, s->unit, s->limit);
    amount_text(left, sizeof left, s->unit, s->left);
    if (s->too_many)
        snprintf(text, sizeof text, "More than %d budgets cover this request; none of them was charged.",
                 WEIRP_MAX_CLAIMED);
    else
        snprintf(text, sizeof text,
                 "Budget \"%s\" is exhausted: %s of %s are left, and the request is expected to need more.", s->budget,
                 left, limit);
    if (!s->too_many && s->period_end < INT64_MAX / 1000 && s->period_end * 1000 > now)
        wait_ms = s->period_end * 1000 - now;
    int status = x->setup->config->budgets.refuse_status;
    bool openai = x->api != WEIRP_API_MESSAGES;
    weirp_reply_error(x, status, openai ? "insufficient_quota" : NULL, "insufficient_quota", NULL, text, wait_ms);
}
