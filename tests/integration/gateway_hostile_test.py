#!/usr/bin/env python3
"""Clients that mean no good, on a gateway with a real configuration: whatever they send, they get a 4xx or a closed
connection within a bounded time, nobody else notices, and nothing of it reaches logs, vendors or answers as more than
text. (The server alone is attacked in tests/unit/server_hostile_test.c.)

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import json, os, random, re, socket, ssl, struct, threading, time, unittest

import gatewaylib
from gatewaylib import Case, chat_body, model, until

CHAT = "/v1/chat/completions"
CONNECTIONS, IDLE_S = 200, 2


def head(path=CHAT, method="POST", *lines, version="HTTP/1.1"):
    return "".join(f"{line}\r\n" for line in (f"{method} {path} {version}", "Host: x", *lines, "")).encode("utf-8",
                                                                                                         "surrogateescape")


def post(body, *lines, path=CHAT):
    body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return head(path, "POST", f"Content-Length: {len(body)}", *lines) + body


def chat(**more):
    return json.dumps(chat_body("one", **more))


def nested(n, opening="[", closing="]"):
    return '{"model":"one","messages":[{"role":"user","content":"a"}],"x":' + opening * n + "1" + closing * n + "}"


def in_text(bad):
    return b'{"model":"one","messages":[{"role":"user","content":"' + bad + b'"}]}'


class Hostile(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.context = Case()
        cls.context.setUp()
        self = cls.context
        cls.vend = self.vendor([{"match": {"model": "slow*", "stream": "only"}, "endless": True, "per_token_ms": 5},
                                {"match": {"model": "vain"}, "text": "line one\nline two",
                                 "headers": {"x-request-id": "of-the-vendor", "x-evil": "1"}}])
        config = self.config(cls.vend, [model("one"), model("slow"), model("vain")],
                             threads=2, traffic={"prompts": True},
                             limits={"body_bytes": 4 << 20, "connections": CONNECTIONS, "client_idle_s": IDLE_S,
                                     "header_bytes": 8192})
        cls.gate = self.gateway(config)
        for _ in range(20):  # what is allocated once is there
            assert cls.gate.chat("one").status == 200

    @classmethod
    def tearDownClass(cls):
        try:
            cls.context._end(cls.gate, set())  # as a cleanup its failure would be lost: there is no test to fail
        finally:
            cls.context.doCleanups()
            super().tearDownClass()

    def setUp(self):
        """Each test leaves the gateway as it was."""
        self.rss = self.gate.rss_kib()
        self.fds = len(self.descriptors())
        self.addCleanup(self.check_health)

    def descriptors(self):
        return os.listdir(f"/proc/{self.gate.pid}/fd")

    def check_health(self):
        self.assertTrue(self.gate.running(), self.gate.err()[-3000:])
        with self.faster_than(2):
            self.assertEqual(self.gate.chat("one").status, 200)
        self.assertTrue(self.gate.idle(), "requests are left under way")
        self.assertTrue(until(lambda: len(self.descriptors()) <= self.fds + 6, 8),
                        f"{self.fds} descriptors before, {len(self.descriptors())} after")
        if gatewaylib.SLOW < 3:  # sanitizers keep what is freed
            self.assertTrue(until(lambda: self.gate.rss_kib() < self.rss + (40 << 10), 3),
                            f"{self.rss} KiB before, {self.gate.rss_kib()} after")

    def connect(self, timeout=10):
        s = socket.create_connection((self.gate.host, self.gate.port), timeout * gatewaylib.SLOW)
        self.addCleanup(s.close)
        return s

    def read_all(self, s, seconds=8):
        """Until the gateway closes, or has been silent for as long."""
        found, s_end = b"", time.monotonic() + seconds * gatewaylib.SLOW
        try:
            while time.monotonic() < s_end:
                s.settimeout(max(0.01, s_end - time.monotonic()))
                piece = s.recv(1 << 16)
                if not piece:
                    return found
                found += piece
        except ConnectionError:
            return found
        except socket.timeout:
            pass
        self.fail(f"still open after {seconds} s: {found[:300]!r}")

    def attack(self, raw, seconds=8):
        """Sends it, closing nothing; gives what comes until the gateway has closed."""
        s = self.connect()
        try:
            s.sendall(raw)
        except ConnectionError:
            pass  # refused before its end
        return self.read_all(s, seconds)

    def statuses(self, answer):
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)]

    def refused(self, raw, *codes, name="", seconds=8):
        """A 4xx or nothing at all, and the connection closed: at once, or when it has been idle for long enough."""
        answer = self.attack(raw, seconds)
        found = self.statuses(answer)
        self.assertTrue(all(c in (codes or range(400, 500)) for c in found), f"{name}: {answer[:500]!r}")
        if codes:
            self.assertTrue(found, f"{name}: no answer")
        return answer

    # ---- what isn't HTTP, or not properly ----

    def test_not_http(self):
        tls = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(*tls, server_hostname="x")
        with self.assertRaises(ssl.SSLWantReadError):
            hello.do_handshake()
        dice = random.Random(7)
        for name, raw in {
                "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", "TLS": tls[1].read(),
                "noise": dice.randbytes(5000), "zeros": bytes(5000), "SMTP": b"EHLO x\r\nMAIL FROM:<a>\r\n\r\n",
                "HTTP/0.9": b"GET /metrics\r\n\r\n", "HTTP/3": head(version="HTTP/3.0"),
                "no method": b" / HTTP/1.1\r\n\r\n", "lines": b"\r\n" * 4000, "spaces": b"GET  /  HTTP/1.1\r\n\r\n"}.items():
            with self.subTest(name):
                answer = self.attack(raw)
                self.assertTrue(all(c in (400, 404, 405, 505) for c in self.statuses(answer)), answer[:300])

    def test_heads(self):
        body = chat()
        n = len(body)
        length = f"Content-Length: {n}"
        for name, raw in {
                "huge header": head(CHAT, "POST", "x: " + "a" * 100000, length), "many headers": head(
                    CHAT, "POST", *[f"x-{i}: 1" for i in range(5000)], length),
                "huge path": head("/" + "a" * 100000), "long method": head(CHAT, "A" * 50000),
                "lengths differ": head(CHAT, "POST", length, "Content-Length: 3") + body.encode(),
                "lengths agree": head(CHAT, "POST", length, length) + body.encode(),
                "lengths in one": head(CHAT, "POST", f"Content-Length: {n}, {n}") + body.encode(),
                "length and chunks": head(CHAT, "POST", length, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
                "negative": head(CHAT, "POST", "Content-Length: -1"), "hexadecimal": head(CHAT, "POST", "Content-Length: 0x10"),
                "plus": head(CHAT, "POST", f"Content-Length: +{n}") + body.encode(),
                "far too long": head(CHAT, "POST", "Content-Length: 99999999999999999999"),
                "over the limit": head(CHAT, "POST", f"Content-Length: {(4 << 20) + 1}"),
                "gzip": head(CHAT, "POST", "Transfer-Encoding: gzip") + body.encode(),
                "twice chunked": head(CHAT, "POST", "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
                "no host": b"GET /v1/models HTTP/1.1\r\n\r\n", "two hosts": head("/v1/models", "GET", "Host: y"),
                "NUL in a value": head("/v1/models", "GET", "x: a\0b"), "NUL in a name": head("/v1/models", "GET", "x\0: a"),
                "NUL in the path": head("/v1/mod\0els", "GET"), "control": head("/v1/models", "GET", "x: a\x0bb"),
                "folded": head("/v1/models", "GET", "x: a", " b"), "bare LF": b"GET /v1/models HTTP/1.1\nHost: x\n\n",
                "space before colon": head("/v1/models", "GET", "x : a"), "no colon": head("/v1/models", "GET", "x"),
                "not UTF-8 in the path": b"GET /v1/models/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
                "encoded NUL": head("/v1/models/%00", "GET"), "dots": head("/v1/models/../../../etc/passwd", "GET"),
                "encoded dots": head("/v1/models/%2e%2e%2fetc", "GET"), "absolute": head("http://other/v1/nothing", "GET"),
                "CONNECT": head("other:443", "CONNECT"), "star": head("*", "OPTIONS")}.items():
            with self.subTest(name):
                self.refused(raw, name=name)

    def test_methods(self):
        for method in "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "HEAD", "GET", "BREW":
            with self.subTest(method):
                answer = self.refused(head(CHAT, method, "x-secret: 4711", "Connection: close"), 405, 501, 400)
                self.assertNotIn(b"4711", answer)
        answer = self.attack(head("/v1/models", "HEAD", "Connection: close"))
        self.assertEqual(self.statuses(answer), [200])
        self.assertTrue(answer.endswith(b"\r\n\r\n"), answer)  # a head, and no body

    def test_chunks(self):
        start = head(CHAT, "POST", "Transfer-Encoding: chunked")
        whole = chat().encode()
        piece = b"%x\r\n%s\r\n" % (len(whole), whole)
        good = self.attack(start + piece + b"0\r\n\r\n")
        self.assertEqual(self.statuses(good), [200])
        for name, raw in {
                "no number": b"zz\r\n{}\r\n0\r\n\r\n", "negative": b"-1\r\n\r\n", "huge": b"ffffffffffffffffffff\r\n",
                "nearly all": b"7fffffffffffffff\r\n{}", "longer than told": b"2\r\n{}{}{}\r\n0\r\n\r\n",
                "never ends": piece, "over the limit": (b"10000\r\n" + b" " * 65536 + b"\r\n") * 70,
                "no end of line": b"5" * 50000, "extension": b"1;" + b"a" * 50000, "NUL": b"\0\0\0\0\r\n"}.items():
            with self.subTest(name):
                self.refused(start + raw, name=name)

    # ---- bodies ----

    def test_bodies(self):
        million = '{"model":"one","messages":[{"role":"user","content":"a"}],' + ",".join(
            f'"k{i}":1' for i in range(300000)) + "}"  # 3.9 MB
        bad = {
            "empty": "", "NUL": "\0", "blank": " " * 1000, "not JSON": "hello", "half": chat()[:-2], "more": chat() + "x",
            "two": chat() * 2, "number": "1", "array": "[]", "null": "null", "deep": nested(100000),
            "deep objects": nested(100000, '{"a":', "}"), "deep and open": "[" * 1000000, "deep enough": nested(3000),
            "1e400": chat()[:-1] + ',"temperature":1e400}', "-1e400": chat()[:-1] + ',"max_tokens":-1e400}',
            "many digits": chat()[:-1] + f',"max_tokens":{"9" * 100000}}}', "twice": '{"model":"one",' + chat()[1:],
            "NaN": chat()[:-1] + ',"temperature":NaN}', "comma": chat()[:-1] + ",}", "comment": chat()[:-1] + "/*a*/}",
            "lone surrogate": in_text(b"\\ud800"), "reversed surrogates": in_text(b"\\udc00\\ud800"),
            "half a surrogate": in_text(b"\\ud83dx"), "not UTF-8": in_text(b"\xff"), "overlong": in_text(b"\xc0\xaf"),
            "surrogate in UTF-8": in_text(b"\xed\xa0\x80"), "above Unicode": in_text(b"\xf4\x90\x80\x80"),
            "cut UTF-8": in_text(b"\xe2\x82"), "raw line": in_text(b"a\nb"), "raw NUL": in_text(b"a\0b"),
            "unknown escape": in_text(b"\\x41"), "no model": json.dumps({"messages": []}),
            "model is a number": json.dumps(dict(chat_body(), model=1)), "no messages": json.dumps({"model": "one"}),
            "messages are text": json.dumps({"model": "one", "messages": "a"}),
            "a message is null": json.dumps({"model": "one", "messages": [None]}),
            "stream is text": chat(stream="yes"), "n is huge": chat(n=10**18), "n is negative": chat(n=-1),
            "odd model": json.dumps(chat_body("a\r\nx: 1")), "huge model": json.dumps(chat_body("m" * 1000000)),
            "NUL in the model": '{"model":"one\\u0000","messages":[{"role":"user","content":"a"}]}',
            "over the limit": " " * ((4 << 20) + 1)}
        for path in CHAT, "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/route", "/v1/feedback":
            for name, body in bad.items():
                if path != CHAT and len(body) > 200000:
                    continue
                with self.subTest(f"{path}: {name}"), self.faster_than(IDLE_S + 6):
                    answer = self.attack(post(body, "Connection: close", path=path))
                    found = self.statuses(answer)
                    self.assertEqual(len(found), 1, answer[:300])
                    fine = path == "/v1/route" and name in ("no model", "n is huge", "n is negative", "stream is text")
                    if path == CHAT or not fine:
                        self.assertIn(found[0] // 100, (4,) if path == CHAT else (2, 4), answer[:500])
                    if found[0] >= 400:
                        said = json.loads(answer.split(b"\r\n\r\n", 1)[1])
                        self.assertTrue(said["error"]["message"])
        # large, odd, and right all the same
        for name, body in {"a million keys": million, "NUL as an escape": in_text(b"a\\u0000b"),
                           "surrogates": in_text(b"\\ud83d\\ude00"), "noncharacters": in_text("\uffff\ufdd0".encode()),
                           "directions": in_text("\u202e\u2066".encode()), "long": in_text(b"word " * 500000)}.items():
            with self.subTest(name), self.faster_than(IDLE_S + 6):
                answer = self.attack(post(body, "Connection: close"))
                self.assertIn(self.statuses(answer), ([200], [400]), answer[:300])

    def test_colliding_keys(self):
        """Names that all hash alike for those who don't seed their tables; here only many and alike."""
        body = chat()[:-1] + "," + ",".join(f'"{"a" * 20}{i:x}":{{}}' for i in range(90000)) + "}"
        with self.faster_than(5):
            self.attack(post(body, "Connection: close"))

    # ---- connections ----

    def test_pipelining(self):
        """Answers in their order, and what follows a bad request isn't looked at."""
        one = head("/v1/models", "GET")
        answer = self.attack(one * 20 + post(chat()) + post("{") + head("/healthz", "GET", "Connection: close"))
        self.assertEqual(self.statuses(answer), [200] * 21 + [400, 200])
        smuggled = head(CHAT, "POST", "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + head("/metrics", "GET")
        answer = self.attack(smuggled)
        self.assertEqual(len(self.statuses(answer)), 1, answer[:500])
        self.assertNotIn(b"weir_", answer)

    def test_half_closed(self):
        for name, raw in {"at once": b"", "in the head": b"POST /v1/ch", "in the body": post(chat())[:-5],
                          "a stream": post(json.dumps(chat_body("slow", stream=True)))}.items():
            with self.subTest(name):
                before = self.vend.stats()["running"]
                s = self.connect()
                s.sendall(raw)
                if name == "a stream":
                    self.assertTrue(until(lambda: self.vend.stats()["running"] > before))
                s.shutdown(socket.SHUT_WR)
                self.read_all(s)
                self.assertTrue(until(lambda: self.vend.stats()["running"] <= before), "the paid call runs on")

    def test_slow_loris(self):
        """A byte now and then, in the head or in the body, doesn't hold a connection for ever."""
        request = post(chat(text="a" * 1000))
        at_body = request.index(b"\r\n\r\n") + 5
        slow = [[self.connect(), request, 0] for _ in range(20)] + [[self.connect(), request, at_body] for _ in range(20)]
        for entry in slow[20:]:
            entry[0].sendall(request[:at_body])
        start = time.monotonic()
        while slow and time.monotonic() - start < (6 * IDLE_S + 3) * gatewaylib.SLOW:
            for entry in list(slow):
                s, raw, at = entry
                try:
                    s.sendall(raw[at : at + 1])
                    s.settimeout(0.001)
                    if s.recv(4096) is not None:
                        slow.remove(entry)
                        continue
                except socket.timeout:
                    pass
                except ConnectionError:
                    slow.remove(entry)
                    continue
                entry[2] += 1
            with self.faster_than(1):
                self.assertEqual(self.gate.ask("GET", "/healthz").status, 200)
            time.sleep(0.3)
        self.assertEqual(len(slow), 0, "slow connections are still open")

    def test_idle_connections(self):
        """Up to the limit they are kept for their time, beyond it closed at once; then there is room again."""
        idle = [self.connect() for _ in range(CONNECTIONS + 60)]
        deadline, closed = time.monotonic() + (IDLE_S + 6) * gatewaylib.SLOW, 0
        for s in idle:
            s.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                closed += s.recv(1) == b""
            except ConnectionError:
                closed += 1
        self.assertEqual(closed, len(idle))
        with self.faster_than(2):
            self.assertEqual(self.gate.chat("one").status, 200)

    def test_readers_that_dont_read(self):
        """They stop the vendor, cost little memory, and are closed in the end."""
        held = []
        for _ in range(20):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.connect((self.gate.host, self.gate.port))
            s.sendall(post(json.dumps(chat_body("slow", stream=True))))
            held.append(s)
        time.sleep(1)
        self.assertEqual(self.gate.chat("one").status, 200)
        for s in held:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.assertTrue(until(lambda: self.vend.stats()["running"] == 0), "paid calls run on")

    def test_storm(self):
        """Noise, halves of requests and resets from many sides at once, while others are served."""
        over = threading.Event()
        whole = post(chat())

        def storm(number):
            dice = random.Random(number)
            while not over.is_set():
                try:
                    with socket.create_connection((self.gate.host, self.gate.port), 5) as s:
                        raw = bytearray(whole[: dice.randrange(len(whole) + 1)])
                        for _ in range(dice.choice([0, 0, 1, 5])):
                            if raw:
                                raw[dice.randrange(len(raw))] = dice.randrange(256)
                        s.sendall(raw)
                        if dice.random() < 0.5:
                            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
        threads = [threading.Thread(target=storm, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        try:
            for _ in range(60):
                with self.faster_than(3):
                    self.assertEqual(self.gate.chat("one").status, 200)
        finally:
            over.set()
            for t in threads:
                t.join()

    # ---- injection ----

    TRICKS = ["a\"b", "a\\b", "a\tb", "id=1 status=200", "x\x1b[31m", "\u202egnp", "%s%n%d", "a" * 300, "{}", "$(id)"]
    TRACE = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"

    def test_request_ids(self):
        for trick in self.TRICKS:
            for name in "x-request-id", "traceparent", "user-agent", "x-weir-model", "anthropic-beta", "authorization":
                with self.subTest(f"{name}: {trick!r}"):
                    answer = self.attack(b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s" % (
                        CHAT.encode(), name.encode(), trick.encode(), len(chat()), chat().encode()))
                    self.assertEqual(len(self.statuses(answer)), 1)
                    self.assertNotIn(b"\x1b", answer)
                    lines = answer.split(b"\r\n\r\n")[0].split(b"\r\n")
                    shown = [x for x in lines if x.lower().startswith(b"x-request-id:")]
                    for line in shown:
                        self.assertLess(len(line), 100)
                        self.assertTrue(all(0x20 <= c < 0x7f and c not in b'"\\' for c in line), line)
        lines = self.gate.err().splitlines()
        for line in lines[1:]:  # each one is JSON, and one line each
            if line:
                json.loads(line)
                self.assertNotIn("\x1b", line)
                self.assertNotIn("\u202e", line)

    def test_what_the_vendor_gets(self):
        """No header of a client's own, but trace and id where they are well-formed."""
        self.gate.chat("one", headers={"x-request-id": "good-1", "traceparent": self.TRACE, "x-evil": "1",
                                       "Authorization": "Bearer of-the-client", "x-api-key": "of-the-client",
                                       "Cookie": "of-the-client", "anthropic-beta": "of-the-client"})
        last = self.vend.last("one")
        sent = {k.lower(): v for k, v in last["headers"].items()}
        self.assertEqual((sent["x-request-id"], sent["traceparent"]), ("good-1", self.TRACE))
        self.assertNotIn("of-the-client", json.dumps(last))
        self.assertNotIn("x-evil", sent)
        for trace in self.TRACE.upper(), self.TRACE[:-1], self.TRACE + "\t,x", "00-" + "0" * 99, "ff" + self.TRACE[2:]:
            with self.subTest(trace):
                self.gate.chat("one", headers={"traceparent": trace})
                sent = {k.lower() for k in self.vend.last("one")["headers"]}
                self.assertNotIn("traceparent", sent)

    def test_model_names(self):
        """Unknown names come back as text, shortened, in one JSON answer, and nowhere else."""
        for trick in self.TRICKS + ["a\r\nx-evil: 1", "weir:" + "value=1," * 5000, "weir:=", "weir:,", "weir:value=1e999",
                                    "weir:value=nan", "weir:mu=-0x1p-3", "weir:policy=\u202e", "router-x", "../one",
                                    "one\u0000"]:
            for path in CHAT, "/v1/messages", "/v1/route":
                with self.subTest(f"{path}: {trick!r}"):
                    body = dict(chat_body(trick), max_tokens=5)
                    answer = self.gate.ask("POST", path, body)
                    self.assertIn(answer.status, (400, 404), answer)
                    self.assertLess(len(answer.body), 2000)
                    self.assertTrue(answer.error["message"])
                    self.assertNotIn("x-evil", answer.headers)

    def test_what_the_vendor_says(self):
        """The vendor's headers don't become the gateway's, and line ends in its text don't end an event."""
        answer = self.gate.chat("vain", headers={"x-request-id": "mine"})
        self.assertEqual((answer.status, answer.headers["x-request-id"]), (200, "mine"))
        self.assertNotIn("x-evil", answer.headers)
        stream = self.gate.stream("vain")
        self.assertEqual(stream.text, "line one\nline two")
        self.assertTrue(stream.done)


if __name__ == "__main__":
    gatewaylib.main()
