#!/usr/bin/env python3
"""Keys, and where they must not appear; who may ask; ids of requests and traces.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import hashlib, json, re, shutil, socket, subprocess

import gatewaylib
from gatewaylib import Case, model, until, weir

VENDOR_KEY = "sk-vendor-Zq81xTTo09pLmN4"
CLIENT_KEY, OTHER_CLIENT = "ck-client-77aQpR2vLx91Zd", "ck-other-5HHrTqbb6421Yw"
HEADER_SECRET = "hdr-secret-901KJhgfd55"
SECRETS = VENDOR_KEY, CLIENT_KEY, OTHER_CLIENT, HEADER_SECRET
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class KeyCase(Case):
    def start(self, rules, keys=True, errors=(), more_models=(), **more):
        vendor = self.vendor({"keys": [VENDOR_KEY], "rules": rules, "lenient": True})
        clients = self.folder / "clients"
        clients.write_text(f"# who may ask\n{CLIENT_KEY}\n\n")
        config = self.config(vendor, [model("first", "bad"), model("second", "good")],
                             provider={"key_env": "VENDOR_KEY_OF_TEST", "headers": {"x-team": HEADER_SECRET}}, **more)
        for name, protocol in ("claude", "anthropic"), ("google", "gemini"):
            version = "v1beta" if protocol == "gemini" else "v1"
            config["providers"].append({"name": name, "protocol": protocol, "key_env": "VENDOR_KEY_OF_TEST",
                                        "base_url": f"http://{vendor.address}/{version}"})
            config["models"].append(model(name, {"provider": name, "model": "bad-" + name}))
        config["models"] += more_models
        if keys:
            config["auth"] = {"key_files": [str(clients)], "key_envs": ["CLIENT_KEY_OF_TEST"]}
        env = {"VENDOR_KEY_OF_TEST": VENDOR_KEY, "CLIENT_KEY_OF_TEST": OTHER_CLIENT}
        return vendor, self.gateway(config, env=env, errors=errors)


class NoSecret(KeyCase):
    """Vendors that say the key in their errors: nothing of it gets out anywhere."""

    def test_in_nothing_that_comes_out(self):
        said = [f"Incorrect API key provided: {VENDOR_KEY}.", f"Authorization: Bearer {VENDOR_KEY} was refused",
                f"bad header x-team={HEADER_SECRET}", f"{VENDOR_KEY}", f"key={VENDOR_KEY[:-1]}", f"client {CLIENT_KEY}?",
                "x" * 480 + VENDOR_KEY, "\\u0073" + VENDOR_KEY[1:], f'{{"headers":{{"authorization":"Bearer {VENDOR_KEY}"}}}}']
        # what opens a breaker at once gets a model of its own each time, or nobody would be asked again
        passing = ["bad_request", "context_length", "content_filter", "rate_limit", "server"]
        hopeless = ["auth", "permission", "quota", "not_found"]
        names = {(words, kind, late, at): f"h{n}" for n, (words, kind, late, at) in enumerate(
            (words, kind, late, at) for words in said for kind in hopeless for late in (False, True)
            for at in ("sim", "claude", "google"))}
        vendor, gateway = self.start([], breaker={"failures": 1000}, log={"format": "json", "level": "debug"},
                                     retry={"max": 1, "base_ms": 1, "max_ms": 2}, traffic={"prompts": True},
                                     more_models=[model(n, {"provider": at, "model": "bad-" + n}) for (_, _, _, at), n in names.items()])
        seen, asked = [], 0
        good = {"authorization": f"Bearer {CLIENT_KEY}"}
        for words in said:
            for kind in passing + hopeless:
                for late in False, True:
                    where = {"after_events": 3} if late else {}
                    vendor.scenario({"keys": [VENDOR_KEY], "lenient": True, "rules": [
                        {"match": {"model": "bad*"}, "error": {"kind": kind, "message": words, **where}}]})
                    for at, name in ("sim", "first"), ("claude", "claude"), ("google", "google"):
                        name = names.get((words, kind, late, at), name)
                        answer = (gateway.stream if late else gateway.chat)(name, headers=good)
                        self.assertNotEqual(answer.status, 503, answer)  # the vendor was asked
                        seen.append(getattr(answer, "body", b"") or json.dumps(getattr(answer, "events", "")).encode())
                        seen.append(json.dumps(answer.headers).encode())
                        asked += 1
        self.assertGreaterEqual(vendor.stats()["requests"], asked)
        # bodies that are no error of anyone's, with the key in them; a key in the vendor's headers; wrong keys of clients
        for rule in ({"body": f"<html>{VENDOR_KEY}</html>"}, {"content_type": f"text/{VENDOR_KEY}"},
                     {"headers": {"x-echo": VENDOR_KEY}}, {"malformed": "bad_json"}):
            vendor.scenario({"keys": [VENDOR_KEY], "lenient": True, "rules": [rule]})
            for ask_ in gateway.chat, gateway.stream:
                answer = ask_("second", headers=good)
                seen.append(json.dumps(answer.headers).encode() + getattr(answer, "body", b""))
        for key in CLIENT_KEY + "x", CLIENT_KEY[:-1], OTHER_CLIENT.upper():
            answer = gateway.chat(headers={"authorization": f"Bearer {key}", "x-api-key": key, "x-request-id": CLIENT_KEY})
            self.assertEqual(answer.status, 401)
            seen.append(answer.body)
        for path in "/metrics", "/readyz", "/healthz", "/v1/models":
            seen.append(gateway.ask("GET", path, headers=good).body)
        seen.append(gateway.ask("POST", "/v1/route", {"prompt": "hi"}, headers=good).body)
        vendor.scenario({"keys": ["another"], "rules": []})
        seen.append(gateway.chat("second", headers=good).body)
        gateway.stop()
        seen += [gateway.err().encode(), gateway.store.read_bytes()]
        seen.append(weir("store", "export", "--log", "--store", gateway.store)[0].encode())
        done, _ = weir_check(gateway)
        seen.append(done.encode())
        for secret in SECRETS + (VENDOR_KEY[:-1],):
            for text in seen:
                at = text.find(secret.encode())
                self.assertEqual(at, -1, f"{secret} in {text[max(0, at - 200):at + 60]!r}")
        self.assertIn("[secret]", gateway.err())  # what vendors said was logged, without it

    def test_the_key_is_sent_to_its_vendor_alone(self):
        vendor, gateway = self.start([])
        digest = "sha256:" + hashlib.sha256(f"Bearer {VENDOR_KEY}".encode()).hexdigest()[:8]
        plain = "sha256:" + hashlib.sha256(VENDOR_KEY.encode()).hexdigest()[:8]
        good = {"authorization": f"Bearer {CLIENT_KEY}", "cookie": "session=1", "x-api-key": "no",
                "openai-organization": "mine"}
        for name, at, header, wanted in (("second", "good", "authorization", digest), ("claude", "bad-claude", "x-api-key", plain),
                                         ("google", "bad-google", "x-goog-api-key", plain)):
            self.assertEqual(gateway.chat(name, headers=good).status, 200)
            last = vendor.last(at)
            self.assertEqual(last["headers"][header], wanted)
            for unwanted in {"authorization", "x-api-key", "x-goog-api-key", "cookie", "openai-organization"} - {header}:
                self.assertNotIn(unwanted, last["headers"])
            self.assertNotIn(CLIENT_KEY, json.dumps(last))
        self.assertEqual(vendor.last("good")["headers"]["x-team"], HEADER_SECRET)


def weir_check(gateway):
    """`weir serve --check` prints the configuration without keys."""
    env = {**gatewaylib.ENV, "VENDOR_KEY_OF_TEST": VENDOR_KEY, "CLIENT_KEY_OF_TEST": OTHER_CLIENT}
    done = subprocess.run([gatewaylib.WEIR, "serve", "--config", str(gateway.config_path), "--check"], env=env,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, json.loads(done.stdout)


class ClientKeys(KeyCase):
    def test_who_may_ask(self):
        vendor, gateway = self.start([])
        for headers in ({"authorization": f"Bearer {CLIENT_KEY}"}, {"authorization": f"bearer  {OTHER_CLIENT}"},
                        {"x-api-key": CLIENT_KEY}):
            self.assertEqual(gateway.chat("second", headers=headers).status, 200, headers)
        before = vendor.stats()["requests"]
        for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"authorization": CLIENT_KEY},
                        {"authorization": f"Bearer {CLIENT_KEY}x"}, {"authorization": f"Basic {CLIENT_KEY}"},
                        {"x-api-key": ""}, {"x-api-key": VENDOR_KEY}, {"authorization": "Bearer # who may ask"}):
            with self.subTest(headers=headers):
                for path, body in (("/v1/chat/completions", gatewaylib.chat_body()), ("/v1/completions", {}),
                                   ("/v1/embeddings", {}), ("/v1/feedback", {}), ("/v1/route", {})):
                    answer = gateway.ask("POST", path, body, headers)
                    self.assertEqual((answer.status, answer.error["code"]), (401, "invalid_api_key"), (path, answer))
                    self.assertEqual(set(answer.error), {"message", "type", "param", "code"})
                answer = gateway.ask("POST", "/v1/messages", {}, headers)
                self.assertEqual(answer.status, 401)
                self.assertEqual((answer.json["type"], answer.error["type"]), ("error", "authentication_error"))
                self.assertEqual(gateway.ask("GET", "/v1/models", headers=headers).status, 401)
        self.assertEqual(vendor.stats()["requests"], before)
        self.assertGreater(gateway.metrics()["weir_requests_total", {"code": "401"}], 50)
        for path in "/healthz", "/readyz", "/metrics":  # for those who watch
            self.assertEqual(gateway.ask("GET", path).status, 200)

    def test_refused_before_its_body_is_sent(self):
        vendor, gateway = self.start([])
        with socket.create_connection((gateway.host, gateway.port), 5) as s:
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n"
                      b"Expect: 100-continue\r\n\r\n")
            self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 401"))

    def test_without_keys_anyone_may_ask(self):
        vendor, gateway = self.start([], keys=False)
        self.assertEqual(gateway.chat("second").status, 200)
        self.assertEqual(gateway.chat("second", headers={"authorization": "Bearer whatever"}).status, 200)

    def test_an_open_port_without_keys_is_warned_of(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("first")], listen="0.0.0.0:0"))
        self.assertTrue([line for line in gateway.logs() if line["level"] == "warn"], gateway.err())


class Ids(Case):
    def test_request_ids(self):
        vendor = self.vendor([{"match": {"model": "bad"}, "error": {"kind": "server"}}])
        gateway = self.gateway(self.config(vendor, [model("first"), model("failing", "bad")]))
        answer = gateway.chat()
        self.assertRegex(answer.headers["x-request-id"], ".{8,}")
        for given, wanted in (("my-id-1", "my-id-1"), ("a" * 71, "a" * 71)):
            for ask_, name in ((gateway.chat, "first"), (gateway.stream, "first"), (gateway.chat, "failing")):
                answer = ask_(name, headers={"x-request-id": given})
                self.assertEqual(answer.headers["x-request-id"], wanted)
                self.assertEqual(gateway.request_log(answer.headers["x-weir-decision-id"])["request_id"], wanted)
            self.assertEqual(vendor.last("first")["headers"]["x-request-id"], wanted)
        # what would break a log line, or a header, doesn't
        answer = gateway.chat(headers={"x-request-id": 'x" level="error'})
        self.assertNotIn('"', answer.headers["x-request-id"])
        ids = {gateway.chat().headers["x-request-id"] for _ in range(20)}
        self.assertEqual(len(ids), 20)

    def test_decision_ids_are_unique_over_threads_and_restarts(self):
        vendor = self.vendor()
        config = self.config(vendor, [model("first")], threads=2)
        folder = self.subfolder("weir")
        ids = []
        for _ in range(2):
            gateway = self.gateway(config, folder=folder)
            ids += [gateway.chat().decision for _ in range(100)]
            gateway.stop()
        self.assertEqual(len(set(ids)), 200)
        self.assertTrue(all(re.fullmatch("weir-[0-9a-f]{24}", i) for i in ids))

    def test_traceparent(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("first")]))
        for given, passed in ((TRACE, True), (TRACE.replace("00-", "cc-", 1) + "-more", True), (TRACE.upper(), False),
                              ("ff" + TRACE[2:], False), (TRACE[:-1], False), (TRACE + "-x", False), ("", False),
                              (TRACE.replace("-", "_"), False), (TRACE[:-2] + "zz", False),
                              ("00-" + "0" * 32 + TRACE[35:], False), (TRACE[:36] + "0" * 16 + "-01", False)):
            with self.subTest(given=given):
                vendor.reset()
                answer = gateway.chat(headers={"traceparent": given, "tracestate": "a=1"})
                self.assertEqual(answer.status, 200)
                self.assertEqual(vendor.last("first")["headers"].get("traceparent"), given if passed else None)
                line = gateway.request_log(answer.decision)
                self.assertEqual(line.get("traceparent"), given if passed else None)
        self.assertEqual(gateway.chat().status, 200)
        self.assertNotIn("traceparent", vendor.last("first")["headers"])

    def test_log_lines(self):
        vendor = self.vendor([{"match": {"model": "bad"}, "error": {"kind": "server", "message": 'x"\n{"level":"error"}\x1b[31m'}}])
        models = [model("first"), model("failing", "bad")]
        for format_ in "json", "text":
            gateway = self.gateway(self.config(vendor, models, log={"format": format_}))
            gateway.chat()
            gateway.chat("failing")
            self.assertTrue(gateway.idle())
            gateway.stop()
            lines = gateway.err().splitlines()
            self.assertEqual(len([line for line in lines if "request" in line and "decision" in line]), 2)
            self.assertNotIn("\x1b", gateway.err())
            for line in lines:
                if format_ == "json":
                    self.assertIn(json.loads(line)["level"], ("info", "warn"))
                else:
                    self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARN|ERROR)")
        gateway = self.gateway(self.config(vendor, models, log={"requests": False, "format": "json"}))
        gateway.chat()
        gateway.stop()
        self.assertEqual(gateway.logs("request"), [])

    def test_metrics_are_well_formed(self):
        vendor = self.vendor([{"match": {"model": "bad"}, "error": {"kind": "server"}}])
        gateway = self.gateway(self.config(vendor, [model("first"), model("fail\\ing", 'a"b', "bad")]))
        for name in "first", "fail\\ing":
            gateway.chat(name)
            gateway.stream(name)
        for b in ("daily", "--limit", "5USD", "--per", "day"), ("each", "--limit", "9requests", "--per", "total", "--model", "*"):
            weir("budget", "set", *b, "--store", gateway.folder / "weir.mdb")
        until(lambda: gateway.metrics()["weir_budgets"] == 2, 5)
        metrics = gateway.metrics()
        self.assertEqual(metrics["weir_requests_total", {"endpoint": "chat", "code": "200"}] > 0, True)
        self.assertEqual(metrics["weir_budget_period_end_timestamp_seconds", {"budget": "each", "unit": "requests"}], float("inf"))
        names = {n for n, _, _ in metrics.rows}
        self.assertFalse([n for n in names if not n.startswith(("weir_", "process_"))])
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=metrics.text, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_active_streams(self):
        vendor = self.vendor([{"endless": True, "per_token_ms": 5}])
        gateway = self.gateway(self.config(vendor, [model("first")]))
        with gateway.open_stream() as stream:
            stream.read(3)
            metrics = gateway.metrics()
            self.assertEqual((metrics["weir_active_streams"], metrics["weir_active_requests"]), (1, 1))
        self.assertTrue(until(lambda: gateway.metrics()["weir_active_streams"] == 0, 2))


if __name__ == "__main__":
    gatewaylib.main()
