#!/usr/bin/env python3
"""Several gateways on one store: every request and every feedback is logged once, whoever served it and whoever is killed.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import collections, copy, json, signal, socket, subprocess, threading, time

import gatewaylib
from gatewaylib import Case, ask, chat_body, model, until, weir

N = 2000 if gatewaylib.SLOW < 3 else 400
CLIENTS = 8


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def log_of(store):
    """The log's records, and how often each decision is there."""
    records = [json.loads(line) for line in weir("store", "export", "--log", "--store", store)[0].splitlines()]
    count = lambda kind, key: collections.Counter(key(r) for r in records if r["kind"] == kind)
    return records, count("served", lambda r: r["id"]), count("feedback", lambda r: (r["id"], r["source"]))


class Join(Case):
    def start(self, n=3, models=None, each=None, **more):
        """n gateways on one store; on one port unless `each`."""
        vendor = self.vendor([{"tokens": 5}])
        folder = self.subfolder("weir")
        listen = "127.0.0.1:0" if each else f"127.0.0.1:{free_port()}"
        config = self.config(vendor, models or [model("first"), model("second", input=3, output=6)],
                             listen=listen, **more)
        gateways = []
        for i in range(n):
            gateways.append(self.gateway(config, errors=self.errors, folder=folder, name=f"weir{i}"))
        self.store = gateways[0].store
        return vendor, config, gateways

    errors = ()

    def holder(self, gateways):
        """Whoever says that it learns; gateways that share a port can't be asked for their metrics one by one."""
        def find():
            found = [g for g in gateways if g.running() and self.is_holder(g)]
            return found[0] if len(found) == 1 else None
        found = until(find, 5)
        self.assertTrue(found, "not one holder")
        return found

    def is_holder(self, gateway):
        lines = [line["msg"] for line in gateway.logs() if "process" in line["msg"] and "learns" in line["msg"]]
        return not lines or lines[-1].startswith("took over")

    def load(self, gateways, n=N, during=None):
        """n requests with feedback from several clients; what was answered. A connection may break with its server."""
        address, lock = gateways[0].address, threading.Lock()
        served, said, lost, unknown = [], [], [0], []
        left = iter(range(n))

        def run():
            while True:
                with lock:
                    i = next(left, None)
                if i is None:
                    return
                try:
                    answer = ask(address, "POST", "/v1/chat/completions", chat_body("weir", f"Question {i}?"))
                    assert answer.status == 200, answer
                    with lock:
                        served.append(answer.decision)
                    body = {"id": answer.decision, "quality": i % 2, "source": "test"}
                    told = ask(address, "POST", "/v1/feedback", body)
                    with lock:
                        if told.status == 200:
                            said.append(answer.decision)
                        else:
                            unknown.append(told)
                except (OSError, gatewaylib.http.client.HTTPException):
                    with lock:
                        lost[0] += 1
                if during and i == n // 2:
                    during()

        threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return served, said, lost[0], unknown

    def test_every_request_and_feedback_once(self):
        vendor, config, gateways = self.start()
        self.assertEqual([self.is_holder(g) for g in gateways], [True, False, False])
        learns = f"joined: process {gateways[0].pid} learns"
        self.assertEqual([len(g.logs(learns)) for g in gateways], [0, 1, 1])
        served, said, lost, unknown = self.load(gateways)
        self.assertEqual((len(served), len(said), lost, unknown), (N, N, 0, []))
        counts = [len(g.logs("request")) for g in gateways]
        self.assertTrue(all(c > N / 20 for c in counts), counts)
        for g in reversed(gateways):
            g.stop(check=False)
        records, requests, feedback = log_of(self.store)
        self.assertEqual(requests, collections.Counter(served))
        self.assertEqual(feedback, collections.Counter((d, "test") for d in said))
        print(f"{N} requests by {counts}: each once, and each feedback")

    def test_ended_together(self):
        """What one leaves in the inbox while the holder ends is taken in by whoever ends last."""
        for _ in range(3):
            vendor, config, gateways = self.start()
            served, said, lost, unknown = self.load(gateways, 200)
            for g in gateways:
                g.signal(signal.SIGTERM)
            self.assertEqual([g.wait(15) for g in gateways], [0, 0, 0])
            records, requests, feedback = log_of(self.store)
            self.assertEqual(requests, collections.Counter(served))
            self.assertEqual(len(feedback), len(said))

    def test_holder_is_killed(self):
        vendor, config, gateways = self.start()
        for g in gateways:
            g.torn = True
        killed = []
        def kill():
            holder = self.holder(gateways)
            holder.kill()
            killed.append((holder, time.monotonic()))
        took = []
        def watch():
            while not killed:
                time.sleep(0.002)
            rest = [g for g in gateways if g is not killed[0][0]]
            if until(lambda: any(self.is_holder(g) for g in rest), 10):
                took.append(time.monotonic() - killed[0][1])
        watcher = threading.Thread(target=watch)
        watcher.start()
        served, said, lost, unknown = self.load(gateways, during=kill)
        watcher.join()
        self.assertTrue(took, "nobody took over")
        self.assertLess(took[0], 2 * gatewaylib.SLOW)
        rest = [g for g in gateways if g is not killed[0][0]]
        second = self.holder(rest)
        again = self.load(rest, 200)
        self.assertEqual(again[2:], (0, []))
        second.kill()
        third = [g for g in rest if g is not second][0]
        self.assertTrue(until(lambda: self.is_holder(third), 10))
        last = self.load([third], 200)
        self.assertEqual(last[2:], (0, []))
        third.stop()
        served, said = served + again[0] + last[0], said + again[1] + last[1]
        records, requests, feedback = log_of(self.store)
        # what waited in the memory of a killed process is gone; what it had acknowledged isn't
        self.assertEqual([d for d, n in requests.items() if n > 1], [])
        self.assertEqual({(d, "test") for d in said} - set(feedback), set())
        self.assertEqual([f for f, n in feedback.items() if n > 1], [])
        missing = set(served) - set(requests)
        self.assertLess(len(missing), 100)
        self.assertEqual(missing & set(said), set())
        # feedback on what a killed process still had in memory finds nothing
        self.assertEqual({a.status for a in unknown} - {404}, set())
        self.assertLessEqual(len(unknown), len(missing))
        print(f"taken over after {took[0]:.2f} s; {lost} connections broke, {len(missing)} records lost, none twice")

    def test_a_joined_process_is_killed(self):
        vendor, config, gateways = self.start()
        gateways[2].torn = True
        served, said, lost, unknown = self.load(gateways, 600, during=gateways[2].kill)
        for g in gateways[:2]:
            g.stop(check=False)
        records, requests, feedback = log_of(self.store)
        self.assertEqual([d for d, n in requests.items() if n > 1], [])
        self.assertEqual({d for d in said} - {d for d, _ in feedback}, set())
        self.assertLess(len(set(served) - set(requests)), 50)

    def test_feedback_anywhere(self):
        """At another process than the one that served, at once; twice; on what there isn't."""
        vendor, config, (a, b, c) = self.start(each=True, traffic={"commit_ms": 200, "refresh_ms": 2000})
        for g, other in (a, b), (b, a), (b, c), (c, b), (b, b):
            d = g.chat().decision
            self.assertEqual(other.feedback(d, 1, "x").status, 200, (g.name, other.name))
            self.assertEqual(other.feedback(d, 1, "x").status, 409)
            self.assertEqual(g.feedback(d, 0, "y").status, 200)
            self.assertTrue(until(lambda: b.feedback(d, 1, "x").status == 409))
        d = a.chat().decision
        unknown = d[:-8] + ("00000000" if d[-8:] != "00000000" else "11111111")
        for g in a, b, c:
            self.assertEqual(g.feedback(unknown, 1).status, 404)
            self.assertEqual(g.feedback(d, 1, model="nobody").status, 400)
        metrics = [g.metrics()["weir_store_holder"] for g in (a, b, c)]
        self.assertEqual(metrics, [1, 0, 0])
        for g in c, b, a:
            g.stop()
        records, requests, feedback = log_of(self.store)
        self.assertEqual(len(requests), 6)
        self.assertEqual(len(feedback), 10)
        self.assertEqual(set(feedback.values()), {1})

    def test_what_is_learned_arrives(self):
        """The joined process decides with what the holder has learned from feedback that came to the joined one."""
        vendor, config, (a, b) = self.start(2, each=True)
        before = b.metrics()["weir_store_version"]
        def quality(gateway):
            models = gateway.ask("POST", "/v1/route", {"prompt": "What is a weir?"}).json["models"]
            return {m["name"]: m["quality"] for m in models}
        first = quality(b)
        for i in range(60):
            d = b.chat("second").decision
            self.assertEqual(b.feedback(d, 1).status, 200)
        self.assertTrue(until(lambda: b.metrics()["weir_store_version"] > before, 8))
        self.assertTrue(until(lambda: quality(b) != first and quality(b) == quality(a), 8), (quality(a), quality(b)))

    def test_reloads(self):
        vendor, config, (a, b, c) = self.start(each=True)
        config["models"][0].update(input_usd_per_mtok=100, output_usd_per_mtok=200)
        for g in a, b, c:
            self.assertTrue(g.reload(config))
            answer = g.chat("first")
            usage = answer.json["usage"]
            self.assertAlmostEqual(float(answer.headers["x-weir-cost-usd"]),
                                   (100 * usage["prompt_tokens"] + 200 * usage["completion_tokens"]) * 1e-6, 9)
        # a model that is new: the holder puts it in the store, however the signals come
        config["models"].append(model("third"))
        for g in c, b, a:
            g.write(config)
            g.signal(signal.SIGHUP)
        for g in a, b, c:
            self.assertTrue(until(lambda: len(g.logs("configuration reloaded")) == 2, 10), g.err())
            self.assertEqual(g.chat("third").status, 200)
        for g in c, b, a:
            g.stop()
        records, requests, _ = log_of(self.store)
        self.assertEqual(collections.Counter(r["answered"] for r in records if r["kind"] == "served"),
                         {"first": 3, "third": 3})

    def test_models_that_the_store_lacks(self):
        vendor, config, (a,) = self.start(1, each=True)
        more = copy.deepcopy(config)
        more["models"].append(model("unheard-of"))
        path = a.folder / "more.yaml"
        path.write_text(json.dumps(more))
        done = subprocess.run([gatewaylib.WEIR, "serve", "--config", path], capture_output=True, text=True,
                              env=gatewaylib.ENV, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('no model "unheard-of"', done.stderr)
        self.assertIn(f"process {a.pid}", done.stderr)

    def test_tools_beside(self):
        vendor, config, (a, b) = self.start(2, each=True)
        pool = a.folder / "pool.yaml"
        pool.write_text("models:\n- {name: first, input_usd_per_mtok: 1, output_usd_per_mtok: 1}\n")
        for gone in False, True:
            for args in (("set-pool", "--pool", pool), ("compact",), ("trim", "--keep", "1")):
                done = subprocess.run([gatewaylib.WEIR, "store", *map(str, args), "--store", a.store],
                                      capture_output=True, text=True, env=gatewaylib.ENV, timeout=30)
                self.assertNotEqual(done.returncode, 0, args)
                self.assertIn("in use", done.stderr, args)
            weir("store", "check", "--store", a.store)
            weir("store", "info", "--store", a.store)
            if not gone:
                a.stop()
                self.assertTrue(until(lambda: self.is_holder(b), 5))
        self.assertEqual(b.chat().status, 200)


if __name__ == "__main__":
    gatewaylib.main()
