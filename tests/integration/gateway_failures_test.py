#!/usr/bin/env python3
"""What clients see of vendors that fail, each way that a vendor can: with one model at one place, with a second place,
and with a second model; streams and whole answers.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import json, socket, threading, time

import gatewaylib
from gatewaylib import Answer, Case, model

WORDS = "words of the vendor's own 4711"
TIMEOUTS = {"connect_ms": 500, "first_token_ms": 250, "idle_ms": 250, "total_ms": 1000}


def error(kind, **more):
    return {"error": {"kind": kind, "message": WORDS, **more}}


class Failure:
    """One way to fail. `told`: status and code that a client gets where nothing else can help; `stream` the same for
    streams, where it is another; None: the answer is good all the same. `result`: the log's word for it. `seen`: the
    vendor's words reach the client. `elsewhere`: another place of the same model helps; `other`: another model helps."""

    def __init__(self, rule, told, result, stream=0, seen=False, elsewhere=True, other=True):
        self.rule, self.told, self.result, self.seen = rule, told, result, seen
        self.stream = told if stream == 0 else stream
        self.elsewhere, self.other = elsewhere, other


CUT, TIMEOUT, MALFORMED = (502, "upstream_cut"), (504, "upstream_timeout"), (502, "upstream_malformed")
FAILURES = {
    "rate limit": Failure(error("rate_limit"), (429, "rate_limit_exceeded"), "rate_limit"),
    "500": Failure(error("server"), (502, "upstream_error"), "server_error"),
    "503": Failure(error("unavailable"), (503, "upstream_overloaded"), "overloaded"),
    "529": Failure(error("overloaded", status=529), (503, "upstream_overloaded"), "overloaded"),
    "401": Failure(error("auth"), (502, "upstream_auth"), "auth"),
    "403": Failure(error("permission"), (502, "upstream_auth"), "auth"),
    "quota": Failure(error("quota"), (502, "upstream_quota"), "quota"),
    "404": Failure(error("not_found"), (502, "upstream_not_found"), "not_found"),
    "context": Failure(error("context_length"), (400, "context_length_exceeded"), "too_long", seen=True, elsewhere=False),
    "filter": Failure(error("content_filter"), (400, "content_filter"), "filtered", seen=True, elsewhere=False,
                      other=False),
    "invalid": Failure(error("bad_request"), (400, "invalid_request_error"), "invalid_request", seen=True, elsewhere=False, other=False),
    "unsupported": Failure(error("unsupported"), (400, "unsupported_parameter"), "unsupported", seen=True, elsewhere=False),
    "silent": Failure({"silent": True}, TIMEOUT, "total_timeout"),
    "reset": Failure({"reset": True}, CUT, "cut"),
    "cut in the head": Failure({"cut": {"head": 30}}, CUT, "cut"),
    "html": Failure({"html": True}, MALFORMED, "malformed"),
    "nothing": Failure({"body": "\n"}, MALFORMED, "malformed"),
    "not an object": Failure({"malformed": "not_object", "malformed_after": 0}, MALFORMED, "malformed"),
    "half JSON": Failure({"malformed": "bad_json", "malformed_after": 0}, MALFORMED, "malformed"),
    "broken gzip": Failure({"encoding": "gzip_broken"}, MALFORMED, "malformed"),
}


