#!/usr/bin/env python3
"""weir convert against a local data-set server that answers as documented, and misbehaves as servers do.

SPDX-License-Identifier: GPL-3.0-or-later"""

import gzip
import http.server
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import skipping
import urllib.parse

WEIR = os.environ["WEIR"]
MODELS = ["openai-gpt-4o", "wxai-llama-3-1-8b-instruct", "someone/else"]
PRICES = {"openai-gpt-4o": (2.5, 10), "wxai-llama-3-1-8b-instruct": (0.2, 0.2)}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def row(i):
    value = {"key": f"k{i}", "dataset": ["gpqa", "ifeval"][i % 2], "prompt": f"Question {i}: é 问?", "golden_answer": "x"}
    for m, name in enumerate(MODELS):
        score = None if (i + m) % 7 == 0 else (i * 3 + m) % 11 / 10
        value[name] = {"response": "y" * 50, "score": score, "num_input_tokens": i + m, "num_output_tokens": 2 * i}
    return value


def expected_line(i):
    outcomes = {}
    for name in MODELS:
        r = row(i)[name]
        if r["score"] is None:
            continue
        outcomes[name] = {"quality": r["score"], "input_tokens": r["num_input_tokens"],
                          "output_tokens": r["num_output_tokens"]}
        if name in PRICES:
            p = PRICES[name]
            outcomes[name]["cost"] = (p[0] * r["num_input_tokens"] + p[1] * r["num_output_tokens"]) * 1e-6
    return {"id": f"k{i}", "task": row(i)["dataset"], "prompt": row(i)["prompt"], "outcomes": outcomes}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, total=257, cut=(), page=100, delay=0.0, faults=None, partial=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.total, self.cut, self.page, self.delay, self.partial = total, set(cut), page, delay, partial
        self.faults = faults or (lambda n, offset: None)  # number of the request, offset -> name of a fault
        self.seen = []  # the queries
        self.times = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def offsets(self):
        return [int(q["offset"]) for q in self.seen]

    def handle_error(self, request, client_address):
        pass  # clients that were killed


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, text, headers=()):
        self.answer(status, json.dumps({"error": text}).encode(), headers)

    def page(self, q):
        s = self.server
        offset, length = int(q["offset"]), min(int(q["length"]), s.page)
        rows = [{"row_idx": i, "row": row(i), "truncated_cells": ["prompt"] if i in s.cut else []}
                for i in range(offset, min(offset + length, s.total))]
        return {"features": [{"feature_idx": 0, "name": "key", "type": {"dtype": "string", "_type": "Value"}}],
                "rows": rows, "num_rows_total": s.total, "num_rows_per_page": 100, "partial": s.partial}

    def do_GET(self):
        s = self.server
        url = urllib.parse.urlsplit(self.path)
        q = dict(urllib.parse.parse_qsl(url.query))
        if url.path != "/rows" or int(q["length"]) > 100:
            return self.error(422, "Parameter 'length' must not be greater than 100")
        s.seen.append(q)
        s.times.append(time.monotonic())
        time.sleep(s.delay)
        fault = s.faults(len(s.seen) - 1, int(q["offset"]))
        page = self.page(q)
        if fault is None:
            return self.answer(200, json.dumps(page).encode())
        return getattr(self, fault)(page)

    def too_fast(self, page):
        self.error(429, "You have exceeded the rate limit", [("Retry-After", "1")])

    def endless_patience(self, page):
        self.error(429, "Come back tomorrow", [("Retry-After", "86400")])

    def broken(self, page):
        self.error(500, "Unexpected error.")

    def preparing(self, page):
        self.error(503, "The server is busier than usual and the response is not ready yet.")

    def missing(self, page):
        self.error(404, "The dataset does not exist, or is not accessible.")

    def html(self, page):
        self.answer(502, b"<html>bad gateway</html>")

    def cut_with_length(self, page):
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def cut_without_length(self, page):
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def hang_up(self, page):
        self.close_connection = True

    def slow(self, page):
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        piece = len(body) // 15 + 1
        for at in range(0, len(body), piece):
            self.wfile.write(body[at:at + piece])
            self.wfile.flush()
            time.sleep(0.1)

    def silent(self, page):
        time.sleep(30)

    def squeezed(self, page):
        self.answer(200, gzip.compress(json.dumps(page).encode()), [("Content-Encoding", "gzip")])

    def endless(self, page):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b" " * (1 << 20))

    def empty(self, page):
        page["rows"] = []
        self.answer(200, json.dumps(page).encode())

    def gap(self, page):
        page["rows"] = page["rows"][1:]
        self.answer(200, json.dumps(page).encode())

    def overlap(self, page):
        offset = page["rows"][0]["row_idx"]
        before = [{"row_idx": i, "row": row(i), "truncated_cells": []} for i in range(max(0, offset - 5), offset)]
        page["rows"] = before + page["rows"]
        self.answer(200, json.dumps(page).encode())

    def no_page(self, page):
        self.answer(200, b'{"rows": 5}')

    def elsewhere(self, page):
        self.answer(302, b"", [("Location", "file:///etc/passwd")])


