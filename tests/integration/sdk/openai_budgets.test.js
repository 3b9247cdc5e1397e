// Hard budgets and limits of virtual keys, as programs with OpenAI's client meet them; and what was spent, against the
// vendor's own books. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { describe, test } = require("node:test");
const {
    OpenAI,
    ask,
    bank,
    booked,
    budgets,
    collect,
    errorOf,
    fixedText,
    ledger,
    openai,
    payment,
    protocols,
    question,
    until,
} = require("./setup.js");

const MONTH_S = 31 * 86400;
const as = (key, where = budgets, options = {}) => openai(where.base, { apiKey: where.keys[key], ...options });

// Asks, and says under which id the vendor has booked it.
async function asking(client, ids, body, stream = false) {
    const id = randomUUID();
    ids.push(id);
    const made = await client.chat.completions
        .create(
            { model: "openai-model", messages: question("tell of a river"), max_tokens: 40, stream, ...body },
            { headers: { "x-request-id": id } },
        )
        .withResponse();
    if (!stream) return made;
    const { items, error } = await collect(made.data);
    if (error) throw error;
    return { ...made, items };
}

// Until the client gets an error; that, and how many answers there were before.
async function askUntilRefused(client, ids, stream) {
    for (let answers = 0; answers < 500; answers++) {
        try {
            const made = await asking(client, ids, {}, stream);
            if (stream) assert.equal(made.items.at(-1).choices[0].finish_reason, "stop");
            else assert.ok(made.data.choices[0].message.content);
        } catch (error) {
            return { answers, error };
        }
    }
    assert.fail("500 answers, and the limit wasn't reached");
}

// The ledger's spent must come to what the books say of these requests. It is posted to a few times a second.
async function expectExact(where, budget, ids) {
    const books = await booked(ids);
    assert.ok(books > 0);
    await until(`${budget}: ${books} nano-USD`, () => ledger(where, budget).spent === books);
    const { limit, spent, unproven } = ledger(where, budget);
    assert.equal(unproven, 0);
    assert.ok(spent <= limit, `${spent} of ${limit}`);
    return { limit, spent };
}

function expectRefused(error, kind, status) {
    assert.ok(error instanceof kind, `${error}`);
    assert.equal(error.status, status);
    assert.equal(error.code, "insufficient_quota");
    assert.equal(error.type, "insufficient_quota");
    assert.match(error.message, /"key-\w+" is exhausted/);
    const after = Number(error.headers.get("retry-after"));
    assert.ok(after >= 1 && after <= MONTH_S, `retry-after: ${after}`);
}

describe("a hard budget of a key", () => {
    for (const [what, key, where, stream, kind, status] of [
        ["whole answers, then 429", "spender", budgets, false, OpenAI.RateLimitError, 429],
        ["streams, then 429", "streamer", budgets, true, OpenAI.RateLimitError, 429],
        ["whole answers, then 402", "spender", payment, false, OpenAI.APIError, 402],
        ["streams, then 402", "streamer", payment, true, OpenAI.APIError, 402],
    ])
        test(what, async () => {
            const ids = [];
            const { answers, error } = await askUntilRefused(as(key, where), ids, stream);
            expectRefused(error, kind, status);
            assert.ok(answers >= 20, `only ${answers} answers`);
            const { limit, spent } = await expectExact(where, `key-${key}`, ids);
            assert.ok(spent > 0.75 * limit, `refused at ${spent} of ${limit}`);
            // and it stays so, for streams and whole answers alike
            for (const streams of [false, true])
                expectRefused(await errorOf(asking(as(key, where), ids, {}, streams)), kind, status);
            assert.equal(ledger(where, `key-${key}`).spent, spent);
        });

    test("a client that retries leaves a refusal alone", async () => {
        let sent = 0;
        const client = as("retrier", budgets, {
            maxRetries: 5,
            fetch: (...args) => {
                sent++;
                return fetch(...args);
            },
        });
        const ids = [];
        const { answers, error } = await askUntilRefused(client, ids, false);
        expectRefused(error, OpenAI.RateLimitError, 429);
        assert.equal(error.headers.get("x-should-retry"), "false");
        assert.equal(sent, answers + 1);
        await expectExact(budgets, "key-retrier", ids);
    });

    test("max_tokens is lowered to what is left, and said", async () => {
        const ids = [];
        for (const stream of [false, true]) {
            const { response } = await asking(as("lowered"), ids, { max_tokens: 4000 }, stream);
            assert.equal(response.headers.get("x-weir-budget-action"), "lowered");
            assert.equal(response.headers.get("x-weir-budget"), "key-lowered");
            const most = Number(response.headers.get("x-weir-max-tokens"));
            assert.ok(most >= 16 && most < 500, `lowered to ${most}`);
            const { body } = await ask("/last?model=openai-model", bank);
            const asked = JSON.parse(body);
            assert.equal(asked.max_completion_tokens ?? asked.max_tokens, most);
        }
        await expectExact(budgets, "key-lowered", ids);
    });

    test("all that vendors tell of usage comes to their own sum", async () => {
        const ids = [];
        for (const protocol of protocols)
            for (const text of ["[cached]", "[reasoning]", "[text]", "[long]", "[empty]"])
                for (const stream of [false, true]) {
                    const body = { model: `${protocol}-model`, messages: question(text), max_tokens: 900 };
                    const made = await asking(as("mixed"), ids, body, stream);
                    assert.equal(made.response.headers.get("x-weir-budget-action"), null);
                    if (text === "[text]" && !stream) assert.equal(made.data.choices[0].message.content, fixedText);
                }
        await expectExact(budgets, "key-mixed", ids);
    });
});

describe("rate limits of a key", () => {
    test("headers say what is left", async () => {
        const ids = [];
        for (const [left, stream] of [
            [6, false],
            [5, true],
        ]) {
            const { response } = await asking(as("rated"), ids, {}, stream);
            const header = (name) => response.headers.get(`x-ratelimit-${name}`);
            assert.equal(header("limit-requests"), "7");
            assert.equal(header("remaining-requests"), String(left));
            assert.equal(header("limit-tokens"), "50000");
            assert.ok(Number(header("remaining-tokens")) < 50000);
            assert.match(header("reset-requests"), /^(\d+m)?\d+(\.\d+)?m?s$/);
            assert.match(header("reset-tokens"), /^(\d+m)?\d+(\.\d+)?m?s$/);
        }
    });

    test("one too many", async () => {
        const ids = [];
        await asking(as("slow"), ids, {});
        const error = await errorOf(asking(as("slow"), ids, {}));
        assert.ok(error instanceof OpenAI.RateLimitError, `${error}`);
        assert.equal(error.code, "rate_limit_exceeded");
        assert.equal(error.headers.get("x-ratelimit-remaining-requests"), "0");
        const after = Number(error.headers.get("retry-after"));
        assert.ok(after >= 1 && after <= 61, `retry-after: ${after}`);
    });

    test("keys that aren't there", async () => {
        const error = await errorOf(asking(openai(budgets.base, { apiKey: "sk-weir-nobody" }), [], {}));
        assert.ok(error instanceof OpenAI.AuthenticationError, `${error}`);
    });
});

test("everything together is what the vendor has booked", async () => {
    const both = () => ledger(budgets, "all").spent + ledger(payment, "all").spent;
    const { nano_usd: books, unpriced } = await ask("/books", bank);
    assert.equal(unpriced, 0);
    await until(`${books} nano-USD`, () => both() === books);
});
