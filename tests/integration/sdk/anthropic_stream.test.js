// Messages that come as a stream, over each vendor's protocol. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const {
    Anthropic,
    anthropic,
    collect,
    errorOf,
    expectVendorLeft,
    fixedText,
    protocols,
    question,
} = require("./setup.js");

const client = anthropic();
const tools = [
    {
        name: "get_weather",
        input_schema: {
            type: "object",
            properties: { city: { type: "string" }, days: { type: "integer" } },
            required: ["city", "days"],
        },
    },
    {
        name: "get_time",
        input_schema: { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] },
    },
];
const oslo = { city: 'Oslo — "north"', days: 3 },
    cet = { zone: "CET" };

// Fails unless the events come in the order that the API promises.
function checkOrder(events) {
    const types = events.map((e) => e.type).filter((t) => t !== "ping");
    assert.equal(types[0], "message_start");
    assert.deepEqual(types.slice(-2), ["message_delta", "message_stop"]);
    let open = null,
        closed = 0;
    for (const event of events) {
        if (event.type === "content_block_start") {
            assert.equal(open, null, "one block at a time");
            assert.equal(event.index, closed);
            open = event.index;
        } else if (event.type === "content_block_delta") {
            assert.equal(event.index, open);
        } else if (event.type === "content_block_stop") {
            assert.equal(event.index, open);
            open = null;
            closed++;
        }
    }
    assert.equal(open, null);
    return closed;
}

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    const body = (text, more = {}) => ({ model, max_tokens: 1000, messages: question(text), ...more });

    describe(model, () => {
        test("the helper assembles the message", async () => {
            const stream = client.messages.stream(body("[text]"));
            const texts = [],
                blocks = [],
                messages = [],
                events = [];
            stream.on("text", (delta, snapshot) => texts.push([delta, snapshot]));
            stream.on("contentBlock", (block) => blocks.push(block));
            stream.on("message", (message) => messages.push(message));
            stream.on("streamEvent", (event) => events.push(structuredClone(event)));
            const final = await stream.finalMessage();
            assert.equal(await stream.finalText(), fixedText);
            assert.equal(texts.map(([delta]) => delta).join(""), fixedText);
            assert.equal(texts.at(-1)[1], fixedText);
            assert.deepEqual(
                blocks.map((b) => b.text),
                [fixedText],
            );
            assert.equal(messages.length, 1);
            assert.equal(final.stop_reason, "end_turn");
            assert.equal(checkOrder(events), 1);
            assert.ok(stream.request_id);
        });

        test("the same as a whole message, with its usage", async () => {
            for (const text of [
                "tell of a river",
                "[long]",
                "[gzip]",
                "[cached]",
                "[reasoning]",
                "[empty]",
                "[refusal]",
            ]) {
                const whole = await client.messages.create(body(text));
                const streamed = await client.messages.stream(body(text)).finalMessage();
                const plain = (m) =>
                    m.content.map((b) => [b.type, b.text ?? b.thinking]).filter(([, said]) => said !== "");
                assert.deepEqual(plain(streamed), plain(whole), text);
                assert.equal(streamed.stop_reason, whole.stop_reason, text);
                for (const count of [
                    "input_tokens",
                    "output_tokens",
                    "cache_read_input_tokens",
                    "cache_creation_input_tokens",
                ])
                    assert.equal(streamed.usage[count] ?? 0, whole.usage[count] ?? 0, `${text}: ${count}`);
            }
        });

        test("raw events", async () => {
            const { items, error } = await collect(
                await client.messages.create(body("tell of a river", { stream: true })),
            );
            assert.equal(error, null);
            assert.equal(checkOrder(items), 1);
            assert.ok(items.filter((e) => e.type === "content_block_delta").length >= 16, "a word an event");
            const end = items.find((e) => e.type === "message_delta");
            assert.equal(end.delta.stop_reason, "end_turn");
            assert.equal(end.usage.output_tokens, 16);
        });

        test("limits are kept, and told", async () => {
            const final = await client.messages.stream(body("tell of a river", { max_tokens: 3 })).finalMessage();
            assert.equal(final.stop_reason, "max_tokens");
            assert.equal(final.content[0].text.split(" ").length, 3);
        });

        test("tools in a stream", async () => {
            const stream = client.messages.stream(body("[two calls]", { tools }));
            const events = [],
                pieces = [];
            stream.on("inputJson", (delta) => pieces.push(delta));
            stream.on("streamEvent", (event) => events.push(structuredClone(event)));
            const final = await stream.finalMessage();
            const calls = final.content.filter((b) => b.type === "tool_use");
            assert.deepEqual(
                calls.map((c) => [c.name, c.input]),
                [
                    ["get_weather", oslo],
                    ["get_time", cet],
                ],
            );
            assert.equal(new Set(calls.map((c) => c.id)).size, 2);
            assert.equal(final.stop_reason, "tool_use");
            assert.equal(checkOrder(events), 2);
            assert.ok(pieces.join("").includes("Oslo"));
        });

        test("the client runs the tools itself, with streams", async () => {
            const ran = [];
            const runner = client.beta.messages.toolRunner({
                ...body("[two calls]"),
                stream: true,
                tools: tools.map((tool) => ({
                    ...tool,
                    parse: (x) => x,
                    run: (x) => (ran.push([tool.name, x]), "done"),
                })),
            });
            const reasons = [];
            for await (const stream of runner) reasons.push((await stream.finalMessage()).stop_reason);
            assert.deepEqual(reasons, ["tool_use", "end_turn"]);
            assert.deepEqual(ran, [
                ["get_weather", oslo],
                ["get_time", cet],
            ]);
        });

        for (const [how, words] of [
            ["cut", "[cut]"],
            ["reset", "[reset]"],
            ["told as an error", "[error in the middle]"],
        ])
            test(`an answer that is broken off (${how}) isn't taken for a whole one`, async () => {
                const { items, error } = await collect(await client.messages.create(body(words, { stream: true })));
                assert.ok(error instanceof Anthropic.APIError, `${error}`);
                assert.ok(
                    items.some((e) => e.type === "content_block_delta"),
                    "the part that came was passed on",
                );
                assert.ok(
                    !items.some((e) => e.type === "message_stop" || e.type === "message_delta"),
                    "no end was made up",
                );
                const known = ["api_error", "overloaded_error", "timeout_error"];
                assert.ok(known.includes(error.type), `type: ${error.type}`);
                const stream = client.messages.stream(body(words));
                const told = new Promise((done) => stream.on("error", done));
                assert.ok((await errorOf(stream.finalMessage())) instanceof Anthropic.AnthropicError);
                assert.ok((await told) instanceof Anthropic.AnthropicError);
            });

        test("abort in the middle", () =>
            expectVendorLeft(model, async () => {
                const controller = new AbortController();
                const stream = await client.messages.create(body("[slow]", { stream: true }), {
                    signal: controller.signal,
                });
                let n = 0;
                for await (const event of stream)
                    if (event.type === "content_block_delta" && ++n === 5) controller.abort();
                assert.ok(n >= 5 && n < 100, `${n} deltas`);
            }));

        test("leaving the loop", () =>
            expectVendorLeft(model, async () => {
                let n = 0;
                for await (const event of client.messages.stream(body("[slow]"))) if (++n === 6) break;
                assert.equal(n, 6);
            }));

        test("abort by the helper", () =>
            expectVendorLeft(model, async () => {
                const stream = client.messages.stream(body("[slow]"));
                stream.once("text", () => stream.abort());
                assert.ok((await errorOf(stream.finalMessage())) instanceof Anthropic.APIUserAbortError);
            }));

        for (const stream of [true, false])
            test(`abort before the first token, ${stream ? "stream" : "whole"}`, () =>
                expectVendorLeft(model, async (asked) => {
                    const controller = new AbortController();
                    const answer = errorOf(
                        client.messages.create(body("[silent]", { stream }), { signal: controller.signal }),
                    );
                    await asked();
                    controller.abort();
                    assert.ok((await answer) instanceof Anthropic.APIUserAbortError);
                }));
    });
}
