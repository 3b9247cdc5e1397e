// Tools: calls, their results, and the client's helpers that run them. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { collect, lastAsked, openai, protocols, question } = require("./setup.js");

const client = openai();
const weather = {
    type: "function",
    function: {
        name: "get_weather",
        description: "The weather of a city",
        parameters: {
            type: "object",
            properties: { city: { type: "string" }, days: { type: "integer" } },
            required: ["city", "days"],
        },
    },
};
const time = {
    type: "function",
    function: {
        name: "get_time",
        parameters: { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] },
    },
};
const tools = [weather, time];
// What the vendor calls where the prompt says "[two calls]".
const oslo = { city: 'Oslo — "north"', days: 3 },
    cet = { zone: "CET" };

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    const create = (text, more = {}) =>
        client.chat.completions.create({ model, messages: question(text), tools, ...more });
    // What the vendor was told of a tool's results: [id, text] each, in order.
    const results = (body) =>
        protocol === "openai"
            ? body.messages.filter((m) => m.role === "tool").map((m) => [m.tool_call_id, m.content])
            : protocol === "anthropic"
              ? body.messages
                    .flatMap((m) => m.content)
                    .filter((b) => b.type === "tool_result")
                    .map((b) => [b.tool_use_id, b.content[0]?.text ?? b.content])
              : body.contents
                    .flatMap((c) => c.parts)
                    .filter((p) => p.functionResponse)
                    .map((p) => [p.functionResponse.id, JSON.stringify(p.functionResponse.response)]);

    describe(model, () => {
        test("a call that fits its schema", async () => {
            const [{ message, finish_reason }] = (await create("call get_weather")).choices;
            assert.equal(finish_reason, "tool_calls");
            assert.equal(message.content, null);
            assert.equal(message.tool_calls.length, 1);
            const [call] = message.tool_calls;
            assert.equal(call.type, "function");
            assert.ok(call.id.length > 0);
            assert.equal(call.function.name, "get_weather");
            const { city, days } = JSON.parse(call.function.arguments);
            assert.equal(typeof city, "string");
            assert.ok(Number.isInteger(days));
        });

        test("whether and what to call is the client's to say", async () => {
            const calls = async (tool_choice, text = "tell of a river") =>
                (await create(text, { tool_choice })).choices[0].message.tool_calls?.map((c) => c.function.name) ?? [];
            assert.deepEqual(await calls("auto"), []);
            assert.deepEqual(await calls("required"), ["get_weather"]);
            assert.deepEqual(await calls({ type: "function", function: { name: "get_time" } }), ["get_time"]);
            assert.deepEqual(await calls("none", "call get_weather"), []);
        });

        test("results go back to the vendor, and an answer comes", async () => {
            const messages = question("[two calls]");
            const [{ message }] = (await create("[two calls]")).choices;
            assert.deepEqual(
                message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]),
                [
                    ["get_weather", oslo],
                    ["get_time", cet],
                ],
            );
            const ids = message.tool_calls.map((c) => c.id);
            assert.equal(new Set(ids).size, 2);
            messages.push(
                message,
                { role: "tool", tool_call_id: ids[0], content: '5 °C, "snow"' },
                { role: "tool", tool_call_id: ids[1], content: [{ type: "text", text: "12:00" }] },
            );
            const answer = await client.chat.completions.create({ model, messages, tools });
            assert.equal(answer.choices[0].finish_reason, "stop");
            assert.ok(answer.choices[0].message.content.length > 0);
            const got = results((await lastAsked(model)).body);
            assert.equal(got.length, 2);
            if (protocol !== "gemini")
                assert.deepEqual(
                    got.map(([id]) => id),
                    ids,
                );
            assert.ok(JSON.stringify(got[0]).includes("snow") && JSON.stringify(got[1]).includes("12:00"));
        });

        test("one call at a time, where the client wants that", async () => {
            const [{ message }] = (await create("[two calls]", { parallel_tool_calls: false })).choices;
            if (protocol === "gemini") return assert.equal(message.tool_calls.length, 2); // it has no such switch
            assert.equal(message.tool_calls.length, 1);
        });

        test("calls in a stream", async () => {
            const { items, error } = await collect(await create("[two calls]", { stream: true }));
            assert.equal(error, null);
            const calls = [];
            for (const { delta } of items.flatMap((c) => c.choices))
                for (const part of delta.tool_calls ?? []) {
                    const call = (calls[part.index] ??= { id: "", name: "", text: "" });
                    call.id += part.id ?? "";
                    call.name += part.function.name ?? "";
                    call.text += part.function.arguments ?? "";
                }
            assert.deepEqual(
                calls.map((c) => [c.name, JSON.parse(c.text)]),
                [
                    ["get_weather", oslo],
                    ["get_time", cet],
                ],
            );
            assert.equal(new Set(calls.map((c) => c.id)).size, 2);
            assert.equal(items.at(-1).choices[0].finish_reason, "tool_calls");
        });

        test("calls in a stream, by the client's helper", async () => {
            const stream = client.chat.completions.stream({ model, messages: question("[two calls]"), tools });
            const done = [],
                pieces = [];
            stream.on("tool_calls.function.arguments.done", ({ name, arguments: text }) =>
                done.push([name, JSON.parse(text)]),
            );
            stream.on("tool_calls.function.arguments.delta", ({ arguments_delta }) => pieces.push(arguments_delta));
            const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
            assert.deepEqual(done, [
                ["get_weather", oslo],
                ["get_time", cet],
            ]);
            assert.deepEqual(
                message.tool_calls.map((c) => JSON.parse(c.function.arguments)),
                [oslo, cet],
            );
            assert.equal(pieces.join(""), message.tool_calls.map((c) => c.function.arguments).join(""));
            assert.equal(finish_reason, "tool_calls");
        });

        for (const stream of [false, true])
            test(`the client runs the tools itself, ${stream ? "with" : "without"} streams`, async () => {
                const ran = [];
                const runnable = (tool, name) => ({
                    type: "function",
                    function: {
                        ...tool.function,
                        parse: JSON.parse,
                        function: (x) => (ran.push([name, x]), `done ${name}`),
                    },
                });
                const runner = client.chat.completions.runTools({
                    model,
                    messages: question("[two calls]"),
                    stream,
                    tools: [runnable(weather, "get_weather"), runnable(time, "get_time")],
                });
                const text = await runner.finalContent();
                assert.ok(text.length > 0);
                assert.deepEqual(ran, [
                    ["get_weather", oslo],
                    ["get_time", cet],
                ]);
                assert.deepEqual(
                    runner.messages.map((m) => m.role),
                    ["user", "assistant", "tool", "tool", "assistant"],
                );
                assert.equal(results((await lastAsked(model)).body).length, 2);
            });
    });
}
