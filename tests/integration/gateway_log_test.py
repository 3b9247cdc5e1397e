#!/usr/bin/env python3
"""The traffic log, and what is learned from it: every decision and every feedback, their costs, and that none that was
acknowledged is lost.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import http.client, json, os, random, signal, threading, time

import gatewaylib
from gatewaylib import Case, Gateway, ask_over, chat_body, model, until, weir

PROMPT = "Which river has the longest weir, and who built it?"


class LogCase(Case):
    def exported(self, gateway):
        out, _ = weir("store", "export", "--log", "--store", gateway.store)
        return [json.loads(line) for line in out.splitlines() if line]

    def served(self, gateway):
        """Records of decisions by id, after the gateway has ended."""
        found = [r for r in self.exported(gateway) if r["kind"] == "served"]
        self.assertEqual(len({r["id"] for r in found}), len(found), "an id comes twice")
        return {r["id"]: r for r in found}

    def check_sound(self, record):
        """What holds for every record."""
        models = record["models"]
        self.assertTrue(models)
        self.assertAlmostEqual(sum(m["propensity"] for m in models.values()), 1, 6, record)
        self.assertIn(record["chosen"], models)
        self.assertGreater(models[record["chosen"]]["propensity"], 0)
        self.assertTrue(all(m["quality"] is None or 0 <= m["quality"] <= 1 for m in models.values()))
        self.assertTrue(record["rule"] and record["reason"])
        self.assertRegex(record["price_version"], "^[0-9a-f]{16}$")
        self.assertGreaterEqual(record["features_version"], 1)
        self.assertLess(abs(record["time_ms"] / 1000 - time.time()), 120)
        costs = [a["cost"] for a in record["attempts"]]
        self.assertAlmostEqual(record["cost"], sum(costs), delta=1e-6 * max(1e-9, sum(costs)) + 1e-12)
        for a in record["attempts"]:
            self.assertGreaterEqual(a["started_ms"], 0)
            self.assertGreaterEqual(a["ms"], 0)
        self.assertEqual(record["fallback"], record["answered"] not in (None, record["chosen"]))


class Decisions(LogCase):
    def test_every_decision_is_there(self):
        vendor = self.vendor([
            {"match": {"model": "shaky", "every": 3}, "error": {"kind": "server"}},
            {"match": {"model": "shaky", "every": 2, "stream": "only"}, "cut": {"events": 5}},
            {"match": {"model": "*"}, "tokens": 9}])
        models = [model("first", "shaky", input=3, output=7), model("second", "solid", input=5, output=11)]
        gateway = self.gateway(self.config(vendor, models, retry={"max": 1}, policy={"explore_floor": 0.1}))
        seen = {}
        for i in range(60):
            ask = gateway.stream if i % 2 else gateway.chat
            answer = ask("first" if i % 5 == 4 else "weir", PROMPT, {"x-request-id": f"r-{i}"})
            seen[answer.headers["x-weir-decision-id"]] = i, answer
        self.assertEqual(gateway.chat("nobody").status, 404)  # nothing is decided
        gateway.stop()
        records = self.served(gateway)
        self.assertEqual(set(records), set(seen))
        for decision, (i, answer) in seen.items():
            with self.subTest(i=i):
                r = records[decision]
                self.check_sound(r)
                self.assertEqual((r["request_id"], r["api"], r["streamed"]), (f"r-{i}", "chat", i % 2 == 1))
                self.assertEqual(r["status"], answer.status)
                self.assertEqual(r["answered"], answer.headers.get("x-weir-model"))
                self.assertEqual(r["pinned"], i % 5 == 4)
                self.assertEqual(len(r["attempts"]), int(answer.headers.get("x-weir-attempts", "1")))
                if r["pinned"]:
                    self.assertEqual((list(r["models"]), r["models"]["first"]["propensity"]), (["first"], 1))
                else:
                    self.assertEqual(set(r["models"]), {"first", "second"})
                    self.assertTrue(all(m["propensity"] >= 0.1 - 1e-6 for m in r["models"].values()))
                if answer.headers.get("x-weir-fallback-from"):
                    self.assertEqual(answer.headers["x-weir-fallback-from"], r["chosen"])
                    self.assertNotEqual(r["attempts"][0]["result"], "ok")
                if r["attempts"][-1]["result"] == "ok":
                    self.assertFalse(r["usage"]["estimated"])
                    self.assertEqual(r["usage"]["output_tokens"], 9)
                    price = {"first": (3, 7), "second": (5, 11)}[r["answered"]]
                    wanted = (price[0] * r["usage"]["input_tokens"] + price[1] * 9) * 1e-6
                    self.assertAlmostEqual(r["attempts"][-1]["cost"], wanted, delta=1e-6 * wanted)
                    self.assertGreater(r["latency_ms"], 0)
                    self.assertGreater(r["first_token_ms"], 0)
        self.assertTrue(any(len(r["attempts"]) == 2 for r in records.values()))
        self.assertTrue(any(r["attempts"][-1]["result"] == "cut" for r in records.values()))
        self.assertGreater(len({r["chosen"] for r in records.values() if not r["pinned"]}), 1, "explore_floor has no effect")

    def test_costs_of_each_kind_of_token(self):
        prices = {"input": 3.0, "output": 15.0, "cached_input_usd_per_mtok": 0.3, "cache_write_usd_per_mtok": 3.75,
                  "audio_input_usd_per_mtok": 40.0, "reasoning_usd_per_mtok": 12.0, "audio_output_usd_per_mtok": 80.0,
                  "request_usd": 0.0001}
        counts = {"input": 1000, "cached": 600, "cache_write": 100, "output": 300, "reasoning": 120, "audio_input": 50,
                  "audio_output": 30}
        vendor = self.vendor([{"usage": counts}])
        config = self.config(vendor, [model("o", **prices), model("plain", input=3.0, output=15.0)])
        config["providers"] += [
            {"name": "claude", "protocol": "anthropic", "base_url": f"http://{vendor.address}/v1"},
            {"name": "google", "protocol": "gemini", "base_url": f"http://{vendor.address}/v1beta"}]
        config["models"] += [model("c", provider="claude", **prices), model("g", provider="google", **prices)]
        gateway = self.gateway(config)
        # plain input, cached, written, audio in, plain output, reasoning, audio out; as each vendor can tell them
        parts = {"o": (250, 600, 100, 50, 150, 120, 30), "plain": (250, 600, 100, 50, 150, 120, 30),
                 "c": (300, 600, 100, 0, 300, 0, 0)}
        rates = [3.0, 0.3, 3.75, 40.0, 15.0, 12.0, 80.0]
        ids = {}
        for name in "o", "plain", "c", "g":
            for streamed in False, True:
                answer = (gateway.stream if streamed else gateway.chat)(name)
                self.assertEqual(answer.status, 200, answer)
                ids[name, streamed] = answer
        metrics = gateway.metrics()
        gateway.stop()
        records = self.served(gateway)
        for (name, streamed), answer in ids.items():
            with self.subTest(f"{name}, streamed {streamed}"):
                r = records[answer.headers["x-weir-decision-id"]]
                self.check_sound(r)
                u = r["usage"]
                found = (u["input_tokens"] - u["cached_input_tokens"] - u["cache_write_tokens"] - u["audio_input_tokens"],
                         u["cached_input_tokens"], u["cache_write_tokens"], u["audio_input_tokens"],
                         u["output_tokens"] - u["reasoning_tokens"] - u["audio_output_tokens"], u["reasoning_tokens"],
                         u["audio_output_tokens"])
                self.assertTrue(all(n >= 0 for n in found), u)
                self.assertFalse(u["estimated"])
                self.assertEqual((u["input_tokens"], u["cached_input_tokens"], u["output_tokens"]), (1000, 600, 300))
                if name in parts:
                    self.assertEqual(found, parts[name])
                rate = rates if name != "plain" else [3.0] * 4 + [15.0] * 3
                wanted = sum(n * usd for n, usd in zip(found, rate)) * 1e-6 + (0 if name == "plain" else 0.0001)
                self.assertAlmostEqual(r["cost"], wanted, delta=1e-9)
                told = answer.headers.get("x-weir-cost-usd")
                if streamed:
                    told = next(word for c in answer.comments for word in c.split() if word.startswith("cost_usd="))[9:]
                self.assertAlmostEqual(float(told), wanted, delta=1e-9)
        wanted = sum(r["cost"] for r in records.values())
        self.assertAlmostEqual(metrics["weir_cost_usd_total"], wanted, delta=1e-8)
        for kind, n in {"input": 1000, "cached_input": 600, "output": 300, "reasoning": 120}.items():
            self.assertEqual(metrics["weir_tokens_total", {"model": "o", "kind": kind}], 2 * n, kind)
        self.assertEqual(metrics["weir_tokens_total", {"model": "c", "kind": "cache_write"}], 200)

    def test_what_failed_and_who_left(self):
        vendor = self.vendor([{"match": {"prompt": "fail"}, "error": {"kind": "server"}},
                              {"match": {"prompt": "leave"}, "endless": True, "per_token_ms": 5}])
        gateway = self.gateway(self.config(vendor, [model("first")], retry={"max": 1}))
        failed = gateway.chat(text="fail").decision
        with gateway.open_stream(text="leave") as stream:
            stream.read(20)
            left = stream.headers["x-weir-decision-id"]
        self.assertTrue(gateway.idle())
        gateway.stop()
        records = self.served(gateway)
        r = records[failed]
        self.assertEqual((r["status"], r["answered"], r["fallback"], r["cost"]), (502, None, False, 0))
        self.assertEqual([(a["result"], a["status"]) for a in r["attempts"]], [("server_error", 500)] * 2)
        r = records[left]
        self.assertEqual((r["status"], r["client_gone"], r["answered"]), (499, True, "first"))
        self.assertEqual(r["attempts"][0]["result"], "client_gone")
        self.assertTrue(r["usage"]["estimated"])
        self.assertGreaterEqual(r["usage"]["output_tokens"], 15)
        self.assertGreater(r["cost"], 0)

    def test_a_failed_try_that_was_estimated(self):
        """The vendor counted the answer's tokens, and nobody those of the try before it: the cost is estimated."""
        vendor = self.vendor([{"match": {"model": "bad"}, "malformed": "bad_json", "malformed_after": 1}])
        models = [model("first", "bad"), model("second", "good", input=3, output=6)]
        gateway = self.gateway(self.config(vendor, models, retry={"max": 2}))
        whole, plain = gateway.chat(), gateway.chat("second")
        with gateway.open_stream() as stream:
            stream.read()
        decisions = whole.decision, stream.headers["x-weir-decision-id"]
        self.assertEqual(whole.headers["x-weir-fallback-from"], "first")
        self.assertEqual(whole.headers.get("x-weir-usage-estimated"), "true")
        self.assertIsNone(plain.headers.get("x-weir-usage-estimated"))
        for decision in decisions:
            self.assertTrue(gateway.request_log(decision)["usage_estimated"])
        self.assertFalse(gateway.request_log(plain.decision)["usage_estimated"])
        self.assertIn("usage_estimated=true", " ".join(stream.comments))
        gateway.stop()
        records = self.served(gateway)
        for decision in decisions:
            r = records[decision]
            self.check_sound(r)
            self.assertTrue(r["cost_estimated"])
            self.assertFalse(r["usage"]["estimated"])
        self.assertFalse(records[plain.decision]["cost_estimated"])

    def test_both_of_a_hedge(self):
        vendor = self.vendor([{"match": {"model": "slow"}, "first_token_ms": 3000}])
        gateway = self.gateway(self.config(vendor, [model("first", "slow"), model("second", "quick")],
                                           hedge={"on": True, "max_share": 1, "least_ms": 60}))
        decision = gateway.chat().decision
        gateway.stop()
        r = self.served(gateway)[decision]
        self.check_sound(r)
        self.assertEqual([(a["model"], a["result"]) for a in r["attempts"]], [("first", "hedge_lost"), ("second", "ok")])
        self.assertTrue(all(a["cost"] > 0 for a in r["attempts"]))

    def test_other_endpoints(self):
        vendor = self.vendor()
        config = self.config(vendor, [model("first", {"provider": "sim", "model": "x", "legacy_completions": True}),
                                      model("embed")], embeddings="embed")
        gateway = self.gateway(config)
        ids = {
            "completions": gateway.ask("POST", "/v1/completions", {"model": "weir", "prompt": "hi"}),
            "messages": gateway.ask("POST", "/v1/messages", {"model": "first", "max_tokens": 50, "messages": [
                {"role": "user", "content": "hi"}]}),
            "embeddings": gateway.ask("POST", "/v1/embeddings", {"model": "weir", "input": "hi"})}
        for api, answer in ids.items():
            self.assertEqual(answer.status, 200, answer)
        gateway.stop()
        records = self.served(gateway)
        for api, answer in ids.items():
            r = records[answer.decision]
            self.check_sound(r)
            self.assertEqual(r["api"], api)
            self.assertEqual(r["answered"], answer.headers["x-weir-model"])
            self.assertGreater(r["usage"]["input_tokens"], 0)
            self.assertGreater(r["cost"], 0)

    def test_off(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("first")], traffic={"on": False}))
        decision = gateway.chat().decision
        self.assertEqual(gateway.feedback(decision, 1).status, 404)
        gateway.stop()
        self.assertEqual(self.exported(gateway), [])

    def test_prompts_are_kept_only_where_that_is_asked_for(self):
        vendor = self.vendor()
        text = "My card is 4111111111111111, my mail is jo.doe@example.org; what is a Nadelwehr?"
        for prompts in False, True:
            gateway = self.gateway(self.config(vendor, [model("first")], traffic={
                "prompts": prompts, "redact": ["[0-9]{13,19}", "[a-z.]+@[a-z.]+"]}))
            for ask in gateway.chat, gateway.stream:
                ask(text=text)
            gateway.stop()
            raw = gateway.store.read_bytes() + gateway.err().encode()
            out, _ = weir("store", "export", "--log", "--store", gateway.store)
            for secret in "4111111111111111", "jo.doe@example.org":
                self.assertNotIn(secret, out)
                self.assertNotIn(secret.encode(), raw)
            self.assertEqual("Nadelwehr" in out, prompts)
            self.assertEqual(b"Nadelwehr" in raw, prompts)
            if prompts:
                kept = "My card is [redacted], my mail is [redacted]; what is a Nadelwehr?"
                self.assertEqual([kept in r["prompt"] for r in self.exported(gateway)], [True, True])