class Failures(Case):
    """Each failure, at once: nothing of an answer has reached the client yet."""

    def start(self, rule, **more):
        vendor = self.vendor([{"match": {"model": "bad*"}, **rule}])
        models = [model("first", "bad-1"), model("second", "good-2", input=3, output=6), model("alone", "bad-3"),
                  model("paired", {"provider": "sim", "name": "bad-4", "model": "bad-4", "weight": 1000},
                        {"provider": "sim", "name": "good-4", "model": "good-4", "weight": 0.001})]
        return vendor, self.gateway(self.config(vendor, models, TIMEOUTS, retry={"max": 2}, **more))

    def check_told(self, gateway, answer, failure, told):
        status, code = told
        self.assertIsInstance(answer, Answer)
        self.assertEqual((answer.status, answer.error["code"]), (status, code), answer)
        self.assertEqual(set(answer.error), {"message", "type", "param", "code"})
        self.assertIn("application/json", answer.headers["content-type"])
        (self.assertIn if failure.seen else self.assertNotIn)(WORDS, answer.body.decode())
        line = gateway.request_log(answer.decision)
        self.assertEqual(line["status"], status)

    def check_good(self, gateway, answer, by, place, tries, fell_back):
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(answer.text, answer)
        if not isinstance(answer, Answer):
            self.assertTrue(answer.done)
            self.assertEqual(answer.errors, [])
        self.assertEqual((answer.headers["x-weir-model"], answer.headers["x-weir-deployment"]), (by, place))
        self.assertEqual(answer.headers.get("x-weir-attempts"), str(tries) if tries > 1 else None)
        self.assertEqual(answer.headers.get("x-weir-fallback-from"), fell_back)

    def one(self, name, failure, streamed):
        vendor, gateway = self.start(failure.rule)
        ask = gateway.stream if streamed else gateway.chat
        told = failure.stream if streamed else failure.told
        self.check_told(gateway, ask("alone"), failure, told)
        wanted = "first_token_timeout" if name == "silent" and streamed else failure.result
        metrics = gateway.metrics()
        tries = metrics["weir_attempts_total", {"deployment": "bad-3"}]
        self.assertGreater(tries, 0)
        self.assertEqual(metrics["weir_attempts_total", {"deployment": "bad-3", "result": wanted}], tries, metrics.text)
        self.assertIn(vendor.count("bad-3") - tries, (0, 1))  # libcurl asks again where a kept connection was reset
        if failure.elsewhere:
            self.check_good(gateway, ask("paired"), "paired", "good-4", 2, None)
        else:
            self.check_told(gateway, ask("paired"), failure, told)
            self.assertEqual(vendor.count("good-4"), 0)
        answer = ask("weir")
        if failure.other:
            tries = gateway.metrics()["weir_attempts_total", {"deployment": "bad-1"}]
            self.check_good(gateway, answer, "second", "good-2", 1 + int(tries), "first")
            self.assertEqual(gateway.metrics()["weir_fallbacks_total", {"from": "first"}], 1)
            self.assertEqual(gateway.metrics()["weir_fallback_targets_total", {"to": "second"}], 1)
        else:
            self.check_told(gateway, answer, failure, told)
            self.assertEqual(vendor.count("good-2"), 0)
        self.assertTrue(gateway.idle())
        self.assertEqual(vendor.stats()["running"], 0)
        gateway.stop()
        vendor.stop()

    def test_whole_answers(self):
        for name, failure in FAILURES.items():
            with self.subTest(name):
                self.one(name, failure, False)

    def test_streams(self):
        for name, failure in FAILURES.items():
            with self.subTest(name):
                self.one(name, failure, True)

    def test_refused_connection(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
            vendor = self.vendor()
            config = self.config(vendor, [
                model("first", {"provider": "away", "model": "x", "name": "away-1"}), model("second", "good-2"),
                model("paired", {"provider": "away", "model": "x", "name": "away-2", "weight": 1000},
                      {"provider": "sim", "model": "good-4", "name": "good-4", "weight": 0.001})], retry={"max": 2})
            config["providers"].append({"name": "away", "base_url": f"http://127.0.0.1:{taken.getsockname()[1]}/v1"})
            gateway = self.gateway(config)
            for ask in gateway.chat, gateway.stream:
                answer = ask("first")
                self.assertEqual((answer.status, answer.error["code"]), (502, "upstream_unreachable"), answer)
                self.check_good(gateway, ask("paired"), "paired", "good-4", 2, None)
                answer = ask("weir")
                self.assertEqual(answer.headers["x-weir-fallback-from"], "first")
                self.assertEqual(answer.headers["x-weir-model"], "second")
            self.assertGreater(gateway.metrics()["weir_attempts_total", {"deployment": "away-1", "result": "connect"}], 2)


    def test_a_long_error_has_no_hole(self):
        """Of a long error's body the first 64 KiB count; nothing that comes after a piece that was left out."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.addCleanup(listener.close)
            pieces = [b'{"error":{"message":"first ' + b"x" * (60 << 10), b'","code":"left_out","y":"' + b"y" * (12 << 10),
                      b'last"}}']

            def answer():
                s, _ = listener.accept()
                with s:
                    s.recv(65536)
                    s.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
                    for piece in pieces:
                        s.sendall(piece)
                        time.sleep(0.1)

            thread = threading.Thread(target=answer)
            thread.start()
            gateway = self.gateway(self.config(f"127.0.0.1:{listener.getsockname()[1]}", [model("only")]))
            found = gateway.chat("only")
            thread.join()
        self.assertEqual(found.status, 400)
        self.assertTrue(found.error["message"].startswith('{"error":{"message":"first xxx'), found)


class Late(Case):
    """Failures after a part of the answer has reached the client, and those before it that nobody sees."""

    def start(self, rule, timeouts=TIMEOUTS, **more):
        vendor = self.vendor([{"match": {"model": "bad*"}, "tokens": 8, **rule}])
        models = [model("first", "bad-1"), model("second", "good-2", input=3, output=6)]
        return vendor, self.gateway(self.config(vendor, models, timeouts, retry={"max": 2}, **more))

    def check_broken(self, gateway, stream, result, parts=1):
        """The client has a part, is told that it isn't the whole, and no other model is asked."""
        self.assertEqual(stream.status, 200)
        self.assertEqual(stream.headers["x-weir-model"], "first")
        self.assertFalse(stream.done, stream.events)
        self.assertGreaterEqual(len([c for c in stream.chunks if c.get("choices")]), parts)
        self.assertEqual(len(stream.errors), 1, stream.events[-3:])
        self.assertEqual(json.loads(stream.events[-1]).get("error"), stream.errors[0])
        self.assertNotIn(WORDS, "".join(stream.events))
        line = gateway.request_log(stream.headers["x-weir-decision-id"])
        self.assertEqual((line["status"], line["result"], line["level"]), (200, result, "warn"))
        self.assertTrue(line["error"])
        self.assertTrue(line["usage_estimated"])
        self.assertGreater(line["output_tokens"], 0)
        self.assertGreater(line["cost_usd"], 0)

    def test_broken_in_the_middle(self):
        cases = {
            "cut": ({"cut": {"events": 4}}, "cut"),
            "reset": ({"cut": {"events": 4, "reset": True}}, "cut"),
            "cut in an event": ({"cut": {"bytes": 1200}}, "cut"),
            "half JSON": ({"malformed": "bad_json"}, "malformed"),
            "not an object": ({"malformed": "not_object"}, "malformed"),
            "a line without end": ({"malformed": "huge_line", "huge_line_bytes": 40 << 20}, "malformed"),
            "error event": (error("server", after_events=4), "server_error"),
            "overloaded event": (error("overloaded", after_events=4), "overloaded"),
            "stalled": ({"per_token_ms": 1500}, "idle_timeout"),
            "endless": ({"endless": True, "per_token_ms": 20}, "total_timeout"),
        }
        for name, (rule, result) in cases.items():
            with self.subTest(name):
                vendor, gateway = self.start(rule)
                before = gateway.rss_kib()
                self.check_broken(gateway, gateway.stream(), result)
                self.assertEqual(vendor.count("good-2"), 0)
                self.assertEqual(gateway.metrics()["weir_attempts_total", {"deployment": "bad-1", "result": result}], 1)
                self.assertEqual(gateway.metrics()["weir_usage_estimated_total", {"model": "first"}], 1)
                self.assert_memory(gateway, before, 24)
                self.assertTrue(gatewaylib.until(lambda: vendor.stats()["running"] == 0))
                gateway.stop()
                vendor.stop()

    def test_messages_clients_are_told_too(self):
        vendor, gateway = self.start({"cut": {"events": 4}})
        body = {"model": "weir", "max_tokens": 99, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        with gatewaylib.Stream(gateway.address, "/v1/messages", body) as stream:
            stream.read()
        self.assertEqual(stream.names[-1], "error", stream.events)
        self.assertEqual(json.loads(stream.events[-1])["type"], "error")
        self.assertIn("content_block_delta", stream.names)
        self.assertNotIn("message_stop", stream.names)

    def test_before_the_first_token_nobody_sees_it(self):
        cases = {
            "cut after the role": {"cut": {"events": 1}},
            "error event": error("server", after_events=1),
            "half JSON": {"malformed": "bad_json", "malformed_after": 1},
            "slow first token": {"first_token_ms": 2000},
            "a line without end": {"malformed": "huge_line", "malformed_after": 1, "huge_line_bytes": 40 << 20},
        }
        for name, rule in cases.items():
            with self.subTest(name):
                vendor, gateway = self.start(rule)
                stream = gateway.stream()
                self.assertEqual(stream.status, 200)
                self.assertTrue(stream.done)
                self.assertEqual(stream.errors, [])
                self.assertEqual(stream.headers["x-weir-model"], "second")
                self.assertEqual(stream.headers["x-weir-fallback-from"], "first")
                self.assertEqual(len({c["id"] for c in stream.chunks}), 1, "pieces of two answers")
                self.assertEqual(len([c for c in stream.chunks for d in c["choices"] if d["delta"].get("role")]), 1)
                self.assertTrue(gatewaylib.until(lambda: vendor.stats()["running"] == 0))
                gateway.stop()
                vendor.stop()

    def test_slow_whole_answer_is_waited_for(self):
        vendor, gateway = self.start({"latency_ms": 600})
        with self.slower_than(0.6):
            self.assertEqual(gateway.chat().headers["x-weir-model"], "first")

    def test_endless_stream_ends_with_its_client(self):
        vendor, gateway = self.start({"endless": True, "per_token_ms": 2}, {"total_ms": 60000})
        with gateway.open_stream() as stream:
            self.assertEqual(len(stream.read(50)), 50)
            self.assertEqual(vendor.stats()["running"], 1)
        self.assertTrue(gatewaylib.until(lambda: vendor.stats()["running"] == 0, 1))
        self.assertEqual(vendor.stats()["aborted"], 1)
        self.assertTrue(gatewaylib.until(lambda: gateway.metrics()["weir_client_disconnects_total"] == 1, 1))

    def test_an_answer_that_is_too_large(self):
        vendor, gateway = self.start({"tokens": 100000}, limits={"answer_bytes": 65536})
        self.assertEqual(gateway.chat("first").error["code"], "upstream_too_large")
        answer = gateway.chat()
        self.assertEqual(answer.headers["x-weir-fallback-from"], "first")


class Odd(Case):
    """Vendors that do it in their own way, and get through."""

    def start(self, rule, **more):
        vendor = self.vendor([{"tokens": 8, **rule}])
        return vendor, self.gateway(self.config(vendor, [model("only")], {"first_token_ms": 3000, "total_ms": 9000}, **more))

    def both(self, gateway):
        return gateway.chat("only"), gateway.stream("only")

    def test_same_answer(self):
        _, gateway = self.start({})
        wanted = gateway.chat("only").text
        self.assertEqual(len(wanted.split()), 8)
        cases = {
            "gzip": {"encoding": "gzip"},
            "byte by byte": {"drip_ms": 0.05},
            "slow head": {"head_byte_ms": 1},
            "no [DONE]": {"malformed": "no_done"},
        }
        for name, rule in cases.items():
            with self.subTest(name):
                vendor, gateway = self.start(rule)
                whole, stream = self.both(gateway)
                self.assertEqual(whole.status, 200, whole)
                self.assertEqual(whole.text, wanted)
                self.assertEqual(stream.status, 200, stream)
                self.assertEqual(stream.text, wanted)
                self.assertTrue(stream.done)
                self.assertEqual(stream.errors, [])
                metrics = gateway.metrics()
                self.assertEqual(metrics["weir_attempts_total", {"result": "ok"}], 2)
                self.assertEqual(metrics["weir_usage_estimated_total"], 0)
                self.assertEqual(metrics["weir_tokens_total", {"kind": "output"}], 16)
                gateway.stop()
                vendor.stop()

    def test_lines_that_are_no_events(self):
        """HTML's rules for event streams: what no field is named after is passed over."""
        _, gateway = self.start({"malformed": "garbage", "malformed_after": 2})
        stream = gateway.stream("only")
        self.assertEqual(len(stream.text.split()), 8)
        self.assertTrue(stream.done)
        self.assertNotIn("garbage", "".join(stream.events + stream.comments))

    def test_usage_that_is_absent_is_estimated_and_marked(self):
        vendor, gateway = self.start({"usage": {"send": False}, "tokens": 40})
        text = "What is a weir, and where is the nearest one? " * 5
        whole, stream = gateway.chat("only", text), gateway.stream("only", text)
        self.assertEqual(whole.headers["x-weir-usage-estimated"], "true")
        self.assertGreater(float(whole.headers["x-weir-cost-usd"]), 0)
        self.assertIn("usage_estimated=true", " ".join(stream.comments))
        for decision in whole.decision, stream.headers["x-weir-decision-id"]:
            line = gateway.request_log(decision)
            self.assertTrue(line["usage_estimated"])
            self.assertTrue(25 <= line["input_tokens"] <= 100, line)  # 55 words
            self.assertTrue(20 <= line["output_tokens"] <= 100, line)  # 40 words
            self.assertAlmostEqual(line["cost_usd"], (line["input_tokens"] + 2 * line["output_tokens"]) * 1e-6, 9)
        self.assertEqual(gateway.metrics()["weir_usage_estimated_total"], 2)

    def test_whole_answer_to_a_stream(self):
        """docs/vendors.md: a vendor that gives a whole answer though a stream was asked for is read all the same."""
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "all at once"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}
        _, gateway = self.start({"body": json.dumps(body), "content_type": "application/json"})
        stream = gateway.stream("only")
        self.assertEqual(stream.status, 200, stream)
        self.assertEqual(stream.text, "all at once")
        self.assertTrue(stream.done)
        line = gateway.request_log(stream.headers["x-weir-decision-id"])
        self.assertEqual((line["input_tokens"], line["output_tokens"]), (5, 3))

    def test_wrong_content_type(self):
        """An event stream that calls itself text: not taken for an answer, and nobody hangs."""
        _, gateway = self.start({"content_type": "text/plain"})
        answer = gateway.stream("only")
        self.assertEqual((answer.status, answer.error["code"]), MALFORMED, answer)
        self.assertEqual(gateway.chat("only").status, 200)  # JSON is JSON

    def test_long_stream_in_order(self):
        _, gateway = self.start({"events": 3000, "event_bytes": 64, "event_ms": 0})
        stream = gateway.stream("only")
        found = [d["delta"]["content"][:9] for c in stream.chunks for d in c["choices"] if d["delta"].get("content")]
        self.assertEqual(found, [f"{i:09d}" for i in range(3000)])
        self.assertTrue(stream.done)


class Protocols(Case):
    """The same from Anthropic's and Gemini's APIs, and for Anthropic's clients."""

    def start(self, protocol, rule):
        vendor = self.vendor([{"match": {"model": "bad*"}, "tokens": 8, **rule}])
        provider = {"base_url": f"http://{vendor.address}/{'v1beta' if protocol == 'gemini' else 'v1'}",
                    "protocol": protocol}
        models = [model("first", "bad-1"), model("second", "good-2")]
        return vendor, self.gateway(self.config(vendor, models, TIMEOUTS, provider=provider, retry={"max": 2}))

    def test_fallback(self):
        def error(kind):  # these two tell some kinds by the vendor's own words alone
            return {"error": {"kind": kind}}
        rules = {"unsupported": {"error": {"kind": "unsupported"}}, "rate limit": error("rate_limit"), "500": error("server"), "401": error("auth"),
                 "quota": error("quota"), "context": error("context_length"), "cut": {"cut": {"events": 1, "head": 30}},
                 "html": {"html": True}}
        for protocol in "anthropic", "gemini":
            for name, rule in rules.items():
                with self.subTest(f"{protocol}, {name}"):
                    vendor, gateway = self.start(protocol, rule)
                    for ask in gateway.chat, gateway.stream:
                        answer = ask()
                        self.assertEqual(answer.status, 200, answer)
                        self.assertEqual(answer.headers["x-weir-model"], "second")
                        self.assertEqual(len(answer.text.split()), 16)
                        if name not in ("401", "quota"):
                            self.assertEqual(answer.headers["x-weir-fallback-from"], "first")
                    gateway.stop()
                    vendor.stop()

    def test_alone(self):
        for protocol in "anthropic", "gemini":
            for name in "rate limit", "500", "401", "context", "invalid":
                with self.subTest(f"{protocol}, {name}"):
                    failure = FAILURES[name]
                    words = {"anthropic": "prompt is too long: 9 tokens > 5 maximum", "gemini":
                             "The input token count (9) exceeds the maximum number of tokens allowed (5)."}[protocol]
                    words = words if name == "context" else WORDS
                    rule = {"error": {**failure.rule["error"], "message": words}}
                    vendor, gateway = self.start(protocol, rule)
                    answer = gateway.chat("first")
                    self.assertEqual(answer.status, failure.told[0], answer)
                    (self.assertIn if failure.seen else self.assertNotIn)(words, answer.body.decode())
                    self.assertGreater(gateway.metrics()["weir_attempts_total", {"result": failure.result}], 0)
                    gateway.stop()
                    vendor.stop()

    def test_broken_stream(self):
        for protocol in "anthropic", "gemini":
            for rule in {"cut": {"events": 5}}, {"malformed": "bad_json", "malformed_after": 5}:
                with self.subTest(f"{protocol} {rule}"):
                    vendor, gateway = self.start(protocol, rule)
                    stream = gateway.stream()
                    self.assertEqual(stream.status, 200)
                    self.assertTrue(stream.text)
                    self.assertFalse(stream.done)
                    self.assertEqual(len(stream.errors), 1)
                    gateway.stop()
                    vendor.stop()

    def test_what_one_protocol_cannot_say_goes_to_another(self):
        """n=2 isn't Anthropic's: the next model takes it."""
        vendor = self.vendor()
        config = self.config(vendor, [model("first", {"provider": "claude", "model": "c"}), model("second", "good-2")],
                             retry={"max": 2})
        config["providers"].append({"name": "claude", "protocol": "anthropic", "base_url": f"http://{vendor.address}/v1"})
        gateway = self.gateway(config)
        answer = gateway.chat(n=2)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["x-weir-model"], "second")
        self.assertEqual(len(answer.json["choices"]), 2)
        answer = gateway.chat("first", n=2)
        self.assertEqual(answer.status, 400)
        self.assertIn("n", answer.error["message"])
        self.assertEqual(gateway.chat().headers["x-weir-model"], "first")

    def test_what_one_model_refuses_goes_to_another(self):
        """n=2 isn't for every Gemini model: it says so, and the next one is asked. Who writes nonsense isn't passed on."""
        vendor = self.vendor([{"match": {"prompt": "nonsense"}, "error": {"kind": "bad_request"}}])
        gemini = {"name": "gemini", "protocol": "gemini", "base_url": f"http://{vendor.address}/v1beta"}
        config = self.config(vendor, [model("first", {"provider": "gemini", "model": "g1"}),
                                      model("second", {"provider": "gemini", "model": "g2"}, input=2), model("third", input=3)],
                             retry={"max": 3})
        config["providers"].append(gemini)
        gateway = self.gateway(config)
        answer = gateway.chat(n=2)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual((answer.headers["x-weir-model"], answer.headers["x-weir-fallback-from"]), ("third", "first"))
        self.assertEqual(len(answer.json["choices"]), 2)
        self.assertEqual(gateway.metrics()["weir_attempts_total", {"result": "unsupported"}], 2)
        self.assertEqual(gateway.metrics()["weir_breaker_state"], 0)
        answer = gateway.chat("first", n=2)  # pinned: told as it is
        self.assertEqual(answer.status, 400)
        self.assertIn("Multiple candidates", answer.error["message"])
        before = vendor.stats()["requests"]
        self.assertEqual(gateway.chat(text="nonsense").status, 400)
        self.assertEqual(vendor.stats()["requests"], before + 1)

    def test_errors_in_the_shape_of_the_messages_api(self):
        vendor, gateway = self.start("anthropic", error("rate_limit"))
        body = {"model": "first", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        wanted = {"rate_limit": (429, "rate_limit_error"), "server": (502, "api_error"), "auth": (502, "api_error"),
                  "overloaded": (529, "overloaded_error"), "bad_request": (400, "invalid_request_error")}
        for kind, (status, kind_told) in wanted.items():
            with self.subTest(kind):
                vendor, gateway = self.start("anthropic", error(kind))
                answer = gateway.ask("POST", "/v1/messages", body)
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.json["type"], "error")
                self.assertEqual(set(answer.error) - {"code"}, {"type", "message"})
                self.assertEqual(answer.error["type"], kind_told)
                gateway.stop()


if __name__ == "__main__":
    gatewaylib.main()
