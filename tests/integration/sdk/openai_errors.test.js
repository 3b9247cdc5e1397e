// Errors, in the classes that programs catch. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const {
    OpenAI,
    ask,
    counts,
    errorOf,
    expectVendorLeft,
    gateway,
    ill,
    key,
    limited,
    openai,
    protocols,
    question,
} = require("./setup.js");

const client = openai(),
    sick = openai(ill);
const create = (body, which = client) => errorOf(which.chat.completions.create(body));

describe("what the client did wrong", () => {
    test("a body without what it needs", async () => {
        const error = await create({ model: "openai-model" });
        assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
        assert.equal(error.status, 400);
        assert.equal(error.type, "invalid_request_error");
        assert.equal(error.param, "messages");
        assert.equal(error.code, "missing_required_parameter");
        assert.match(error.message, /messages/);
        for (const body of [
            { messages: question("x") },
            { model: 7, messages: question("x") },
            { model: "weir", messages: "x" },
            { model: "weir", messages: [] },
            { model: "weir", messages: [7] },
            { model: "weir", messages: question("x"), stream: "yes" },
            { model: "weir", messages: question("x"), n: 0 },
        ])
            assert.ok((await create(body)) instanceof OpenAI.BadRequestError, JSON.stringify(body));
    });

    test("no JSON at all", async () => {
        for (const body of ["{", "", "[]", '{"model":"weir",}', '{"model":"weir","model":"weir"}']) {
            const answer = await fetch(gateway + "/v1/chat/completions", {
                method: "POST",
                body,
                headers: { authorization: `Bearer ${key}` },
            });
            assert.equal(answer.status, 400, body);
            assert.equal((await answer.json()).error.type, "invalid_request_error");
        }
    });

    test("a model that isn't there", async () => {
        for (const model of ["no-such-model", "router-mf-0.116"]) {
            const error = await create({ model, messages: question("x") });
            assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
            assert.equal(error.code, "model_not_found");
            assert.equal(error.param, "model");
        }
    });

    test("a path that isn't there", async () => {
        assert.ok(
            (await errorOf(client.responses.create({ model: "weir", input: "x" }))) instanceof OpenAI.NotFoundError,
        );
        assert.ok((await errorOf(client.moderations.create({ input: "x" }))) instanceof OpenAI.NotFoundError);
    });

    test("a wrong key", async () => {
        const stranger = openai(gateway, { apiKey: "another-key" });
        for (const asked of [
            () => stranger.chat.completions.create({ model: "weir", messages: question("x") }),
            () => stranger.chat.completions.create({ model: "weir", messages: question("x"), stream: true }),
            () => stranger.completions.create({ model: "weir", prompt: "x" }),
            () => stranger.embeddings.create({ model: "lab/embedder", input: "x" }),
            () => stranger.models.list(),
        ]) {
            const error = await errorOf(asked());
            assert.ok(error instanceof OpenAI.AuthenticationError, `${error}`);
            assert.equal(error.code, "invalid_api_key");
            assert.ok(!error.message.includes("another-key"));
        }
    });

    test("a request that the vendor refuses comes back with the vendor's words", async () => {
        for (const stream of [false, true]) {
            const error = await create({
                model: "openai-model",
                messages: question("x"),
                frequency_penalty: 9,
                stream,
            });
            assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
            assert.match(error.message, /frequency_penalty/);
            assert.ok(error.requestID);
        }
        assert.match(
            (await create({ model: "gemini-model", messages: question("x"), temperature: 9 })).message,
            /temperature/,
        );
    });
});