class Convert(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out.jsonl")
        self.state = self.out + ".state"
        self.servers = []

    def tearDown(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()
        self.folder.cleanup()

    def serve(self, **how):
        self.servers.append(Server(**how))
        return self.servers[-1]

    def command(self, server, *more, out=None):
        return [WEIR, "convert", "--from", "sprout-hub", "--base-url", server.url, "--out", out or self.out, *more,
                "CARROT-LLM-Routing/SPROUT"]

    def start(self, server, *more, **how):
        env = dict(os.environ, no_proxy="127.0.0.1")
        return subprocess.Popen(self.command(server, *more, **how), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=env)

    def run_weir(self, server, *more, **how):
        p = self.start(server, *more, **how)
        out, err = p.communicate(timeout=120)
        return p.returncode, out.decode(), err.decode()

    def check_output(self, indices, path=None):
        with open(path or self.out, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual([x["id"] for x in lines], [f"k{i}" for i in indices])
        for x, i in zip(lines, indices):
            e = expected_line(i)
            self.assertEqual((x["task"], x["prompt"]), (e["task"], e["prompt"]))
            self.assertEqual(list(x["outcomes"]), list(e["outcomes"]))
            for name, o in e["outcomes"].items():
                self.assertEqual(set(o), set(x["outcomes"][name]))
                for key, value in o.items():
                    self.assertAlmostEqual(x["outcomes"][name][key], value, delta=1e-12)

    def succeeds(self, server, *more, indices=range(257)):
        rc, _, err = self.run_weir(server, *more)
        self.assertEqual(rc, 0, err)
        self.check_output(list(indices))
        self.assertFalse(os.path.exists(self.state))
        return err

    def fails(self, server, *says, more=()):
        rc, _, err = self.run_weir(server, *more)
        self.assertEqual(rc, 1, err)
        for text in says:
            self.assertIn(text, err)
        return err

    # ---- as documented ----

    def test_pages(self):
        s = self.serve()
        err = self.succeeds(s, "--split", "train & test", "--config", "ä/b")
        self.assertEqual(s.offsets(), [0, 100, 200])
        for q in s.seen:
            self.assertEqual((q["dataset"], q["config"], q["split"]), ("CARROT-LLM-Routing/SPROUT", "ä/b", "train & test"))
        self.assertIn("257 rows read, 257 outcome lines", err)

    def test_defaults(self):
        s = self.serve(total=3)
        self.succeeds(s, indices=range(3))
        self.assertEqual((s.seen[0]["config"], s.seen[0]["split"]), ("default", "train"))

    def test_standard_output(self):
        rc, out, err = self.run_weir(self.serve(total=5), out="-")
        self.assertEqual((rc, len(out.splitlines())), (0, 5), err)

    def test_compressed(self):
        path = os.path.join(self.folder.name, "out.jsonl.zst")
        rc, _, err = self.run_weir(self.serve(), out=path)
        self.assertEqual(rc, 0, err)
        plain = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
        self.assertEqual(len(plain.splitlines()), 257)

    def test_limit(self):
        s = self.serve()
        self.succeeds(s, "--limit", "130", indices=range(130))
        self.assertEqual([int(q["length"]) for q in s.seen], [100, 30])

    def test_short_pages(self):
        s = self.serve(page=40)
        self.succeeds(s)
        self.assertEqual(s.offsets(), [0, 40, 80, 120, 160, 200, 240])

    def test_cut_cells_are_left_out_and_counted(self):
        err = self.succeeds(self.serve(cut=[0, 99, 100, 256]),
                            indices=[i for i in range(257) if i not in (0, 99, 100, 256)])
        self.assertIn("253 outcome lines", err)
        self.assertIn("4 cut by the server", err)

    def test_partial_is_said(self):
        self.assertIn("holds the first 257 rows only", self.succeeds(self.serve(partial=True)))

    def test_compressed_answers(self):
        self.succeeds(self.serve(faults=lambda n, o: "squeezed"))

    # ---- trouble that passes ----

    def test_rate_limit(self):
        s = self.serve(faults=lambda n, o: "too_fast" if n in (1, 3) else None)
        self.succeeds(s)
        self.assertEqual(s.offsets(), [0, 100, 100, 200, 200])
        self.assertGreaterEqual(s.times[2] - s.times[1], 0.99)  # Retry-After: 1
        self.assertGreaterEqual(s.times[4] - s.times[3], 0.99)

    def test_server_errors(self):
        plan = {0: "preparing", 1: "broken", 2: "html", 4: "hang_up", 6: "broken"}
        s = self.serve(faults=lambda n, o: plan.get(n))
        self.succeeds(s)
        self.assertEqual(s.offsets(), [0, 0, 0, 0, 100, 100, 200, 200])
        # waits double: half of them is chance
        waits = [b - a for a, b in zip(s.times, s.times[1:])]
        for n, wait in enumerate(waits[:3]):
            self.assertGreaterEqual(wait, 0.25 * 2 ** n - 0.02)
            self.assertLessEqual(wait, 0.5 * 2 ** n + 1)

    def test_broken_bodies(self):
        plan = {0: "cut_with_length", 2: "cut_without_length", 4: "cut_with_length"}
        s = self.serve(faults=lambda n, o: plan.get(n))
        self.succeeds(s)
        self.assertEqual(s.offsets(), [0, 0, 100, 100, 200, 200])

    def test_slow_answers(self):
        self.succeeds(self.serve(faults=lambda n, o: "slow" if n == 1 else None))

    def test_overlapping_pages(self):
        self.succeeds(self.serve(faults=lambda n, o: "overlap"))

    # ---- trouble that doesn't ----

    def test_not_found(self):
        s = self.serve(faults=lambda n, o: "missing")
        self.fails(s, "404", "The dataset does not exist, or is not accessible.")
        self.assertEqual(len(s.seen), 1)

    def test_gives_up(self):
        s = self.serve(faults=lambda n, o: "broken")
        self.fails(s, "status 500 (after 3 tries)", "Unexpected error.", more=("--retries", "2"))
        self.assertEqual(len(s.seen), 3)

    def test_wont_wait_for_ever(self):
        s = self.serve(faults=lambda n, o: "endless_patience")
        self.fails(s, "429", "Come back tomorrow")
        self.assertEqual(len(s.seen), 1)

    def test_nobody_there(self):
        s = self.serve()
        s.shutdown()
        s.server_close()
        self.servers.pop()
        self.fails(s, "after 2 tries", more=("--retries", "1"))

    def test_too_large(self):
        self.fails(self.serve(faults=lambda n, o: "endless"), "larger than")

    def test_always_empty(self):
        s = self.serve(faults=lambda n, o: "empty")
        self.fails(s, "is empty, but more rows are announced")
        self.assertEqual(len(s.seen), 3)

    def test_never_json(self):
        s = self.serve(faults=lambda n, o: "cut_without_length")
        self.fails(s, "isn't JSON")
        self.assertEqual(len(s.seen), 3)

    def test_rows_left_out(self):
        self.fails(self.serve(faults=lambda n, o: "gap" if o == 100 else None), "leaves rows out")

    def test_no_page(self):
        self.fails(self.serve(faults=lambda n, o: "no_page"), "isn't a page of rows")

    def test_other_protocols(self):
        self.fails(self.serve(faults=lambda n, o: "elsewhere"), "file")

    def test_no_rows(self):
        self.fails(self.serve(total=0), "no usable row")

    # ---- going on ----

    def wait_for(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.005)

    def test_goes_on_after_kill(self):
        """Killed again and again at different moments: every row is there once, and finished pages aren't asked again."""
        s = self.serve(total=1057, delay=0.03)
        for n in range(8):
            before = len(s.seen)
            p = self.start(s)
            self.wait_for(lambda: len(s.seen) > before + 1 or p.poll() is not None)
            time.sleep(0.004 * n)
            p.kill()
            p.communicate()
            self.assertTrue(os.path.exists(self.state))
        first = json.loads(read(self.state))["offset"]
        self.assertGreater(first, 0)
        with open(self.out, "a") as f:  # what a page that the state doesn't know of would leave
            f.write('{"id":"half a li')
        before = len(s.seen)
        err = self.succeeds(s, indices=range(1057))
        self.assertIn("going on", err)
        self.assertEqual(s.offsets()[before], first)
        self.assertIn("1057 rows read, 1057 outcome lines", err)

    def test_goes_on_after_failure(self):
        s = self.serve(faults=lambda n, o: "missing" if n == 2 else None)
        self.fails(s, "goes on from here")
        self.succeeds(s)
        self.assertEqual(s.offsets(), [0, 100, 200, 200])

    def test_goes_on_after_interrupt(self):
        s = self.serve(faults=lambda n, o: "silent" if n == 2 else None)
        p = self.start(s)
        self.wait_for(lambda: len(s.seen) == 3)
        started = time.monotonic()
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=20)
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(p.returncode, 1, err)
        self.assertIn("cancel", err.decode())
        self.succeeds(s)

    def test_interrupted_while_waiting(self):
        s = self.serve(faults=lambda n, o: "preparing" if n else None)
        p = self.start(s, "--retries", "50")
        self.wait_for(lambda: len(s.seen) >= 4)
        p.send_signal(signal.SIGINT)
        started = time.monotonic()
        p.communicate(timeout=20)
        self.assertLess(time.monotonic() - started, 3)
        self.assertEqual(p.returncode, 1)

    def break_off(self):
        s = self.serve(faults=lambda n, o: "missing" if n == 2 else None)
        self.fails(s)
        return s

    def test_state_of_something_else(self):
        s = self.break_off()
        held = read(self.out)
        self.fails(s, "belongs to another data set", more=("--split", "test"))
        self.assertEqual(read(self.out), held)

    def test_output_is_gone(self):
        s = self.break_off()
        os.remove(self.out)
        self.fails(s, "shorter than it was")

    def test_broken_state(self):
        s = self.break_off()
        with open(self.state, "w") as f:
            f.write("{")
        self.fails(s, "remove it to start anew")
        os.remove(self.state)
        self.succeeds(s)

    # ---- the command ----

    def weir(self, *words):
        return subprocess.run([WEIR, "convert", *words], capture_output=True, text=True, timeout=60)

    def test_files(self):
        path = os.path.join(self.folder.name, "rows.jsonl")
        with open(path, "w") as f:
            f.writelines(json.dumps(row(i)) + "\n" for i in range(20))
        p = self.weir("--out", self.out, path)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.check_output(list(range(20)))
        p = subprocess.run([WEIR, "convert", "-"], input=read(path), capture_output=True, text=True)
        self.assertEqual((p.returncode, len(p.stdout.splitlines())), (0, 20), p.stderr)

    def test_failure_leaves_the_old_file(self):
        with open(self.out, "w") as f:
            f.write("precious\n")
        self.assertEqual(self.weir("--out", self.out, "/nowhere.csv").returncode, 1)
        self.assertEqual(read(self.out), "precious\n")
        self.assertEqual(os.listdir(self.folder.name), ["out.jsonl"])

    def test_wrong_usage(self):
        self.assertEqual(self.weir().returncode, 2)
        self.assertEqual(self.weir("--from", "nothing", "x").returncode, 2)
        self.assertEqual(self.weir("--state", "s", "x").returncode, 2)
        self.assertEqual(self.weir("--from", "sprout-hub", "--state", "s", "--out", "x.zst", "a/b").returncode, 2)
        self.assertTrue(re.search("sprout-hub", self.weir("--help").stdout))


if __name__ == "__main__":
    skipping.main()
