#!/usr/bin/env python3
"""Pacing through the gateway: who gets which value, and what is told of it. How well it spends is measured elsewhere
(tests/bench/pacing).

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import calendar, math, pathlib, shutil, time

import gatewaylib
from gatewaylib import Trained, model, until, weir

HARD, EASY = Trained.HARD, Trained.EASY
TELLS = "a budget and its quality floor contradict each other"
ENDS = "a budget and its quality floor don't contradict each other any more"


def roomiest():
    """The period of which most is left, so that no test runs over its end."""
    t = time.gmtime()
    day = (t.tm_hour + t.tm_min / 60) / 24
    gone = {"hour": t.tm_min / 60, "day": day, "week": (t.tm_wday + day) / 7,
            "month": (t.tm_mday - 1 + day) / calendar.monthrange(t.tm_year, t.tm_mon)[1]}
    return min(gone, key=gone.get)


class Paced(Trained):
    """A gateway with a trained store and a budget that it paces."""

    def limit(self, gateway_or_folder, usd, *more):
        folder = getattr(gateway_or_folder, "folder", gateway_or_folder)
        weir("budget", "set", "b", "--limit", f"{usd}USD", "--per", self.period, *more, "--store",
             pathlib.Path(folder, "weir.mdb"))

    def start(self, usd, expected=1000, scope=(), folder=None, configured=None, **pacing):
        """A gateway that paces a budget of so much; usd None: there is none."""
        self.period = roomiest()
        fresh = folder is None
        folder = folder or self.subfolder("weir")
        if fresh:
            shutil.copy(self.trained / "weir.mdb", folder)
        if usd is not None:
            self.limit(folder, usd, *scope)
        models = [model(name, input=a, output=b) for name, (a, b) in self.PRICES.items()]
        vendor = self.vendor([{"tokens": 90}])
        config = self.config(vendor, models, pacing={"budget": "b", "expected_requests": expected, **pacing},
                             **(configured or {}))
        return self.gateway(config, folder=folder)

    def value(self, gateway, text=HARD, **more):
        """The value that a request was decided by; NAN: its own, or the configuration's."""
        answer = gateway.chat(text=text, max_tokens=100, **more)
        self.assertEqual(answer.status, 200, answer)
        return float(answer.headers.get("x-weir-value", "nan"))

    def gauge(self, gateway, name):
        found = [v for n, _, v in gateway.metrics().rows if n == "weir_pacing_" + name]
        return found[0] if found else None

    def warm(self, gateway, n=30):
        values = [self.value(gateway, HARD if i % 2 else EASY) for i in range(n)]
        return values[-1]


