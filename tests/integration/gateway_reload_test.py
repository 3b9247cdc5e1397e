#!/usr/bin/env python3
"""SIGHUP under load, refused configurations, SIGTERM: draining and its limits; starting.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import copy, http.client, json, signal, socket, subprocess, threading, time

import gatewaylib
from gatewaylib import Case, ask_over, chat_body, model, until, weir

REFUSED = "reload refused: the old configuration stays in force"


class Load:
    """Clients that send all the time, streams and whole answers by turns, over kept and new connections."""

    def __init__(self, gateway, n=8, names=("weir",)):
        self.gateway, self.names = gateway, names
        self.stop = threading.Event()
        self.done, self.wrong = 0, []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(n)]
        for t in self.threads:
            t.start()

    def run(self, number):
        i, connection = number, None
        while not self.stop.is_set():
            i += 1
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.gateway.host, self.gateway.port, timeout=30)
                streamed = i % 3 == 0
                body = chat_body(self.names[i % len(self.names)], f"Question {i % 17}", stream=streamed)
                answer = ask_over(connection, "POST", "/v1/chat/completions", body)
                good = answer.status == 200 and (not streamed or answer.body.rstrip().endswith(b"[DONE]"))
                if not good:
                    self.wrong.append(answer)
                self.done += 1
                if i % 20 == 0:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as e:
                self.wrong.append(e)
                connection = None
        if connection:
            connection.close()

    def finish(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        return self


class Reload(Case):
    def start(self, rules=(), models=None, **more):
        vendor = self.vendor([{"tokens": 5, "per_token_ms": 1}, *rules] if not rules else list(rules))
        config = self.config(vendor, models or [model("first"), model("second", input=3, output=6)], **more)
        return vendor, config, self.gateway(config, errors=(REFUSED,))

    def test_under_load_nothing_is_dropped(self):
        vendor, config, gateway = self.start(threads=2)
        load = Load(gateway)
        for i in range(12):
            config = copy.deepcopy(config)
            config["models"][0]["input_usd_per_mtok"] = 1 + i  # prices
            config["policy"] = {"value_usd": 0.01 * (i + 1)}
            config["limits"] = {"request_ms": 60000 + i}
            if i == 4:  # models and places come and go
                config["models"].append(model("third", "x", "y"))
            if i == 8:
                config["models"].insert(0, model("zeroth"))
            if i == 10:
                del config["models"][1]["deployments"][0]["name"]
            self.assertTrue(gateway.reload(config))
            time.sleep(0.05)
        load.finish()
        self.assertEqual(load.wrong, [])
        self.assertGreater(load.done, 50)
        metrics = gateway.metrics()
        self.assertEqual(metrics["weir_config_reloads_total"], 12)
        self.assertEqual(metrics["weir_config_reload_failures_total"], 0)
        self.assertEqual(len(gateway.logs("configuration reloaded")), 12)
        print(f"12 reloads under {load.done} requests: none dropped")

    def test_models_that_go_under_load(self):
        """A model in use is taken out and comes back; what is under way ends with the model it began with."""
        vendor, config, gateway = self.start([{"tokens": 5, "per_token_ms": 20}], threads=2)
        load = Load(gateway)
        for i in range(10):
            less = copy.deepcopy(config)
            del less["models"][0]
            self.assertTrue(gateway.reload(less if i % 2 == 0 else config))
            time.sleep(0.15)
        load.finish()
        self.assertEqual(load.wrong, [])

    def test_scrapes_while_models_come_and_go(self):
        """What is counted by model has another shape after each reload."""
        vendor, config, gateway = self.start(threads=2)
        load = Load(gateway, 3)
        stop, scraped, wrong = threading.Event(), [0], []
        def scrape():
            while not stop.is_set():
                try:
                    gateway.metrics()
                    scraped[0] += 1
                except Exception as e:
                    wrong.append(e)
        scrapers = [threading.Thread(target=scrape) for _ in range(3)]
        for t in scrapers:
            t.start()
        many = copy.deepcopy(config)
        many["models"] += [model(f"m{i}", f"m{i}-a", f"m{i}-b") for i in range(300)]
        for i in range(12):
            gateway.write(many if i % 2 == 0 else config)
            gateway.signal(signal.SIGHUP)
            time.sleep(0.15)
        stop.set()
        for t in scrapers:
            t.join()
        load.finish()
        self.assertEqual((load.wrong, wrong), ([], []))
        self.assertTrue(gateway.running())
        self.assertGreater(scraped[0], 20)

    def test_prices_take_effect_at_once(self):
        vendor, config, gateway = self.start()
        before = gateway.chat("first").json["usage"], float(gateway.chat("first").headers["x-weir-cost-usd"])
        usage = before[0]
        self.assertAlmostEqual(before[1], (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) * 1e-6, 12)
        config["models"][0].update(input_usd_per_mtok=100, output_usd_per_mtok=200)
        self.assertTrue(gateway.reload(config))
        answer = gateway.chat("first")
        self.assertAlmostEqual(float(answer.headers["x-weir-cost-usd"]), 100 * before[1], 10)
        # and in what is expected, without new feedback
        def expected():
            found = gateway.ask("POST", "/v1/route", {"prompt": "What is a weir?"}).json["models"][0]["cost"]
            return found and found > 50 * before[1]
        self.assertTrue(until(expected, 3))
        gateway.stop()
        records = [json.loads(line) for line in weir("store", "export", "--log", "--store", gateway.store)[0].splitlines()]
        self.assertEqual(len({r["price_version"] for r in records}), 2)

    def test_a_new_model_can_be_asked_for_at_once(self):
        vendor, config, gateway = self.start()
        for i in range(5):
            config["models"].append(model(f"new-{i}"))
            self.assertTrue(gateway.reload(config))
            answer = gateway.chat(f"new-{i}")
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(answer.headers["x-weir-model"], f"new-{i}")
        self.assertIn("new-4", [m["id"] for m in gateway.ask("GET", "/v1/models").json["data"]])
        del config["models"][0]
        self.assertTrue(gateway.reload(config))
        self.assertEqual(gateway.chat("first").status, 404)
        self.assertEqual(gateway.chat().headers["x-weir-model"], "second")

    def test_counters_go_on(self):
        vendor, config, gateway = self.start()
        for _ in range(5):
            gateway.chat("second")
        self.assertTrue(gateway.idle())
        before = gateway.metrics()
        config["models"] = [model("zeroth")] + config["models"]
        self.assertTrue(gateway.reload(config))
        after = gateway.metrics()
        for name, labels in (("weir_attempts_total", {"deployment": "second"}), ("weir_tokens_total", {"model": "second"}),
                             ("weir_requests_total", {"endpoint": "chat"}), ("weir_cost_usd_total", {"model": "second"})):
            self.assertEqual(after[name, labels], before[name, labels], name)
            self.assertGreater(after[name, labels], 0)

    def test_breakers_stay(self):
        vendor, config, gateway = self.start([{"error": {"kind": "auth"}}], breaker={"failures": 3, "open_ms": 60000})
        gateway.chat("first")
        config["models"].insert(0, model("zeroth"))
        self.assertTrue(gateway.reload(config))
        self.assertEqual(gateway.metrics()["weir_breaker_state", {"deployment": "first"}], 2)
        self.assertEqual(gateway.chat("first").status, 503)

    def test_what_is_broken_is_refused(self):
        vendor, config, gateway = self.start()
        load = Load(gateway, 2)
        broken = {
            "not YAML": "store: [", "empty": "", "unknown key": {**config, "colour": "red"}, "no models": {**config, "models": []},
            "unknown provider": {**config, "models": [model("x", provider="nobody")]},
            "a key that isn't set": {**config, "providers": [{**config["providers"][0], "key_env": "NOT_SET_ANYWHERE"}]},
            "wrong number": {**config, "retry": {"max": 99}},
            "wrong expression": {**config, "traffic": {"redact": ["(["]}},
        }
        for i, (name, text) in enumerate(broken.items()):
            with self.subTest(name):
                self.assertFalse(gateway.reload(text))
                self.assertEqual(gateway.metrics()["weir_config_reload_failures_total"], i + 1)
                line = gateway.logs(REFUSED)[-1]
                self.assertEqual(line["level"], "error")
                self.assertIn(gateway.config_path.name, line["error"])
                self.assertEqual(gateway.chat("second").status, 200)
        gateway.config_path.unlink()
        gateway.signal(signal.SIGHUP)
        self.assertTrue(until(lambda: len(gateway.logs(REFUSED)) == len(broken) + 1))
        self.assertTrue(gateway.reload(config))
        self.assertEqual(load.finish().wrong, [])
        self.assertEqual(gateway.metrics()["weir_config_reloads_total"], 1)

    def test_what_needs_a_restart_is_said(self):
        vendor, config, gateway = self.start()
        self.assertTrue(gateway.reload({**config, "store": "other.mdb", "threads": 2}))
        said = [line for line in gateway.logs() if line["level"] == "warn" and "next start" in line["msg"]]
        self.assertTrue(said, gateway.err())
        self.assertEqual(gateway.chat().status, 200)
        self.assertFalse((gateway.folder / "other.mdb").exists())

    def test_a_stream_goes_on_over_a_reload(self):
        vendor, config, gateway = self.start([{"events": 100, "event_bytes": 20, "event_ms": 8}])
        with gateway.open_stream("first") as stream:
            stream.read(10)
            del config["models"][0]
            self.assertTrue(gateway.reload(config))
            stream.read()
            self.assertTrue(stream.done)
            self.assertEqual(len(stream.text), 2000)

    def test_many_signals(self):
        vendor, config, gateway = self.start()
        load = Load(gateway, 4)
        for i in range(200):
            config["models"][0]["input_usd_per_mtok"] = 1 + i
            gateway.write(config) if i % 10 == 0 else None
            gateway.signal(signal.SIGHUP)
            time.sleep(0.005)
        self.assertEqual(load.finish().wrong, [])
        self.assertTrue(gateway.running())


class Stop(Case):
    def start(self, rules=(), **more):
        vendor = self.vendor(list(rules))
        return vendor, self.gateway(self.config(vendor, [model("only")], **more))

    def test_a_running_stream_is_finished(self):
        vendor, gateway = self.start([{"events": 100, "event_bytes": 20, "event_ms": 10}])
        with gateway.open_stream() as stream:
            stream.read(5)
            whole = []
            waiting = threading.Thread(target=lambda: whole.append(gateway.chat()))
            waiting.start()
            time.sleep(0.1)
            gateway.signal(signal.SIGTERM)
            stream.read()
            self.assertTrue(stream.done)
            self.assertEqual(len(stream.text), 2000)
            waiting.join()
            self.assertEqual(whole[0].status, 200)
        with self.faster_than(2):
            self.assertEqual(gateway.wait(5), 0)
        self.assertTrue(gateway.logs("draining"))
        self.assertEqual(vendor.stats()["aborted"], 0)

    def test_draining_takes_nothing_new(self):
        vendor, gateway = self.start([{"events": 150, "event_bytes": 20, "event_ms": 10}])
        kept = http.client.HTTPConnection(gateway.host, gateway.port, timeout=5)
        self.assertEqual(ask_over(kept, "GET", "/readyz").status, 200)
        with gateway.open_stream() as stream:
            stream.read(5)
            gateway.signal(signal.SIGTERM)
            self.assertTrue(until(lambda: gateway.logs("draining")))
            time.sleep(0.05)
            try:  # a connection that is there already: told so, or closed
                answer = ask_over(kept, "POST", "/v1/chat/completions", chat_body())
                self.assertEqual((answer.status, answer.error["code"]), (503, "shutting_down"))
            except (OSError, http.client.HTTPException):
                pass
            with self.assertRaises(OSError):  # a new one: refused, so that a balancer goes elsewhere
                socket.create_connection((gateway.host, gateway.port), 1).close()
                gateway.ask("GET", "/healthz", timeout=1)
            stream.read()
            self.assertTrue(stream.done)
        self.assertEqual(gateway.wait(5), 0)
        kept.close()

    def test_without_work_it_ends_at_once(self):
        for number in signal.SIGTERM, signal.SIGINT:
            vendor, gateway = self.start(threads=2)
            gateway.chat()
            idle = socket.create_connection((gateway.host, gateway.port))
            with self.faster_than(1):
                gateway.signal(number)
                self.assertEqual(gateway.wait(5), 0)
            idle.close()

    def test_drain_ms_is_the_longest(self):
        vendor, gateway = self.start([{"endless": True, "per_token_ms": 5}], shutdown={"drain_ms": 400})
        with gateway.open_stream() as stream:
            stream.read(5)
            start = time.monotonic()
            gateway.signal(signal.SIGTERM)
            stream.read()
            self.assertFalse(stream.done)  # broken off, or told: not taken for whole
            self.assertIn(gateway.wait(5), (0, 1))
            self.assertTrue(0.35 < time.monotonic() - start < 1.5 * gatewaylib.SLOW)
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))

    def test_what_is_broken_off_is_logged_as_that(self):
        """Neither by its client nor by its vendor: by the shutdown."""
        vendor, gateway = self.start([{"match": {"stream": "only"}, "endless": True, "per_token_ms": 5}, {"silent": True}],
                                     shutdown={"drain_ms": 300})
        thread = threading.Thread(target=lambda: self.assertRaises((OSError, http.client.HTTPException), gateway.chat))
        thread.start()
        self.assertTrue(until(lambda: vendor.stats()["running"] == 1))
        with gateway.open_stream() as stream:
            stream.read(5)
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.wait(5), 0)
        thread.join()
        lines = {line["stream"]: line for line in gateway.logs("request")}
        self.assertEqual((lines[True]["status"], lines[True]["result"]), (200, "shutdown"))
        self.assertEqual((lines[False]["status"], lines[False]["result"]), (503, "shutdown"))
        self.assertIn("shut", lines[False]["error"])
        self.assertEqual(lines[False]["level"], "warn")
        records = [json.loads(line) for line in weir("store", "export", "--log", "--store", gateway.store)[0].splitlines()]
        self.assertEqual({r["status"] for r in records}, {200, 503})
        for r in records:
            self.assertFalse(r["client_gone"])
            self.assertEqual(r["attempts"][-1]["result"], "shutdown")
            self.assertGreater(r["cost"], 0)

    def test_a_second_signal_ends_at_once(self):
        vendor, gateway = self.start([{"silent": True}])
        client = gateway.open_stream()
        self.assertTrue(until(lambda: vendor.stats()["running"] == 1))
        gateway.signal(signal.SIGTERM)
        self.assertTrue(until(lambda: gateway.logs("draining")))
        time.sleep(0.2)
        self.assertTrue(gateway.running())
        with self.faster_than(1):
            gateway.signal(signal.SIGTERM)
            self.assertIn(gateway.wait(5), (0, 1))
        client.close()
        self.assertTrue(until(lambda: vendor.stats()["running"] == 0, 1))

    def test_what_was_answered_is_in_the_log(self):
        vendor, gateway = self.start(traffic={"commit_ms": 3000})
        ids = {gateway.chat().decision for _ in range(50)}
        with self.faster_than(2):
            gateway.stop()
        found = {json.loads(line)["id"] for line in weir("store", "export", "--log", "--store", gateway.store)[0].splitlines()}
        self.assertEqual(found, ids)

    def test_what_was_sent_before_is_answered(self):
        """Feedback that waits for its commit, and requests that nobody has read yet."""
        for threads in 1, 2:
            vendor, gateway = self.start(threads=threads)
            ids = [gateway.chat().decision for _ in range(20)]
            sockets = []
            for decision in ids:
                for path, body in (("/v1/feedback", {"id": decision, "quality": 1}), ("/v1/chat/completions", chat_body())):
                    raw = json.dumps(body).encode()
                    s = socket.create_connection((gateway.host, gateway.port), 10)
                    s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
                        path.encode(), len(raw), raw))
                    sockets.append(s)
            gateway.signal(signal.SIGTERM)
            for s in sockets:
                answer = b""
                while got := s.recv(65536):
                    answer += got
                s.close()
                # a chat may come too late, and is told so; feedback is taken
                self.assertIn(answer[:12], (b"HTTP/1.1 200", b"HTTP/1.1 503"), answer[:300])
                if answer.startswith(b"HTTP/1.1 503"):
                    self.assertIn(b"shutting_down", answer)
            self.assertEqual(gateway.wait(5), 0)
            out, _ = weir("store", "export", "--log", "--store", gateway.store)
            there = sum(len(json.loads(line)["feedback"]) for line in out.splitlines() if '"served"' in line)
            self.assertEqual(there, len(ids))


class Start(Case):
    def test_within_100_ms(self):
        vendor = self.vendor()
        gateway = self.gateway(self.config(vendor, [model("only")]))
        gateway.chat()
        gateway.stop()
        times = []
        for _ in range(5):
            start = time.monotonic()
            again = self.gateway(json.loads(gateway.config_path.read_text()), folder=gateway.folder)
            self.assertEqual(again.ask("GET", "/readyz").status, 200)
            times.append(time.monotonic() - start)
            again.stop()
        self.assertLess(min(times), 0.1 * gatewaylib.SLOW)

    def refused(self, config, words, folder=None):
        path = self.folder / "wrong.yaml"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        done = subprocess.run([gatewaylib.WEIR, "serve", "--config", str(path)], capture_output=True, text=True, timeout=20,
                              env=gatewaylib.ENV)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn(words, done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 2, done.stderr)

    def test_what_cannot_be_served(self):
        vendor = self.vendor()
        config = self.config(vendor, [model("only")])
        gateway = self.gateway(config)
        self.refused("nonsense", "wrong.yaml")
        self.refused({**config, "listen": gateway.address}, gateway.address)  # taken
        self.refused({**config, "store": "/nowhere/at/all.mdb"}, "/nowhere")
        (self.folder / "no.mdb").write_bytes(b"no store" * 1000)
        self.refused({**config, "store": "no.mdb"}, "no.mdb")
        done = subprocess.run([gatewaylib.WEIR, "serve"], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        done = subprocess.run([gatewaylib.WEIR, "serve", "--config", str(self.folder / "missing.yaml")], capture_output=True,
                              text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("missing.yaml", done.stderr)
        self.assertEqual(gateway.chat().status, 200)

    def test_a_store_is_one_gateways(self):
        vendor = self.vendor()
        config = self.config(vendor, [model("only")])
        gateway = self.gateway(config)
        done = subprocess.run([gatewaylib.WEIR, "learn", "--store", str(gateway.store), "--data", "/dev/null"],
                              capture_output=True, text=True, timeout=20, env=gatewaylib.ENV)
        self.assertEqual(done.returncode, 1)
        self.assertIn("in use", done.stderr)


if __name__ == "__main__":
    gatewaylib.main()
