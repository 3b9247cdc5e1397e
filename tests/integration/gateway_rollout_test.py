#!/usr/bin/env python3
"""Rollouts through the gateway: in shadow, by shares, stopped by harm, through kills and reloads, and judged from the
log afterwards. Quality is the test's: the model "poor" is worse than "good" and "fair".

WEIR is the binary's path, WEIR_VENDOR the simulator's. SPDX-License-Identifier: GPL-3.0-or-later"""
import calendar, json, math, random, signal, subprocess, time, unittest

import gatewaylib
from gateway_pacing_test import HARD, Paced
from gatewaylib import model, until, weir

QUALITY = {"good": 0.9, "fair": 0.9, "poor": 0.1}
POLICIES = "fixed,model=good", "fixed,model=fair"


class Rollouts(gatewaylib.Case):
    def setUp(self):
        super().setUp()
        self.random = random.Random(11)

    def start(self, rollout, policy=None, folder=None, vendor=None, errors=(), **more):
        self.sim = vendor or self.vendor([{"tokens": 5}])
        models = [model(name) for name in QUALITY]
        made = self.config(self.sim, models, policy=policy or {"fixed": "good"}, **more)
        if rollout:
            made["rollout"] = {"name": "trial", "margin_quality": 0.1, "margin_error": 0.3, "min_feedback": 30, **rollout}
        self.made = made
        return self.gateway(made, folder=folder, errors=errors)

    def ask(self, gateway, n, judge=True, **more):
        """How often each model answered; each answer is judged, mostly as its model's quality says."""
        found = {}
        for _ in range(n):
            answer = gateway.chat(max_tokens=5, **more)
            self.assertEqual(answer.status, 200, answer)
            name = answer.headers["x-weir-model"]
            found[name] = found.get(name, 0) + 1
            if judge:
                quality = float(self.random.random() < QUALITY[name])
                self.assertEqual(gateway.feedback(answer.decision, quality).status, 200)
        return found

    def rows(self, gateway, n):
        """The log's requests, once there are so many."""
        def read():
            out, _ = weir("store", "export", "--log", "--store", gateway.store)
            rows = [json.loads(line) for line in out.splitlines()]
            rows = [r for r in rows if r["kind"] == "served"]
            return len(rows) >= n and rows
        rows = until(read, 5)
        self.assertTrue(rows)
        return rows

    def report(self, gateway):
        out, _ = weir("ope", "rollout", "--store", gateway.store, "--json", "-")
        return json.loads(out)

    def run_until(self, gateway, status, most=3000):
        """Asks until the rollout has that status."""
        for asked in range(0, most, 20):
            self.ask(gateway, 20)
            found = until(lambda: gateway.metrics()[f"weir_rollout_{status}"], 0.1)
            if found:
                return asked
        self.fail(f"not {status} after {most} requests: {self.report(gateway)}")

    # ---- shadow

    def test_shadow_dispatches_nothing_and_logs_both(self):
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "shadow"})
        self.assertEqual(self.ask(gateway, 40), {"good": 40})
        self.assertEqual(self.sim.count("poor"), 0)
        for row in self.rows(gateway, 40):
            self.assertEqual(row["rollout"], {"name": "trial", "digest": row["rollout"]["digest"], "step": 0, "share": 0.0,
                                               "arm": "base"})
            self.assertRegex(row["rollout"]["digest"], "^[0-9a-f]{14}00$")
            self.assertEqual({m: (v["propensity"], v["candidate"]) for m, v in row["models"].items()},
                             {"good": (1, 0), "fair": (0, 0), "poor": (0, 1)})
        report = self.report(gateway)
        self.assertTrue(report["blind"])
        self.assertEqual((report["feedback"], report["share"]), (0, 0))
        self.assertIn("explore_floor", report["why"])
        warned = [line for line in gateway.logs() if "learns nothing of quality" in line["msg"]]
        self.assertEqual(len(warned), 1)

    def test_shadow_with_a_floor_finds_harm(self):
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "shadow"}, {"fixed": "good", "explore_floor": 0.2})
        self.run_until(gateway, "stopped")
        report = self.report(gateway)
        self.assertFalse(report["blind"])
        self.assertEqual(report["status"], "stopped")
        self.assertLess(report["history"][-1]["quality_difference"][1], -0.1)
        after = len(self.rows(gateway, 1))
        self.ask(gateway, 5, judge=False)
        self.assertNotIn("rollout", self.rows(gateway, after + 5)[-1])

    # ---- shares

    def test_share_is_dispatched_and_logged(self):
        share = 0.3
        gateway = self.start({"policy": {"fixed": "fair"}, "mode": "share", "steps": [share], "min_feedback": 10 ** 6})
        n = 400
        found = self.ask(gateway, n, judge=False)
        self.assertEqual(set(found), {"good", "fair"})
        self.assertAlmostEqual(found["fair"] / n, share, delta=4 * math.sqrt(share * (1 - share) / n))
        for row in self.rows(gateway, n):
            self.assertAlmostEqual(row["models"]["fair"]["propensity"], share, places=6)
            self.assertAlmostEqual(row["models"]["good"]["propensity"], 1 - share, places=6)
            self.assertEqual(row["models"]["fair"]["candidate"], 1)
            self.assertEqual(row["rollout"]["arm"], "candidate" if row["chosen"] == "fair" else "base")
        scrape = gateway.metrics()
        self.assertEqual(scrape["weir_rollout_share", {"rollout": "trial"}], share)
        self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_decisions"] == n))

    def test_who_steers_has_nothing_to_do_with_it(self):
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.9]})
        asked = [{"model": "weir:value=3"}, {"model": "fair"}, {"headers": {"x-weir-explore": "0"}}]
        for more in asked:
            found = self.ask(gateway, 10, judge=False, **more)
            self.assertNotIn("poor", found)
        for row in self.rows(gateway, 30):
            self.assertNotIn("rollout", row)
        out = gateway.ask("POST", "/v1/route", {"prompt": "x"}).json
        self.assertEqual(out["model"], "good")

    def test_fallback_goes_on_from_the_candidates_model(self):
        """And hides from the gate that it answers nothing: no errors, and labels on what another one answered."""
        vendor = self.vendor([{"match": {"model": "poor"}, "error": {"kind": "server"}}, {"tokens": 5}])
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.9], "min_feedback": 10 ** 6},
                             vendor=vendor, retry={"max": 2})
        found = self.ask(gateway, 30)
        self.assertNotIn("poor", found)
        rows = self.rows(gateway, 30)
        hidden = [r for r in rows if r["chosen"] == "poor"]
        self.assertGreater(len(hidden), 15)
        self.assertTrue(all(r["fallback"] and r["status"] == 200 for r in hidden))
        report = until(lambda: (found := self.report(gateway))["feedback"] == 30 and found)
        self.assertEqual((report["status"], report["decisions"]), ("running", 30))
        self.assertLessEqual(report["error_difference"][0], 0)
        self.assertEqual(gateway.metrics()["weir_fallbacks_total", {"from": "poor"}], len(hidden))

    # ---- harm, kills

    def test_harm_stops_it_and_outlives_a_kill(self):
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.2, 0.5]})
        gateway.torn = True
        self.ask(gateway, 8)  # too few for harm to show
        def counted():
            report = self.report(gateway)
            return report["decisions"] == report["feedback"] == 8 and report
        before = until(counted)
        self.assertTrue(before)
        gateway.signal(signal.SIGKILL)
        gateway.wait(5)
        again = self.gateway(self.made, folder=gateway.folder)
        after = self.report(again)
        self.assertEqual([after[k] for k in ("feedback", "decisions", "quality_difference", "since", "history")],
                         [before[k] for k in ("feedback", "decisions", "quality_difference", "since", "history")])
        self.run_until(again, "stopped")
        report = self.report(again)
        self.assertEqual(report["status"], "stopped")
        self.assertIn("stopped: quality is lower", report["why"])
        self.assertEqual(self.ask(again, 40, judge=False), {"good": 40})
        self.assertTrue([x for x in again.logs("a rollout has moved") if x["level"] == "warn" and x["share"] == 0])
        again.signal(signal.SIGKILL)
        again.wait(5)
        third = self.gateway(self.made, folder=gateway.folder)
        self.assertEqual(third.metrics()["weir_rollout_stopped"], 1)
        self.assertEqual(self.ask(third, 40, judge=False), {"good": 40})
        self.assertEqual(self.report(third)["history"], report["history"])
        out, _ = weir("ope", "rollout", "--store", third.store)
        self.assertIn("stopped at step", out)

    def test_errors_stop_it_without_feedback(self):
        vendor = self.vendor([{"match": {"model": "poor"}, "error": {"kind": "server"}}, {"tokens": 5}])
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]}, vendor=vendor)
        for _ in range(400):
            gateway.chat(max_tokens=5)
        self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_stopped"]))
        self.assertIn("errors are more frequent", self.report(gateway)["why"])

    def test_streams_that_break_off_are_errors(self):
        """To the gate, and to `weir ope`, from the store and its export alike."""
        vendor = self.vendor([{"match": {"model": "poor"}, "cut": {"events": 4}, "tokens": 20}, {"tokens": 5}])
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]}, vendor=vendor)
        broken = asked = 0
        while asked < 400 and not gateway.metrics()["weir_rollout_stopped"]:
            for _ in range(20):
                stream = gateway.stream(max_tokens=20)
                self.assertEqual((stream.status, stream.done), (200, stream.headers["x-weir-model"] == "good"))
                broken += not stream.done
                asked += 1
            until(lambda: gateway.metrics()["weir_rollout_stopped"], 0.1)
        self.assertTrue(gateway.metrics()["weir_rollout_stopped"])
        self.assertIn("errors are more frequent", self.report(gateway)["why"])
        rows = self.rows(gateway, asked)
        self.assertEqual(sum(r["attempts"][-1]["result"] == "cut" for r in rows), broken)
        gateway.stop()
        exported = self.folder / "traffic.jsonl"
        exported.write_text(weir("store", "export", "--log", "--store", gateway.store)[0])
        for log in gateway.store, exported:
            done = subprocess.run([gatewaylib.WEIR, "ope", "--log", log, "--policy", "fixed,model=poor", "--policy",
                                   "fixed,model=good", "--metric", "error", "--json", "-"], capture_output=True, text=True,
                                  env=gatewaylib.ENV, timeout=60)  # what so few rows are judged doesn't matter here
            found = [p["metrics"]["error"]["estimates"]["snips"]["value"] for p in json.loads(done.stdout)["policies"]]
            self.assertEqual(found, [1, 0], done.stderr)

    # ---- telling

    def wanted(self, report, event):
        """What the webhook should have been told of an event of the report's history."""
        what, steps = event["what"].split(":")[0], report["steps"]
        share = {"stopped": 0, "passed": event["share"], "went on": steps[event["step"] % len(steps)]}
        kept = "what", "step", "decisions", "feedback", "quality_difference", "error_difference"
        return {"event": {"went on": "rollout_advanced"}.get(what, "rollout_" + what), "rollout": report["name"],
                **{k: report[k] for k in ("base", "candidate", "mode")}, **{k: event[k] for k in kept},
                "steps": len(steps), "share": share[what]}

    def compare(self, seen, report):
        events = [e for e in report["history"] if e["what"] != "started"]
        self.assertEqual(len(seen), len(events), seen)
        for told, event in zip(seen, events):
            wanted = self.wanted(report, event)
            self.assertEqual(set(told), {*wanted, "time_ms"})
            then = calendar.timegm(time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ"))
            self.assertEqual(told["time_ms"] // 1000, then)
            for key, value in wanted.items():
                if isinstance(value, list):
                    for a, b in zip(told[key], value):
                        self.assertAlmostEqual(a, b, delta=1e-9)
                else:
                    self.assertEqual(told[key], value, key)

    def test_a_webhook_hears_of_each_step(self):
        hook = self.hook()
        gateway = self.start({"policy": {"fixed": "fair"}, "mode": "share", "steps": [0.4, 0.6], "margin_quality": 0.25,
                              "webhook": hook.url})
        self.run_until(gateway, "passed")
        until(lambda: len(hook.seen) >= 2)
        self.assertEqual([told["event"] for told in hook.seen], ["rollout_advanced", "rollout_passed"])
        self.assertEqual([told["share"] for told in hook.seen], [0.6, 0.6])
        self.assertEqual({(told["base"], told["candidate"]) for told in hook.seen}, {POLICIES})
        self.compare(hook.seen, self.report(gateway))
        self.assertFalse(gateway.logs("the webhook can't be reached"))

    def test_a_webhook_hears_of_harm_once(self):
        """Killed before it stops, and right after somebody has heard of that."""
        hook = self.hook()
        first = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5], "webhook": hook.url})
        first.torn = True
        self.ask(first, 6)
        first.signal(signal.SIGKILL)
        first.wait(5)
        second = self.gateway(self.made, folder=first.folder)
        second.torn = True
        for _ in range(400):
            self.ask(second, 1)
            if hook.seen:
                break
        second.signal(signal.SIGKILL)
        second.wait(5)
        self.assertEqual([told["event"] for told in hook.seen], ["rollout_stopped"])
        third = self.gateway(self.made, folder=first.folder)
        self.assertEqual(third.metrics()["weir_rollout_stopped"], 1)  # what was told is in the store
        self.assertEqual(self.ask(third, 40), {"good": 40})
        self.rows(third, 46)
        self.compare(hook.seen, self.report(third))
        third.stop()
        self.assertEqual(len(hook.seen), 1)

    def test_a_webhook_that_is_down_holds_nobody(self):
        """The log tells of one where nobody listens; one that takes what comes and says nothing isn't waited for."""
        gone, silent = self.hook(), self.hook(silent=True)
        gone.server.server_close()
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5], "webhook": gone.url})
        self.run_until(gateway, "stopped")
        lines = until(lambda: gateway.logs("the webhook can't be reached"))
        self.assertEqual([(line["rollout"], line["level"]) for line in lines], [("trial", "warn")])
        self.assertNotIn("budget", lines[0])
        again = {**self.made["rollout"], "name": "again", "webhook": silent.url}
        self.assertTrue(gateway.reload(dict(self.made, rollout=again)))
        self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_share", {"rollout": "again"}] == 0.5))
        self.run_until(gateway, "stopped")
        self.assertTrue(until(lambda: silent.seen))
        begun = time.monotonic()
        self.assertEqual(self.ask(gateway, 40), {"good": 40})  # by the one thread that waits for the webhook, too
        gateway.stop()
        self.assertLess(time.monotonic() - begun, 10 * gatewaylib.SLOW)
        self.assertEqual(len(silent.seen), 1)
        lines = gateway.logs("the webhook can't be reached")
        self.assertEqual([(line["rollout"], line["error"]) for line in lines[1:]], [("again", "weir ends")])

    # ---- going on

    def test_a_good_one_passes_its_steps_and_the_log_judges_it(self):
        gateway = self.start({"policy": {"fixed": "fair"}, "mode": "share", "steps": [0.4, 0.6], "margin_quality": 0.25})
        self.run_until(gateway, "passed")
        report = self.report(gateway)
        self.assertEqual((report["status"], report["step"], report["share"]), ("passed", 2, 0.6))
        self.assertEqual([e["what"].split(":")[0] for e in report["history"]], ["started", "went on", "passed"])
        for event in report["history"][1:]:
            self.assertGreater(event["quality_difference"][0], -0.25)
            self.assertGreaterEqual(event["feedback"], 30)
        self.assertEqual((report["base"], report["candidate"]), POLICIES)
        for line in gateway.logs("a rollout has moved"):
            self.assertEqual((line["base"], line["candidate"]), POLICIES)
        out, _ = weir("ope", "rollout", "--store", gateway.store)
        self.assertIn("passed", out)
        self.assertIn('rollout "trial": fixed,model=fair may follow fixed,model=good; begun ', out)
        gateway.stop()
        out, _ = weir("ope", "--log", gateway.store, "--policy", "column", "--metric", "quality", "--json", "-")
        judged = json.loads(out)
        found = judged["policies"][0]["metrics"]["quality"]
        self.assertEqual(judged["log"]["decided"], len(self.rows(gateway, 1)))
        self.assertLess(abs(found["value"] - QUALITY["fair"]), 0.15)  # three standard errors of 100 labels
        self.assertTrue(found["interval"][0] < found["value"] < found["interval"][1])
        lines = self.folder / "log.jsonl"
        lines.write_text(weir("store", "export", "--log", "--store", gateway.store)[0])
        again, _ = weir("ope", "--log", lines, "--policy", "column", "--metric", "quality", "--json", "-")
        self.judged_alike(judged, json.loads(again))

    def judged_alike(self, a, b):
        """The store and its exported lines say the same of the candidate."""
        self.assertEqual(a["log"]["rows"], b["log"]["rows"])
        left, right = (x["policies"][0]["metrics"]["quality"]["estimates"] for x in (a, b))
        for name in "replay", "ips", "snips":  # lines have no features, which the others may use
            for key in "value", "se":
                self.assertAlmostEqual(left[name][key], right[name][key], delta=1e-6)

    def test_reload_begins_another_and_ends_it(self):
        refusal = "reload refused: the old configuration stays in force"
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]}, errors=[refusal])
        self.run_until(gateway, "stopped")
        other = dict(self.made, rollout=dict(self.made["rollout"], name="another", policy={"fixed": "fair"}))
        self.assertTrue(gateway.reload(other))
        self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_share", {"rollout": "another"}] == 0.5))
        self.assertTrue(until(lambda: "fair" in self.ask(gateway, 20, judge=False)))
        report = self.report(gateway)
        self.assertEqual((report["name"], report["status"], report["feedback"]), ("another", "running", 0))
        none = {k: v for k, v in other.items() if k != "rollout"}
        self.assertTrue(gateway.reload(none))
        self.assertTrue(until(lambda: self.ask(gateway, 20, judge=False) == {"good": 20}))
        wrong = dict(other, rollout=dict(other["rollout"], steps=[0.5, 0.2]))
        self.assertFalse(gateway.reload(wrong))
        refused = gateway.logs(refusal)[-1]["error"]
        self.assertIn("steps", refused)

    def test_what_has_stopped_stays_so(self):
        """Another rollout in between, another policy in between, and a restart after those."""
        gateway = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]})
        self.run_until(gateway, "stopped")
        before = self.report(gateway)
        rollout = self.made["rollout"]
        for change in ({"rollout": dict(rollout, name="other", policy={"fixed": "fair"})}, {"policy": {"fixed": "fair"}}):
            self.assertTrue(gateway.reload({**self.made, **change}))
            self.assertTrue(until(lambda: self.report(gateway)["status"] == "running"))
            self.ask(gateway, 3)
            self.assertTrue(gateway.reload(self.made))
            self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_stopped"]))
            self.assertEqual(self.ask(gateway, 30), {"good": 30})
            self.assertEqual(self.report(gateway)["history"], before["history"])
        self.assertEqual(len(gateway.logs("a rollout was stopped before, and stays so")), 2)
        self.assertTrue(gateway.reload(dict(self.made, policy={"fixed": "fair"})))
        self.assertTrue(until(lambda: self.report(gateway)["status"] == "running"))
        gateway.stop()
        again = self.gateway(self.made, folder=gateway.folder)
        self.assertEqual(self.ask(again, 30), {"good": 30})
        self.assertTrue(again.reload(dict(self.made, rollout=dict(rollout, name="on purpose"))))
        self.assertTrue(until(lambda: "poor" in self.ask(again, 10, judge=False)))

    def test_a_joined_process_follows(self):
        first = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]})
        second = self.gateway(self.made, folder=first.folder, name="second")
        self.assertEqual(second.metrics()["weir_store_holder"], 0)
        self.assertTrue(until(lambda: "poor" in self.ask(second, 10), 5))
        for _ in range(60):
            self.ask(second, 20)
            if first.metrics()["weir_rollout_stopped"]:
                break
        self.assertTrue(first.metrics()["weir_rollout_stopped"])  # from what came to the other one alone
        self.assertTrue(until(lambda: second.metrics()["weir_rollout_stopped"], 6))
        self.assertEqual(self.ask(second, 20, judge=False), {"good": 20})

    def test_a_stop_doesnt_wait_until_a_joined_process_learns(self):
        first = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]}, traffic={"refresh_ms": 60000})
        second = self.gateway(self.made, folder=first.folder, name="second")
        self.assertEqual(second.metrics()["weir_rollout_share"], 0.5)
        self.run_until(first, "stopped")
        begun = time.monotonic()
        self.assertTrue(until(lambda: second.metrics()["weir_rollout_stopped"], 6))
        self.assertLess(time.monotonic() - begun, 2 * gatewaylib.SLOW)
        self.assertEqual(self.ask(second, 20, judge=False), {"good": 20})

    def test_who_has_another_is_left_out_and_says_so(self):
        first = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]})
        other = dict(self.made, rollout=dict(self.made["rollout"], name="other"))
        second = self.gateway(other, folder=first.folder, name="second")
        told = "the process that has the store has another rollout, or none: this one's decides nothing"
        lines = until(lambda: second.logs(told), 6)
        self.assertTrue(lines)
        self.assertEqual([(line["rollout"], line["running"], line["level"]) for line in lines], [("other", "trial", "warn")])
        self.assertEqual(self.ask(second, 20, judge=False), {"good": 20})
        self.assertTrue(second.reload(self.made))
        self.assertTrue(until(lambda: "poor" in self.ask(second, 10, judge=False)))
        self.assertEqual(len(second.logs(told)), 1)
        self.assertFalse(first.logs(told))

    def test_one_that_is_removed_is_told_of_as_such(self):
        gateway = self.start({"policy": {"fixed": "fair"}, "mode": "share", "steps": [0.6]})
        self.ask(gateway, 10)
        there = self.report(gateway)
        self.assertEqual((there["configured"], there["removed"]), (True, None))
        begun = time.time()
        self.assertTrue(gateway.reload({k: v for k, v in self.made.items() if k != "rollout"}))
        self.assertTrue(until(lambda: not self.report(gateway)["configured"]))
        gone = self.report(gateway)
        self.assertIn("isn't configured any more", gone["why"])
        self.assertAlmostEqual(calendar.timegm(time.strptime(gone["removed"], "%Y-%m-%dT%H:%M:%SZ")), begun, delta=5)
        gateway.stop()
        again = self.gateway({k: v for k, v in self.made.items() if k != "rollout"}, folder=gateway.folder)
        self.assertEqual(self.report(again)["removed"], gone["removed"])
        out, _ = weir("ope", "rollout", "--store", gateway.store)
        self.assertIn(f"out of the configuration since {gone['removed']}; until then running, step 1 of 1: 60 % of the", out)
        self.assertTrue(again.reload(self.made))  # it goes on
        self.assertTrue(until(lambda: self.report(again)["configured"]))
        back = self.report(again)
        self.assertEqual([back[k] for k in ("removed", "history", "feedback")], [None, there["history"], 10])

    def test_nobody_waits_for_traffic(self):
        """A rollout is there for whoever looks, and for a joined process, before the first request."""
        first = self.start({"policy": {"fixed": "poor"}, "mode": "share", "steps": [0.5]})
        report = self.report(first)
        self.assertEqual((report["name"], report["status"], report["decisions"]), ("trial", "running", 0))
        second = self.gateway(self.made, folder=first.folder, name="second")
        self.assertEqual(second.metrics()["weir_store_holder"], 0)
        self.assertEqual(second.metrics()["weir_rollout_share"], 0.5)
        self.assertIn("poor", self.ask(second, 30, judge=False))

    def test_the_report_tells_when_and_why(self):
        """Also where there is no terminal, and so 80 columns."""
        gateway = self.start({"policy": {"fixed": "fair"}, "mode": "share", "steps": [0.4, 0.6], "min_feedback": 100,
                              "margin_quality": 1, "margin_error": 1})
        self.ask(gateway, 99)
        self.assertTrue(until(lambda: self.report(gateway)["feedback"] == 99))
        self.assertIn("waits: 1 feedback more is needed", self.report(gateway)["why"])
        self.assertTrue(gateway.reload(dict(self.made, rollout=dict(self.made["rollout"], min_feedback=98))))
        self.assertTrue(until(lambda: self.report(gateway)["step"] == 2))  # no request was needed for that
        self.assertIn("98 feedbacks more are needed", self.report(gateway)["why"])
        out, _ = weir("ope", "rollout", "--store", gateway.store)
        for event, what in zip(self.report(gateway)["history"], ("started", "went on: no harm above the margins")):
            self.assertIn(f"{event['time']}  step 1 {what}\n", out)
        rows = [line for line in out.splitlines() if " of 2 " in line and line.startswith(" ")]
        self.assertEqual([row.split()[:6] for row in rows], [["1", "of", "2", "40", "%", "99"], ["2", "of", "2", "60", "%", "0"]])
        self.assertTrue(all(row.count("[") == 2 and len(row) <= 80 for row in rows), out)  # quality and errors

    def test_the_log_of_two_rollouts_is_judged_by_name(self):
        """One after the other, and a second configuration of the first, which has the name alone in common with it."""
        trial = {"policy": {"fixed": "fair"}, "mode": "share", "steps": [0.5], "min_feedback": 10 ** 6, "margin_quality": 1}
        gateway = self.start(trial)
        self.ask(gateway, 160)
        configured = dict(self.made["rollout"], name="bad", policy={"fixed": "poor"})
        self.assertTrue(gateway.reload(dict(self.made, rollout=configured)))
        self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_share", {"rollout": "bad"}] == 0.5))
        self.ask(gateway, 12)
        rows = self.rows(gateway, 172)
        self.assertEqual([r["rollout"]["name"] for r in rows], ["trial"] * 160 + ["bad"] * 12)
        judge = "ope", "--log", gateway.store, "--metric", "quality", "--policy"
        out, err = weir(*judge, "column", status=2)
        self.assertEqual(out, "")
        self.assertIn('"trial" (160 rows), "bad" (12 rows): choose one, as column,rollout=NAME', err)
        out, _ = weir(*judge, "column,rollout=trial", "--json", "-")
        found = json.loads(out)["policies"][0]
        self.assertEqual(found["name"], "column,rollout=trial")
        standing = found["metrics"]["quality"]["standing"]
        self.assertEqual(standing["rows"], 160)
        self.assertAlmostEqual(standing["undecided"], 12 / 172)
        _, err = weir(*judge, "column,rollout=bad", status=1)
        self.assertIn("can't be asked about 160 of 172 rows", err)
        again = dict(self.made["rollout"], policy={"fixed": "poor"})
        self.assertTrue(gateway.reload(dict(self.made, rollout=again)))
        self.assertTrue(until(lambda: gateway.metrics()["weir_rollout_share", {"rollout": "trial"}] == 0.5))
        self.ask(gateway, 5)
        self.rows(gateway, 177)
        exported = self.folder / "traffic.jsonl"
        exported.write_text(weir("store", "export", "--log", "--store", gateway.store)[0])
        for log in gateway.store, exported:
            _, err = weir("ope", "--log", log, "--policy", "column,rollout=trial", status=2)
            self.assertRegex(err, r'"trial" has had 2 configurations.*: 160 rows from \S+ to \S+, 5 rows from \S+ to \S+: choose '
                                  "one by its time, with since and until")

    # ---- configuration

    def test_wrong_configurations_name_the_key(self):
        good = {"name": "x", "policy": {"fixed": "fair"}, "mode": "share"}
        cases = [({"steps": [0.2, 0.1]}, "steps"), ({"steps": [1]}, "steps"), ({"steps": []}, "steps"),
                 ({"steps": ["a"]}, "steps"), ({"mode": "shadow", "steps": [0.1]}, "steps"), ({"mode": "half"}, "mode"),
                 ({"name": ""}, "name"), ({"name": None}, "name"), ({"policy": None}, "policy"),
                 ({"policy": {"fixed": "nobody"}}, "fixed"), ({"policy": {"fixd": "fair"}}, "fixd"),
                 ({"margin_quality": 2}, "margin_quality"), ({"level": 1}, "level"), ({"min_feedback": 0}, "min_feedback"),
                 ({"hold_hours": -1}, "hold_hours"), ({"webhook": "tell me"}, "webhook"), ({"step": [0.1]}, "step")]
        path = self.folder / "weir.yaml"
        for change, key in cases:
            with self.subTest(change=change):
                made = self.config("127.0.0.1:1", [model(m) for m in QUALITY], rollout={**good, **change})
                path.write_text(json.dumps(made, indent=1))
                done = subprocess.run([gatewaylib.WEIR, "serve", "--config", path, "--check"], capture_output=True,
                                      text=True, env=gatewaylib.ENV, timeout=60)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertRegex(done.stderr, r"weir\.yaml:\d+: .*" + key)
        made = self.config("127.0.0.1:1", [model(m) for m in QUALITY], rollout=good, traffic={"on": False})
        path.write_text(json.dumps(made))
        done = subprocess.run([gatewaylib.WEIR, "serve", "--config", path, "--check"], capture_output=True, text=True,
                              env=gatewaylib.ENV, timeout=60)
        self.assertIn("traffic", done.stderr)

    def test_policies_of_one_kind_are_told_apart(self):
        """Those of the documentation; and what is written is what `weir ope` takes."""
        gateway = self.start({"policy": {"value_usd": 0.04, "explore_floor": 0.01}, "mode": "share", "steps": [0.5]},
                             {"value_usd": 0.02, "explore_floor": 0.01})
        self.ask(gateway, 60)
        report = self.report(gateway)
        self.assertEqual(report["base"], "plugin,value=0.02,explore=0.01")
        self.assertEqual(report["candidate"], "plugin,value=0.04,explore=0.01")
        self.rows(gateway, 60)
        gateway.stop()
        policies = [word for key in ("candidate", "base") for word in ("--policy", report[key])]
        out, _ = weir("ope", "--log", gateway.store, *policies, "--metric", "quality", "--json", "-")
        self.assertEqual([p["name"] for p in json.loads(out)["policies"]], [report["candidate"], report["base"]])

    def test_a_store_without_one_says_so(self):
        gateway = self.start(None)
        self.ask(gateway, 1)
        _, err = weir("ope", "rollout", "--store", gateway.store, status=1)
        self.assertIn("no rollout", err)
        _, err = weir("ope", "rollout", status=2)
        self.assertIn("--store", err)


