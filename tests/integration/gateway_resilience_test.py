#!/usr/bin/env python3
"""Retries, Retry-After, deadlines, circuit breakers and hedges of the gateway.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import threading, time

import gatewaylib
from gatewaylib import Case, model, until

FAST = {"connect_ms": 500, "first_token_ms": 300, "idle_ms": 300, "total_ms": 2000}


def fails(name="bad*", kind="server", to=None, **more):
    match = {"model": name, **({"to": to} if to else {})}
    return {"match": match, "error": {"kind": kind, **more}}


class Retries(Case):
    def start(self, rules, models=None, timeouts=None, **more):
        vendor = self.vendor(rules)
        return vendor, self.gateway(self.config(vendor, models or [model("only", "bad")], timeouts or FAST, **more))

    def test_a_passing_failure_is_tried_again_at_the_same_place(self):
        for kind in "server", "unavailable", "overloaded", "rate_limit":
            for streamed in False, True:
                with self.subTest(f"{kind}, {'stream' if streamed else 'whole'}"):
                    vendor, gateway = self.start([fails(kind=kind, to=1)], retry={"max": 1})
                    answer = (gateway.stream if streamed else gateway.chat)()
                    self.assertEqual(answer.status, 200, answer)
                    self.assertEqual(answer.headers["x-weir-attempts"], "2")
                    self.assertNotIn("x-weir-fallback-from", answer.headers)
                    self.assertEqual(vendor.count("bad"), 2)
                    gateway.stop()
                    vendor.stop()

    def test_max_is_kept(self):
        """One place: the first try and retry.max more, however many that is."""
        for most in 0, 1, 2, 5:
            for kind in "server", "overloaded", "rate_limit":
                with self.subTest(f"{kind}, {most}"):
                    vendor, gateway = self.start([fails(kind=kind)], retry={"max": most, "base_ms": 2, "max_ms": 4})
                    answer = gateway.chat()
                    self.assertGreaterEqual(answer.status, 429)
                    self.assertEqual(vendor.count("bad"), 1 + most)
                    line = gateway.request_log(answer.decision)
                    self.assertEqual(line["attempts"], 1 + most)
                    gateway.stop()
                    vendor.stop()

    def test_max_is_for_all_models_together(self):
        models = [model(f"m{i}", f"bad-{i}") for i in range(6)]
        vendor, gateway = self.start([fails()], models, retry={"max": 3, "base_ms": 2, "max_ms": 4})
        self.assertEqual(gateway.chat().status, 502)
        self.assertEqual(vendor.stats()["requests"], 4)

    def test_what_is_hopeless_is_not_tried_again(self):
        for kind in "auth", "quota", "not_found", "bad_request", "content_filter", "context_length":
            with self.subTest(kind):
                vendor, gateway = self.start([fails(kind=kind)], retry={"max": 5, "base_ms": 2})
                self.assertIn(gateway.chat().status, (400, 502))
                self.assertEqual(vendor.count("bad"), 1)
                gateway.stop()
                vendor.stop()

    def test_waits_grow(self):
        """Between retries: at least half of base_ms, doubling, at most max_ms."""
        vendor, gateway = self.start([fails()], retry={"max": 4, "base_ms": 80, "max_ms": 200})
        start = time.monotonic()
        gateway.chat()
        took = time.monotonic() - start
        self.assertEqual(vendor.count("bad"), 5)
        self.assertGreater(took, (80 + 160 + 200 + 200) * 0.5e-3)
        self.assertLess(took, ((80 + 160 + 200 + 200) * 1e-3 + 0.3) * gatewaylib.SLOW)

    def test_other_models_can_be_forbidden(self):
        vendor, gateway = self.start([fails()], [model("first", "bad"), model("second", "good")],
                                     retry={"max": 2, "base_ms": 2, "other_models": False})
        self.assertEqual(gateway.chat().status, 502)
        self.assertEqual(vendor.count("good"), 0)

    def test_pinned_models_are_not_left(self):
        vendor, gateway = self.start([fails()], [model("first", "bad"), model("second", "good")], retry={"max": 2})
        answer = gateway.chat("first")
        self.assertEqual(answer.status, 502)
        self.assertEqual(vendor.count("good"), 0)
        self.assertEqual(gateway.chat().headers["x-weir-model"], "second")

    def test_fallback_goes_by_risk(self):
        """All equally good: the order is the order of costs, once these are known."""
        models = [model("dear", "bad-dear", input=50, output=90), model("middle", "bad-middle", input=5, output=9),
                  model("cheap", "good-cheap", input=1, output=2), model("cheapest", "bad-cheapest", input=0.5, output=1)]
        vendor, gateway = self.start([fails("nothing")], models, retry={"max": 3}, policy={"value_usd": 0.001})
        for name in "dear", "middle", "cheap", "cheapest":
            for _ in range(4):
                self.assertEqual(gateway.chat(name).status, 200)
        def learned():
            return gateway.ask("POST", "/v1/route", {"prompt": "What is a weir?"}).json["model"] == "cheapest"
        self.assertTrue(until(learned), gateway.ask("POST", "/v1/route", {"prompt": "What is a weir?"}))
        vendor.scenario([fails()])
        answer = gateway.chat()
        self.assertEqual(answer.headers["x-weir-model"], "cheap")
        self.assertEqual(answer.headers["x-weir-fallback-from"], "cheapest")


class RetryAfter(Case):
    def test_alone_waits_as_long_as_it_was_asked_to(self):
        vendor = self.vendor([fails(kind="rate_limit", to=1, retry_after_ms=400)])
        gateway = self.gateway(self.config(vendor, [model("only", "bad")], retry={"max": 1, "base_ms": 2, "max_ms": 4}))
        with self.slower_than(0.4), self.faster_than(0.9):
            self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(vendor.count("bad"), 2)

    def test_seconds_as_well_as_milliseconds(self):
        vendor = self.vendor([fails(kind="unavailable", to=1, retry_after=1)])
        gateway = self.gateway(self.config(vendor, [model("only", "bad")], retry={"max": 1, "base_ms": 2, "max_ms": 4}))
        with self.slower_than(1), self.faster_than(1.5):
            self.assertEqual(gateway.chat().status, 200)

    def test_gemini_tells_it_in_the_body(self):
        vendor = self.vendor([fails(kind="rate_limit", to=1, retry_after_ms=400), fails(kind="rate_limit", retry_after_ms=2500)])
        config = self.config(vendor, [model("only", "bad")], retry={"max": 1, "base_ms": 2, "max_ms": 4}, protocol="gemini",
                             provider={"base_url": f"http://{vendor.address}/v1beta"})
        gateway = self.gateway(config)
        with self.slower_than(0.4), self.faster_than(0.9):
            answer = gateway.chat(headers={"x-request-id": "a"})
            self.assertEqual((answer.status, answer.headers["retry-after-ms"]), (429, "2500"), answer)
        self.assertEqual(vendor.count("bad"), 2)
        answer = gateway.chat()  # while it rests, nobody asks
        self.assertTrue(1 <= int(answer.headers["retry-after"]) <= 3, answer)
        self.assertEqual(vendor.count("bad"), 2)

    def test_another_place_or_model_takes_over_meanwhile(self):
        for models in ([model("only", {"provider": "sim", "name": "bad", "weight": 1000},
                              {"provider": "sim", "name": "good", "model": "good", "weight": 0.001})],
                       [model("first", "bad"), model("second", "good")]):
            models[0]["deployments"][0]["model"] = "bad"
            vendor = self.vendor([fails(kind="rate_limit", to=1, retry_after_ms=700)])
            gateway = self.gateway(self.config(vendor, models, retry={"max": 1, "base_ms": 2, "max_ms": 4}))
            with self.faster_than(0.5):
                for _ in range(5):
                    self.assertEqual(gateway.chat().headers["x-weir-deployment"], "good")
            self.assertEqual((vendor.count("bad"), vendor.count("good")), (1, 5))
            time.sleep(0.75)
            self.assertEqual(gateway.chat().headers["x-weir-deployment"], "bad")
            gateway.stop()
            vendor.stop()

    def test_the_client_is_told(self):
        vendor = self.vendor([fails(kind="rate_limit", retry_after_ms=2500)])
        gateway = self.gateway(self.config(vendor, [model("only", "bad")]))
        answer = gateway.chat()
        self.assertEqual(answer.status, 429)
        self.assertEqual((answer.headers["retry-after"], answer.headers["retry-after-ms"]), ("3", "2500"))
        answer = gateway.chat()  # while it rests, nobody asks
        self.assertIn(answer.status, (429, 503))
        self.assertTrue(1 <= int(answer.headers["retry-after"]) <= 3, answer)
        self.assertEqual(vendor.count("bad"), 1)

    def test_longer_than_the_deadline_is_not_waited_for(self):
        vendor = self.vendor([fails(kind="rate_limit", retry_after=20)])
        gateway = self.gateway(self.config(vendor, [model("only", "bad")], retry={"max": 3}, limits={"request_ms": 1000}))
        with self.faster_than(0.5):
            answer = gateway.chat()
        self.assertEqual(answer.status, 429)
        self.assertEqual(answer.headers["retry-after"], "20")


class Deadline(Case):
    """limits.request_ms holds everything: tries, waits, other models, streams."""

    def check(self, rules, models, seconds, streamed, **more):
        vendor = self.vendor(rules)
        gateway = self.gateway(self.config(vendor, models, {"first_token_ms": 30000, "idle_ms": 30000, "total_ms": 30000},
                                           limits={"request_ms": int(seconds * 1000)}, **more))
        start = time.monotonic()
        answer = (gateway.stream if streamed else gateway.chat)()
        took = time.monotonic() - start
        self.assertLess(took, (seconds + 0.2) * gatewaylib.SLOW)
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))
        self.assertTrue(gateway.idle())
        gateway.stop()
        vendor.stop()
        return answer, took, vendor

    def test_silent_vendor(self):
        for streamed in False, True:
            answer, took, _ = self.check([{"silent": True}], [model("first"), model("second")], 0.5, streamed,
                                         retry={"max": 5})
            self.assertEqual((answer.status, answer.error["code"]), (504, "upstream_timeout"), answer)
            self.assertGreaterEqual(took, 0.5)

    def test_waits_between_tries(self):
        answer, took, _ = self.check([fails("*", "overloaded")], [model("first")], 0.5, False,
                                     retry={"max": 15, "base_ms": 120, "max_ms": 120})
        self.assertEqual(answer.status, 503)

    def test_slow_failures_one_after_another(self):
        rules = [{**fails("*"), "latency_ms": 200}]
        answer, took, vendor = self.check(rules, [model(f"m{i}") for i in range(8)], 0.5, False, retry={"max": 15})
        self.assertIn(answer.status, (502, 504))

    def test_stream_that_goes_on(self):
        stream, took, _ = self.check([{"endless": True, "per_token_ms": 5}], [model("first")], 0.5, True)
        self.assertEqual(stream.status, 200)
        self.assertFalse(stream.done)
        self.assertEqual(len(stream.errors), 1)
        self.assertGreaterEqual(took, 0.5)


class Limits(Case):
    def test_requests_under_way(self):
        vendor = self.vendor([{"match": {"prompt": "wait"}, "silent": True}])
        gateway = self.gateway(self.config(vendor, [model("only")], limits={"concurrent": 3}))
        waiting = [gateway.open_stream(text="wait") for _ in range(3)]
        self.assertTrue(until(lambda: vendor.stats()["running"] == 3))
        answer = gateway.chat()
        self.assertEqual((answer.status, answer.error["code"]), (503, "too_many_requests_under_way"))
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(gateway.ask("GET", "/readyz").status, 200)  # probes and scrapes go on
        waiting.pop().close()
        self.assertTrue(until(lambda: vendor.stats()["running"] == 2))
        self.assertEqual(gateway.chat().status, 200)
        for stream in waiting:
            stream.close()

    def test_bodies(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("only")], limits={"body_bytes": 65536}))
        self.assertEqual(gateway.chat(text="x" * 60000).status, 200)
        answer = gateway.chat(text="x" * 70000)
        self.assertEqual(answer.status, 413)
        self.assertTrue(answer.error["message"])
        self.assertEqual(vendor.stats()["requests"], 1)

    def test_an_outage(self):
        """The vendor goes down for a second: refused connections, then it is back, and used again."""
        vendor = self.vendor([{"match": {"to": 1}, "outage_ms": 700}])
        gateway = self.gateway(self.config(vendor, [model("only")], breaker={"failures": 2, "window_ms": 9000, "open_ms": 200},
                                           retry={"max": 6, "base_ms": 100, "max_ms": 400}))
        with self.faster_than(4):
            seen = [gateway.chat().status]
            while seen[-1] != 200 and len(seen) < 300:
                time.sleep(0.05)
                seen.append(gateway.chat().status)
        self.assertEqual(seen[-1], 200, seen)
        self.assertEqual([gateway.chat().status for _ in range(5)], [200] * 5)
        self.assertEqual(gateway.metrics()["weir_breaker_state"], 0)


class Breaker(Case):
    BREAKER = {"failures": 3, "window_ms": 60000, "open_ms": 400}

    def start(self, rules, models=None, **more):
        vendor = self.vendor(rules)
        return vendor, self.gateway(self.config(vendor, models or [model("only", "bad")], FAST, breaker=self.BREAKER, **more))

    def state(self, gateway, deployment="bad"):
        return gateway.metrics()["weir_breaker_state", {"deployment": deployment}]

    def test_opens_fails_fast_tries_one_and_closes(self):
        vendor, gateway = self.start([fails()])
        for i in range(3):
            self.assertEqual(self.state(gateway), 0)
            self.assertEqual(gateway.ask("GET", "/readyz").status, 200)
            self.assertEqual(gateway.chat().status, 502)
        self.assertEqual(self.state(gateway), 2)
        ready = gateway.ask("GET", "/readyz")
        self.assertEqual((ready.status, ready.json["breakers_open"]), (503, 1), ready)
        for ask in gateway.chat, gateway.stream, lambda: gateway.chat("only"):
            with self.faster_than(0.1):
                answer = ask()
            self.assertEqual((answer.status, answer.error["code"]), (503, "no_model_available"))
            self.assertEqual(answer.headers["retry-after"], "1")
            self.assertLessEqual(int(answer.headers["retry-after-ms"]), 400)
        self.assertEqual(vendor.count("bad"), 3)
        # half open: one may try, slowly, and others don't
        time.sleep(0.45)
        self.assertEqual(self.state(gateway), 1)
        self.assertEqual(gateway.ask("GET", "/readyz").status, 200)
        vendor.scenario([{"match": {"model": "bad"}, "latency_ms": 300}])
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.chat().status)) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(answers), [200] + [503] * 7)
        self.assertEqual(vendor.count("bad"), 4)
        self.assertEqual(self.state(gateway), 0)
        self.assertEqual([gateway.chat().status for _ in range(3)], [200] * 3)

    def test_a_probe_that_fails_opens_it_again_for_longer(self):
        vendor, gateway = self.start([fails()])
        for _ in range(3):
            gateway.chat()
        time.sleep(0.45)
        self.assertEqual(gateway.chat().status, 502)
        self.assertEqual(self.state(gateway), 2)
        time.sleep(0.45)
        self.assertEqual(self.state(gateway), 2)  # 800 ms now
        self.assertEqual(gateway.chat().status, 503)
        time.sleep(0.45)
        self.assertEqual(self.state(gateway), 1)
        self.assertEqual(vendor.count("bad"), 4)

    def test_a_probe_whose_client_leaves_frees_the_place(self):
        vendor, gateway = self.start([fails()])
        for _ in range(3):
            gateway.chat()
        vendor.scenario([{"silent": True}])
        time.sleep(0.45)
        with gateway.open_stream():
            self.assertTrue(until(lambda: vendor.stats()["running"] == 1))
            self.assertEqual(gateway.chat().status, 503)
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))
        vendor.scenario([])
        self.assertEqual(gateway.chat().status, 200)

    def test_a_wrong_key_opens_it_at_once(self):
        for kind in "auth", "quota", "not_found":
            with self.subTest(kind):
                vendor, gateway = self.start([fails(kind=kind)])
                self.assertEqual(gateway.chat().status, 502)
                self.assertEqual(self.state(gateway), 2)
                self.assertEqual(gateway.chat().status, 503)
                self.assertEqual(vendor.count("bad"), 1)
                gateway.stop()
                vendor.stop()

    def test_requests_that_are_wrong_do_not_open_it(self):
        for kind in "bad_request", "context_length", "content_filter", "rate_limit":
            with self.subTest(kind):
                vendor, gateway = self.start([fails(kind=kind)])
                for _ in range(6):
                    gateway.chat()
                self.assertEqual(self.state(gateway), 0)
                self.assertEqual(vendor.count("bad"), 6)
                gateway.stop()
                vendor.stop()

    def test_each_kind_of_failure_opens_it(self):
        for name, rule in {"silent": {"silent": True}, "cut": {"cut": {"events": 3}}, "reset": {"reset": True},
                           "malformed": {"malformed": "bad_json"}, "html": {"html": True}}.items():
            with self.subTest(name):
                vendor, gateway = self.start([rule])
                for _ in range(3):
                    gateway.stream()
                self.assertEqual(self.state(gateway), 2)
                gateway.stop()
                vendor.stop()

    def test_other_places_go_on(self):
        models = [model("first", {"provider": "sim", "name": "bad", "model": "bad", "weight": 1000},
                        {"provider": "sim", "name": "good", "model": "good", "weight": 0.001}), model("second", "other")]
        vendor, gateway = self.start([fails()], models, retry={"max": 1})
        for _ in range(5):
            self.assertEqual(gateway.chat().headers["x-weir-deployment"], "good")
        self.assertEqual(vendor.count("bad"), 3)
        self.assertEqual((self.state(gateway), self.state(gateway, "good")), (2, 0))
        self.assertEqual(gateway.ask("GET", "/readyz").status, 200)

    def test_failures_long_ago_do_not_count(self):
        vendor = self.vendor([fails()])
        gateway = self.gateway(self.config(vendor, [model("only", "bad")], FAST,
                                           breaker={"failures": 3, "window_ms": 300, "open_ms": 400}))
        for _ in range(3):
            gateway.chat()
            gateway.chat()
            self.assertEqual(self.state(gateway), 0)
            time.sleep(0.35)

    def test_a_success_between_failures_counts(self):
        vendor, gateway = self.start([{"match": {"model": "bad", "every": 2}, "error": {"kind": "server"}}])
        for _ in range(12):
            gateway.chat()
        self.assertEqual(self.state(gateway), 0)


    def test_who_had_no_time_is_not_blamed(self):
        """The first model's failure has eaten the request's time; the second is well."""
        rules = [{**fails(), "latency_ms": 440}, {"match": {"model": "good"}, "latency_ms": 250}]
        vendor = self.vendor(rules)
        gateway = self.gateway(self.config(vendor, [model("first", "bad"), model("second", "good")], limits={"request_ms": 500},
                                           retry={"max": 1, "base_ms": 500, "max_ms": 500}, breaker=self.BREAKER))
        for _ in range(4):
            self.assertIn(gateway.chat().status, (200, 504))
        self.assertEqual(gateway.metrics()["weir_attempts_total", {"deployment": "good", "result": "total_timeout"}], 3)
        self.assertEqual((self.state(gateway), self.state(gateway, "good")), (2, 0))
        self.assertEqual(gateway.chat("second").status, 200)

    def test_a_client_that_does_not_read_is_not_the_vendors_fault(self):
        vendor = self.vendor([{"match": {"stream": "only"}, "events": 100000, "event_bytes": 1000, "event_ms": 0}])
        gateway = self.gateway(self.config(vendor, [model("only")], limits={"request_ms": 400},
                                           breaker={"failures": 1, "window_ms": 60000, "open_ms": 60000}))
        for _ in range(2):
            with gateway.open_stream(receive_buffer=16384):
                self.assertTrue(until(lambda: vendor.stats()["running"] == 1))
                self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 3))
        self.assertEqual(gateway.metrics()["weir_attempts_total", {"result": "total_timeout"}], 2)
        self.assertEqual(self.state(gateway, "only"), 0)
        self.assertEqual(gateway.chat().status, 200)


class Hedges(Case):
    HEDGE = {"on": True, "max_share": 1, "least_ms": 100}

    def start(self, rules, models=None, hedge=None, **more):
        vendor = self.vendor(rules)
        more.setdefault("traffic", {"on": False})  # or it learns that the first is slow, and waits longer
        models = models or [model("first", "slow", input=10, output=20), model("second", "quick", input=30, output=60)]
        return vendor, self.gateway(self.config(vendor, models, hedge=hedge or self.HEDGE, **more))

    def test_the_hedge_wins_and_the_loser_is_ended(self):
        for streamed in False, True:
            with self.subTest("stream" if streamed else "whole"):
                vendor, gateway = self.start([{"match": {"model": "slow"}, "first_token_ms": 5000}])
                with self.slower_than(0.1), self.faster_than(0.6):
                    answer = (gateway.stream if streamed else gateway.chat)()
                done_ms = time.time() * 1000
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["x-weir-model"], "second")
                self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))
                stats = vendor.stats()
                self.assertEqual((stats["aborted"], stats["ended"]), (1, 1))
                self.assertLess(stats["aborts"][0]["at_ms"] - done_ms, 50 * gatewaylib.SLOW)
                metrics = gateway.metrics()
                self.assertEqual(metrics["weir_hedges_total", {"outcome": "won", "deployment": "quick"}], 1)
                self.assertEqual(metrics["weir_attempts_total", {"deployment": "slow", "result": "hedge_lost"}], 1)
                self.assertGreater(metrics["weir_cost_usd_total", {"model": "first"}], 0)  # its prompt was read
                self.assertGreater(metrics["weir_cost_usd_total", {"model": "second"}], 0)
                line = gateway.request_log(answer.headers["x-weir-decision-id"])
                total = metrics["weir_cost_usd_total"]
                self.assertAlmostEqual(line["cost_usd"], total, 9)
                self.assertEqual(metrics["weir_breaker_state"], 0)
                gateway.stop()
                vendor.stop()

    def test_the_first_wins_after_all(self):
        for streamed in False, True:
            rules = [{"match": {"model": "slow"}, "first_token_ms": 300}, {"match": {"model": "quick"}, "first_token_ms": 5000}]
            vendor, gateway = self.start(rules)
            answer = (gateway.stream if streamed else gateway.chat)()
            self.assertEqual(answer.headers["x-weir-model"], "first")
            self.assertNotIn("x-weir-fallback-from", answer.headers)
            self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))
            metrics = gateway.metrics()
            self.assertEqual(metrics["weir_hedges_total", {"outcome": "lost"}], 1)
            self.assertEqual(metrics["weir_attempts_total", {"deployment": "quick", "result": "hedge_lost"}], 1)
            gateway.stop()
            vendor.stop()

    def test_what_is_in_time_is_not_hedged(self):
        vendor, gateway = self.start([])
        for _ in range(5):
            gateway.chat()
            gateway.stream()
        self.assertEqual(vendor.count("quick"), 0)

    def test_another_place_of_the_model_comes_first(self):
        models = [model("first", {"provider": "sim", "name": "slow", "model": "slow", "weight": 1000},
                        {"provider": "sim", "name": "spare", "model": "spare", "weight": 0.001}), model("second", "quick")]
        vendor, gateway = self.start([{"match": {"model": "slow"}, "first_token_ms": 5000}], models)
        self.assertEqual(gateway.chat().headers["x-weir-deployment"], "spare")
        self.assertEqual(gateway.chat("first").headers["x-weir-deployment"], "spare")  # pinned: its own places only
        self.assertEqual(vendor.count("quick"), 0)

    def test_pinned_with_one_place_waits(self):
        vendor, gateway = self.start([{"match": {"model": "slow"}, "first_token_ms": 300}])
        with self.slower_than(0.3):
            self.assertEqual(gateway.chat("first").headers["x-weir-model"], "first")
        self.assertEqual(vendor.count("quick"), 0)

    def test_either_may_fail(self):
        slow = {"match": {"model": "slow"}, "first_token_ms": 300}
        broken = {"match": {"model": "quick"}, "error": {"kind": "server"}}
        vendor, gateway = self.start([slow, broken])
        self.assertEqual(gateway.chat().headers["x-weir-model"], "first")
        self.assertEqual(gateway.stream().headers["x-weir-model"], "first")
        vendor.scenario([{"match": {"model": "slow"}, "latency_ms": 200, "error": {"kind": "server"}},
                         {"match": {"model": "quick"}, "latency_ms": 300}])
        self.assertEqual(gateway.chat().headers["x-weir-model"], "second")
        self.assertEqual(gateway.stream().headers["x-weir-model"], "second")
        vendor.scenario([{"match": {"model": "slow"}, "latency_ms": 200, "error": {"kind": "server"}},
                         {"match": {"model": "quick"}, "latency_ms": 300, "error": {"kind": "server"}}])
        self.assertEqual(gateway.chat().status, 502)

    def test_share(self):
        vendor, gateway = self.start([{"match": {"model": "slow"}, "first_token_ms": 150}],
                                     hedge={"on": True, "max_share": 0.2, "least_ms": 20})
        for _ in range(30):
            gateway.chat()
        self.assertTrue(4 <= vendor.count("quick") <= 6, vendor.count("quick"))

    def test_what_is_known_to_be_slow_is_not_hedged(self):
        vendor, gateway = self.start([{"match": {"model": "slow"}, "first_token_ms": 250}], traffic={"on": True})
        for _ in range(8):
            self.assertEqual(gateway.chat("first").status, 200)  # pinned: nobody to hedge with
        def learned():
            return gateway.ask("POST", "/v1/route", {"prompt": "hi"}).json["models"][0]["latency_ms"]
        self.assertTrue(until(learned), gateway.ask("POST", "/v1/route", {"prompt": "hi"}))
        for _ in range(3):
            self.assertEqual(gateway.chat().headers["x-weir-model"], "first")
        self.assertEqual(vendor.count("quick"), 0)

    def test_clients_that_leave_end_both(self):
        vendor, gateway = self.start([{"silent": True}])
        with gateway.open_stream():
            self.assertTrue(until(lambda: vendor.stats()["running"] == 2, 2))
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))
        self.assertEqual(gateway.metrics()["weir_attempts_total", {"result": "client_gone"}], 2)


if __name__ == "__main__":
    gatewaylib.main()
