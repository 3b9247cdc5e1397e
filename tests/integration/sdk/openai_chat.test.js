// Chat completions that come as a whole, over each vendor's protocol. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { LengthFinishReasonError } = require("openai/error");
const {
    OpenAI,
    collect,
    errorOf,
    fixedText,
    lastAsked,
    near,
    openai,
    pixel,
    prices,
    protocols,
    question,
} = require("./setup.js");

const client = openai();
const schema = {
    type: "object",
    additionalProperties: false,
    required: ["name", "age"],
    properties: { name: { type: "string" }, age: { type: "integer" } },
};
const asPerson = { type: "json_schema", json_schema: { name: "person", strict: true, schema } };

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    describe(model, () => {
        test("a plain answer", async () => {
            const answer = await client.chat.completions.create({ model, messages: question("tell of a river") });
            assert.equal(answer.object, "chat.completion");
            assert.match(answer.id, /^chatcmpl-/);
            assert.ok(Math.abs(answer.created - Date.now() / 1000) < 60);
            assert.equal(answer.choices.length, 1);
            const [{ index, message, finish_reason }] = answer.choices;
            assert.equal(index, 0);
            assert.equal(message.role, "assistant");
            assert.equal(message.content.split(" ").length, 16);
            assert.equal(message.refusal, null);
            assert.equal(message.tool_calls, undefined);
            assert.equal(finish_reason, "stop");
            const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
            assert.equal(completion_tokens, 16);
            assert.ok(prompt_tokens > 0);
            assert.equal(total_tokens, prompt_tokens + completion_tokens);
        });

        test("every character of the text arrives", async () => {
            for (const words of ["[text]", "[gzip]"]) {
                const answer = await client.chat.completions.create({ model, messages: question(words) });
                assert.equal(answer.choices[0].message.content, fixedText);
            }
        });

        test("an empty answer is an answer", async () => {
            const answer = await client.chat.completions.create({ model, messages: question("[empty]") });
            assert.equal(answer.choices[0].message.content, "");
            assert.equal(answer.choices[0].finish_reason, "stop");
        });

        test("a conversation with instructions reaches the vendor", async () => {
            const text = "what was the first word? žluť 🐎";
            await client.chat.completions.create({
                model,
                messages: [
                    { role: "system", content: "Answer briefly." },
                    { role: "developer", content: "In Czech." },
                    { role: "user", content: "stone" },
                    { role: "assistant", content: "A stone." },
                    { role: "user", content: [{ type: "text", text }] },
                ],
            });
            const { body } = await lastAsked(model);
            const all = JSON.stringify(body);
            for (const part of ["Answer briefly.", "In Czech.", "stone", "A stone.", text])
                assert.ok(all.includes(part));
            if (protocol === "anthropic")
                assert.deepEqual(
                    body.messages.map((m) => m.role),
                    ["user", "assistant", "user"],
                );
            if (protocol === "gemini")
                assert.deepEqual(
                    body.contents.map((m) => m.role),
                    ["user", "model", "user"],
                );
        });

        test("limits and sampling reach the vendor", async () => {
            for (const limit of ["max_tokens", "max_completion_tokens"]) {
                const answer = await client.chat.completions.create({
                    model,
                    messages: question("tell of a river"),
                    [limit]: 5,
                    temperature: 0.5,
                    stop: ["END", "\n\n"],
                    seed: 7,
                });
                assert.equal(answer.choices[0].finish_reason, "length");
                assert.equal(answer.usage.completion_tokens, 5);
            }
            const { body } = await lastAsked(model);
            const sampling = protocol === "gemini" ? body.generationConfig : body;
            assert.equal(sampling.temperature, 0.5);
            assert.equal(sampling.max_completion_tokens ?? sampling.max_tokens ?? sampling.maxOutputTokens, 5);
            const stop = sampling.stop ?? sampling.stop_sequences ?? sampling.stopSequences;
            assert.deepEqual(stop.slice(0, 1), ["END"]);
        });

        test("images go along", async () => {
            const url = "data:image/png;base64," + pixel;
            await client.chat.completions.create({
                model,
                messages: question([
                    { type: "text", text: "what is this?" },
                    { type: "image_url", image_url: { url } },
                ]),
            });
            const { body } = await lastAsked(model);
            if (protocol === "openai") assert.equal(body.messages[0].content[1].image_url.url, url);
            if (protocol === "anthropic")
                assert.deepEqual(body.messages[0].content[1].source, {
                    type: "base64",
                    media_type: "image/png",
                    data: pixel,
                });
            if (protocol === "gemini")
                assert.deepEqual(body.contents[0].parts[1].inlineData, { mimeType: "image/png", data: pixel });
        });

        test("several choices, where the vendor has them", async () => {
            const asked = client.chat.completions.create({ model, messages: question("tell of a river"), n: 3 });
            if (protocol === "openai") {
                const { choices, usage } = await asked;
                assert.deepEqual(
                    choices.map((c) => c.index),
                    [0, 1, 2],
                );
                assert.equal(new Set(choices.map((c) => c.message.content)).size, 3);
                assert.equal(usage.completion_tokens, 48);
            } else {
                assert.ok((await errorOf(asked)) instanceof OpenAI.BadRequestError);
            }
        });

        test("answers in a schema are parsed", async () => {
            const answer = await client.chat.completions.parse({
                model,
                messages: question("[person]"),
                response_format: asPerson,
            });
            assert.deepEqual(answer.choices[0].message.parsed, { name: 'Žofie "Z"', age: 7 });
            const { body } = await lastAsked(model);
            if (protocol === "openai") assert.deepEqual(body.response_format, asPerson);
            if (protocol === "anthropic") assert.deepEqual(body.output_config.format, { type: "json_schema", schema });
            if (protocol === "gemini") assert.deepEqual(body.generationConfig.responseJsonSchema, schema);
        });

        test("a parsed answer that was cut to its limit is told so", async () => {
            const error = await errorOf(
                client.chat.completions.parse({
                    model,
                    messages: question("[person]"),
                    response_format: asPerson,
                    max_completion_tokens: 1,
                }),
            );
            assert.ok(error instanceof LengthFinishReasonError, `${error}`);
        });

        test("any JSON object", async () => {
            const answer = await client.chat.completions.create({
                model,
                messages: question("[json] what is it?"),
                response_format: { type: "json_object" },
            });
            const { body } = await lastAsked(model);
            if (protocol === "openai") assert.deepEqual(body.response_format, { type: "json_object" });
            if (protocol === "anthropic") assert.match(JSON.stringify(body.system), /JSON/);
            if (protocol === "gemini") assert.equal(body.generationConfig.responseMimeType, "application/json");
            if (protocol !== "anthropic") assert.equal(typeof JSON.parse(answer.choices[0].message.content), "object");
        });

        test("reasoning stays apart from the answer", async () => {
            const answer = await client.chat.completions.create({ model, messages: question("[reasoning]") });
            const [{ message }] = answer.choices;
            assert.equal(message.content, "so it is");
            assert.equal(message.reasoning_content, "first this, then that");
        });

        test("refusals and filters", async () => {
            const refused = (await client.chat.completions.create({ model, messages: question("[refusal]") }))
                .choices[0];
            if (protocol === "openai") assert.equal(refused.message.refusal, "I would rather not.");
            else assert.equal(refused.finish_reason, "content_filter");
            const filtered = await client.chat.completions.create({ model, messages: question("[filtered]") });
            assert.equal(filtered.choices[0].finish_reason, "content_filter");
        });

        test("cached tokens are told, and billed at their rate", async () => {
            const { data, response } = await client.chat.completions
                .create({ model, messages: question("[cached]") })
                .withResponse();
            assert.equal(data.usage.prompt_tokens, 100);
            assert.equal(data.usage.completion_tokens, 9);
            assert.equal(data.usage.prompt_tokens_details.cached_tokens, 40);
            const [usdIn, usdOut] = prices[protocol],
                written = protocol === "gemini" ? 0 : 10;
            near(
                Number(response.headers.get("x-weir-cost-usd")),
                ((60 - written) * usdIn + 40 * 1 + written * 3 + 9 * usdOut) * 1e-6,
            );
        });

        test("a vendor that doesn't count: the usage is estimated, and marked so", async () => {
            const { data, response } = await client.chat.completions
                .create({ model, messages: question("[uncounted] tell of a river") })
                .withResponse();
            assert.equal(response.headers.get("x-weir-usage-estimated"), "true");
            assert.ok(Number(response.headers.get("x-weir-cost-usd")) > 0);
            if (protocol !== "openai") assert.ok(data.usage.completion_tokens > 0);
        });

        test("headers tell of the decision", async () => {
            const { data, response, request_id } = await client.chat.completions
                .create({ model, messages: question("tell of a river") })
                .withResponse();
            assert.equal(response.headers.get("x-weir-model"), model);
            assert.match(response.headers.get("x-weir-decision-id"), /^weir-[0-9a-f]+$/);
            assert.ok(request_id);
            assert.equal(data._request_id, request_id);
            assert.ok(Number(response.headers.get("x-weir-predicted-cost-usd")) > 0);
            const [usdIn, usdOut] = prices[protocol];
            near(
                Number(response.headers.get("x-weir-cost-usd")),
                (data.usage.prompt_tokens * usdIn + data.usage.completion_tokens * usdOut) * 1e-6,
            );
        });

        test("the vendor gets the gateway's key, and none of the client's headers", async () => {
            await client.chat.completions.create(
                { model, messages: question("tell of a river") },
                { headers: { "x-secret-of-the-client": "yes", cookie: "yes" } },
            );
            const { headers } = await lastAsked(model);
            const name = { openai: "authorization", anthropic: "x-api-key", gemini: "x-goog-api-key" }[protocol];
            assert.match(headers[name], /^sha256:/); // a vendor that wants its key took it: it had refused another
            for (const other of ["x-secret-of-the-client", "cookie", "x-stainless-lang"])
                assert.ok(!(other in headers), other);
        });
    });
}

