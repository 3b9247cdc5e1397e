#!/usr/bin/env python3
"""weir budget report: against the vendor's answers, the exported log, and the arithmetic of a period.

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import json, xml.etree.ElementTree as xml
from decimal import Decimal

import gatewaylib
from gateway_pacing_test import EASY, HARD, Paced
from gatewaylib import until, weir

SVG = "{http://www.w3.org/2000/svg}"


class Report(Paced):
    def report(self, gateway, *args, status=0):
        out, err = weir("budget", "report", *args, "--store", gateway.store, "--json", status=status)
        return json.loads(out) if not status else err

    def traffic(self, gateway, n=40):
        """Costs and models by user; some feedback."""
        told = {}
        for i in range(n):
            answer = gateway.chat(text=HARD if i % 2 else EASY, max_tokens=100,
                                  headers={"x-weir-user": ("ann", "bob\"<&é")[i % 4 == 0]})
            self.assertEqual(answer.status, 200, answer)
            cost = Decimal(answer.headers["x-weir-cost-usd"])
            for key in ("user", ("ann", "bob\"<&é")[i % 4 == 0]), ("model", answer.headers["x-weir-model"]):
                told.setdefault(key, []).append(cost)
            if i % 8 == 0:
                self.assertEqual(gateway.feedback(answer.decision, 0.25, "user").status, 200)
        return told

    def whole(self, gateway, n, *args):
        """Once ledger and log have all calls."""
        def ready():
            r = self.report(gateway, *args)
            return r if r["calls"] == n and r["requests"]["decided"] == n else None
        found = until(ready)
        self.assertTrue(found, self.report(gateway, *args))
        return found

    def test_adds_up(self):
        gateway = self.start(0.5)
        told = self.traffic(gateway)
        r = self.whole(gateway, 40, "b")
        total = sum(sum(c) for (what, _), c in told.items() if what == "user")
        self.assertEqual(Decimal(r["spent_usd"]), total)
        self.assertEqual(Decimal(r["budget"]["spent"]), total)
        for what in "user", "model":
            found = {g["name"]: (Decimal(g["spent_usd"]), g["calls"]) for g in r["by"][what]}
            self.assertEqual(sorted(found.values()), sorted((sum(c), len(c)) for (w, _), c in told.items() if w == what))
            self.assertAlmostEqual(sum(g["share"] for g in r["by"][what]), 1)
            self.assertEqual([g["spent_usd"] for g in r["by"][what]],
                             sorted((g["spent_usd"] for g in r["by"][what]), key=Decimal, reverse=True))
        self.assertEqual((r["requests"]["answered"], r["requests"]["refused"]), (40, 0))
        self.assertEqual((r["quality"]["feedback"], r["quality"]["n_feedback"]), (0.25, 5))
        # all spending, whoever's budget it is
        whole = self.report(gateway)
        self.assertEqual((whole["spent_usd"], whole["budget"]), (r["spent_usd"], None))
        # nothing before
        self.assertEqual(self.report(gateway, "--from", "2020-01-01", "--to", "2020-02-01")["calls"], 0)
        self.assertIn("--from must be before --to",
                      self.report(gateway, "--from", "2020-02-01", "--to", "2020-01-01", status=2))
        self.assertIn("no budget", self.report(gateway, "nobody", status=2))

    def test_quality_and_savings(self):
        """As computed anew from the exported log."""
        gateway = self.start(0.02)
        self.traffic(gateway)
        r = self.whole(gateway, 40, "b", "--min-quality", "0.9")
        export = weir("store", "export", gateway.store)[0]
        lines = [json.loads(line) for line in export.splitlines()]
        served = [line for line in lines if line["kind"] == "served"]
        self.assertEqual(len(served), 40)
        got = [line["models"][line["answered"]] for line in served]
        always = [line["models"]["dear"] for line in served]
        mean = lambda rows: sum(row["quality"] for row in rows) / len(rows)
        cost = lambda rows: sum(row["cost"] for row in rows)
        one = r["best_single"]
        self.assertEqual((one["model"], one["requests"]), ("dear", 40))
        for found, wanted in ((r["quality"]["predicted"], mean(got)), (one["quality"], mean(always)),
                              (one["cost_usd"], cost(always)), (one["routed_cost_usd"], cost(got)),
                              (one["saved_usd"], cost(always) - cost(got)),
                              (one["quality_given_up"], mean(always) - mean(got)),
                              (r["quality"]["above_floor"], mean(got) - 0.9)):
            self.assertAlmostEqual(found, wanted, delta=1e-6 + 1e-5 * abs(wanted))
        self.assertGreater(one["saved_usd"], 0)
        self.assertLess(r["quality"]["above_floor"], 0)
        text = weir("budget", "report", "b", "--store", gateway.store, "--min-quality", "0.9")[0]
        self.assertIn("floor 0.9, missed", text)
        self.assertIn("against always dear", text)

    def test_refused_and_picture(self):
        """A hard limit that is hit: the curve ends below it, and the picture shows it."""
        gateway = self.start(0.002)
        statuses = [gateway.chat("dear", HARD, max_tokens=100).status for _ in range(10)]
        self.assertIn(429, statuses)
        svg = gateway.folder / "b.svg"
        def ready():
            r = self.report(gateway, "b", "--svg", svg)
            return r if r["requests"]["refused"] == statuses.count(429) else None
        r = until(ready)
        self.assertTrue(r, self.report(gateway, "b"))
        self.assertEqual(r["calls"], statuses.count(200))
        self.assertLessEqual(Decimal(r["budget"]["spent"]), Decimal("0.002"))
        self.assertAlmostEqual(r["budget"]["plan"]["spent_over_linear"],
                               float(r["budget"]["spent"]) / r["budget"]["plan"]["linear"], places=3)
        picture = xml.parse(svg).getroot()
        text = [t.text for t in picture.iter(SVG + "text")]
        self.assertIn("Budget b", text)
        for legend in "spent", "even plan", "limit of a period", "now":
            self.assertIn(legend, text)
        self.assertGreaterEqual(len([p for p in picture.iter(SVG + "path") if "line" in p.get("class", "").split()]), 6)
        self.assertIn("name it", weir("budget", "report", "--svg", svg, "--store", gateway.store, status=2)[1])

    def test_budgets_of_each(self):
        gateway = self.start(1)
        weir("budget", "set", "each", "--limit", "1USD", "--per", "day", "--user", "*", "--store", gateway.store)
        self.assertIn("a limit for each user", self.report(gateway, "each", status=2))


if __name__ == "__main__":
    gatewaylib.main()
