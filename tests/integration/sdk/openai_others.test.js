// The other endpoints of OpenAI's API: old completions, embeddings, models. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { OpenAI, APIError } = require("openai");
const { collect, errorOf, fixedText, gateway, key, lastAsked, openai, protocols } = require("./setup.js");

const client = openai();

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    describe(`completions, ${model}`, () => {
        test("whole", async () => {
            const answer = await client.completions.create({ model, prompt: "tell of a river", max_tokens: 5 });
            assert.equal(answer.object, "text_completion");
            assert.match(answer.id, /^cmpl-/);
            assert.equal(answer.choices[0].text.trim().split(" ").length, 5);
            assert.equal(answer.choices[0].finish_reason, "length");
            assert.equal(answer.usage.completion_tokens, 5);
            assert.match(
                (await lastAsked(model)).path,
                { openai: /\/completions$/, anthropic: /\/messages$/, gemini: /:generateContent$/ }[protocol],
            );
        });

        test("in a stream", async () => {
            const stream = await client.completions.create({
                model,
                prompt: "[text]",
                max_tokens: 400,
                stream: true,
                stream_options: { include_usage: true },
            });
            const { items, error } = await collect(stream);
            assert.equal(error, null);
            const last = items.pop();
            assert.deepEqual(last.choices, []);
            assert.ok(last.usage.completion_tokens > 0);
            assert.ok(items.every((c) => c.object === "text_completion" && !c.usage));
            assert.equal(items.map((c) => c.choices[0].text).join(""), fixedText);
            assert.equal(items.at(-1).choices[0].finish_reason, "stop");
            const plain = await client.completions.create({ model, prompt: "[text]", max_tokens: 400, stream: true });
            assert.ok((await collect(plain)).items.every((c) => !c.usage && c.choices.length === 1));
        });

        test("broken off", async () => {
            const stream = await client.completions.create({ model, prompt: "[cut]", max_tokens: 400, stream: true });
            const { items, error } = await collect(stream);
            assert.ok(items.length > 0);
            assert.ok(error instanceof APIError, `${error}`);
        });
    });
}

describe("embeddings", () => {
    const model = "lab/embedder",
        input = ["a river", "a stone — kámen"];

    test("in base64 and as numbers, the same", async () => {
        const asBase64 = await client.embeddings.create({ model, input }); // the client's own default, undone by it
        assert.equal((await lastAsked(model)).body.encoding_format, "base64");
        const asNumbers = await client.embeddings.create({ model, input, encoding_format: "float" });
        assert.equal((await lastAsked(model)).body.encoding_format, "float");
        assert.equal(asBase64.object, "list");
        assert.deepEqual(
            asBase64.data.map((d) => d.index),
            [0, 1],
        );
        for (const i of [0, 1]) {
            const [a, b] = [asBase64.data[i].embedding, asNumbers.data[i].embedding].map((v) => Array.from(v));
            assert.equal(a.length, 1536);
            assert.equal(b.length, 1536);
            assert.ok(a.every((x, k) => Math.abs(x - b[k]) < 1e-6));
            assert.ok(Math.abs(Math.hypot(...a) - 1) < 1e-4);
        }
        assert.ok(asBase64.usage.prompt_tokens > 0);
        const raw = await client.embeddings.create({ model, input, encoding_format: "base64" });
        assert.equal(Buffer.from(raw.data[0].embedding, "base64").length, 4 * 1536);
    });

    test("options go along, costs come back", async () => {
        const { data, response } = await client.embeddings
            .create({ model, input: "a river", dimensions: 64 })
            .withResponse();
        assert.equal(data.data[0].embedding.length, 64);
        assert.equal(response.headers.get("x-weir-model"), model);
        assert.ok(Number(response.headers.get("x-weir-cost-usd")) > 0);
    });

    test("who has none is not asked", async () => {
        for (const other of ["anthropic-model", "gemini-model"]) {
            const error = await errorOf(client.embeddings.create({ model: other, input }));
            assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
        }
        assert.ok((await errorOf(client.embeddings.create({ model: "weir", input }))) instanceof OpenAI.NotFoundError);
    });
});

describe("models", () => {
    const names = ["weir", "openai-model", "anthropic-model", "gemini-model", "lab/embedder"];

    test("list", async () => {
        const { items } = await collect(client.models.list());
        assert.deepEqual(
            items.map((m) => m.id),
            names,
        );
        assert.ok(
            items.every((m) => m.object === "model" && typeof m.owned_by === "string" && Number.isInteger(m.created)),
        );
    });

    test("each by its name", async () => {
        for (const name of names) assert.equal((await client.models.retrieve(name)).id, name);
        const error = await errorOf(client.models.retrieve("no-such-model"));
        assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
        assert.equal(error.code, "model_not_found");
    });

    test("a name with a slash may also be written as it is", async () => {
        const answer = await fetch(gateway + "/v1/models/lab/embedder", {
            headers: { authorization: `Bearer ${key}` },
        });
        assert.equal((await answer.json()).id, "lab/embedder");
    });
});
