// Chat completions that come as a stream, over each vendor's protocol. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { APIError } = require("openai");
const { collect, errorOf, fixedText, gateway, key, openai, prices, near, protocols, question } = require("./setup.js");

const client = openai();
const textOf = (chunks, index = 0) =>
    chunks
        .flatMap((c) => c.choices)
        .filter((c) => c.index === index)
        .map((c) => c.delta.content ?? "")
        .join("");
const open = (model, text, more = {}) =>
    client.chat.completions.create({ model, messages: question(text), stream: true, ...more });

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    describe(model, () => {
        test("deltas add up to what comes as a whole", async () => {
            for (const text of ["tell of a river", "[long]", "[text]", "[gzip]"]) {
                const whole = await client.chat.completions.create({ model, messages: question(text) });
                const { items, error } = await collect(await open(model, text));
                assert.equal(error, null);
                assert.equal(textOf(items), whole.choices[0].message.content);
            }
            assert.equal(textOf((await collect(await open(model, "[text]"))).items), fixedText);
        });

        test("chunks have the shape that clients expect", async () => {
            const { items } = await collect(await open(model, "tell of a river"));
            assert.ok(items.length >= 18, "a word a chunk");
            assert.equal(new Set(items.map((c) => c.id)).size, 1);
            for (const chunk of items) {
                assert.equal(chunk.object, "chat.completion.chunk");
                assert.equal(chunk.choices.length, 1);
                assert.equal(chunk.choices[0].index, 0);
            }
            assert.equal(items[0].choices[0].delta.role, "assistant");
            assert.deepEqual(items.map((c) => c.choices[0].finish_reason).filter(Boolean), ["stop"]);
            assert.equal(items.at(-1).choices[0].finish_reason, "stop");
        });

        test("usage comes only where it was asked for", async () => {
            for (const more of [{}, { stream_options: { include_usage: false } }]) {
                const { items } = await collect(await open(model, "tell of a river", more));
                assert.ok(items.every((c) => c.usage == null && c.choices.length === 1));
            }
            const { items } = await collect(
                await open(model, "tell of a river", { stream_options: { include_usage: true } }),
            );
            const last = items.pop();
            assert.deepEqual(last.choices, []);
            assert.equal(last.usage.completion_tokens, 16);
            assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + 16);
            assert.ok(items.every((c) => c.usage === null && c.choices.length === 1));
        });

        test("usage that the vendor doesn't count is estimated", async () => {
            const { items, error } = await collect(
                await open(model, "[uncounted] tell of a river", { stream_options: { include_usage: true } }),
            );
            assert.equal(error, null);
            assert.ok(items.at(-1).usage.completion_tokens > 0);
        });

        test("the helper assembles the answer", async () => {
            const stream = client.chat.completions.stream({
                model,
                messages: question("[text]"),
                stream_options: { include_usage: true },
            });
            const seen = [];
            stream.on("content", (delta, snapshot) => seen.push([delta, snapshot]));
            const final = await stream.finalChatCompletion();
            assert.equal(final.choices[0].message.content, fixedText);
            assert.equal(final.choices[0].finish_reason, "stop");
            assert.equal(await stream.finalContent(), fixedText);
            assert.equal(seen.map(([delta]) => delta).join(""), fixedText);
            assert.equal(seen.at(-1)[1], fixedText);
            assert.ok((await stream.totalUsage()).completion_tokens > 0);
        });

        test("an empty answer ends like any other", async () => {
            const { items, error } = await collect(await open(model, "[empty]"));
            assert.equal(error, null);
            assert.equal(textOf(items), "");
            assert.equal(items.at(-1).choices[0].finish_reason, "stop");
        });

        test("limits are kept, and told", async () => {
            const { items } = await collect(await open(model, "tell of a river", { max_tokens: 3 }));
            assert.equal(textOf(items).split(" ").length, 3);
            assert.equal(items.at(-1).choices[0].finish_reason, "length");
        });

        test("reasoning, refusals and filters", async () => {
            const thinking = (await collect(await open(model, "[reasoning]"))).items;
            assert.equal(
                thinking.map((c) => c.choices[0].delta.reasoning_content ?? "").join(""),
                "first this, then that",
            );
            assert.equal(textOf(thinking), "so it is");
            const refused = (await collect(await open(model, "[refusal]"))).items;
            if (protocol === "openai")
                assert.equal(refused.map((c) => c.choices[0].delta.refusal ?? "").join(""), "I would rather not.");
            else assert.equal(refused.at(-1).choices[0].finish_reason, "content_filter");
            assert.equal(
                (await collect(await open(model, "[filtered]"))).items.at(-1).choices[0].finish_reason,
                "content_filter",
            );
        });

        test("a structured answer comes in pieces, too", async () => {
            const stream = client.chat.completions.stream({
                model,
                messages: question("[person]"),
                response_format: {
                    type: "json_schema",
                    json_schema: {
                        name: "person",
                        strict: true,
                        schema: {
                            type: "object",
                            additionalProperties: false,
                            required: ["name", "age"],
                            properties: { name: { type: "string" }, age: { type: "integer" } },
                        },
                    },
                },
            });
            assert.deepEqual(JSON.parse(await stream.finalContent()), { name: 'Žofie "Z"', age: 7 });
        });

        test("headers are there before the first chunk; the bill is in the last comment", async () => {
            const { data, response } = await client.chat.completions
                .create({ model, messages: question("tell of a river"), stream: true })
                .withResponse();
            assert.equal(response.headers.get("x-weir-model"), model);
            assert.match(response.headers.get("x-weir-decision-id"), /^weir-/);
            assert.match(response.headers.get("content-type"), /^text\/event-stream/);
            assert.equal((await collect(data)).error, null);
            const raw = await (
                await fetch(gateway + "/v1/chat/completions", {
                    method: "POST",
                    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
                    body: JSON.stringify({ model, messages: question("[cached]"), stream: true }),
                })
            ).text();
            const note =
                /\n: weir decision=(\S+) model=(\S+) predicted_cost_usd=\S+ cost_usd=(\S+)\n\ndata: \[DONE\]\n\n$/.exec(
                    raw,
                );
            assert.ok(note, raw.slice(-300));
            const [usdIn, usdOut] = prices[protocol],
                written = protocol === "gemini" ? 0 : 10;
            near(Number(note[3]), ((60 - written) * usdIn + 40 * 1 + written * 3 + 9 * usdOut) * 1e-6);
        });

        test("a stream can be split, and sent on", async () => {
            const [a, b] = (await open(model, "[text]")).tee();
            assert.equal(textOf((await collect(a)).items), fixedText);
            const { ChatCompletionStream } = require("openai/lib/ChatCompletionStream");
            assert.equal(await ChatCompletionStream.fromReadableStream(b.toReadableStream()).finalContent(), fixedText);
        });

        for (const [how, words] of [
            ["cut", "[cut]"],
            ["reset", "[reset]"],
            ["told as an error", "[error in the middle]"],
        ])
            test(`an answer that is broken off (${how}) isn't taken for a whole one`, async () => {
                const { items, error } = await collect(await open(model, words));
                assert.ok(error instanceof APIError, `${error}`);
                assert.ok(error.message.length > 0);
                assert.equal(error.type, "upstream_error");
                const text = textOf(items);
                assert.ok(text.length > 0, "the part that came was passed on");
                assert.ok(
                    items.every((c) => !c.choices.some((d) => d.finish_reason)),
                    "no finish was made up",
                );
                const again = client.chat.completions.stream({ model, messages: question(words) });
                assert.ok((await errorOf(again.finalChatCompletion())) instanceof Error);
            });
    });
}

describe("openai-model", () => {
    test("several choices at once", async () => {
        const { items, error } = await collect(
            await open("openai-model", "tell of a river", { n: 2, stream_options: { include_usage: true } }),
        );
        assert.equal(error, null);
        const whole = await client.chat.completions.create({
            model: "openai-model",
            messages: question("tell of a river"),
            n: 2,
        });
        for (const choice of whole.choices) assert.equal(textOf(items, choice.index), choice.message.content);
        assert.equal(items.at(-1).usage.completion_tokens, 32);
    });
});

describe("routing", () => {
    test("a stream of whichever model", async () => {
        const { data, response } = await client.chat.completions
            .create({ model: "weir", messages: question("[text]"), stream: true }, { headers: { "x-weir-value": "0" } })
            .withResponse();
        assert.equal(response.headers.get("x-weir-model"), "gemini-model");
        assert.equal(textOf((await collect(data)).items), fixedText);
    });
});
