#!/usr/bin/env python3
"""Budgets and virtual keys through the gateway, against the vendor's own books.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import concurrent.futures, json, random, shutil, signal, socket, tempfile, threading, time, pathlib

import gatewaylib
from gatewaylib import Case, ask, chat_body, model, until, weir

PRICES = {"dear": (1, 10), "cheap": (0.1, 1)}  # USD a million tokens, in and out
MESSAGE = {"max_tokens": 50, "messages": [{"role": "user", "content": "size20 weir river"}]}


def nano(text):
    whole, _, rest = text.partition(".")
    return int(whole) * 10**9 + int(rest.ljust(9, "0"))


def trained(folder):
    """A store that knows how long answers are: prompts say it. Dear is better by far."""
    rng, data = random.Random(3), folder / "d.jsonl"
    with open(data, "w") as out:
        for i in range(200):
            size, n = rng.choice([20, 80]), rng.randrange(2, 30)
            prompt = " ".join([f"size{size}"] + rng.choices(["weir", "river", "gate", "bank"], k=n))
            found = {m: {"quality": float(rng.random() < q), "cost": ((n + 1) * PRICES[m][0] + size * PRICES[m][1]) * 1e-6,
                         "input_tokens": n + 1, "output_tokens": size} for m, q in (("dear", 0.95), ("cheap", 0.3))}
            out.write(json.dumps({"id": str(i), "prompt": prompt, "outcomes": found}) + "\n")
    weir("train", "--store", folder / "trained.mdb", "--data", data, "--estimator", "ridge")
    return folder / "trained.mdb"


class Budgets(Case):
    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="weir-budgets-"))
        cls.addClassCleanup(shutil.rmtree, cls.base, ignore_errors=True)
        cls.trained = trained(cls.base)

    def serve(self, rules=None, budgets=(), errors=(), keys=(), configured=None, **more):
        """A gateway on a trained store with budgets: (name, option...) each, and keys likewise."""
        prices = [{"model": m, "input_usd_per_mtok": i, "output_usd_per_mtok": o} for m, (i, o) in PRICES.items()]
        self.sim = self.vendor({"rules": [*(rules or []), {"match": {"prompt": "size80"}, "tokens": 80}, {"tokens": 20}],
                                "prices": prices})
        folder = pathlib.Path(self.subfolder("weir"))
        self.store = folder / "weir.mdb"
        shutil.copy(self.trained, self.store)
        for b in budgets:
            self.budget(*b)
        self.keys = {k[0]: weir("key", "create", *k, "--store", self.store)[0].strip() for k in keys}
        models = [model(m, input=i, output=o, max_output_tokens=4096, max_input_tokens=16384) for m, (i, o) in PRICES.items()]
        config = self.config(self.sim, models, policy={"value_usd": 1}, budgets=configured or {}, **more)
        self.at = self.gateway(config, errors=errors, folder=folder)
        self.addCleanup(self.audit)
        return self.at

    def audit(self):
        if self.at.running():
            self.at.stop()
        self.assertIn("every balance is right", weir("budget", "audit", "--store", self.store)[0])

    def budget(self, name, limit, *options, per="total"):
        weir("budget", "set", name, "--store", self.store, "--limit", limit, "--per", per, *options)

    def shown(self, name):
        """Of all accounts: spent, leased, unproven."""
        found = json.loads(weir("budget", "show", name, "--json", "--store", self.store)[0])
        nanos = nano if found["unit"] == "usd" else int
        return {k: sum(nanos(a[k]) for a in found["accounts"]) for k in ("spent", "leased", "unproven")}

    def spent(self, name, value, seconds=5):
        """Waits until the ledger says so: it is posted to a few times a second."""
        until(lambda: self.shown(name)["spent"] == value, seconds, 0.03)
        self.assertEqual(self.shown(name)["spent"], value)

    def books(self):
        until(lambda: self.sim.stats()["running"] == 0)
        return ask(self.sim.address, "GET", "/books?last=1000").json

    def asked(self, name="dear"):
        return json.loads(self.sim.last(name)["body"]) if isinstance(self.sim.last(name)["body"], str) \
            else self.sim.last(name)["body"]

    def chats(self, n=200, text="size20 weir river", name="dear", **more):
        """Until one is refused; the answers."""
        found = []
        while len(found) < n:
            found.append(self.at.chat(name, text, **more))
            if found[-1].status != 200:
                break
        return found

    # ---- hard limits

    def test_never_passed_by_64_at_once(self):
        limit = 20_000_003  # nano-USD: some 95 answers
        self.serve([{"tokens": 20, "latency_ms": 5, "jitter_ms": 20}], [("all", "0.020000003USD")])
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            found = list(pool.map(lambda i: self.at.chat("dear", f"size20 {i} weir", max_tokens=60), range(300)))
        self.assertEqual({a.status for a in found}, {200, 429}, found[-1])
        books = self.books()["nano_usd"]
        self.assertLessEqual(books, limit)
        self.assertGreater(books, limit * 0.97)  # and what there is is used
        self.spent("all", books)
        self.assertEqual(self.sim.stats()["nano_usd"], books)

    def test_max_tokens_is_lowered_and_said(self):
        self.serve(budgets=[("all", "0.001USD")])
        a = self.at.chat("dear", "size20 weir", max_tokens=4000)
        self.assertEqual((a.status, a.headers["x-weir-budget-action"], a.headers.get("x-weir-budget")), (200, "lowered", "all"))
        most = int(a.headers["x-weir-max-tokens"])
        self.assertEqual(self.asked()["max_tokens"], most)
        self.assertTrue(20 <= most < 100, most)
        # where the client gave none, and as the vendor's stream
        s = self.at.stream("dear", "size20 weir")
        self.assertEqual(s.headers["x-weir-budget-action"], "lowered")
        self.assertEqual(self.asked().get("max_tokens", self.asked().get("max_completion_tokens")),
                         int(s.headers["x-weir-max-tokens"]))
        self.spent("all", self.books()["nano_usd"])

    def test_a_cheaper_model_is_chosen(self):
        self.serve(budgets=[("all", "0.002USD")])
        found = self.chats(name="weir", max_tokens=60)
        served = [a.headers["x-weir-model"] for a in found[:-1]]
        self.assertEqual(sorted(set(served)), ["cheap", "dear"])
        self.assertEqual(served, sorted(served, reverse=True))
        a = found[served.index("cheap")]
        self.assertEqual((a.headers["x-weir-budget-action"], a.headers["x-weir-budget"]), ("cheaper", "all"))
        self.assertEqual(found[-1].status, 429)
        self.assertLessEqual(self.books()["nano_usd"], 2_000_000)
        self.spent("all", self.books()["nano_usd"])

    def test_refused_where_it_says_refuse(self):
        self.serve(budgets=[("all", "0.002USD", "--when-exhausted", "refuse")])
        found = self.chats(name="weir", max_tokens=60)
        self.assertEqual({a.headers["x-weir-model"] for a in found[:-1]}, {"dear"})
        self.assertEqual(self.sim.count("cheap"), 0)
        self.assertIn('"all" is exhausted', found[-1].error["message"])
        self.assertEqual(self.at.request_log(found[-1].decision)["status"], 429)

    def test_the_answer_in_each_api(self):
        self.serve()
        weir("budget", "set", "all", "--store", self.store, "--limit", "1requests", "--per", "day", "--when-exhausted", "refuse")
        until(lambda: self.at.chat("dear", "size20 x", max_tokens=9).status == 429)
        bodies = {"/v1/chat/completions": chat_body("dear", "size20 weir"),
                  "/v1/completions": {"model": "dear", "prompt": "size20 weir", "max_tokens": 9},
                  "/v1/messages": {"model": "dear", **MESSAGE}}
        for path, body in bodies.items():
            for streams in False, True:
                with self.subTest(path=path, stream=streams):
                    a = self.at.ask("POST", path, {**body, "stream": streams})
                    left = 86400 - time.time() % 86400
                    self.assertEqual((a.status, a.headers["x-should-retry"]), (429, "false"), a)
                    self.assertAlmostEqual(int(a.headers["retry-after"]), left, delta=5)
                    self.assertIn('"all" is exhausted', a.error["message"])
                    if path == "/v1/messages":
                        self.assertEqual((a.json["type"], a.error["type"]), ("error", "rate_limit_error"))
                    else:
                        self.assertEqual((a.error["type"], a.error["code"]), ("insufficient_quota",) * 2)
        config = json.loads(self.at.config_path.read_text())
        self.assertTrue(self.at.reload({**config, "budgets": {"refuse_status": 402}}))
        self.assertEqual(self.at.chat("dear", "size20 weir").status, 402)
        self.assertEqual(self.at.ask("POST", "/v1/messages", {"model": "dear", **MESSAGE}).status, 402)

    def test_soft_ones_warn(self):
        hook = self.hook()
        self.serve(budgets=[("soft", "0.001USD", "--soft", "--warn", "0.5,1")],
                   configured={"webhook": hook.url})
        self.assertEqual({a.status for a in self.chats(9)}, {200})
        until(lambda: len(hook.seen) == 2)
        self.assertEqual([(w["event"], w["budget"], w["share"]) for w in hook.seen],
                         [("budget_warning", "soft", 0.5), ("budget_warning", "soft", 1)])
        logged = self.at.logs("a budget is used up to this share")
        self.assertEqual([(w["budget"], w["share"], w["hard"]) for w in logged], [("soft", 0.5, False), ("soft", 1, False)])
        self.spent("soft", self.books()["nano_usd"])
        self.assertGreater(self.shown("soft")["spent"], 1_000_000)

    def test_warnings_of_the_last_moment(self):
        """A budget is passed while weir ends: the webhook hears of it, or the log says that it hasn't."""
        for turn in range(3):
            with self.subTest(turn=turn):
                hook = self.hook(silent=turn == 0)
                self.serve([{"tokens": 20, "latency_ms": 400}], [("soft", "0.0000001USD", "--soft", "--warn", "1")],
                           configured={"webhook": hook.url})
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    answer = pool.submit(self.at.chat, "dear", "size20 weir")
                    self.assertTrue(until(lambda: self.sim.count("dear")))
                    self.at.stop(check=False)
                    self.assertEqual(answer.result().status, 200)
                self.assertEqual(self.at.process.returncode, 0, self.at.err()[-2000:])
                self.assertEqual(len(self.at.logs("a budget is used up to this share")), 1)
                lost = [line["error"] for line in self.at.logs("the webhook can't be reached")]
                if turn == 0:
                    self.assertEqual(lost, ["weir ends"])
                else:
                    self.assertEqual(len(hook.seen) or lost.count("weir ends"), 1)

    # ---- for whom

    def test_scopes(self):
        one = "1requests"
        self.serve(budgets=[("key", one, "--key", "alice"), ("team", "2requests", "--team", "red"),
                            ("user", one, "--user", "*"), ("tag", one, "--tag", "night"),
                            ("model", one, "--model", "cheap"), ("tokens", "300tokens", "--tag", "few")],
                   keys=[("alice", "--team", "red"), ("bob", "--team", "red"), ("eve",)])

        def chat(who=None, name="dear", user=None, **head):
            headers = {f"x-weir-{k}": v for k, v in head.items()}
            if who:
                headers["authorization"] = f"Bearer {self.keys[who]}"
            more = {"user": user} if user else {}
            return self.at.chat(name, "size20 weir", headers, max_tokens=25, **more).status
        self.assertEqual([chat("alice"), chat("alice")], [200, 429])
        self.assertEqual([chat("bob"), chat("bob"), chat("eve"), chat("eve")], [200, 429, 200, 200])
        self.assertEqual([chat(user="u1"), chat(user="u1"), chat(**{"user": None}), chat(user="u2")], [200, 429, 200, 200])
        by_header = self.at.chat("dear", "size20 weir", {"x-weir-user": "u3"}, max_tokens=25).status
        self.assertEqual([by_header, chat(user="u3")], [200, 429])
        self.assertEqual([chat(tag="night"), chat(tag="night"), chat(tag="day")], [200, 429, 200])
        self.assertEqual([chat(name="cheap"), chat(name="cheap")], [200, 429])
        few = [chat(tag="few") for _ in range(14)]
        self.assertEqual((few[0], few[-1]), (200, 429))
        self.spent("user", 3)
        self.assertLessEqual(self.shown("tokens")["spent"], 300)
        self.spent("team", 2)

    def test_providers(self):
        self.serve(budgets=[("there", "2requests", "--provider", "sim")])
        self.assertEqual([a.status for a in self.chats()], [200, 200, 429])

    # ---- limits that change, money that comes back

    def test_a_raised_limit_is_seen(self):
        self.serve(budgets=[("all", "1requests")])
        self.assertEqual([a.status for a in self.chats()], [200, 429])
        self.budget("all", "3requests")
        with self.faster_than(1):
            self.assertTrue(until(lambda: self.at.chat("dear", "size20 weir").status == 200, 1))
        self.assertEqual([a.status for a in self.chats()], [200, 429])

    def test_who_waits_is_served(self):
        """Two fit by their worst cases; what they leave is enough for the others."""
        self.serve([{"tokens": 20, "latency_ms": 300}], [("all", "0.0025USD")])
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda i: self.at.chat("dear", f"size20 weir {i}", max_tokens=100), range(6)))
        self.assertEqual([a.status for a in found], [200] * 6)
        self.spent("all", self.books()["nano_usd"])

    def test_failed_tries_cost_nothing(self):
        rules = [{"match": {"prompt": f"bad{i}"}, "error": {"kind": kind}}
                 for i, kind in enumerate(["server", "rate_limit", "overloaded", "auth", "bad_request", "context_length"])]
        self.serve(rules, [("all", "0.01USD")], retry={"max": 2, "other_models": False})
        for i in range(6):
            self.assertNotEqual(self.at.chat("dear", f"bad{i} weir").status, 200)
        until(lambda: self.shown("all")["leased"] == 0, 5)  # idle leases go back
        self.assertEqual(self.shown("all"), {"spent": 0, "leased": 0, "unproven": 0})

    def test_retries_and_fallbacks_hold_nothing(self):
        self.serve([{"match": {"model": "dear"}, "error": {"kind": "server"}}], [("all", "0.01USD")], retry={"max": 2})
        for i in range(5):
            self.assertEqual(self.at.chat("weir", f"size20 weir {i}").headers["x-weir-model"], "cheap")
        self.spent("all", self.books()["nano_usd"])
        until(lambda: self.shown("all")["leased"] == 0, 5)
        self.assertEqual(self.shown("all")["leased"], 0)

    def test_a_refusal_after_a_failure_comes_at_once(self):
        """Whose budget is gone when the vendor has failed isn't tried again until its deadline."""
        self.serve([{"match": {"prompt": "bad"}, "error": {"kind": "server"}}], [("all", "1requests")],
                   retry={"max": 5, "base_ms": 800, "max_ms": 800, "other_models": False})
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            bad = pool.submit(self.at.chat, "dear", "bad weir", max_tokens=20)
            until(lambda: self.sim.count("dear") == 1)
            time.sleep(0.05)
            self.assertEqual(self.at.chat("dear", "size20 weir", max_tokens=20).status, 200)
            with self.faster_than(5):
                self.assertTrue(until(lambda: bad.done() or self.at.chat("dear", "size20 weir").status == 0, 8))
                self.assertEqual(bad.result().status, 429)

    def test_a_hedge_that_lost_is_settled(self):
        self.serve([{"match": {"model": "dear"}, "latency_ms": 2000}], [("all", "0.01USD")],
                   hedge={"on": True, "least_ms": 50, "max_share": 1})
        self.assertEqual(self.at.chat("weir", "size20 weir", max_tokens=50).headers["x-weir-model"], "cheap")
        self.assertTrue(self.at.idle())
        until(lambda: self.shown("all")["leased"] == 0, 5)
        found = self.shown("all")
        self.assertEqual((found["leased"], found["unproven"]), (0, 0))
        self.assertGreaterEqual(found["spent"], self.books()["nano_usd"])

    def test_who_waits_for_money_is_not_hedged(self):
        """Its first try has failed, and the money for the next comes in the same turn of the loop as the hedge would: the
        gateway is stopped meanwhile, and finds both. Seldom in the wrong order, so more than once."""
        rules = [{"match": {"model": "dear"}, "latency_ms": 20, "error": {"kind": "context_length"}},
                 {"match": {"prompt": "holds"}, "tokens": 20, "latency_ms": 500}]
        self.serve(rules, [("cheap", "0.001045USD", "--model", "cheap")], traffic={"on": False}, retry={"max": 2},
                   busy_poll_us=10000, hedge={"on": True, "least_ms": 250, "max_share": 1})
        over = threading.Event()
        self.addCleanup(over.set)

        def keep_awake():  # a stop ends a sleep, and the next turn has timers alone
            connection = gatewaylib.http.client.HTTPConnection(self.at.host, self.at.port, timeout=30)
            while not over.wait(0.001):
                gatewaylib.ask_over(connection, "GET", "/v1/models")
            connection.close()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            awake = pool.submit(keep_awake)
            try:
                for n in range(0, 16, 2):
                    spent = self.books()["nano_usd"] // 1000  # in cheap's output tokens
                    holds = pool.submit(self.at.chat, "cheap", "size20 holds", max_tokens=1000 - spent)
                    self.assertTrue(until(lambda: self.sim.count("cheap") == n + 1))
                    waits = pool.submit(self.at.chat, "weir", "size20 weir", max_tokens=50)
                    self.assertTrue(until(lambda: self.sim.count("dear") == n // 2 + 1))
                    time.sleep(0.1)  # its first try has failed
                    self.at.signal(signal.SIGSTOP)
                    time.sleep(0.6)
                    self.at.signal(signal.SIGCONT)
                    self.assertEqual((holds.result().status, waits.result().status), (200, 200))
                    self.assertEqual(waits.result().headers["x-weir-model"], "cheap")
                    self.assertEqual(self.sim.count("cheap"), n + 2)  # and no third
            finally:
                over.set()
            awake.result()
        self.assertEqual(self.at.metrics()["weir_hedges_total"], 0)

    # ---- what isn't told

    def test_a_client_that_left_is_charged(self):
        self.serve([{"tokens": 400, "per_token_ms": 5}], [("all", "1USD")])
        with self.at.open_stream("dear", "weir", max_tokens=1000) as s:
            s.read(20)
        self.assertTrue(self.at.idle())
        books = self.books()["nano_usd"]
        self.assertGreater(books, 100_000)
        until(lambda: self.shown("all")["spent"] > 0)
        spent = self.shown("all")["spent"]
        self.assertGreaterEqual(spent, books)
        self.assertLessEqual(spent, 1000 * 10_000 + 200 * 1000)  # all that was asked for, and no more

    def test_what_a_client_that_left_has_not_read_is_charged(self):
        """The vendor has long put out, and bills, what weir holds back from a client that doesn't read."""
        self.serve([{"tokens": 4000}], [("all", "1USD")])
        with self.at.open_stream("dear", "weir", max_tokens=4096, receive_buffer=4096) as s:
            s.read(1)
            until(lambda: self.sim.stats()["running"] == 0, 0.5)  # it is held up as well
        self.assertTrue(self.at.idle())
        books = self.books()
        self.assertEqual(books["last"][0]["end"], "gone")
        until(lambda: self.shown("all")["spent"] > 0)
        self.assertGreaterEqual(self.shown("all")["spent"], books["nano_usd"])

    def test_soft_budgets_guess_what_was_left(self):
        self.serve([{"tokens": 400, "per_token_ms": 5}], [("all", "1USD", "--soft")])
        with self.at.open_stream("dear", "weir", max_tokens=4000) as s:
            s.read(20)
        self.assertTrue(self.at.idle())
        books = self.books()["nano_usd"]
        until(lambda: self.shown("all")["spent"] > 0)
        self.assertLess(self.shown("all")["spent"], 3 * books)  # what came, not all that was asked for

    def test_a_client_that_left_before_anything_came(self):
        self.serve([{"tokens": 20, "latency_ms": 1500}], [("all", "1USD")])
        connection = socket.create_connection((self.at.host, self.at.port))
        body = json.dumps(chat_body("dear", "size20 weir", max_tokens=50)).encode()
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: self.sim.stats()["running"] == 1)
        connection.close()
        self.assertTrue(self.at.idle())
        until(lambda: self.shown("all")["spent"] > 0)
        self.assertGreaterEqual(self.shown("all")["spent"], self.books()["nano_usd"])

    def test_streams_without_usage(self):
        self.serve([{"tokens": 50, "usage": {"send": False}}], [("all", "1USD")])
        self.assertTrue(self.at.stream("dear", "weir river", max_tokens=100).done)
        books = self.books()["nano_usd"]
        until(lambda: self.shown("all")["spent"] > 0)
        self.assertGreaterEqual(self.shown("all")["spent"], books)
        self.assertLess(self.shown("all")["spent"], 3 * books)

    # ---- kills

    def test_kill_and_start(self):
        self.serve([{"tokens": 20, "latency_ms": 20, "jitter_ms": 30}], [("all", "0.02USD")])
        stop, statuses = threading.Event(), []

        def client(i):
            while not stop.is_set():
                try:
                    statuses.append(self.at.chat("dear", f"size20 weir {i}", max_tokens=40).status)
                except (OSError, gatewaylib.http.client.HTTPException):
                    time.sleep(0.01)
        threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        try:
            for _ in range(2):
                time.sleep(0.1)
                old = self.at
                old.torn = True
                old.kill()
                config = json.loads(old.config_path.read_text())
                self.at = self.gateway({**config, "listen": old.address}, folder=old.folder)
            until(lambda: statuses[-8:] == [429] * 8, 15)
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertEqual(set(statuses), {200, 429})
        self.at.stop()
        books, found = self.books()["nano_usd"], self.shown("all")
        self.assertEqual((found["leased"], found["unproven"]), (0, 0))  # the spool proves everything
        self.assertLessEqual(books, found["spent"])
        self.assertLessEqual(found["spent"], 20_000_000)

    def test_a_kill_between_requests_loses_nothing(self):
        self.serve(budgets=[("all", "1USD")])
        for i in range(20):
            self.assertEqual(self.at.chat("dear", f"size20 weir {i}", max_tokens=40).status, 200)
        old = self.at
        old.kill()
        self.at = self.gateway(json.loads(old.config_path.read_text()), folder=old.folder, name="again")
        self.spent("all", self.books()["nano_usd"])
        self.assertEqual(self.shown("all")["unproven"], 0)

    # ---- the configuration's

    def listed(self):
        return {b["name"]: b for b in json.loads(weir("budget", "ls", "--json", "--store", self.store)[0])["budgets"]}

    def test_listed_in_the_configuration(self):
        set_by, gone = "a budget is set by the configuration", "a budget isn't in the configuration any more, and stays in force"
        first = {"name": "daily", "limit": "1USD", "per": "day", "zone": "Europe/Berlin", "warn": [0.5]}
        self.serve(budgets=[("own", "5USD")], errors={"reload refused: the old configuration stays in force"}, configured={"list": [
            first, {"name": "asked", "limit": "2requests", "per": "total", "user": "*", "when_exhausted": "refuse"}]})
        self.assertEqual([(l["budget"], l["change"]) for l in self.at.logs(set_by)], [("daily", "made"), ("asked", "made")])
        found = self.listed()
        self.assertEqual((set(found), found["daily"]["limit"], found["daily"]["zone"], found["daily"]["warn"]),
                         ({"own", "daily", "asked"}, "1.00", "Europe/Berlin", [0.5]))
        ann = {"x-weir-user": "ann"}  # they hold from the first request on
        self.assertEqual([self.at.chat("dear", "size20 weir", ann, max_tokens=30).status for _ in range(3)], [200, 200, 429])
        self.spent("asked", 2)
        spent = self.shown("daily")["spent"]
        self.assertGreater(spent, 0)

        # a reload changes what is new in place; what is the same isn't touched; a wrong one changes nothing
        config = json.loads(self.at.config_path.read_text())
        def reload(*budgets):
            config["budgets"]["list"] = budgets
            return self.at.reload(config)
        asked = {**config["budgets"]["list"][1], "limit": "4requests"}
        self.assertTrue(reload(first, asked))
        self.assertEqual([(l["budget"], l["change"]) for l in self.at.logs(set_by)][2:], [("asked", "changed")])
        until(lambda: self.at.chat("dear", "size20 weir", ann, max_tokens=30).status == 200)
        self.assertEqual(self.shown("daily")["unproven"], 0)
        self.assertFalse(reload({**first, "limit": "9USD"}, {**asked, "limit": "9 pears"}))
        self.assertIn("9 pears", self.at.logs("reload refused: the old configuration stays in force")[0]["error"])
        self.assertEqual(self.listed()["daily"]["limit"], "1.00")

        # another period is another count, and one that vanishes stays
        self.assertTrue(reload({**first, "per": "week"}))
        self.assertEqual([(l["budget"], l["change"]) for l in self.at.logs(set_by)][3:], [("daily", "starts afresh")])
        self.assertEqual([l["budget"] for l in self.at.logs(gone)], ["asked"])
        found = self.listed()
        self.assertEqual((set(found), found["asked"]["limit"], found["daily"]["per"]), ({"own", "daily", "asked"}, "4", "week"))
        self.at.stop()
        again = self.gateway(config, folder=self.at.folder, name="again")
        self.assertEqual([l["budget"] for l in again.logs(gone)], ["asked"])
        self.assertEqual(again.logs(set_by), [])
        weir("budget", "set", "asked", "--limit", "7requests", "--per", "total", "--user", "*", "--store", self.store)
        self.assertTrue(again.reload(config))
        self.assertEqual(len(again.logs(gone)), 1)  # it is somebody's own now
        weir("budget", "set", "daily", "--limit", "3USD", "--per", "week", "--zone", "Europe/Berlin", "--store", self.store)
        self.assertTrue(again.reload(config))
        self.assertEqual((self.listed()["daily"]["limit"], self.listed()["asked"]["limit"]), ("1.00", "7"))
        weir("budget", "rm", "daily", "--store", self.store)
        config["budgets"]["list"] = []
        self.assertTrue(again.reload(config))
        self.assertEqual((len(again.logs(gone)), set(self.listed())), (1, {"own", "asked"}))

    # ---- metrics

    def test_gauges(self):
        self.serve(budgets=[("all", "1USD"), ("each", "100requests", "--user", "*"), ("soft", "10tokens", "--soft"),
                            ("gone", "1USD")])
        weir("budget", "rm", "gone", "--store", self.store)
        for user in "ann", "bob", "bob":
            self.assertEqual(self.at.chat("dear", "size20 weir", headers={"x-weir-user": user}).status, 200)
        books = self.books()["nano_usd"]
        self.spent("all", books)
        usd, each, soft = ({"budget": n, "unit": u} for n, u in (("all", "usd"), ("each", "requests"), ("soft", "tokens")))
        until(lambda: self.at.metrics()["weir_budget_spent", each] == 3, 5)
        m = self.at.metrics()
        self.assertEqual(m["weir_budgets"], 3)
        self.assertEqual((m["weir_budget_limit", usd], m["weir_budget_spent", usd]), (1, books / 1e9))
        self.assertEqual(m["weir_budget_unproven", usd], 0)
        self.assertTrue(0 <= m["weir_budget_leased", usd] < 1)
        self.assertEqual((m["weir_budget_limit", each], m["weir_budget_accounts", each]), (100, 2))
        self.assertEqual(m["weir_budget_highest_spent_ratio", each], 0.02)
        self.assertGreater(m["weir_budget_highest_spent_ratio", soft], 1)
        self.assertEqual(m["weir_budget_period_end_timestamp_seconds", usd], float("inf"))
        self.assertFalse([n for n, labels, _ in m.rows if labels.get("budget") == "gone"])
        self.budget("all", "2USD")
        until(lambda: self.at.metrics()["weir_budget_limit", usd] == 2, 5)
        self.budget("hourly", "3USD", per="hour")
        hourly = {"budget": "hourly", "unit": "usd"}
        until(lambda: self.at.metrics()["weir_budgets"] == 4, 5)
        left = self.at.metrics()["weir_budget_period_end_timestamp_seconds", hourly] - time.time()
        self.assertTrue(-1 < left <= 3600, left)


class Keys(Budgets):
    """Budgets' tests aren't run twice: see load_tests."""

    def chat(self, key, name="dear", **headers):
        return self.at.chat(name, "size20 weir", {"authorization": f"Bearer {key}", **headers}, max_tokens=30)

    def test_who_is_let_in(self):
        self.serve(keys=[("good",), ("old",), ("gone",)], auth={"virtual_keys": True})
        weir("key", "expire", "old", "now", "--store", self.store)
        weir("key", "revoke", "gone", "--store", self.store)
        def seen():
            return [self.chat(self.keys[k]).status for k in ("good", "old", "gone")] == [200, 401, 401]
        with self.faster_than(1.5):
            self.assertTrue(until(seen, 1.2))
        for key, word in ((self.keys["old"], "expired"), (self.keys["gone"], "revoked"), ("sk-weir-" + "a" * 43, "isn't one of")):
            a = self.chat(key)
            self.assertEqual(a.status, 401)
            self.assertIn(word, a.error["message"])
        self.assertEqual(self.at.chat("dear", "weir").status, 401)
        a = self.at.ask("POST", "/v1/messages", {"model": "dear", **MESSAGE}, {"x-api-key": self.keys["good"]})
        self.assertEqual(a.status, 200, a)
        a = self.at.ask("POST", "/v1/messages", {"model": "dear", **MESSAGE}, {"x-api-key": self.keys["gone"]})
        self.assertEqual((a.status, a.error["type"]), (401, "authentication_error"))

    def test_allowed_models(self):
        self.serve(keys=[("few", "--models", "cheap"), ("none", "--models", "other")])
        self.assertEqual(self.chat(self.keys["few"], "cheap").status, 200)
        a = self.chat(self.keys["few"], "dear")
        self.assertEqual((a.status, a.error["code"]), (403, "model_not_allowed"))
        a = self.chat(self.keys["few"], "weir")
        self.assertEqual((a.status, a.headers.get("x-weir-model")), (200, "cheap"))
        a = self.chat(self.keys["none"], "weir")
        self.assertEqual((a.status, a.error["code"]), (403, "model_not_allowed"))
        self.assertEqual(self.sim.count("dear"), 0)

    def test_a_key_is_changed(self):
        """A gateway that runs goes by what weir key set says; the text stays good."""
        self.serve(keys=[("k", "--models", "cheap", "--rpm", "1")])
        def ask(name):
            a = self.chat(self.keys["k"], name)
            return a.status if a.status == 200 else a.error["code"]
        self.assertEqual([ask("dear"), ask("cheap"), ask("cheap")], ["model_not_allowed", 200, "rate_limit_exceeded"])
        weir("key", "set", "k", "--models", "dear", "--rpm", "0", "--store", self.store)
        with self.faster_than(1.5):
            until(lambda: ask("dear") == 200)
        self.assertEqual([ask("cheap"), ask("dear"), ask("dear")], ["model_not_allowed", 200, 200])
        weir("key", "set", "k", "--expires", "now", "--store", self.store)
        with self.faster_than(1.5):
            until(lambda: self.chat(self.keys["k"]).status == 401)
        weir("key", "set", "k", "--expires", "1h", "--store", self.store)
        with self.faster_than(1.5):
            until(lambda: self.chat(self.keys["k"]).status == 200)

    def test_requests_a_minute(self):
        self.serve(keys=[("two", "--rpm", "2")])
        a, b, c = (self.chat(self.keys["two"]) for _ in range(3))
        self.assertEqual([x.status for x in (a, b, c)], [200, 200, 429])
        self.assertEqual([x.headers["x-ratelimit-remaining-requests"] for x in (a, b, c)], ["1", "0", "0"])
        self.assertEqual({x.headers["x-ratelimit-limit-requests"] for x in (a, b, c)}, {"2"})
        self.assertRegex(c.headers["x-ratelimit-reset-requests"], r"^(1m)?\d+(\.\d+)?m?s$")
        self.assertEqual(c.error["code"], "rate_limit_exceeded")
        self.assertTrue(1 <= int(c.headers["retry-after"]) <= 61)
        d = self.at.ask("POST", "/v1/messages", {"model": "dear", **MESSAGE}, {"x-api-key": self.keys["two"]})
        self.assertEqual((d.status, d.error["type"], d.headers["anthropic-ratelimit-requests-limit"]),
                         (429, "rate_limit_error", "2"))
        self.assertEqual(d.headers["anthropic-ratelimit-requests-remaining"], "0")
        self.assertRegex(d.headers["anthropic-ratelimit-requests-reset"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def test_what_budgets_leave(self):
        """The tightest of a minute's limits and of the budgets' is what headers tell."""
        self.serve(keys=[("two", "--rpm", "2"), ("many", "--rpm", "100"), ("none",)],
                   budgets=[("asked", "6requests", "--key", "*"), ("ever", "9requests"), ("soft", "1requests", "--soft"),
                            ("talked", "100ktokens")])
        self.budget("hourly", "5requests", "--key", "none", per="hour")
        def told(a, what="requests"):
            return tuple(a.headers.get(f"x-ratelimit-{k}-{what}") for k in ("limit", "remaining"))
        a, b = (self.chat(self.keys["two"]) for _ in range(2))
        self.assertEqual([told(x) for x in (a, b)], [("2", "1"), ("2", "0")])
        c = self.chat(self.keys["many"])
        self.assertEqual((told(c), c.headers.get("x-ratelimit-reset-requests")), (("6", "5"), None))  # of 6 and of 9 less 3
        self.assertEqual(told(c, "tokens")[0], "100000")
        used = 3 * (c.json["usage"]["total_tokens"])
        self.assertTrue(100000 - 3 * used < int(told(c, "tokens")[1]) <= 100000 - used, (told(c, "tokens"), used))
        d = self.chat(self.keys["none"])
        self.assertEqual(told(d), ("5", "4"))
        self.assertRegex(d.headers["x-ratelimit-reset-requests"], r"^(\d+m)?\d+(\.\d+)?m?s$")
        with self.at.open_stream("dear", "size20", {"authorization": f"Bearer {self.keys['none']}"}, max_tokens=30) as s:
            s.read()
            self.assertEqual((s.headers["x-ratelimit-limit-requests"], s.headers["x-ratelimit-remaining-requests"]), ("5", "3"))
        e = self.at.ask("POST", "/v1/messages", {"model": "dear", **MESSAGE}, {"x-api-key": self.keys["none"]})
        self.assertEqual([e.headers[f"anthropic-ratelimit-requests-{k}"] for k in ("limit", "remaining")], ["5", "2"])
        self.assertRegex(e.headers["anthropic-ratelimit-requests-reset"], r"^\d{4}-\d\d-\d\dT\d\d:(59:5|00:0)\d")
        while (f := self.chat(self.keys["many"])).status == 200:
            last = f
        self.assertEqual([told(x) for x in (last, f)], [("9", "0"), ("9", "0")])
        self.assertEqual((f.status, f.error["code"]), (429, "insufficient_quota"))

    def test_tokens_a_minute(self):
        self.serve(keys=[("few", "--tpm", "100")])
        found = [self.chat(self.keys["few"]) for _ in range(8)]
        statuses = [a.status for a in found]
        self.assertEqual((statuses[0], statuses[-1]), (200, 429), statuses)
        self.assertEqual(found[0].headers["x-ratelimit-limit-tokens"], "100")
        self.assertLess(int(found[0].headers["x-ratelimit-remaining-tokens"]), 100)
        self.assertIn("tokens a minute", found[-1].error["message"])

    def test_at_once(self):
        self.serve([{"latency_ms": 500, "tokens": 5}], keys=[("one", "--concurrent", "1")])
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            statuses = sorted(a.status for a in pool.map(lambda _: self.chat(self.keys["one"]), range(3)))
        self.assertEqual(statuses, [200, 429, 429])
        self.assertEqual(self.chat(self.keys["one"]).status, 200)

    def test_rotation(self):
        self.serve(keys=[("k",)], auth={"virtual_keys": True})
        first = self.keys["k"]
        second = weir("key", "rotate", "k", "--grace", "1h", "--store", self.store)[0].strip()
        with self.faster_than(1.5):
            self.assertTrue(until(lambda: self.chat(second).status == 200, 1.2))
        self.assertEqual(self.chat(first).status, 200)
        third = weir("key", "rotate", "k", "--store", self.store)[0].strip()
        self.assertTrue(until(lambda: self.chat(third).status == 200, 1.2))
        self.assertEqual([self.chat(k).status for k in (first, second, third)], [401, 401, 200])


def load_tests(loader, tests, pattern):
    suite = gatewaylib.unittest.TestSuite(loader.loadTestsFromTestCase(Budgets))
    suite.addTests(Keys(name) for name in loader.getTestCaseNames(Keys) if name in vars(Keys))
    return suite


if __name__ == "__main__":
    gatewaylib.main()
