// Errors, in the classes that programs catch. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const {
    Anthropic,
    anthropic,
    counts,
    errorOf,
    expectVendorLeft,
    gateway,
    ill,
    limited,
    protocols,
    question,
} = require("./setup.js");

const client = anthropic(),
    sick = anthropic(ill);
const create = (body, which = client) =>
    errorOf(which.messages.create({ model: "weir", max_tokens: 99, messages: question("x"), ...body }));

describe("what the client did wrong", () => {
    test("a body without what it needs", async () => {
        for (const body of [
            { messages: undefined },
            { model: undefined },
            { max_tokens: undefined },
            { messages: "x" },
            { messages: [] },
            { messages: [7] },
            { max_tokens: "many" },
            { stream: "yes" },
            { system: 7 },
        ]) {
            const error = await create(body);
            assert.ok(error instanceof Anthropic.BadRequestError, `${JSON.stringify(body)}: ${error}`);
            assert.equal(error.type, "invalid_request_error");
        }
    });

    test("a model that isn't there", async () => {
        const error = await create({ model: "no-such-model" });
        assert.ok(error instanceof Anthropic.NotFoundError, `${error}`);
        assert.equal(error.type, "not_found_error");
    });

    test("a wrong key", async () => {
        const stranger = anthropic(gateway, { apiKey: "another-key" });
        for (const asked of [
            () => create({}, stranger),
            () => create({ stream: true }, stranger),
            () => errorOf(stranger.models.list()),
        ]) {
            const error = await asked();
            assert.ok(error instanceof Anthropic.AuthenticationError, `${error}`);
            assert.equal(error.type, "authentication_error");
            assert.equal(error.error.type, "error", "in Anthropic's shape");
            assert.ok(!error.message.includes("another-key"));
        }
    });

    test("a request that the vendor refuses comes back with the vendor's words", async () => {
        for (const stream of [false, true]) {
            const error = await create({ model: "anthropic-model", temperature: 9, stream });
            assert.ok(error instanceof Anthropic.BadRequestError, `${error}`);
            assert.match(error.message, /temperature/);
            assert.equal(error.type, "invalid_request_error");
            assert.ok(error.requestID);
        }
    });
});

describe("every vendor is rate limited", () => {
    for (const [name, base, model] of [
        ...protocols.map((p) => [`${p} alone`, ill, `${p}-limited`]),
        ["all, routed", limited, "weir"],
    ])
        test(name, async () => {
            const error = await create({ model, stream: true }, anthropic(base));
            assert.ok(error instanceof Anthropic.RateLimitError, `${error}`);
            assert.equal(error.status, 429);
            assert.equal(error.type, "rate_limit_error");
            assert.equal(error.headers.get("retry-after"), "7");
        });
});

describe("what went wrong at the vendor", () => {
    const cases = [
        ["server", Anthropic.InternalServerError, 502, "api_error"],
        ["overloaded", Anthropic.OverloadedError, 529, "overloaded_error"],
        ["quota", Anthropic.InternalServerError, 502, "api_error"],
        ["unauthorized", Anthropic.InternalServerError, 502, "api_error"],
        ["context", Anthropic.BadRequestError, 400, "invalid_request_error"],
        ["filter", Anthropic.BadRequestError, 400, "invalid_request_error"],
        ["reset", Anthropic.InternalServerError, 502, "api_error"],
        ["garbled", Anthropic.InternalServerError, 502, "api_error"],
        ["page", Anthropic.InternalServerError, 502, "api_error"],
    ];
    for (const protocol of protocols)
        for (const [name, otherKind, otherStatus, otherType] of cases) {
            // Google says "quota" of a minute's and of a day's; docs/vendors.md, "Errors"
            const [kind, status, type] =
                protocol === "gemini" && name === "quota"
                    ? [Anthropic.RateLimitError, 429, "rate_limit_error"]
                    : [otherKind, otherStatus, otherType];
            test(`${protocol}-${name}`, async () => {
                for (const stream of [false, true]) {
                    const error = await create({ model: `${protocol}-${name}`, stream }, sick);
                    if (/failing at the moment; try again/.test(error.message)) {
                        // a breaker is open by now
                        assert.ok(error instanceof Anthropic.InternalServerError && error.type === "overloaded_error");
                        continue;
                    }
                    assert.ok(error instanceof kind, `stream ${stream}: ${error.name} ${error}`);
                    assert.equal(error.status, status);
                    assert.equal(error.type, type);
                    assert.ok(error.requestID);
                }
            });
        }

    test("a fault that passes is tried again, unseen by the client", async () => {
        for (const protocol of protocols) {
            const before = await counts(`${protocol}-once`);
            const { data, response } = await sick.messages
                .create({ model: `${protocol}-once`, max_tokens: 99, messages: question("x") })
                .withResponse();
            assert.ok(data.content[0].text);
            assert.equal(response.headers.get("x-weir-attempts"), "2");
            assert.equal((await counts(`${protocol}-once`)).requests, before.requests + 2);
        }
    });

    test("a client that has waited long enough", async () => {
        for (const protocol of protocols)
            await expectVendorLeft(`${protocol}-mute`, async () => {
                const error = await errorOf(
                    sick.messages.create(
                        { model: `${protocol}-mute`, max_tokens: 9, messages: question("x") },
                        { timeout: 300 },
                    ),
                );
                assert.ok(error instanceof Anthropic.APIConnectionTimeoutError, `${error}`);
            });
    });

    test("the gateway's own deadline", async () => {
        const error = await create({ model: "anthropic-mute" }, anthropic(ill, { timeout: 20000 }));
        assert.ok(error instanceof Anthropic.GatewayTimeoutError, `${error}`);
        assert.equal(error.type, "timeout_error");
    });
});
