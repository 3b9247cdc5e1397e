// setup.js: what the tests share: clients, the vendor's own record of what it was asked, models.
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const OpenAI = require("openai").OpenAI;
const Anthropic = require("@anthropic-ai/sdk").Anthropic;

const env = process.env;
const gateway = env.WEIR_SDK_GATEWAY,
    ill = env.WEIR_SDK_ILL,
    limited = env.WEIR_SDK_LIMITED,
    vendor = env.WEIR_SDK_VENDOR;
// With keys of weir's own and budgets: `budgets` refuses with 429, `payment` with 402; `bank` is their vendor.
const budgets = { base: env.WEIR_SDK_BUDGETS, keys: JSON.parse(env.WEIR_SDK_KEYS).budgets },
    payment = { base: env.WEIR_SDK_PAYMENT, keys: JSON.parse(env.WEIR_SDK_KEYS).payment },
    bank = env.WEIR_SDK_BANK;
budgets.store = JSON.parse(env.WEIR_SDK_STORES).budgets;
payment.store = JSON.parse(env.WEIR_SDK_STORES).payment;
const key = env.WEIR_SDK_KEY;
const fixedText = env.WEIR_SDK_TEXT; // what prompts with "[text]" are answered with
const prices = JSON.parse(env.WEIR_SDK_PRICES);
const protocols = ["openai", "anthropic", "gemini"];
// A dot of one pixel, PNG.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const question = (text) => [{ role: "user", content: text }];

// No retries: the tests are about what the gateway says.
const openai = (base = gateway, options = {}) =>
    new OpenAI({ baseURL: base + "/v1", apiKey: key, maxRetries: 0, ...options });
const anthropic = (base = gateway, options = {}) =>
    new Anthropic({ baseURL: base, apiKey: key, authToken: null, maxRetries: 0, ...options });

async function ask(path, base = vendor) {
    const answer = await fetch(base + path);
    assert.equal(answer.status, 200, `${path}: ${answer.status}`);
    return answer.json();
}

// What the vendor was asked last for this model: { path, headers, body }.
async function lastAsked(model) {
    const last = await ask("/last?model=" + encodeURIComponent(model));
    return { ...last, body: JSON.parse(last.body) };
}

async function counts(model) {
    const none = { requests: 0, running: 0, ended: 0, aborted: 0, broken: 0 };
    return (await ask("/stats")).models[model] ?? none;
}

async function until(what, condition, ms = 3000) {
    for (const end = Date.now() + ms; ;) {
        const found = await condition();
        if (found) return found;
        assert.ok(Date.now() < end, `never came: ${what}`);
        await new Promise((done) => setTimeout(done, 5));
    }
}

// Runs `leave`, in which the client goes away from a call to this model; the vendor must see that call end, soon.
async function expectVendorLeft(model, leave) {
    const before = await counts(model);
    await leave(() => until("the vendor was asked", async () => (await counts(model)).running > before.running));
    const left = Date.now();
    await until("the vendor's call ended", async () => (await counts(model)).aborted === before.aborted + 1);
    const took = Date.now() - left;
    assert.ok(took < 1000, `the vendor's call went on for ${took} ms`);
    assert.equal((await counts(model)).running, before.running);
}

// Whole nano-USD of an amount such as "0.25".
function nano(amount) {
    const [whole, rest = ""] = amount.split(".");
    return Number(whole) * 1e9 + Number(rest.padEnd(9, "0"));
}

// A budget as `weir budget show` has it, all its accounts together, in nano-USD.
function ledger(where, name) {
    const shown = JSON.parse(
        execFileSync(env.WEIR_SDK_WEIR, ["budget", "show", name, "--json", "--store", where.store], { timeout: 60000 }),
    );
    const sum = (key) => shown.accounts.reduce((all, account) => all + nano(account[key]), 0);
    return { limit: nano(shown.limit), spent: sum("spent"), leased: sum("leased"), unproven: sum("unproven") };
}

// What the vendor's books say was billed for these requests, in nano-USD.
async function booked(ids) {
    let all = 0;
    for (const id of ids) {
        const { last } = await ask("/books?request_id=" + encodeURIComponent(id), bank);
        for (const call of last) all += call.nano_usd;
    }
    return all;
}

// The error that a promise is rejected with.
async function errorOf(promise) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        return error;
    }
    assert.fail("no error was raised, but: " + JSON.stringify(value));
}

// All that an iterable yields, and the error that ended it (null: a normal end).
async function collect(iterable) {
    const items = [];
    try {
        for await (const item of iterable) items.push(item);
    } catch (error) {
        return { items, error };
    }
    return { items, error: null };
}

function near(a, b, relative = 1e-6) {
    assert.ok(Math.abs(a - b) <= relative * Math.max(Math.abs(a), Math.abs(b)), `${a} isn't near ${b}`);
}

module.exports = {
    Anthropic,
    OpenAI,
    anthropic,
    ask,
    bank,
    booked,
    budgets,
    collect,
    counts,
    errorOf,
    expectVendorLeft,
    fixedText,
    gateway,
    ill,
    key,
    lastAsked,
    ledger,
    limited,
    near,
    openai,
    payment,
    pixel,
    prices,
    protocols,
    question,
    until,
};