describe("every vendor is rate limited", () => {
    for (const [name, base, model] of [
        ...protocols.map((p) => [`${p} alone`, ill, `${p}-limited`]),
        ["all, routed", limited, "weir"],
    ])
        test(name, async () => {
            const which = openai(base);
            const error = await create({ model, messages: question("x"), stream: true }, which);
            assert.ok(error instanceof OpenAI.RateLimitError, `${error}`);
            assert.equal(error.status, 429);
            assert.equal(error.code, "rate_limit_exceeded");
            assert.equal(error.headers.get("retry-after"), "7");
            assert.equal(error.headers.get("retry-after-ms"), "7000");
            // Now they rest: nobody is asked until then.
            const asked = (await ask("/stats")).requests;
            const next = await create({ model, messages: question("x") }, which);
            assert.ok(next instanceof OpenAI.RateLimitError, `${next}`);
            assert.equal(next.code, "rate_limit_exceeded");
            const after = Number(next.headers.get("retry-after"));
            assert.ok(after >= 1 && after <= 7, `retry-after: ${after}`);
            assert.equal((await ask("/stats")).requests, asked);
        });

    test("one at a time, where answers come whole", async () => {
        const error = await create({ model: "openai-limited-2", messages: question("x") }, sick);
        assert.ok(error instanceof OpenAI.RateLimitError, `${error}`);
        assert.equal(error.headers.get("retry-after"), "7");
    });
});

describe("what went wrong at the vendor", () => {
    const cases = [
        ["server", OpenAI.InternalServerError, 502, "upstream_error"],
        ["overloaded", OpenAI.InternalServerError, 503, "upstream_overloaded"],
        ["quota", OpenAI.InternalServerError, 502, "upstream_quota"],
        ["unauthorized", OpenAI.InternalServerError, 502, "upstream_auth"],
        ["context", OpenAI.BadRequestError, 400, "context_length_exceeded"],
        ["filter", OpenAI.BadRequestError, 400, null],
        ["reset", OpenAI.InternalServerError, 502, null],
        ["garbled", OpenAI.InternalServerError, 502, "upstream_malformed"],
        ["page", OpenAI.InternalServerError, 502, "upstream_malformed"],
    ];
    for (const protocol of protocols)
        for (const [name, otherKind, otherStatus, otherCode] of cases) {
            // Google says "quota" of a minute's and of a day's; docs/vendors.md, "Errors"
            const [kind, status, code] =
                protocol === "gemini" && name === "quota"
                    ? [OpenAI.RateLimitError, 429, "rate_limit_exceeded"]
                    : [otherKind, otherStatus, otherCode];
            test(`${protocol}-${name}`, async () => {
                for (const stream of [false, true]) {
                    const error = await create({ model: `${protocol}-${name}`, messages: question("x"), stream }, sick);
                    assert.ok(error instanceof kind, `stream ${stream}: ${error}`);
                    // once a breaker is open, that is what is said
                    if (error.code === "no_model_available") continue;
                    assert.equal(error.status, status);
                    if (code) assert.equal(error.code, code);
                    assert.ok(error.requestID);
                }
            });
        }

    test("a fault that passes is tried again, unseen by the client", async () => {
        for (const protocol of protocols) {
            const before = await counts(`${protocol}-once`);
            const { data, response } = await sick.chat.completions
                .create({ model: `${protocol}-once`, messages: question("tell of a river") })
                .withResponse();
            assert.ok(data.choices[0].message.content);
            assert.equal(response.headers.get("x-weir-attempts"), "2");
            assert.equal((await counts(`${protocol}-once`)).requests, before.requests + 2);
        }
    });

    test("a client that has waited long enough", async () => {
        for (const protocol of protocols) {
            const model = `${protocol}-mute`;
            await expectVendorLeft(model, async () => {
                const error = await errorOf(
                    sick.chat.completions.create({ model, messages: question("x") }, { timeout: 300 }),
                );
                assert.ok(error instanceof OpenAI.APIConnectionTimeoutError, `${error}`);
            });
        }
    });

    test("the gateway's own deadline", async () => {
        const error = await create({ model: "openai-mute", messages: question("x") }, openai(ill, { timeout: 20000 }));
        assert.ok(error instanceof OpenAI.InternalServerError, `${error}`);
        assert.equal(error.status, 504);
        assert.equal(error.code, "upstream_timeout");
        assert.equal(error.type, "timeout_error");
    });
});
