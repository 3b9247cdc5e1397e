#!/usr/bin/env python3
"""weir key and weir budget beside a gateway that serves, and beside each other.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import concurrent.futures, json, os, subprocess, threading

import gatewaylib
from gatewaylib import Case, model, weir

ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1", COLUMNS="80")


class Budgets(Case):
    def store(self):
        """An untrained store with a model."""
        outcomes = self.folder / "d.jsonl"
        outcomes.write_text("".join(
            json.dumps({"prompt": f"q {i}", "outcomes": {"m": {"quality": i % 2, "cost": 0.001}}}) + "\n" for i in range(4)))
        weir("learn", "--store", self.folder / "s.mdb", "--data", outcomes)
        return self.folder / "s.mdb"

    def listed(self, store, what="budgets"):
        return {b["name"]: b for b in json.loads(weir("budget", "ls", "--json", "--store", store)[0])[what]}

    def test_beside_a_gateway(self):
        gateway = self.gateway(self.config(self.vendor([{"tokens": 5}]), [model("first")]))
        store = gateway.folder / "weir.mdb"
        stop, answers = threading.Event(), []

        def ask():
            while not stop.is_set():
                answers.append(gateway.chat("first").status)

        clients = [threading.Thread(target=ask) for _ in range(2)]
        for c in clients:
            c.start()
        try:
            for i in range(10):
                text = weir("key", "create", f"k{i}", "--rpm", 60, "--budget", "5USD/day", "--store", store)[0]
                self.assertRegex(text, r"^sk-weir-[\w-]{43}\n$")
                weir("budget", "set", f"b{i}", "--limit", f"{i + 1}USD", "--per", "day", "--team", "nobody", "--store", store)
                if i % 2:
                    weir("key", "rotate", f"k{i}", "--grace", "1h", "--store", store)
                    weir("budget", "rm", f"b{i}", "--store", store)
                weir("key", "ls", "--store", store)
        finally:
            stop.set()
            for c in clients:
                c.join()
        self.assertGreater(len(answers), 10)
        self.assertEqual(set(answers), {200})
        found = self.listed(store)
        self.assertEqual(set(found), {f"key-k{i}" for i in range(10)} | {f"b{i}" for i in range(0, 10, 2)})
        self.assertEqual({b["limit"] for n, b in found.items() if n.startswith("key-")}, {"5.00"})
        self.assertIn("every balance is right", weir("budget", "audit", "--store", store)[0])
        gateway.stop()
        weir("store", "check", store)
        self.assertEqual(set(self.listed(store)), set(found))

    def test_several_at_once(self):
        """Each change is whole; the last one stands; names and numbers are given once."""
        store = self.store()

        def one(i):
            done = subprocess.run([gatewaylib.WEIR, "budget", "set", f"b{i % 4}", "--limit", f"{i + 1}requests", "--per",
                                   ("day", "hour")[i % 3 == 0], "--store", str(store)], capture_output=True, text=True, env=ENV)
            return done.returncode, done.stderr
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = list(pool.map(one, range(32)))
        self.assertEqual({status for status, _ in done}, {0}, done)
        found = self.listed(store)
        self.assertEqual(set(found), {"b0", "b1", "b2", "b3"})
        for name, b in found.items():
            i = int(b["limit"]) - 1
            self.assertEqual((f"b{i % 4}", ("day", "hour")[i % 3 == 0]), (name, b["per"]))

    def test_what_people_read(self):
        store = self.store()
        weir("budget", "set", "daily", "--limit", "50USD", "--per", "day", "--zone", "Europe/Berlin", "--warn", "0.5,0.8",
             "--store", store)
        weir("budget", "set", "each", "--limit", "200ktokens", "--per", "month", "--key", "*", "--team", "search", "--soft",
             "--store", store)
        out = weir("budget", "ls", "--store", store)[0]
        self.assertRegex(out, r"daily +everything +50\.00 +usd +day +0\.00 +\S+Z +cheaper")
        self.assertRegex(out, r"each +key=\* team=search +200000 +tokens +month +0 +\S+Z +\(soft\)")
        out = weir("budget", "show", "daily", "--store", store)[0]
        self.assertIn("50.00 usd per day (Europe/Berlin), for everything", out)
        self.assertIn("warns at 50 %, 80 %", out)
        # a new limit is the same budget, another zone isn't
        said = weir("budget", "set", "daily", "--limit", "60USD", "--per", "day", "--zone", "Europe/Berlin", "--store", store)
        self.assertEqual(said, ("", ""))
        said = weir("budget", "set", "daily", "--limit", "60USD", "--per", "day", "--store", store)[1]
        self.assertIn("starts from nothing", said)
        report = self.folder / "report.json"
        weir("budget", "show", "daily", "--json", report, "--store", store)
        self.assertEqual(json.loads(report.read_text())["zone"], "UTC")
        self.assertIn("did you mean 'daily'", weir("budget", "show", "daly", "--store", store, status=2)[1])
        self.assertIn("no account 7", weir("budget", "reconcile", 7, "--spent", "1USD", "--store", store, status=2)[1])
        weir("budget", "rm", "daily", "--store", store)
        weir("budget", "rm", "daily", "--store", store, status=2)
        self.assertTrue(json.loads(weir("budget", "audit", "--json", "--store", store)[0])["sound"])


if __name__ == "__main__":
    gatewaylib.main()
