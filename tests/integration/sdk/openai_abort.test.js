// Clients that leave: the vendor's call must end. SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { OpenAI, collect, errorOf, expectVendorLeft, openai, protocols, question } = require("./setup.js");

const client = openai();

for (const protocol of protocols) {
    const model = `${protocol}-model`;
    describe(model, () => {
        test("abort in the middle of a stream", () =>
            expectVendorLeft(model, async () => {
                const controller = new AbortController();
                const stream = await client.chat.completions.create(
                    { model, messages: question("[slow]"), stream: true },
                    { signal: controller.signal },
                );
                let n = 0;
                for await (const chunk of stream) if (++n === 5) controller.abort();
                assert.ok(n >= 5 && n < 100, `${n} chunks`);
            }));

        test("leaving the loop", () =>
            expectVendorLeft(model, async () => {
                let n = 0;
                for await (const chunk of await client.chat.completions.create({
                    model,
                    messages: question("[slow]"),
                    stream: true,
                }))
                    if (++n === 5) break;
                assert.equal(n, 5);
            }));

        test("abort by the helper", () =>
            expectVendorLeft(model, async () => {
                const stream = client.chat.completions.stream({ model, messages: question("[slow]") });
                let n = 0;
                stream.on("content", () => {
                    if (++n === 3) stream.abort();
                });
                assert.ok((await errorOf(stream.finalContent())) instanceof OpenAI.APIUserAbortError);
            }));

        for (const stream of [true, false])
            test(`abort before the first token, ${stream ? "stream" : "whole"}`, () =>
                expectVendorLeft(model, async (asked) => {
                    const controller = new AbortController();
                    const answer = errorOf(
                        client.chat.completions.create(
                            { model, messages: question("[silent]"), stream },
                            { signal: controller.signal },
                        ),
                    );
                    await asked();
                    controller.abort();
                    assert.ok((await answer) instanceof OpenAI.APIUserAbortError);
                }));
    });
}

test("the gateway goes on for the others", async () => {
    const stream = await client.chat.completions.create({
        model: "weir",
        messages: question("tell of a river"),
        stream: true,
    });
    const { items, error } = await collect(stream);
    assert.equal(error, null);
    assert.equal(items.at(-1).choices[0].finish_reason, "stop");
});
