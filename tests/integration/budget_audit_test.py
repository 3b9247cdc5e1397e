#!/usr/bin/env python3
"""weir budget audit: the ledger's entries against the traffic log of a gateway that has served, sound and tampered with.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import json, pathlib

import gatewaylib
from gatewaylib import Case, model, until, weir

RULES = [{"match": {"prompt": "nousage"}, "tokens": 30, "usage": {"send": False}},
         {"match": {"prompt": "slow"}, "tokens": 40, "per_token_ms": 20}, {"tokens": 20}]


MODELS = "dear", "other"


class Audit(Case):
    def served(self, budgets=(("all", "1USD"),), **more):
        """A gateway that has served ten requests."""
        sim = self.vendor({"rules": RULES, "prices": [{"model": m, "input_usd_per_mtok": 1, "output_usd_per_mtok": 10}
                                                      for m in MODELS]})
        folder = pathlib.Path(self.subfolder("weir"))
        self.store = folder / "weir.mdb"
        (folder / "d.jsonl").write_text("".join(
            json.dumps({"prompt": f"q {i}", "outcomes": {m: {"quality": i % 2, "cost": 0.001} for m in MODELS}}) + "\n"
            for i in range(4)))
        weir("learn", "--store", self.store, "--data", folder / "d.jsonl")
        for name, limit, *options in budgets:
            weir("budget", "set", name, "--limit", limit, "--per", "day", *options, "--store", self.store)
        self.made = self.config(sim, [model(m, input=1, output=10, max_output_tokens=4096, max_input_tokens=16384)
                                      for m in MODELS], **more)
        gateway = self.gateway(self.made, folder=folder)
        for i in range(10):
            self.assertEqual(gateway.chat("dear", f"q {i}").status, 200)
        return gateway

    def audit(self, *options, status=0):
        out = weir("budget", "audit", "--json", *options, "--store", self.store, status=status)[0]
        return json.loads(out)

    def exported(self):
        """What the gateway served; the rows before it are of the store's making."""
        rows = [json.loads(line) for line in weir("store", "export", "--log", "--store", self.store)[0].splitlines()]
        self.before = [r for r in rows if r["kind"] != "served"]
        return [r for r in rows if r["kind"] == "served"]

    def written(self, rows, trimmed=False):
        path = pathlib.Path(self.folder) / "log.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in ([] if trimmed else self.before) + rows))
        return path

    def skipped(self, found):
        return {s["reason"]: s["n"] for s in found["log"]["skipped"]}

    def test_a_clean_ledger(self):
        gateway = self.served([("all", "1USD"), ("tokens", "1Mtokens"), ("asked", "1000requests")])
        self.assertEqual(gateway.stream("dear", "as a stream").done, True)
        gateway.chat("dear", "nousage")
        with gateway.open_stream("dear", "slow") as left:
            left.read(3)
        self.assertTrue(self.audit()["sound"])  # beside the gateway that serves
        gateway.stop()
        found = self.audit()
        log = found["log"]
        self.assertEqual((found["sound"], found["n_differences"], log["n_differences"], log["differences"]), (True, 0, 0, []))
        self.assertEqual((log["n_decisions"], log["n_same"] + log["n_safe"], found["n_settled"]), (13, 13, 13), found)
        self.assertGreaterEqual(log["n_safe"], 1)  # what was left
        self.assertEqual(log["skipped"], [])
        self.assertGreaterEqual(float(log["settled"]), float(log["logged"]))
        said = weir("budget", "audit", "--store", self.store)[0]
        self.assertIn("every balance is right", said)
        self.assertIn("13 decisions of the traffic log", said)
        self.assertTrue(self.audit("--log", self.written(self.exported()))["sound"])

    def test_tampered_logs_are_named(self):
        self.served([("all", "1USD")]).stop()
        rows = self.exported()
        self.assertEqual(len(rows), 10)
        cheaper, gone, tokens = (json.loads(json.dumps(rows)) for _ in range(3))
        cheaper[4]["attempts"][0]["cost"] -= 1e-9
        found = self.audit("--log", self.written(cheaper), status=1)["log"]
        self.assertEqual((found["n_differences"], found["n_same"]), (1, 9))
        one = found["differences"][0]
        self.assertEqual((one["decision"], one["attempt"], one["unit"], one["why"]),
                         (rows[4]["id"], 0, "usd", "the log says another amount"))
        self.assertEqual(round((float(one["ledger"]) - float(one["log"])) * 1e9), 1)
        self.assertIsInstance(one["entry"], int)
        said = weir("budget", "audit", "--log", self.folder / "log.jsonl", "--store", self.store, status=1)[0]
        self.assertRegex(said, rf"{one['entry']} +{one['decision']} +0 +usd +{one['ledger']} +{one['log']} +the log says another")
        del gone[7]
        found = self.audit("--log", self.written(gone), status=1)["log"]["differences"]
        self.assertEqual([(d["decision"], d["log"], d["why"]) for d in found], [(rows[7]["id"], None, "the log doesn't have it")])
        tokens[2]["usage"]["output_tokens"] += 1
        found = self.audit("--log", self.written(tokens), status=1)["log"]["differences"]
        self.assertEqual([(d["decision"], d["unit"]) for d in found], [(rows[2]["id"], "tokens")])
        more = rows + [{**rows[9], "id": "weir-" + "0" * 24}]
        found = self.audit("--log", self.written(more), status=1)["log"]["differences"]
        self.assertEqual([(d["entry"], d["decision"], d["ledger"]) for d in found], [(None, "weir-" + "0" * 24, None)])
        # a time without differences passes, and a log that was trimmed says so
        found = self.audit("--log", self.written(gone), "--from", "now")
        self.assertEqual(self.skipped(found), {"older": 19})
        found = self.audit("--log", self.written(rows[3:], trimmed=True))
        self.assertEqual(self.skipped(found), {"trimmed": 3})
        for wrong in ("{\n", "[]\n", '{"kind":"served"}\n', '{"kind":"served","id":"a","time_ms":1,"attempts":[1]}\n'):
            (self.folder / "log.jsonl").write_text(wrong)
            self.assertIn("log.jsonl", weir("budget", "audit", "--log", self.folder / "log.jsonl", "--store", self.store, status=1)[1])
        self.assertIn("No such file", weir("budget", "audit", "--log", "/nowhere", "--store", self.store, status=1)[1])
        weir("budget", "audit", "--from", "soon", "--store", self.store, status=2)

    def test_what_no_budget_covers(self):
        gateway = self.served([("team", "1USD", "--team", "x"), ("there", "1USD", "--model", "other")])
        gateway.chat("other", "one that is covered")
        gateway.stop()
        found = self.audit()
        self.assertEqual((found["n_settled"], found["log"]["n_same"], self.skipped(found)), (1, 1, {"uncovered": 10}))

    def test_after_a_kill(self):
        gateway = self.served([("all", "1USD")])
        until(lambda: len(self.exported()) == 10)
        gateway.process.kill()
        gateway.process.wait()
        found = self.audit()  # nobody has looked after it yet
        self.assertTrue(found["sound"])
        self.assertLessEqual(self.skipped(found).keys(), {"running"})
        self.assertEqual(found["log"]["n_same"] + self.skipped(found).get("running", 0), 10)
        rows = self.exported()
        self.gateway(self.made, folder=gateway.folder).stop()
        self.assertEqual(self.audit()["log"]["n_same"], 10)
        # rows that it had not written yet are nobody's fault, and said so; a wrong one is a wrong one
        rows[1]["attempts"][0]["cost"] *= 2
        found = self.audit("--log", self.written(rows[:4]), status=1)
        self.assertEqual((found["log"]["n_differences"], self.skipped(found)), (1, {"killed": 6}))

    def test_without_a_log(self):
        self.served([("all", "1USD")], traffic={"on": False}).stop()
        found = self.audit()
        self.assertEqual((found["sound"], found["log"]["n_decisions"], self.skipped(found)), (True, 0, {"no_log": 10}))
        self.assertIn("without a traffic log", weir("budget", "audit", "--store", self.store)[0])


if __name__ == "__main__":
    gatewaylib.main()