describe("routing", () => {
    const cheapest = "gemini-model";
    const ask = async (model, headers = {}) => {
        const { response } = await client.chat.completions
            .create({ model, messages: question("tell of a river") }, { headers })
            .withResponse();
        return response.headers;
    };

    test("weir decides, and says by which rule", async () => {
        const headers = await ask("weir");
        assert.ok(
            ["openai-model", "anthropic-model", "gemini-model", "lab/embedder"].includes(headers.get("x-weir-model")),
        );
        assert.match(headers.get("x-weir-rule"), /^[a-z_]+$/);
    });

    test("a limit on the cost, as a header of one request", async () => {
        const most = Number((await ask(cheapest)).get("x-weir-predicted-cost-usd")) * 1.5;
        const headers = await ask("weir", { "x-weir-max-cost": String(most) });
        assert.equal(headers.get("x-weir-model"), cheapest);
        assert.ok(Number(headers.get("x-weir-predicted-cost-usd")) <= most);
    });

    test("the same in the model's name", async () => {
        const most = Number((await ask(cheapest)).get("x-weir-predicted-cost-usd")) * 1.5;
        assert.equal((await ask(`weir:max_cost=${most}`)).get("x-weir-model"), cheapest);
        assert.equal((await ask("weir:value=0")).get("x-weir-model"), cheapest);
    });

    test("a header of the client's own, for all its requests", async () => {
        const thrifty = client.withOptions({ defaultHeaders: { "x-weir-value": "0" } });
        const { response } = await thrifty.chat.completions
            .create({ model: "weir", messages: question("tell of a river") })
            .withResponse();
        assert.equal(response.headers.get("x-weir-model"), cheapest);
    });

    test("a pinned model, by header", async () => {
        assert.equal((await ask("weir", { "x-weir-model": "openai-model" })).get("x-weir-model"), "openai-model");
    });

    test("a wrong knob is a bad request that names it", async () => {
        const error = await errorOf(ask("weir", { "x-weir-max-cost": "much" }));
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.code, "invalid_knob");
        assert.equal(error.param, "x-weir-max-cost");
        assert.equal((await errorOf(ask("weir:colour=red"))).code, "invalid_knob");
    });

    test("what one vendor can't be asked goes to one that can", async () => {
        const body = { model: "weir:value=0", messages: question("tell of a river"), logprobs: true };
        assert.ok(
            (await errorOf(client.chat.completions.create({ ...body, model: cheapest }))) instanceof
                OpenAI.BadRequestError,
        );
        const { data, response } = await client.chat.completions.create(body).withResponse();
        assert.equal(data.choices.length, 1);
        assert.match(response.headers.get("x-weir-deployment"), /^openai\//);
        assert.equal(response.headers.get("x-weir-fallback-from"), cheapest);
        const { items, error } = await collect(await client.chat.completions.create({ ...body, stream: true }));
        assert.equal(error, null);
        assert.equal(items.at(-1).choices[0].finish_reason, "stop");
    });

    test("tools go to a model that has them, even where one without is cheaper", async () => {
        const tools = [{ type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } }];
        const { data, response } = await client.chat.completions
            .create({ model: "weir", messages: question("call f"), tools })
            .withResponse();
        assert.notEqual(response.headers.get("x-weir-model"), "lab/embedder");
        assert.equal(data.choices[0].message.tool_calls[0].function.name, "f");
    });
});
