#!/usr/bin/env python3
"""Clients that leave, and clients that read slowly.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import http.client, json, re, selectors, socket, time, unittest

import gatewaylib
from gatewaylib import Case, Stream, chat_body, model, until

N = 200
LONG = {"first_token_ms": 60000, "idle_ms": 60000, "total_ms": 120000}


class Raw:
    """A client that sends a request and leaves its answer in the socket."""

    def __init__(self, gateway, body, receive_buffer=0):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        self.socket.connect((gateway.host, gateway.port))
        raw = json.dumps(body).encode()
        self.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n" % len(raw) + raw)


class Leaving(Case):
    def start(self, rules, **more):
        vendor = self.vendor(rules)
        return vendor, self.gateway(self.config(vendor, [model("only", input=3, output=6)], LONG, **more))

    def leave(self, streamed, threads):
        """All leave while the vendor is silent: how late the vendor saw each of them go, ms."""
        vendor, gateway = self.start([{"silent": True}], threads=threads)
        clients = [Raw(gateway, chat_body(stream=streamed)) for _ in range(N)]
        self.assertTrue(until(lambda: vendor.stats()["running"] == N, 10))
        left = []
        for client in clients:
            client.socket.close()
            left.append(time.time() * 1000)
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 5))
        stats = vendor.stats()
        self.assertEqual((stats["aborted"], stats["ended"], len(stats["aborts"])), (N, 0, N))
        seen = sorted(a["at_ms"] for a in stats["aborts"])
        late = [at - gone for at, gone in zip(seen, left)]  # clients left in order
        self.assertTrue(gateway.idle())
        metrics = gateway.metrics()
        self.assertEqual(metrics["weir_client_disconnects_total"], N)
        self.assertEqual(metrics["weir_attempts_total", {"result": "client_gone"}], N)
        gateway.stop()
        vendor.stop()
        return late

    def test_while_the_vendor_is_silent(self):
        worst = {}
        for streamed in True, False:
            for threads in 1, 2:
                late = self.leave(streamed, threads)
                worst[streamed, threads] = max(late)
                in_time = sum(ms <= 50 * gatewaylib.SLOW for ms in late)
                self.assertEqual(in_time, N, f"streamed {streamed}, {threads} threads: worst {max(late)} ms")
        print(f"{N} of {N} vendor calls ended; the last after {max(worst.values()):.0f} ms at most")

    def test_half_closed_is_not_gone(self):
        """A client that has said all may shut its side down, and still gets its answer (RFC 9112, 9.6)."""
        vendor, gateway = self.start([{"latency_ms": 200}])
        client = Raw(gateway, chat_body())
        client.socket.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while chunk := client.socket.recv(65536):
                got += chunk
        except ConnectionError:
            pass
        client.socket.close()
        self.assertTrue(got == b"" or got.startswith(b"HTTP/1.1 200"), got)  # to take it for gone is allowed as well

    def test_in_the_middle_of_a_stream_what_has_come_is_billed(self):
        vendor, gateway = self.start([{"events": 100000, "event_bytes": 40, "event_ms": 5}])
        with gateway.open_stream(text="Tell me of weirs. " * 40) as stream:
            self.assertEqual(len(stream.read(41)), 41)
            decision = stream.headers["x-weir-decision-id"]
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))
        line = gateway.request_log(decision)
        self.assertEqual((line["status"], line["result"], line["usage_estimated"]), (499, "client_gone", True))
        self.assertTrue(120 <= line["input_tokens"] <= 300, line)  # 160 words
        self.assertTrue(40 * 4 <= line["output_tokens"] <= 60 * 40, line)  # 40 events of 40 bytes, or a few more
        self.assertAlmostEqual(line["cost_usd"], (3 * line["input_tokens"] + 6 * line["output_tokens"]) * 1e-6, 9)
        metrics = gateway.metrics()
        self.assertAlmostEqual(metrics["weir_cost_usd_total"], line["cost_usd"], 9)
        self.assertEqual(metrics["weir_requests_total", {"code": "499"}], 1)
        self.assertEqual(metrics["weir_client_disconnects_total"], 1)

    def test_while_a_retry_is_waited_for(self):
        vendor, gateway = self.start([{"error": {"kind": "server"}}], retry={"max": 9, "base_ms": 3000, "max_ms": 3000})
        client = Raw(gateway, chat_body())
        self.assertTrue(until(lambda: vendor.stats()["requests"] == 1, 2))
        client.socket.close()
        self.assertTrue(until(lambda: gateway.metrics()["weir_active_requests"] == 0, 1))
        time.sleep(0.3)
        self.assertEqual(vendor.stats()["requests"], 1)

    def test_while_it_sends(self):
        vendor, gateway = self.start([])
        client = socket.create_connection((gateway.host, gateway.port))
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"model\":")
        client.close()
        self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(vendor.stats()["requests"], 1)

    def test_by_a_reset(self):
        import struct
        vendor, gateway = self.start([{"endless": True, "per_token_ms": 1}])
        stream = gateway.open_stream()
        stream.read(10)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))

    def test_keeps_its_connection_for_the_next(self):
        vendor, gateway = self.start([])
        connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=10)
        for i in range(50):
            answer = gatewaylib.ask_over(connection, "POST", "/v1/chat/completions", chat_body(stream=i % 2 == 1))
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.body)
        self.assertEqual(gateway.metrics()["weir_connections"], 2)  # this one, and the one that asks
        connection.close()


class Slow(Case):
    """Clients that stop reading a stream that is faster than they are."""

    EVENTS, BYTES = 4000, 1000  # 4 MB, and what JSON adds, for each

    def test_memory_is_bounded_and_all_comes_in_order(self):
        vendor = self.vendor([{"events": self.EVENTS, "event_bytes": self.BYTES, "event_ms": 0}])
        gateway = self.gateway(self.config(vendor, [model("only")], LONG))
        gateway.chat()
        before = gateway.rss_kib()
        clients = [Raw(gateway, chat_body(stream=True), receive_buffer=16384) for _ in range(N)]
        self.assertTrue(until(lambda: vendor.stats()["running"] == N, 10))
        quiet = self.wait_until_quiet(vendor)
        held = gateway.rss_kib() - before
        self.assert_memory(gateway, before, 64)
        self.assertEqual(vendor.stats()["running"], N)  # none was given up, none has sent all
        # they resume, all at once
        start = time.monotonic()
        self.read_all(clients)
        took = time.monotonic() - start
        peak = gateway.rss_kib() - before
        self.assert_memory(gateway, before, 64)
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 5))
        self.assertTrue(gateway.idle())
        self.assertEqual(gateway.metrics()["weir_attempts_total", {"result": "ok"}], N + 1)
        print(f"{N} clients that stopped reading {self.EVENTS * self.BYTES / 1e6:.0f} MB each: {held / 1024:.1f} MiB held, "
              f"quiet after {quiet:.1f} s; all read in {took:.1f} s, {peak / 1024:.1f} MiB at the end")

    def wait_until_quiet(self, vendor):
        """Until nothing moves any more."""
        start, last = time.monotonic(), None
        while time.monotonic() - start < 20:
            with open(f"/proc/{vendor.pid}/stat") as f:
                now = f.read().split()[13:15]
            if now == last:
                return time.monotonic() - start
            last = now
            time.sleep(0.3)
        self.fail("the vendor is still busy: nothing holds it back")

    def read_all(self, clients):
        """Every event of every stream in order, and nothing lost: 200 streams of 4 MB, by the numbers in them."""
        number = re.compile(rb'"content":"(\d{9}) ')
        selector = selectors.DefaultSelector()
        state = {}
        for client in clients:
            client.socket.setblocking(False)
            state[client] = [b"", 0, False]
            selector.register(client.socket, selectors.EVENT_READ, client)
        deadline = time.monotonic() + 60 * gatewaylib.SLOW
        open_ones = len(clients)
        while open_ones:
            self.assertLess(time.monotonic(), deadline, f"{open_ones} streams don't end")
            for key, _ in selector.select(1):
                client, one = key.data, state[key.data]
                try:
                    got = client.socket.recv(1 << 18)
                except BlockingIOError:
                    continue
                text = one[0] + got
                end = text.rfind(b"}]}")
                if end >= 0:
                    for found in number.findall(text[:end]):
                        if int(found) != one[1]:
                            self.fail(f"event {int(found)} where {one[1]} should be")
                        one[1] += 1
                    text = text[end:]
                one[0] = text
                one[2] = one[2] or b"[DONE]" in text
                if not got or one[2]:
                    selector.unregister(client.socket)
                    open_ones -= 1
        for client, (_, n, done) in state.items():
            self.assertEqual((n, done), (self.EVENTS, True))
            client.socket.close()

    def test_one_that_never_reads_again_is_given_up(self):
        """limits.client_idle_s: neither memory nor the vendor's time is held for ever."""
        vendor = self.vendor([{"events": 100000, "event_bytes": 1000, "event_ms": 0}])
        gateway = self.gateway(self.config(vendor, [model("only")], LONG, limits={"client_idle_s": 1}))
        client = Raw(gateway, chat_body(stream=True), receive_buffer=16384)
        self.assertTrue(until(lambda: vendor.stats()["running"] == 1, 2))
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 6))
        self.assertTrue(gateway.idle())
        client.socket.close()

    def test_a_slow_reader_is_no_slow_vendor(self):
        """Time that is spent waiting for the client is not the vendor's: no idle timeout, no breaker."""
        vendor = self.vendor([{"events": 6000, "event_bytes": 1000, "event_ms": 0}])
        gateway = self.gateway(self.config(vendor, [model("only")], {**LONG, "idle_ms": 300}, breaker={"failures": 1}))
        with gateway.open_stream(receive_buffer=16384) as stream:
            stream.read(10)
            time.sleep(1.2)
            stream.read()
            self.assertTrue(stream.done)
            self.assertEqual(len(stream.events), 6000 + 3)
        self.assertEqual(gateway.metrics()["weir_attempts_total", {"result": "ok"}], 1)

    def test_others_are_not_held_up(self):
        vendor = self.vendor([{"match": {"model": "only", "stream": "only"}, "events": 20000, "event_bytes": 1000, "event_ms": 0}])
        gateway = self.gateway(self.config(vendor, [model("only")], LONG))
        clients = [Raw(gateway, chat_body(stream=True), receive_buffer=16384) for _ in range(20)]
        self.assertTrue(until(lambda: vendor.stats()["running"] == 20, 5))
        times = []
        for _ in range(50):
            start = time.monotonic()
            self.assertEqual(gateway.chat().status, 200)
            times.append(time.monotonic() - start)
        self.assertLess(sorted(times)[25], 0.1 * gatewaylib.SLOW)
        for client in clients:
            client.socket.close()
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 2))


if __name__ == "__main__":
    gatewaylib.main()
