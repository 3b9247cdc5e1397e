// Messages that come as a whole, over each vendor's protocol. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const {
    Anthropic,
    anthropic,
    errorOf,
    fixedText,
    gateway,
    key,
    lastAsked,
    near,
    pixel,
    prices,
    protocols,
    question,
} = require("./setup.js");

const client = anthropic();
const tools = [
    {
        name: "get_weather",
        description: "The weather of a city",
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
// What the vendor calls where the prompt says "[two calls]".
const oslo = { city: 'Oslo — "north"', days: 3 },
    cet = { zone: "CET" };

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    const create = (text, more = {}) =>
        client.messages.create({ model, max_tokens: 1000, messages: question(text), ...more });

    describe(model, () => {
        test("a plain answer", async () => {
            const message = await create("tell of a river");
            assert.equal(message.type, "message");
            assert.equal(message.role, "assistant");
            assert.match(message.id, /^msg_/);
            assert.equal(message.content.length, 1);
            assert.equal(message.content[0].type, "text");
            assert.equal(message.content[0].text.split(" ").length, 16);
            assert.equal(message.stop_reason, "end_turn");
            assert.equal(message.stop_sequence, null);
            assert.ok(message.usage.input_tokens > 0);
            assert.equal(message.usage.output_tokens, 16);
        });

        test("every character of the text arrives", async () => {
            for (const words of ["[text]", "[gzip]"]) assert.equal((await create(words)).content[0].text, fixedText);
        });

        test("an empty answer is an answer", async () => {
            const message = await create("[empty]");
            assert.equal(message.content.map((b) => b.text).join(""), "");
            assert.equal(message.stop_reason, "end_turn");
        });

        test("instructions, as a text and as blocks, reach the vendor", async () => {
            for (const system of [
                "Answer briefly.",
                [
                    { type: "text", text: "Answer" },
                    { type: "text", text: "briefly.", cache_control: { type: "ephemeral" } },
                ],
            ]) {
                await create("stone", {
                    system,
                    messages: [
                        ...question("stone"),
                        { role: "assistant", content: "A stone." },
                        { role: "user", content: [{ type: "text", text: "and now? žluť 🐎" }] },
                    ],
                });
                const { body } = await lastAsked(model);
                if (protocol === "anthropic") assert.deepEqual(body.system, system);
                if (protocol === "openai") assert.equal(body.messages[0].role, "system");
                const told = JSON.stringify(
                    protocol === "openai"
                        ? body.messages[0]
                        : protocol === "gemini"
                          ? body.systemInstruction
                          : body.system,
                );
                assert.ok(told.includes("Answer") && told.includes("briefly."));
                assert.deepEqual(
                    (body.messages ?? body.contents).map((m) => m.role).filter((r) => r !== "system"),
                    ["user", protocol === "gemini" ? "model" : "assistant", "user"],
                );
                assert.ok(JSON.stringify(body).includes("žluť 🐎"));
            }
        });

        test("limits and sampling reach the vendor", async () => {
            const message = await create("tell of a river", {
                max_tokens: 5,
                temperature: 0.5,
                stop_sequences: ["END", "STOP"],
                metadata: { user_id: "u-7" },
            });
            assert.equal(message.stop_reason, "max_tokens");
            assert.equal(message.usage.output_tokens, 5);
            const { body } = await lastAsked(model);
            const sampling = protocol === "gemini" ? body.generationConfig : body;
            assert.equal(sampling.temperature, 0.5);
            assert.deepEqual(sampling.stop ?? sampling.stop_sequences ?? sampling.stopSequences, ["END", "STOP"]);
        });

        test("images go along", async () => {
            const source = { type: "base64", media_type: "image/png", data: pixel };
            await create("", {
                messages: question([
                    { type: "image", source },
                    { type: "text", text: "what is this?" },
                ]),
            });
            const { body } = await lastAsked(model);
            if (protocol === "anthropic") assert.deepEqual(body.messages[0].content[0].source, source);
            if (protocol === "openai")
                assert.equal(body.messages[0].content[0].image_url.url, "data:image/png;base64," + pixel);
            if (protocol === "gemini")
                assert.deepEqual(body.contents[0].parts[0].inlineData, { mimeType: "image/png", data: pixel });
        });

        test("a call, its result, and the answer to that", async () => {
            const first = await create("[two calls]", { tools });
            assert.equal(first.stop_reason, "tool_use");
            const calls = first.content.filter((b) => b.type === "tool_use");
            assert.deepEqual(
                calls.map((c) => [c.name, c.input]),
                [
                    ["get_weather", oslo],
                    ["get_time", cet],
                ],
            );
            assert.equal(new Set(calls.map((c) => c.id)).size, 2);
            const results = [
                { type: "tool_result", tool_use_id: calls[0].id, content: '5 °C, "snow"' },
                {
                    type: "tool_result",
                    tool_use_id: calls[1].id,
                    is_error: true,
                    content: [{ type: "text", text: "no such zone" }],
                },
            ];
            const second = await create("", {
                tools,
                messages: [
                    ...question("[two calls]"),
                    { role: "assistant", content: first.content },
                    { role: "user", content: results },
                ],
            });
            assert.equal(second.stop_reason, "end_turn");
            assert.equal(second.content[0].type, "text");
            const { body } = await lastAsked(model);
            const all = JSON.stringify(body);
            assert.ok(all.includes("snow") && all.includes("no such zone"));
            if (protocol === "anthropic") assert.deepEqual(body.messages[2].content, results);
            if (protocol === "openai") {
                const told = body.messages.filter((m) => m.role === "tool");
                assert.deepEqual(
                    told.map((m) => m.tool_call_id),
                    calls.map((c) => c.id),
                );
                assert.match(JSON.stringify(told[1].content), /Error: no such zone/);
            }
        });

        test("whether and what to call is the client's to say", async () => {
            const calls = async (tool_choice, text = "tell of a river") =>
                (await create(text, { tools, tool_choice })).content
                    .filter((b) => b.type === "tool_use")
                    .map((b) => b.name);
            assert.deepEqual(await calls({ type: "auto" }), []);
            assert.deepEqual(await calls({ type: "any" }), ["get_weather"]);
            assert.deepEqual(await calls({ type: "tool", name: "get_time" }), ["get_time"]);
            assert.deepEqual(await calls({ type: "none" }, "call get_weather"), []);
            const one = await calls({ type: "auto", disable_parallel_tool_use: true }, "[two calls]");
            assert.equal(one.length, protocol === "gemini" ? 2 : 1); // which has no such switch
        });

        test("the client runs the tools itself", async () => {
            const ran = [];
            const runner = client.beta.messages.toolRunner({
                model,
                max_tokens: 1000,
                messages: question("[two calls]"),
                tools: tools.map((tool) => ({
                    ...tool,
                    parse: (x) => x,
                    run: (x) => (ran.push([tool.name, x]), `done ${tool.name}`),
                })),
            });
            const last = await runner;
            assert.equal(last.stop_reason, "end_turn");
            assert.deepEqual(ran, [
                ["get_weather", oslo],
                ["get_time", cet],
            ]);
            assert.ok(JSON.stringify((await lastAsked(model)).body).includes("done get_time"));
        });

        test("cached tokens are told apart, and billed at their rate", async () => {
            const { data, response } = await client.messages
                .create({ model, max_tokens: 1000, messages: question("[cached]") })
                .withResponse();
            const written = protocol === "gemini" ? 0 : 10;
            assert.equal(data.usage.input_tokens, 60 - written);
            assert.equal(data.usage.cache_read_input_tokens, 40);
            assert.equal(data.usage.cache_creation_input_tokens, written);
            assert.equal(data.usage.output_tokens, 9);
            const [usdIn, usdOut] = prices[protocol];
            near(
                Number(response.headers.get("x-weir-cost-usd")),
                ((60 - written) * usdIn + 40 * 1 + written * 3 + 9 * usdOut) * 1e-6,
            );
        });

        test("thinking stays apart from the answer, and may come back", async () => {
            const message = await create("[reasoning]");
            assert.deepEqual(
                message.content.map((b) => [b.type, b.thinking ?? b.text]),
                [
                    ["thinking", "first this, then that"],
                    ["text", "so it is"],
                ],
            );
            await create("", {
                messages: [
                    ...question("[reasoning]"),
                    { role: "assistant", content: message.content },
                    ...question("and then?"),
                ],
            });
        });

        test("refusals and filters", async () => {
            assert.equal((await create("[refusal]")).stop_reason, "refusal");
            assert.equal((await create("[filtered]")).stop_reason, "refusal");
        });

        test("headers tell of the decision", async () => {
            const { data, response, request_id } = await client.messages
                .create({ model, max_tokens: 99, messages: question("tell of a river") })
                .withResponse();
            assert.equal(response.headers.get("x-weir-model"), model);
            assert.match(response.headers.get("x-weir-decision-id"), /^weir-[0-9a-f]+$/);
            assert.ok(request_id);
            assert.equal(request_id, response.headers.get("x-request-id"));
            assert.equal(data._request_id, request_id);
            assert.ok(Number(response.headers.get("x-weir-cost-usd")) > 0);
        });

        test("the beta's path and header", async () => {
            const message = await client.beta.messages.create({
                model,
                max_tokens: 99,
                messages: question("tell of a river"),
                betas: ["some-feature-2025-01-01"],
            });
            assert.equal(message.content[0].text.split(" ").length, 16);
            const beta = (await lastAsked(model)).headers["anthropic-beta"];
            assert.equal(beta, protocol === "anthropic" ? "some-feature-2025-01-01" : undefined);
        });

        test("answers in a schema are parsed", async () => {
            const schema = {
                type: "object",
                additionalProperties: false,
                required: ["name", "age"],
                properties: { name: { type: "string" }, age: { type: "integer" } },
            };
            const message = await client.messages.parse({
                model,
                max_tokens: 99,
                messages: question("[person]"),
                output_config: { format: { type: "json_schema", schema, parse: JSON.parse } },
            });
            assert.deepEqual(message.parsed_output, { name: 'Žofie "Z"', age: 7 });
            const { body } = await lastAsked(model);
            if (protocol === "anthropic") assert.deepEqual(body.output_config.format.schema, schema);
            if (protocol === "openai") assert.deepEqual(body.response_format.json_schema.schema, schema);
            if (protocol === "gemini") assert.deepEqual(body.generationConfig.responseJsonSchema, schema);
        });
    });
}

describe("anthropic-model", () => {
    test("which stop sequence it was", async () => {
        const message = await client.messages.create({
            model: "anthropic-model",
            max_tokens: 99,
            messages: question("[stop sequence]"),
            stop_sequences: ["END"],
        });
        assert.equal(message.stop_reason, "stop_sequence");
        assert.equal(message.stop_sequence, "END");
    });

    test("members that the gateway doesn't know reach the vendor", async () => {
        const more = { top_k: 7, thinking: { type: "enabled", budget_tokens: 1024 }, service_tier: "auto" };
        await client.messages.create({ model: "anthropic-model", max_tokens: 2000, messages: question("x"), ...more });
        const { body } = await lastAsked("anthropic-model");
        for (const [name, value] of Object.entries(more)) assert.deepEqual(body[name], value);
    });
});

describe("routing", () => {
    const ask = async (model, headers = {}) =>
        (
            await client.messages
                .create({ model, max_tokens: 99, messages: question("tell of a river") }, { headers })
                .withResponse()
        ).response.headers;

    test("the same knobs as for OpenAI's clients", async () => {
        assert.match((await ask("weir")).get("x-weir-rule"), /^[a-z_]+$/);
        const most = Number((await ask("gemini-model")).get("x-weir-predicted-cost-usd")) * 1.5;
        assert.equal((await ask("weir", { "x-weir-max-cost": String(most) })).get("x-weir-model"), "gemini-model");
        assert.equal((await ask("weir:value=0")).get("x-weir-model"), "gemini-model");
        const error = await errorOf(ask("weir", { "x-weir-max-cost": "much" }));
        assert.ok(error instanceof Anthropic.BadRequestError, `${error}`);
        assert.equal(error.type, "invalid_request_error");
    });
});

describe("models", () => {
    const names = ["weir", "openai-model", "anthropic-model", "gemini-model", "lab/embedder"];

    test("list", async () => {
        const found = [];
        for await (const { id, type, display_name, created_at } of client.models.list({ limit: 100 })) {
            assert.equal(type, "model");
            assert.ok(display_name && !Number.isNaN(Date.parse(created_at)));
            found.push(id);
        }
        assert.deepEqual(found, names);
    });

    test("each by its name", async () => {
        for (const name of names) assert.equal((await client.models.retrieve(name)).id, name);
        const error = await errorOf(client.models.retrieve("no-such-model"));
        assert.ok(error instanceof Anthropic.NotFoundError, `${error}`);
        assert.equal(error.type, "not_found_error");
    });
});

describe("what isn't there", () => {
    test("counting tokens", async () => {
        const error = await errorOf(client.messages.countTokens({ model: "weir", messages: question("x") }));
        assert.ok(error instanceof Anthropic.NotFoundError, `${error}`);
        assert.equal(error.type, "not_found_error");
    });

    test("batches", async () => {
        assert.ok((await errorOf(client.messages.batches.list())) instanceof Anthropic.NotFoundError);
    });
});

describe("conversations that a vendor keeps", () => {
    const thread = (more) =>
        errorOf(
            client.beta.messages.create({
                model: "anthropic-model",
                max_tokens: 99,
                messages: question("x"),
                ...more,
            }),
        );

    test("aren't to be had, and clients go on without", async () => {
        for (const error of [
            await thread({ thread: { type: "create" } }),
            await thread({ thread: { type: "continue", previous_message_id: "msg_1" }, messages: [] }),
        ]) {
            assert.ok(error instanceof Anthropic.BadRequestError, `${error}`);
            assert.equal(error.error.error.details.error_code, "thread_unsupported_request");
        }
    });
});

describe("keys", () => {
    test("as x-api-key and as a bearer's token", async () => {
        const bearer = new Anthropic({ baseURL: gateway, apiKey: null, authToken: key, maxRetries: 0 });
        const message = await bearer.messages.create({ model: "weir", max_tokens: 9, messages: question("x") });
        assert.equal(message.type, "message");
    });
});