class Feedback(LogCase):
    def test_answers(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("first"), model("second")]))
        a, b = gateway.chat().decision, gateway.chat().decision
        good = [(a, {"quality": 0.25}), (a, {"quality": 1, "source": "judge"}), (b, {"thumbs": "up"}),
                (b, {"thumbs": "down", "source": "x" * 63})]
        for decision, body in good:
            answer = gateway.ask("POST", "/v1/feedback", {"id": decision, **body})
            self.assertEqual((answer.status, answer.json), (200, {"status": "recorded"}), answer)
        unknown = "weir-" + "0123456789abcdef" + "01234567"
        wrong = [(404, {"id": unknown, "quality": 1}), (409, {"id": a, "quality": 1}),
                 (409, {"id": a, "quality": 1, "source": "judge"}), (400, {"id": a}), (400, {"quality": 1}),
                 (400, {"id": a, "quality": 1.01}), (400, {"id": a, "quality": -0.01}), (400, {"id": a, "quality": "1"}),
                 (400, {"id": a, "thumbs": "sideways"}), (400, {"id": "x", "quality": 1}), (400, {"id": 7, "quality": 1}),
                 (400, {"id": a, "quality": 1, "source": "y" * 64}), (400, [1]), (400, "no JSON"), (400, ""),
                 (400, b"\xff\xfe"), (400, {"id": a, "quality": 1, "source": "z", "model": "nobody"})]
        for status, body in wrong:
            with self.subTest(body=body):
                answer = gateway.ask("POST", "/v1/feedback", body)
                self.assertEqual(answer.status, status, answer)
                self.assertTrue(answer.error["message"])
        metrics = gateway.metrics()
        self.assertEqual(metrics["weir_feedbacks_total"], 4)
        self.assertGreaterEqual(metrics["weir_feedbacks_refused_total"], 3)
        self.assertEqual(metrics["weir_requests_total", {"endpoint": "feedback", "code": "200"}], 4)
        gateway.stop()
        records = self.served(gateway)
        self.assertEqual([(f["source"], f["quality"]) for f in records[a]["feedback"]], [("user", 0.25), ("judge", 1.0)])
        self.assertEqual([(f["source"], f["quality"]) for f in records[b]["feedback"]], [("user", 1.0), ("x" * 63, 0.0)])

    def test_at_once_after_the_answer(self):
        """A client may be quicker than the commit."""
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("first")], traffic={"commit_ms": 2000}))
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
        for i in range(20):
            answer = ask_over(connection, "POST", "/v1/chat/completions", chat_body(stream=i % 2 == 1))
            body = {"id": answer.decision, "quality": 0.5}
            self.assertEqual(ask_over(connection, "POST", "/v1/feedback", body).status, 200)
        connection.close()

    def test_shifts_estimates_and_decisions(self):
        vendor = self.vendor()
        models = [model("first", input=1, output=1), model("second", input=2, output=2)]
        gateway = self.gateway(self.config(vendor, models, policy={"value_usd": 0.01}, traffic={"refresh_ms": 200}))
        prompts = [f"{verb} weir number {i} of the {river}" for i in range(10) for verb in ("Describe", "Measure", "Paint")
                   for river in ("Isar", "Rhône", "Thames", "Elbe")]
        def route(prompt):
            return gateway.ask("POST", "/v1/route", {"prompt": prompt}).json
        before = route(prompts[0])
        self.assertEqual(before["model"], "first")
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
        n = 0
        for i in range(200):
            for name, quality in (("first", 0), ("second", 1)):
                answer = ask_over(connection, "POST", "/v1/chat/completions", chat_body(name, prompts[i % len(prompts)]))
                body = {"id": answer.decision, "quality": quality}
                self.assertEqual(ask_over(connection, "POST", "/v1/feedback", body).status, 200)
                n += 1
        def moved():
            q = {m["name"]: m["quality"] for m in route(prompts[1])["models"]}
            return q["first"] < 0.2 and q["second"] > 0.8
        self.assertTrue(until(moved, 3), route(prompts[1]))
        self.assertEqual(route(prompts[1])["model"], "second")
        self.assertEqual(gateway.chat(text=prompts[2]).headers["x-weir-model"], "second")
        # so are costs, which need no feedback
        found = {m["name"]: m["cost"] for m in route(prompts[1])["models"]}
        self.assertAlmostEqual(found["second"] / found["first"], 2, delta=0.2)
        self.assertTrue(10e-6 < found["first"] < 100e-6, found)
        self.assertEqual(gateway.metrics()["weir_feedbacks_total"], n)
        version = gateway.metrics()["weir_store_version"]
        self.assertGreater(version, 1)
        connection.close()
        gateway.stop()
        # and all that is there again after a restart
        gateway = self.gateway(json.loads(gateway.config_path.read_text()), folder=gateway.folder)
        again = gateway.ask("POST", "/v1/route", {"prompt": prompts[1]}).json
        self.assertEqual(again["model"], "second")

    def test_learning_does_not_hold_up_requests(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("first"), model("second")], threads=2))
        ids = [gateway.chat().decision for _ in range(300)]
        stop, times = threading.Event(), []
        def asking():
            connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
            while not stop.is_set():
                start = time.monotonic()
                assert ask_over(connection, "POST", "/v1/chat/completions", chat_body()).status == 200
                times.append(time.monotonic() - start)
            connection.close()
        asker = threading.Thread(target=asking)
        asker.start()
        try:
            for i, decision in enumerate(ids):
                self.assertEqual(gateway.feedback(decision, i % 2).status, 200)
        finally:
            stop.set()
            asker.join()
        self.assertLess(sorted(times)[len(times) // 2], 0.05 * gatewaylib.SLOW)


class Kill(LogCase):
    ROUNDS, CLIENTS = 8, 4

    def test_no_feedback_that_was_acknowledged_is_lost(self):
        vendor = self.vendor()
        config = self.config(vendor, [model("first"), model("second")], threads=2, traffic={"commit_ms": 5, "refresh_ms": 20})
        folder = self.subfolder("weir")
        rng = random.Random(int(os.environ.get("WEIR_SEED", "1")))
        acknowledged, total = {}, 0
        for round_ in range(self.ROUNDS):
            gateway = Gateway(folder, config)
            self.addCleanup(gateway.kill)
            self.run_clients(gateway, acknowledged, 0.15 + 0.5 * rng.random())
            self.assertEqual(gateway.process.returncode, -signal.SIGKILL)
            gateway.torn = True
            self.check_log(gateway)
            out, _ = weir("store", "check", "--store", gateway.store, "--json", "-")
            self.assertTrue(json.loads(out)["sound"])
            there = {(r["id"], f["source"]): f["quality"] for r in self.exported(gateway) if r["kind"] == "served"
                     for f in r["feedback"]}
            lost = {key: quality for key, quality in acknowledged.items() if there.get(key) != quality}
            self.assertEqual(lost, {}, f"round {round_}")
            self.assertGreater(len(acknowledged), total, "nothing was acknowledged before the kill")
            total = len(acknowledged)
        gateway = self.gateway(config, folder=folder)
        gateway.torn = True
        self.assertEqual(gateway.chat().status, 200)
        some = next(iter(acknowledged))
        self.assertEqual(gateway.feedback(some[0], 0.1, "another").status, 200)  # what was decided before a kill is known
        print(f"{self.ROUNDS} kills, {total} feedbacks acknowledged, none lost")

    def run_clients(self, gateway, acknowledged, seconds):
        def run(number):
            rng = random.Random(number)
            connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
            try:
                while True:
                    answer = ask_over(connection, "POST", "/v1/chat/completions", chat_body(text=f"Question {rng.random()}"))
                    quality, source = round(rng.random(), 6), f"s{number}"
                    told = ask_over(connection, "POST", "/v1/feedback", {"id": answer.decision, "quality": quality,
                                                                         "source": source})
                    if told.status == 200:
                        acknowledged[answer.decision, source] = quality
            except (OSError, http.client.HTTPException):
                pass
            connection.close()
        threads = [threading.Thread(target=run, args=(i,)) for i in range(self.CLIENTS)]
        for t in threads:
            t.start()
        time.sleep(seconds)
        gateway.process.kill()
        gateway.process.wait()
        for t in threads:
            t.join()


if __name__ == "__main__":
    gatewaylib.main()