class Pacing(Paced):
    """Dear is worth its money to the candidate, and to the policy in force it isn't: as they are configured."""
    TRIAL = {"name": "trial", "policy": {"value_usd": 10}, "mode": "share", "steps": [0.5], "min_feedback": 10 ** 6}

    def begin(self, usd, rollout=None, scope=(), **pacing):
        trial = {k: v for k, v in {**self.TRIAL, **(rollout or {})}.items() if v is not None}
        configured = {"policy": {"value_usd": 1e-6}, "rollout": trial}
        return self.start(usd, scope=scope, configured=configured, **pacing)

    def rows(self, gateway, ids):
        def read():
            out, _ = weir("store", "export", "--log", "--store", gateway.store)
            rows = [r for r in map(json.loads, out.splitlines()) if r["kind"] == "served" and r["id"] in ids]
            return len(rows) == len(ids) and rows
        rows = until(read, 5)
        self.assertTrue(rows)
        return rows

    def ask(self, gateway, n, text=HARD, **more):
        """So many answers, and their rows of the log."""
        answers = [gateway.chat(text=text, max_tokens=100, **more) for _ in range(n)]
        self.assertEqual({a.status for a in answers}, {200})
        return answers, self.rows(gateway, {a.decision for a in answers})

    def chances(self, rows):
        """Dear's chances that came, as they were drawn from and the candidate's own."""
        return {tuple(round(r["models"]["dear"][k], 6) for k in ("propensity", "candidate")) for r in rows}

    def test_the_candidate_has_the_same_value(self):
        gateway = self.begin(0.02)
        self.warm(gateway, 10)
        answers, rows = self.ask(gateway, 40)  # little money: a value at which dear isn't worth it
        self.assertEqual({a.headers["x-weir-model"] for a in answers}, {"cheap"})
        self.assertTrue(all(float(a.headers["x-weir-value"]) < 0.01 for a in answers))
        self.assertEqual(self.chances(rows), {(0, 0)})
        self.assertEqual({r["rollout"]["arm"] for r in rows}, {"base", "candidate"})
        self.limit(gateway, 1000)
        self.assertTrue(until(lambda: self.value(gateway) > 0.1))
        answers, rows = self.ask(gateway, 20)
        self.assertEqual({a.headers["x-weir-model"] for a in answers}, {"dear"})
        self.assertEqual(self.chances(rows), {(1, 1)})

    def test_who_isnt_covered_is_decided_as_configured(self):
        gateway = self.begin(0.02, scope=("--tag", "night"))
        for tag, found in ("night", {(0, 0)}), ("day", {(0.5, 1)}), ("night", {(0, 0)}):
            if tag == "night":
                for _ in range(10):  # until its value is known
                    self.value(gateway, headers={"x-weir-tag": tag})
            answers, rows = self.ask(gateway, 30, headers={"x-weir-tag": tag})
            self.assertEqual(self.chances(rows), found)
            self.assertEqual({"x-weir-value" in a.headers for a in answers}, {tag == "night"})
            self.assertEqual("dear" in {a.headers["x-weir-model"] for a in answers}, tag == "day")

    def test_limits_hold_for_the_candidate(self):
        """The dear model takes 900 ms; in shadow nothing but its chances tell what the candidate would do."""
        for most, found in (300, {(0, 0)}), (5000, {(1, 1)}):
            gateway = self.begin(1000, {"mode": "shadow", "steps": None}, max_latency_ms=most)
            self.warm(gateway, 6)
            _, rows = self.ask(gateway, 10)
            self.assertEqual(self.chances(rows), found)
            gateway.stop()

    def test_the_log_judges_a_paced_candidate(self):
        """An exploring one, whose chances move with the value: what the log has of them is what was drawn from."""
        gateway = self.begin(1, {"policy": {"value_usd": 10, "explore_floor": 0.2}}, expected=10 ** 5)
        self.warm(gateway, 10)
        n = 300
        answers, rows = self.ask(gateway, n)
        self.assertEqual(self.chances(rows), {(0.1, 0.2)})
        dear = sum(a.headers["x-weir-model"] == "dear" for a in answers)
        self.assertAlmostEqual(dear / n, 0.1, delta=4 * math.sqrt(0.1 * 0.9 / n))
        for answer in answers:
            gateway.feedback(answer.decision, float(answer.headers["x-weir-model"] == "dear"))
        gateway.stop()
        out, _ = weir("ope", "--log", gateway.store, "--policy", "column", "--metric", "quality", "--json", "-")
        found = json.loads(out)["policies"][0]["metrics"]["quality"]["estimates"]["ips"]
        self.assertAlmostEqual(found["value"], 0.2, delta=4 * found["se"])
        self.assertLess(found["se"], 0.06)

    def test_what_pacing_leaves_nothing_of_is_warned_of(self):
        warned = lambda gateway: [line["warning"] for line in gateway.logs("configuration") if "candidate" in line["warning"]]
        told = {"fixed": "isn't paced", "value_usd": "decided alike", "explore_floor": None}
        policies = {"fixed": {"fixed": "dear"}, "value_usd": {"value_usd": 3}, "explore_floor": {"explore_floor": 0.1}}
        for key, policy in policies.items():
            gateway = self.begin(0.02, {"policy": policy})
            self.assertEqual(len(warned(gateway)), 1 if told[key] else 0, key)
            if told[key]:
                self.assertIn(told[key], warned(gateway)[0])
            if key == "fixed":
                self.warm(gateway, 10)
                self.assertEqual(self.chances(self.ask(gateway, 10)[1]), {(0.5, 1)})
            gateway.stop()


if __name__ == "__main__":
    unittest.main()