class Pacing(Paced):
    def test_value_goes_with_money_and_traffic(self):
        """Little money a request: a low value. More: a higher one. More requests than planned: a lower one again."""
        gateway = self.start(0.1, expected=1000)
        low = self.warm(gateway)
        self.assertEqual(gateway.chat(text=EASY).headers["x-weir-model"], "cheap")
        self.limit(gateway, 1000)
        rich = until(lambda: (v := self.value(gateway)) > 3 * low and v)
        self.assertTrue(rich, low)
        self.assertEqual(gateway.chat(text=HARD).headers["x-weir-model"], "dear")
        self.limit(gateway, 1.2)
        self.assertTrue(until(lambda: self.value(gateway) < rich))
        before = self.value(gateway)
        for i in range(400):  # as many in seconds as in half of a period
            after = self.value(gateway, HARD if i % 2 else EASY)
        self.assertLess(after, before)
        scrape = gateway.metrics()
        self.assertAlmostEqual(scrape["weir_pacing_value_usd"] / after, 1, delta=0.2)
        forecast = [scrape["weir_pacing_forecast_usd", {"bound": b}] for b in ("low", "mean", "high")]
        self.assertEqual(forecast, sorted(forecast))
        self.assertTrue(0 < scrape["weir_pacing_spent_ratio"] < 1.05)
        self.assertTrue(0.3 < scrape["weir_pacing_quality"] <= 1)

    def test_spending_lowers_value(self):
        """Calls that aren't decided here are paid from the same budget."""
        gateway = self.start(0.3, expected=300)
        before = self.warm(gateway)
        for _ in range(60):
            self.assertEqual(gateway.chat("dear", HARD, max_tokens=100).status, 200)
        self.assertLess(self.value(gateway), before)
        self.assertGreater(until(lambda: self.gauge(gateway, "spent_ratio")), 0.1)

    def test_a_restart_goes_on(self):
        gateway = self.start(0.5)
        before, quality = self.warm(gateway, 60), self.gauge(gateway, "quality")
        folder = gateway.folder
        gateway.stop()
        again = self.start(None, folder=folder)
        # before any request has come, and once the budget has been looked at
        value = until(lambda: self.gauge(again, "value_usd"))
        self.assertTrue(math.isfinite(value), value)
        self.assertTrue(until(lambda: abs(self.gauge(again, "value_usd") / before - 1) < 0.25), (value, before))
        self.assertAlmostEqual(self.gauge(again, "quality"), quality, delta=0.05)
        again.stop()
        # another without what was learned knows nothing
        new = self.start(0.5)
        self.assertTrue(math.isnan(until(lambda: self.gauge(new, "value_usd"))))

    def test_a_kill_loses_a_minute(self):
        gateway = self.start(0.5)
        self.warm(gateway)
        folder = gateway.folder
        gateway.stop()
        again = self.start(None, folder=folder)
        self.warm(again, 4)
        again.kill()
        third = self.start(None, folder=folder)
        self.assertTrue(math.isfinite(until(lambda: self.gauge(third, "value_usd"))))

    def test_contradictions_are_told(self):
        gateway = self.start(0.02, min_quality=0.9)
        self.warm(gateway, 10)
        line = until(lambda: gateway.logs(TELLS))
        self.assertTrue(line, gateway.err()[-3000:])
        self.assertEqual((line[0]["level"], line[0]["budget"], line[0]["floor"], line[0]["precedence"]),
                         ("warn", "b", 0.9, "budget"))
        self.assertGreater(line[0]["floor_usd"], line[0]["left_usd"])
        self.assertEqual(self.gauge(gateway, "contradiction"), 1)
        self.assertEqual(gateway.logs(ENDS), [])
        self.limit(gateway, 1000)
        self.assertTrue(until(lambda: gateway.logs(ENDS)))
        self.assertEqual(self.gauge(gateway, "contradiction"), 0)
        self.assertEqual(len(gateway.logs(TELLS)), 1)

    def test_precedence(self):
        """The floor needs the dear model for hard prompts; the budget can't pay for it."""
        def chosen():
            return [gateway.chat(text=HARD, max_tokens=100).headers["x-weir-model"] for _ in range(10)]
        gateway = self.start(0.05, min_quality=0.95, precedence="budget", scope=("--soft",))
        self.warm(gateway, 20)
        self.assertEqual(chosen(), ["cheap"] * 10)
        gateway.stop()
        gateway = self.start(0.05, min_quality=0.95, precedence="floor", scope=("--soft",))
        self.warm(gateway, 20)
        self.assertTrue(until(lambda: chosen().count("dear") > 2), "the value follows within moments, not at once")
        gateway.stop()

    def test_own_values_win(self):
        gateway = self.start(0.02)
        self.warm(gateway)
        for name, headers in ("weir:value=10", None), ("weir", {"x-weir-value": "10"}), ("weir:mu=0.05", None):
            answer = gateway.chat(name, HARD, headers, max_tokens=100)
            self.assertEqual((answer.status, answer.headers["x-weir-model"]), (200, "dear"), answer)
            self.assertNotIn("x-weir-value", answer.headers)
        answer = gateway.chat(text=HARD, max_tokens=100)
        self.assertEqual(answer.headers["x-weir-model"], "cheap")
        self.assertIn("x-weir-value", answer.headers)
        # other knobs go with pacing's value
        answer = gateway.chat("weir:min_quality=0.8", HARD, max_tokens=100)
        self.assertEqual((answer.status, answer.headers["x-weir-rule"]), (200, "constrained"), answer)
        self.assertIn("x-weir-value", answer.headers)
        self.assertNotIn("x-weir-value", gateway.chat("cheap", HARD).headers)

    def test_routes_are_told_and_not_counted(self):
        gateway = self.start(0.02)
        told = gateway.ask("POST", "/v1/route", {"prompt": HARD})
        self.assertEqual(told.status, 200, told)
        self.assertTrue(math.isnan(until(lambda: self.gauge(gateway, "value_usd"))))
        value = self.warm(gateway)
        told = gateway.ask("POST", "/v1/route", {"prompt": HARD}).json
        self.assertAlmostEqual(told["value"] / value, 1, delta=0.2)

    def test_who_is_covered(self):
        gateway = self.start(0.02, scope=("--tag", "night"))
        for _ in range(10):
            paced = self.value(gateway, headers={"x-weir-tag": "night"})
        self.assertTrue(math.isfinite(paced))
        self.assertTrue(math.isnan(self.value(gateway)))
        self.assertTrue(math.isnan(self.value(gateway, headers={"x-weir-tag": "day"})))

    def test_latency(self):
        """The dear model takes 900 ms."""
        for most, wanted in (300, "cheap"), (5000, "dear"):
            gateway = self.start(1000, max_latency_ms=most)
            self.warm(gateway, 6)
            answer = gateway.chat(text=HARD, max_tokens=100)
            self.assertEqual(answer.headers["x-weir-model"], wanted)
            gateway.stop()

    def test_budgets_that_cannot_be_paced(self):
        gateway = self.start(None)
        why = lambda: [line["why"] for line in gateway.logs("a budget can't be paced")]
        self.assertEqual(until(why), ["the store has no budget of this name"])
        self.assertTrue(math.isnan(self.value(gateway)))
        self.assertIsNone(self.gauge(gateway, "value_usd"))
        store = gateway.folder / "weir.mdb"
        for args, word in ((("--limit", "5requests", "--per", "day"), "USD"),
                           (("--limit", "5USD", "--per", "total"), "ends"),
                           (("--limit", "5USD", "--per", "day", "--user", "*"), "*"),
                           (("--limit", "5USD", "--per", "day", "--model", "dear"), "model")):
            weir("budget", "set", "b", *args, "--store", store)
            self.assertTrue(until(lambda: word in why()[-1]), (word, why()))
            weir("budget", "rm", "b", "--store", store)
            until(lambda: "no budget" in why()[-1])
        self.limit(gateway, 1)
        self.assertTrue(until(lambda: gateway.logs("a budget is paced")))
        self.assertTrue(math.isfinite(self.value(gateway)))


if __name__ == "__main__":
    gatewaylib.main()
