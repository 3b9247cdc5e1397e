#!/usr/bin/env python3
"""What a request may say about routing, and who is chosen: knobs in the model's name and in headers, pinned models,
/v1/route, /v1/models, requests that only some models can answer.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import http.client, json, shutil

import gatewaylib
from gatewaylib import Case, Trained, ask_over, chat_body, model, weir


class Knobs(Trained):
    def start(self, rules=(), **more):
        vendor = self.vendor(list(rules))
        folder = self.subfolder("weir")
        shutil.copy(self.trained / "weir.mdb", folder)
        models = [model(name, input=a, output=b) for name, (a, b) in self.PRICES.items()]
        more.setdefault("policy", {"value_usd": 0.01})
        return vendor, self.gateway(self.config(vendor, models, **more), folder=folder)

    def chosen(self, gateway, model_="weir", text=None, headers=None):
        answer = gateway.chat(model_, text or self.HARD, headers)
        self.assertEqual(answer.status, 200, answer)
        return answer.headers["x-weir-model"]

    def test_a_trained_store_decides_by_the_prompt(self):
        _, gateway = self.start()
        self.assertEqual((self.chosen(gateway), self.chosen(gateway, text=self.EASY)), ("dear", "cheap"))
        answer = gateway.chat(text=self.EASY)
        self.assertIn(answer.headers["x-weir-rule"], ("plugin", "minimax"))
        self.assertTrue(1e-6 < float(answer.headers["x-weir-predicted-cost-usd"]) < 1e-4, answer.headers)
        self.assertTrue(float(answer.headers["x-weir-cost-usd"]) > 0)

    def test_knobs(self):
        _, gateway = self.start()
        cases = [("weir:value=0", "cheap"), ("weir:value=0.0001", "cheap"), ("weir:value=10", "dear"),
                 ("weir:mu=1", "cheap"), ("weir:mu=0.999", "cheap"), ("weir:mu=0", "dear"), ("weir:mu=0.1", "dear"),
                 ("weir:max_cost=0.0001", "cheap"), ("weir:max_cost=1", "dear"), ("weir:min_quality=0.8", "dear"),
                 ("weir:value=0,min_quality=0.8", "dear"), ("weir:value=10,max_cost=0.0001", "cheap"),
                 ("weir:max_latency_ms=300,value=10", "cheap"), ("weir:value=1e1", "dear")]
        for name, wanted in cases:
            with self.subTest(name):
                self.assertEqual(self.chosen(gateway, name), wanted)
                headers = {f"x-weir-{k.replace('_', '-')}": v for k, v in
                           (pair.split("=") for pair in name.removeprefix("weir:").split(","))}
                self.assertEqual(self.chosen(gateway, "weir", headers=headers), wanted)
        # a header goes before the model's name, and x-weir-model before both
        self.assertEqual(self.chosen(gateway, "weir:value=0", headers={"x-weir-value": "10"}), "dear")
        self.assertEqual(self.chosen(gateway, "dear", headers={"x-weir-model": "cheap"}), "cheap")
        # and nothing of it stays
        self.assertEqual(self.chosen(gateway), "dear")

    def test_policies(self):
        _, gateway = self.start()
        for name in "plugin", "minimax", "constrained", "random", "thompson":
            answer = gateway.chat(f"weir:policy={name}", self.HARD)
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(gateway.chat("weir", self.HARD, {"x-weir-policy": name}).status, 200)
        seen = {self.chosen(gateway, "weir:policy=random") for _ in range(40)}
        self.assertEqual(seen, {"cheap", "dear"})
        seen = [self.chosen(gateway, "weir:explore=0.5") for _ in range(60)]
        self.assertTrue(10 <= seen.count("cheap") <= 50, seen.count("cheap"))

    def test_limits_that_nobody_keeps(self):
        """No model is so cheap, or so good: the nearest one answers, and the answer says that nobody kept the limit."""
        _, gateway = self.start()
        for name, wanted in (("weir:max_cost=0.0000000001", "cheap"), ("weir:min_quality=1", "dear")):
            answer = gateway.chat(name, self.HARD)
            if answer.status == 200:
                self.assertEqual(answer.headers["x-weir-model"], wanted)
            else:
                self.assertEqual(answer.status, 400, answer)

    def test_what_is_wrong_is_a_bad_request(self):
        vendor, gateway = self.start()
        wrong = ["weir:", "weir:value", "weir:value=", "weir:value=x", "weir:value=-1", "weir:value=nan", "weir:value=inf",
                 "weir:value=1e99", "weir:value=1 ", "weir:value=0x10", "weir:mu=1.1", "weir:mu=-0.1", "weir:min_quality=2",
                 "weir:max_cost=-1", "weir:colour=red", "weir:value=1,", "weir:value=1,,mu=0", "weir:policy=oracle",
                 "weir:policy=", "weir:policy=fixed", "weir:explore=0.6", "weir:" + "x" * 200]
        for name in wrong:
            with self.subTest(name[:60]):
                for ask in gateway.chat, gateway.stream:
                    answer = ask(name)
                    self.assertEqual((answer.status, answer.error["code"], answer.error["param"]),
                                     (400, "invalid_knob", "model"), answer)
                    self.assertEqual(answer.error["type"], "invalid_request_error")
                    self.assertLess(len(answer.error["message"]), 300)
        for header, value in (("x-weir-value", "x"), ("x-weir-mu", "2"), ("x-weir-max-cost", ""), ("x-weir-policy", "best"),
                              ("x-weir-min-quality", "1.5"), ("x-weir-explore", "nan")):
            with self.subTest(header):
                answer = gateway.chat(headers={header: value})
                self.assertEqual((answer.status, answer.error["code"], answer.error["param"]), (400, "invalid_knob", header))
        self.assertEqual(vendor.stats()["requests"], 0)

    def test_models_that_are_not_there(self):
        vendor, gateway = self.start()
        for name in "gpt-nothing", "router-mf-0.116", "router-bert-0.5", "WEIR", "Weir", "weird", "cheap ", "models/cheap":
            with self.subTest(name):
                answer = gateway.chat(name)
                self.assertEqual((answer.status, answer.error["code"], answer.error["param"]), (404, "model_not_found", "model"))
                answer = gateway.ask("POST", "/v1/messages", {"model": name, "max_tokens": 5, "messages": [
                    {"role": "user", "content": "x"}]})
                self.assertEqual((answer.status, answer.json["type"], answer.error["type"]), (404, "error", "not_found_error"))
        self.assertIn("reserved", gateway.chat("router-mf-0.116").error["message"])
        self.assertEqual(gateway.chat("weird", headers={"x-weir-model": "weir"}).status, 200)
        for body in ({}, {"model": "weir"}, {"model": 7, "messages": []}, {"model": "weir", "messages": "x"}, [],
                     {"model": "weir", "messages": []}, "{", "", b"\xff", {"model": None, "messages": []}):
            with self.subTest(body=body):
                answer = gateway.ask("POST", "/v1/chat/completions", body)
                self.assertEqual(answer.status, 400, answer)
                self.assertTrue(answer.error["message"])

    def test_the_list_of_models(self):
        _, gateway = self.start()
        listed = gateway.ask("GET", "/v1/models")
        self.assertEqual([m["id"] for m in listed.json["data"]], ["weir", "cheap", "dear"])
        self.assertTrue(all(m["object"] == "model" for m in listed.json["data"]))
        self.assertEqual(gateway.ask("GET", "/v1/models/dear").json["id"], "dear")
        self.assertEqual(gateway.ask("GET", "/v1/models/nobody").status, 404)
        listed = gateway.ask("GET", "/v1/models", headers={"anthropic-version": "2023-06-01"}).json
        self.assertEqual(([m["id"] for m in listed["data"]], listed["has_more"]), (["weir", "cheap", "dear"], False))
        self.assertEqual(gateway.ask("POST", "/v1/models").status, 405)
        self.assertEqual(gateway.ask("GET", "/v1/nothing").status, 404)
        self.assertEqual(gateway.ask("GET", "/v1/chat/completions").status, 405)

    def test_route_explains_and_asks_nobody(self):
        vendor, gateway = self.start()
        for body, wanted in (({"prompt": self.HARD}, "dear"), ({"prompt": self.EASY}, "cheap"),
                             (chat_body("weir", self.HARD), "dear"), (chat_body("weir:value=0", self.HARD), "cheap"),
                             (chat_body("cheap", self.HARD), "cheap"), ({"prompt": self.HARD, "model": "weir:mu=1"}, "cheap")):
            found = gateway.ask("POST", "/v1/route", body)
            self.assertEqual(found.status, 200, found)
            self.assertEqual(found.json["model"], wanted, body)
            self.assertAlmostEqual(sum(m["propensity"] for m in found.json["models"]), 1, 6)
        for status, body in ((400, {"prompt": 7}), (400, "x"), (404, chat_body("nobody")), (400, chat_body("weir:x=1")), (400, {})):
            self.assertEqual(gateway.ask("POST", "/v1/route", body).status, status, body)
        self.assertEqual(vendor.stats()["requests"], 0)
        gateway.stop()
        self.assertEqual(weir("store", "export", "--log", "--store", gateway.store)[0], "")

    def test_route_says_what_chat_does(self):
        _, gateway = self.start()
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=10)
        for i in range(30):
            text = f"{self.HARD if i % 2 else self.EASY} {i}"
            found = ask_over(connection, "POST", "/v1/route", chat_body("weir", text)).json["model"]
            answer = ask_over(connection, "POST", "/v1/chat/completions", chat_body("weir", text))
            self.assertEqual(answer.headers["x-weir-model"], found)
        connection.close()


class Able(Case):
    """Requests go to models that can answer them."""

    def start(self):
        vendor = self.vendor({"rules": [], "lenient": True})
        models = [model("plain", abilities={"tools": False, "images": False, "json": False}, max_input_tokens=200),
                  model("sees", abilities={"tools": False, "json": False}, max_input_tokens=1000),
                  model("all", abilities={"audio": True}, max_input_tokens=3000)]
        return vendor, self.gateway(self.config(vendor, models))

    def by(self, gateway, **body):
        answer = gateway.chat(**body)
        return answer.headers["x-weir-model"] if answer.status == 200 else (answer.status, answer.error["code"])

    def test_abilities(self):
        _, gateway = self.start()
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        image = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {
            "url": "data:image/png;base64,iVBORw0KGgo="}}]}]
        sound = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]
        self.assertEqual(self.by(gateway), "plain")
        self.assertEqual(self.by(gateway, tools=[tool]), "all")
        self.assertEqual(self.by(gateway, messages=image), "sees")
        self.assertEqual(self.by(gateway, messages=sound), "all")
        self.assertEqual(self.by(gateway, response_format={"type": "json_object"}), "all")
        self.assertEqual(self.by(gateway, model="plain", tools=[tool]), "plain")  # whoever pins knows better

    def test_room(self):
        _, gateway = self.start()
        self.assertEqual(self.by(gateway, text="word " * 100), "plain")
        self.assertEqual(self.by(gateway, text="word " * 500), "sees")
        self.assertEqual(self.by(gateway, text="word " * 2000), "all")
        self.assertEqual(self.by(gateway, text="word " * 9000), (400, "context_length_exceeded"))

    def test_nobody(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("plain", abilities={"tools": False})]))
        answer = gateway.chat(tools=[{"type": "function", "function": {"name": "f"}}])
        self.assertEqual((answer.status, answer.error["code"]), (400, "unsupported_request"))

    def test_max_output_tokens(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("only", max_output_tokens=100)]))
        for asked, sent in ((50, 50), (100, 100), (5000, 100), (None, None)):
            more = {"max_tokens": asked} if asked else {}
            self.assertEqual(gateway.chat(**more).status, 200)
            self.assertEqual(json.loads(vendor.last("only")["body"]).get("max_tokens"), sent)


if __name__ == "__main__":
    gatewaylib.main()
