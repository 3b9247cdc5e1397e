#!/usr/bin/env python3
"""The command line, driven as a user drives it: exit statuses, messages, reports. WEIR is the binary's path.
SPDX-License-Identifier: GPL-3.0-or-later"""
import json, os, pathlib, random, signal, subprocess, tempfile, unittest

import skipping

WEIR = os.environ.get("WEIR", "build/weir")
COMMANDS = ["train", "eval", "route", "learn", "calibrate", "simulate", "convert", "store", "key", "budget", "ope", "bench", "completion"]
MODELS = {"large": (0.9, 0.8, 0.02), "medium": (0.9, 0.5, 0.004), "small": (0.7, 0.2, 0.0005)}  # easy, hard, USD
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1", COLUMNS="80")


def weir(*args, text=None, status=0):
    """Runs weir and checks its exit status; gives stdout and stderr."""
    done = subprocess.run([WEIR, *map(str, args)], input=text, capture_output=True, text=True, env=ENV, timeout=300)
    assert done.returncode == status, f"{args}: status {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def outcomes(n, seed):
    """Lines of two kinds of prompt, one hard and one easy, told by their words."""
    rng = random.Random(seed)
    for i in range(n):
        hard = rng.random() < 0.5
        words = ["prove", "theorem", "lemma", "integral"] if hard else ["capital", "colour", "greeting", "animal"]
        prompt = " ".join(rng.choice(words) for _ in range(8)) + f" {rng.randrange(100)}"
        found = {}
        for name, (easy, difficult, usd) in MODELS.items():
            right = float(rng.random() < (difficult if hard else easy))
            found[name] = {"quality": right, "cost": usd * rng.uniform(0.8, 1.2), "input_tokens": 20,
                           "output_tokens": rng.randrange(10, 60), "latency_ms": rng.uniform(100, 900)}
        yield {"id": f"{seed}.{i}", "task": "hard" if hard else "easy", "prompt": prompt, "outcomes": found}


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


class Setup(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.temporary.name)
        cls.train = write(cls.dir / "train.jsonl", outcomes(600, 1))
        cls.test = write(cls.dir / "test.jsonl", outcomes(200, 2))
        cls.store = cls.dir / "router.mdb"
        weir("train", "--store", cls.store, "--data", cls.train, "--estimator", "ridge", "--json", cls.dir / "train.json")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()


class Words(unittest.TestCase):
    def test_version_and_help(self):
        self.assertRegex(weir("--version")[0], r"^weir \d+\.\d+\.\d+\n$")
        for args in (["help"], ["--help"], ["-h"]):
            for command in COMMANDS:
                self.assertIn(command, weir(*args)[0])
        _, err = weir(status=2)
        self.assertIn("Usage", err)

    def test_every_command_explains_itself(self):
        for command in COMMANDS:
            out, err = weir(command, "--help")
            self.assertEqual(weir("help", command)[0], out)
            self.assertTrue(out.startswith(f"Usage: weir {command}"), out)
            self.assertIn("Examples:", out)
            self.assertEqual(err, "")
            self.assertLessEqual(max(map(len, out.split("Examples:")[0].splitlines())), 80)

    def test_wrong_words(self):
        for word, near in (("trian", "train"), ("rout", "route"), ("sotre", "store")):
            self.assertIn(f"did you mean '{near}'?", weir(word, status=2)[1])
        self.assertNotIn("did you mean", weir("xyzzy", status=2)[1])
        self.assertIn("'--seed'", weir("train", "--sed", "3", status=2)[1])
        self.assertIn("did you mean 'check'", weir("store", "chek", status=2)[1])
        self.assertIn("did you mean 'decide'", weir("bench", "decid", status=2)[1])

    def test_wrong_values(self):
        for args, said in (
            (["train"], "--store FILE is missing"),
            (["train", "--store"], "--store needs FILE"),
            (["train", "--store", "s", "--data", "d", "--seed", "-1"], "whole number"),
            (["train", "--store", "s", "--data", "d", "--estimator", "rigde"], "did you mean 'ridge'"),
            (["train", "--store", "s", "--data", "d", "--strict=1"], "takes no argument"),
            (["train", "--store", "s", "-q"], "no option -q"),
            (["route", "--store", "s", "--value", "nan", "p"], "must be a number"),
            (["route", "--store", "s", "--value", "1x", "p"], "must be a number"),
            (["route", "--store", "s", "--value", "-1", "p"], "at least 0"),
            (["route", "--store", "s", "--mu", "1.1", "p"], "between 0 and 1"),
            (["route", "--store", "s", "--mu", "0.5", "--value", "1", "p"], "same knob"),
            (["route", "--store", "s", "--policy", "plugg", "p"], "did you mean 'plugin'"),
            (["route", "--store", "s", "--policy", "oracle", "p"], "oracle"),
            (["route", "--store", "s", "--policy", "fixed", "p"], "--fixed"),
            (["route", "--store", "s", "--policy", "plugin", "--max-cost", "1", "p"], "don't go with"),
            (["route", "--store", "s", "p", "q"], "one word too many"),
            (["route", "--store", "s"], "no prompt"),
            (["learn", "--store", "s", "--data", "d", "--feedback", "some"], "bandit, full"),
            (["store"], "what to do"),
            (["store", "info"], "--store"),
            (["store", "set-pool", "--store", "s"], "--pool"),
            (["key"], "what to do"),
            (["key", "ls"], "--store FILE is missing"),
            (["key", "create", "--store", "s"], "needs the key's NAME"),
            (["key", "ls", "a", "--store", "s"], "one word too many"),
            (["key", "rotte", "a", "--store", "s"], "did you mean 'rotate'"),
            (["key", "create", "a b", "--store", "s"], "1 to 63 letters"),
            (["key", "create", "a", "--store", "s", "--expires", "soon"], "2027-01-31"),
            (["key", "create", "a", "--store", "s", "--models", "a,,b"], "empty"),
            (["key", "create", "a", "--store", "s", "--rpm", "0"], "between 1 and"),
            (["key", "expire", "a", "--store", "s"], "needs a NAME and when"),
            (["key", "rotate", "a", "--store", "s", "--grace", "1"], "30d"),
            (["key", "create", "a", "--store", "s", "--budget", "5USD"], "5USD/day"),
            (["budget"], "what to do"),
            (["budget", "ls"], "--store FILE is missing"),
            (["budget", "st", "b", "--store", "s"], "did you mean 'set'"),
            (["budget", "set", "--store", "s"], "needs the budget's NAME"),
            (["budget", "set", "b", "--store", "s", "--per", "day"], "50USD"),
            (["budget", "set", "b", "--store", "s", "--limit", "5USD"], "hour, day, week"),
            (["budget", "set", "b", "--store", "s", "--limit", "5", "--per", "day"], "50USD"),
            (["budget", "set", "b", "--store", "s", "--limit", "5USD", "--per", "year"], "hour, day, week"),
            (["budget", "set", "b", "--store", "s", "--limit", "5USD", "--per", "day", "--zone", "X"], "Europe/Berlin"),
            (["budget", "set", "b", "--store", "s", "--limit", "5USD", "--per", "day", "--warn", "half"], "0.5,0.8"),
            (["budget", "set", "b c", "--store", "s", "--limit", "5USD", "--per", "day"], "1 to 63"),
            (["budget", "reconcile", "x", "--store", "s"], "an account is a number"),
            (["budget", "reconcile", "1", "--store", "s"], "needs --spent"),
            (["budget", "ls", "b", "--store", "s"], "one word too many"),
            (["bench", "decide"], "--store"),
            (["bench", "train", "--models", "1"], "between 2 and"),
            (["completion", "fish"], "bash"),
        ):
            out, err = weir(*args, status=2)
            self.assertIn(said, err, args)
            self.assertIn(f"Try 'weir {args[0]} --help'", err, args)
            self.assertEqual(out, "", args)

    def test_missing_files_are_failures(self):
        for args in (["train", "--store", "/tmp/none/s.mdb", "--data", "/nonexistent.jsonl"],
                     ["route", "--store", "/nonexistent.mdb", "hello"],
                     ["store", "check", "/nonexistent.mdb"],
                     ["key", "create", "a", "--store", "/nonexistent.mdb"],
                     ["key", "ls", "--store", "/nonexistent.mdb"],
                     ["budget", "ls", "--store", "/nonexistent.mdb"],
                     ["budget", "audit", "--store", "/nonexistent.mdb"],
                     ["calibrate", "--store", "/nonexistent.mdb", "--data", "d"]):
            _, err = weir(*args, status=1)
            self.assertTrue(err.startswith(f"weir {args[0]}: "), err)

    def test_completion(self):
        script, _ = weir("completion", "bash")
        for command in COMMANDS:
            self.assertIn(command, script)
        ask = script + """
            COMP_WORDS=(weir route --th) COMP_CWORD=2; _weir; echo "${COMPREPLY[*]}"
            COMP_WORDS=(weir tr) COMP_CWORD=1; _weir; echo "${COMPREPLY[*]}"
            COMP_WORDS=(weir bench --prompt) COMP_CWORD=2; _weir; echo "${COMPREPLY[*]}" """
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("--threshold\ntrain\n--prompt-bytes --prompts\n", ""))


class Train(Setup):
    def test_report(self):
        report = json.loads((self.dir / "train.json").read_text())
        self.assertEqual((report["n_prompts"], report["n_models"], report["n_outcomes"]), (600, 3, 1800))
        self.assertEqual(report["estimator"], "ridge")
        self.assertTrue(report["has_cost"])
        self.assertEqual(len(report["members"]), 1)

    def test_json_on_stdout_stands_alone(self):
        out, err = weir("train", "--store", self.dir / "b.mdb", "--data", self.train, "--estimator", "ridge", "--json", "-")
        self.assertEqual(json.loads(out)["n_prompts"], 600)
        self.assertEqual(err, "")

    def test_lists_and_standard_input(self):
        out, _ = weir("train", "--data", self.train, self.test, "--store", self.dir / "c.mdb", "--json", "-",
                      "--estimator", "ridge")
        self.assertEqual(json.loads(out)["n_prompts"], 800)
        out, _ = weir("train", "--data", "-", "--store", self.dir / "d.mdb", "--json", "-", "--estimator", "ridge",
                      text=self.test.read_text())
        self.assertEqual(json.loads(out)["n_prompts"], 200)

    def test_malformed_lines(self):
        path = self.dir / "bad.jsonl"
        path.write_text("{\n" * 30 + self.train.read_text())
        out, err = weir("train", "--data", path, "--store", self.dir / "e.mdb", "--estimator", "ridge")
        self.assertIn("30 malformed lines", out)
        self.assertIn(f"{path}:1:", err)
        self.assertEqual(err.count("warning:"), 10)
        self.assertIn("20 more", err)
        _, err = weir("train", "--data", path, "--store", self.dir / "f.mdb", "--strict", status=1)
        self.assertIn(f"{path}:1:", err)
        self.assertFalse((self.dir / "f.mdb").exists())

    def test_full_disk(self):
        _, err = weir("train", "--data", self.train, "--store", self.dir / "g.mdb", "--estimator", "ridge", "--json",
                      "/dev/full", status=1)
        self.assertIn("No space left", err)
        with open("/dev/full", "w") as full:
            done = subprocess.run([WEIR, "help"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No space left", done.stderr)


class Unread(Setup):
    """A reader that leaves, at once or after the first line."""

    def leave(self, *args, line=False, status=0):
        with subprocess.Popen([WEIR, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as p:
            if line:
                p.stdout.readline()
            p.stdout.close()
            said = p.stderr.read()
            self.assertEqual(p.wait(60), status, (args, said))
            return said

    def test_nobody_has_to_read(self):
        for args in (["help"], ["train", "--help"], ["completion", "bash"], ["--version"], ["help", "--man", "ope"],
                     ["route", "--store", self.store, "prove lemma"], ["route", "--store", self.store, "--json", "-", "prove lemma"],
                     ["store", "info", "--store", self.store], ["store", "export", "--store", self.store],
                     ["eval", "--store", self.store, "--data", self.test, "--json", "-"]):
            for line in False, True:
                self.assertEqual(self.leave(*args, line=line), "", args)
        for i, line in enumerate((False, True)):
            report, chart = self.dir / f"unread{i}.json", self.dir / f"unread{i}.svg"
            self.assertEqual(self.leave("eval", "--store", self.store, "--data", self.test, "--json", report, "--svg", chart, line=line), "")
            self.assertTrue(json.loads(report.read_text()))
            self.assertIn("</svg>", chart.read_text())
        store = self.dir / "unread.mdb"
        self.leave("train", "--data", self.train, "--store", store, "--estimator", "ridge")
        self.assertIn("ridge", weir("store", "info", "--store", store)[0])

    def test_learning_goes_on(self):
        """All that is learned with a reader is learned without."""
        store, read = self.dir / "learned.mdb", self.dir / "read.mdb"
        weir("learn", "--store", read, "--data", self.train, "--ack")
        told = json.loads(weir("store", "info", "--store", read, "--json", "-")[0])["n_feedbacks"]
        self.assertGreater(told, 500)
        self.assertRegex(self.leave("learn", "--store", store, "--data", self.train, "--ack", line=True), r"^[^\n]*starting from nothing\n$")
        self.assertEqual(json.loads(weir("store", "info", "--store", store, "--json", "-")[0])["n_feedbacks"], told)

    def test_a_stream_ends(self):
        """With nobody to read the rest of 10^11 prompts they aren't made."""
        pool = self.dir / "pool.yaml"
        for line in False, True:
            self.assertEqual(self.leave("simulate", "--prompts", 10 ** 11, "--pool-out", pool, line=line), "")
        self.assertIn("models", pool.read_text())
        rows, big = pathlib.Path(__file__).resolve().parents[1] / "cases/convert/sprout-lines/rows.jsonl", self.dir / "rows.jsonl"
        big.write_text(rows.read_text() * 2000)
        for line in False, True:
            self.assertEqual(self.leave("convert", "--from", "sprout", big, line=line), "")

    def test_a_key_is_handed_over_or_lost(self):
        store = self.dir / "keys.mdb"
        weir("train", "--data", self.train, "--store", store, "--estimator", "ridge")
        self.assertIn("the text is lost, and 'weir key rotate' makes another", self.leave("key", "create", "alice", "--store", store, status=1))
        self.assertRegex(weir("key", "rotate", "alice", "--store", store)[0], "^sk-weir-")

    def test_a_full_disk_is_a_failure(self):
        for args in (["completion", "bash"], ["simulate"], ["store", "export", "--store", self.store], ["store", "info", "--store", self.store],
                     ["store", "info", "--store", self.store, "--json", "-"], ["eval", "--store", self.store, "--data", self.test]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([WEIR, *map(str, args)], stdout=full, stderr=subprocess.PIPE, text=True, env=ENV)
            self.assertEqual(done.returncode, 1, args)
            self.assertRegex(done.stderr, "No space left|can't be written", args)


class Route(Setup):
    def route(self, *args, prompt="prove theorem lemma 7", **more):
        return json.loads(weir("route", "--store", self.store, *args, "--json", prompt, **more)[0])

    def test_json_argument(self):
        prompt = "capital colour greeting"
        direct = weir("route", "--store", self.store, "--json", prompt)[0]
        self.assertIn("model", json.loads(direct))
        for args in (["--json", "-", prompt], [prompt, "--json"], ["--json=-", prompt], [prompt, "--json", "-"]):
            self.assertEqual(weir("route", "--store", self.store, *args)[0], direct, args)
        self.assertEqual(weir("route", "--store", self.store, "--json", "-", text=prompt)[0], direct)
        self.assertEqual(weir("route", "--store", self.store, "--json", "-", "-", text=prompt)[0], direct)
        target = self.dir / "route.json"
        out, _ = weir("route", "--store", self.store, "--json", target, prompt)
        self.assertEqual(json.loads(target.read_text()), json.loads(direct))
        self.assertEqual(out.splitlines()[0], json.loads(direct)["model"])

    def test_explanation(self):
        out, _ = weir("route", "--store", self.store, "--value", "0.1", "prove lemma integral")
        self.assertIn(out.splitlines()[0], MODELS)
        for word in ("quality", "cost", "risk", "regret", "rule:", *MODELS):
            self.assertIn(word, out)

    def test_value(self):
        cheap = self.route("--value", 0)
        dear = self.route("--value", "inf")
        self.assertEqual(cheap["model"], "small")
        self.assertEqual(dear["model"], "large")
        self.assertEqual(self.route("--mu", 0)["model"], "large")
        self.assertEqual(self.route("--mu", 1)["model"], "small")
        for m in self.route("--value", 0.05)["models"]:
            self.assertAlmostEqual(m["risk"], 0.05 * (1 - m["quality"]) + m["cost"], places=7)

    def test_limits(self):
        self.assertEqual(self.route("--max-cost", 0.001)["model"], "small")
        chosen = self.route("--min-quality", 0.75, prompt="capital colour greeting animal")
        found = {m["name"]: m for m in chosen["models"]}
        enough = [m for m in found.values() if m["quality"] >= 0.75]
        self.assertTrue(enough)
        self.assertEqual(chosen["model"], min(enough, key=lambda m: m["cost"])["name"])
        self.assertEqual(chosen["rule"], "constrained")

    def test_models_by_name(self):
        self.assertEqual(self.route("--fixed", "medium")["model"], "medium")
        self.assertEqual(self.route("--strong", "large", "--weak", "small", "--threshold", 0)["model"], "large")
        self.assertEqual(self.route("--strong", "large", "--weak", "small", "--threshold", 1)["model"], "small")
        for option in ("--fixed", "--strong", "--weak"):
            _, err = weir("route", "--store", self.store, option, "gigantic", "hello", status=2)
            self.assertIn("no model 'gigantic'; there are: large, medium, small", err)

    def test_exploration(self):
        seen = set()
        for seed in range(60):
            d = self.route("--explore", 0.2, "--seed", seed)
            for m in d["models"]:
                self.assertGreaterEqual(m["propensity"], 0.2 - 1e-9)
            self.assertAlmostEqual(sum(m["propensity"] for m in d["models"]), 1, places=7)
            self.assertEqual(d, self.route("--explore", 0.2, "--seed", seed))
            seen.add(d["model"])
        self.assertEqual(seen, set(MODELS))

    def test_odd_prompts(self):
        for prompt in ("", " ", "\U0001F600" * 20, "x" * 200000):
            out, _ = weir("route", "--store", self.store, "--json", "-", "-", text=prompt)
            self.assertIn(json.loads(out)["model"], MODELS)
        done = subprocess.run([WEIR, "route", "--store", self.store, "-"], input=b"\xff\xfe\x00abc\xc3", capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        out, _ = weir("route", "--store", self.store, "--", "--fixed is an option")
        self.assertIn(out.splitlines()[0], MODELS)


class Calibrate(Setup):
    def test_share_is_what_route_does(self):
        out, _ = weir("calibrate", "--store", self.store, "--data", self.test, "--strong", "large", "--weak", "small",
                      "--strong-share", 0.4, "--json", "-")
        found = json.loads(out)
        self.assertAlmostEqual(found["strong_share"], 0.4, delta=0.03)
        lines = [json.loads(line) for line in self.test.read_text().splitlines()][:40]
        out, _ = weir("calibrate", "--store", self.store, "--data", write(self.dir / "part.jsonl", lines), "--strong",
                      "large", "--weak", "small", "--strong-share", 0.5, "--json", "-")
        found = json.loads(out)
        strong = 0
        for line in lines:
            out, _ = weir("route", "--store", self.store, "--strong", "large", "--weak", "small", "--threshold",
                          repr(found["threshold"]), line["prompt"])
            strong += out.splitlines()[0] == "large"
        self.assertEqual(strong, round(found["strong_share"] * len(lines)))

    def test_table(self):
        out, _ = weir("calibrate", "--store", self.store, "--data", self.test, "--json", "-")
        found = json.loads(out)
        shares = [p["strong_share"] for p in found["points"]]
        self.assertEqual(shares, sorted(shares))
        self.assertEqual((shares[0], shares[-1]), (0, 1))
        thresholds = [p["threshold"] for p in found["points"]]
        self.assertEqual(thresholds, sorted(thresholds, reverse=True))
        self.assertEqual((found["strong"], found["weak"]), ("large", "small"))


class Learn(Setup):
    def learn(self, name, *args, data=None, status=0):
        return json.loads(weir("learn", "--store", self.dir / name, "--data", data or self.train, "--json", "-", *args,
                               status=status)[0])

    def test_report_against_the_file(self):
        lines = [json.loads(line) for line in self.train.read_text().splitlines()]
        value = 0.05
        r = self.learn("fixed.mdb", "--fixed", "medium", "--value", value, "--segments", 7)
        chosen = [line["outcomes"]["medium"] for line in lines]
        risk = {m: sum(value * (1 - l["outcomes"][m]["quality"]) + l["outcomes"][m]["cost"] for l in lines) for m in MODELS}
        least = sum(min(value * (1 - o["quality"]) + o["cost"] for o in l["outcomes"].values()) for l in lines)
        self.assertEqual(r["n"], 600)
        self.assertEqual(r["durable"], 600)
        self.assertAlmostEqual(r["mean_quality"], sum(o["quality"] for o in chosen) / 600, places=9)
        self.assertAlmostEqual(r["mean_cost"], sum(o["cost"] for o in chosen) / 600, places=9)
        self.assertAlmostEqual(r["cumulative_regret"], risk["medium"] - least, places=6)
        self.assertEqual(r["best_fixed"], min(risk, key=risk.get))
        self.assertAlmostEqual(r["regret_against_fixed"], risk["medium"] - min(risk.values()), places=6)
        self.assertEqual(len(r["segments"]), 7)
        self.assertEqual(sum(s["n"] for s in r["segments"]), 600)
        self.assertAlmostEqual(sum(s["n"] * s["mean_quality"] for s in r["segments"]) / 600, r["mean_quality"], places=9)
        self.assertEqual(r["segments"][0]["n"], 85)
        first = [o["quality"] for o in chosen[:85]]
        self.assertAlmostEqual(r["segments"][0]["mean_quality"], sum(first) / 85, places=9)

    def test_oracle_has_no_regret_and_learning_has_less_than_chance(self):
        self.assertAlmostEqual(self.learn("oracle.mdb", "--policy", "oracle")["cumulative_regret"], 0, places=9)
        chance = self.learn("random.mdb", "--policy", "random")
        bandit = self.learn("bandit.mdb")
        full = self.learn("full.mdb", "--feedback", "full")
        self.assertEqual((bandit["policy"], full["policy"]), ("thompson", "plugin"))
        self.assertLess(bandit["cumulative_regret"], chance["cumulative_regret"])
        self.assertLess(full["cumulative_regret"], chance["cumulative_regret"])

    def test_new_store_is_announced_and_unknown_models_named(self):
        store = self.dir / "new.mdb"
        _, err = weir("learn", "--store", store, "--data", self.test, "--limit", 20)
        self.assertIn("doesn't exist", err)
        _, err = weir("learn", "--store", store, "--data", self.test, "--limit", 20)
        self.assertNotIn("doesn't exist", err)
        info = json.loads(weir("store", "info", "--store", store, "--json", "-")[0])
        self.assertEqual(info["n_feedbacks"], 40)
        _, err = weir("learn", "--store", store, "--data", self.test, "--fixed", "gigantic", status=2)
        self.assertIn("large, medium, small", err)

    def test_acknowledgements(self):
        out, _ = weir("learn", "--store", self.dir / "ack.mdb", "--data", self.test, "--ack", "--group-commit", 30)
        counts = [int(line) for line in out.split()]
        self.assertEqual(counts, [30, 60, 90, 120, 150, 180, 200])

    def test_killed_between_acknowledgements(self):
        store = self.dir / "killed.mdb"
        for _ in range(5):
            before = json.loads(weir("store", "info", "--store", store, "--json", "-")[0])["n_feedbacks"] if store.exists() else 0
            process = subprocess.Popen([WEIR, "learn", "--store", store, "--data", self.train, "--ack", "--group-commit", "5"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENV)
            acknowledged = 0
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged >= 60:
                    process.send_signal(signal.SIGKILL)
                    break
            rest = process.stdout.read().split()
            acknowledged = int(rest[-1]) if rest else acknowledged
            process.wait()
            process.stdout.close()
            sound = json.loads(weir("store", "check", "--store", store, "--json", "-")[0])
            self.assertGreaterEqual(sound["n_feedbacks"] - before, acknowledged)

    def test_interrupt_keeps_what_was_learned(self):
        store = self.dir / "interrupted.mdb"
        process = subprocess.Popen([WEIR, "learn", "--store", store, "--data", "-", "--ack", "--group-commit", "10"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        lines = self.train.read_text().splitlines(keepends=True)
        process.stdin.write("".join(lines[:25]))
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "10\n")
        self.assertEqual(process.stdout.readline(), "20\n")
        process.send_signal(signal.SIGINT)
        try:
            process.stdin.write("".join(lines[25:40]))
            process.stdin.close()
        except BrokenPipeError:
            pass
        self.assertEqual(process.wait(timeout=60), 1)
        self.assertIn("is kept", process.stderr.read())
        process.stdout.close()
        process.stderr.close()
        self.assertGreaterEqual(json.loads(weir("store", "check", store, "--json", "-")[0])["n_feedbacks"], 20)

    def test_partial_lines(self):
        lines = list(outcomes(100, 5))
        for i, line in enumerate(lines):
            del line["outcomes"]["small" if i % 2 else "large"]
        r = self.learn("partial.mdb", "--fixed", "small", data=write(self.dir / "partial.jsonl", lines))
        self.assertEqual((r["n_lines"], r["n"]), (100, 50))
        # only one model has an outcome on every line that counts
        found = self.learn("partial2.mdb", "--policy", "random", data=self.dir / "partial.jsonl")
        self.assertEqual(found["best_fixed"], "medium")
        for line in lines:
            line["outcomes"].pop("medium" if int(line["id"].split(".")[1]) % 3 else "small", None)
        found = self.learn("partial3.mdb", "--policy", "random", data=write(self.dir / "partial3.jsonl", lines))
        self.assertIsNone(found["best_fixed"])
        self.assertIsNone(found["regret_against_fixed"])


class Store(Setup):
    def test_info_check_export_compact(self):
        out, _ = weir("store", "info", "--store", self.store)
        for name in MODELS:
            self.assertIn(name, out)
        self.assertEqual(weir("store", "info", self.store)[0], out)
        self.assertIn("sound", weir("store", "check", "--store", self.store)[0])
        lines = weir("store", "export", "--store", self.store)[0].splitlines()
        self.assertTrue(lines and all(isinstance(json.loads(line), dict) for line in lines))
        target = self.dir / "export.jsonl"
        weir("store", "export", "--store", self.store, "--output", target)
        self.assertEqual(target.read_text().splitlines(), lines)
        weir("store", "compact", "--store", self.store, "--output", self.dir / "copy.mdb")
        self.assertIn("sound", weir("store", "check", self.dir / "copy.mdb")[0])
        weir("store", "compact", "--store", self.dir / "copy.mdb")
        self.assertIn("sound", weir("store", "check", self.dir / "copy.mdb")[0])
        weir("store", "check", self.train, status=1)

    def test_set_pool(self):
        weir("store", "compact", "--store", self.store, "--output", self.dir / "pool.mdb")
        pool = self.dir / "pool.yaml"
        pool.write_text("models:\n  - name: large\n    input_usd_per_mtok: 1\n    output_usd_per_mtok: 2\n"
                        "  - name: newcomer\n    input_usd_per_mtok: 0.1\n    output_usd_per_mtok: 0.2\n"
                        "    cached_input_usd_per_mtok: 0.05\n    cache_write_usd_per_mtok: 0.125\n"
                        "    audio_input_usd_per_mtok: 0.7\n    reasoning_usd_per_mtok: 0.3\n    audio_output_usd_per_mtok: 0.9\n")
        weir("store", "set-pool", "--store", self.dir / "pool.mdb", "--pool", pool)
        models = json.loads(weir("store", "info", "--store", self.dir / "pool.mdb", "--json", "-")[0])["models"]
        found = {m["name"]: {k: v for k, v in m.items() if k.endswith("_mtok")} for m in models}
        self.assertEqual(found["newcomer"], {
            "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.2, "cached_input_usd_per_mtok": 0.05,
            "cache_write_usd_per_mtok": 0.125, "audio_input_usd_per_mtok": 0.7, "reasoning_usd_per_mtok": 0.3,
            "audio_output_usd_per_mtok": 0.9})
        self.assertIsNone(found["large"]["cached_input_usd_per_mtok"])
        self.assertIn("cached_input_usd_per_mtok", weir("store", "info", self.dir / "pool.mdb")[0])
        out, _ = weir("route", "--store", self.dir / "pool.mdb", "--fixed", "newcomer", "hello")
        self.assertEqual(out.splitlines()[0], "newcomer")
        weir("store", "set-pool", "--store", self.dir / "pool.mdb", "--pool", pool, "--remove-others")
        d = json.loads(weir("route", "--store", self.dir / "pool.mdb", "--json", "hello")[0])
        eligible = {m["name"] for m in d["models"] if m.get("eligible", True)}
        self.assertEqual(eligible, {"large", "newcomer"})


class Bench(Setup):
    def test_decide(self):
        out, _ = weir("bench", "decide", "--store", self.store, "--data", self.test, "--n", 500, "--prompt-bytes", 1024)
        r = json.loads(out)
        self.assertEqual((r["n"], r["n_models"], r["prompt_bytes"]), (500, 3, 1024))
        self.assertTrue(0 < r["p50_us"] <= r["p99_us"] <= r["max_us"])
        self.assertAlmostEqual(r["decisions_per_s"] * r["mean_us"], 1e6, delta=1)
        self.assertLessEqual({"features", "policy", "ridge"}, set(r["phases"]))

    def test_learn_leaves_the_store_alone(self):
        before = self.store.read_bytes()
        files = sorted(p.name for p in self.dir.iterdir())
        r = json.loads(weir("bench", "learn", "--store", self.store, "--data", self.test, "--n", 300)[0])
        self.assertEqual(r["n"], 300)
        self.assertTrue(r["cpu_us_per_update"] > 0 and r["durable_updates_per_s"] > 0)
        self.assertEqual(self.store.read_bytes(), before)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), files)

    def test_train(self):
        r = json.loads(weir("bench", "train", "--prompts", 300, "--models", 3, "--estimator", "ridge", "--json", "-")[0])
        self.assertEqual((r["prompts"], r["models"]), (300, 3))
        self.assertTrue(r["seconds"] > 0 and r["peak_rss_bytes"] > 1 << 20)

    def test_scale(self):
        r = json.loads(weir("bench", "scale", "--prompts", 200, "--models", 2, "--max-prompts", 1000, "--max-models", 5,
                            "--estimator", "ridge", "--n", 200, "--json", "-")[0])
        self.assertEqual([row["prompts"] for row in r["prompts"]], [1000])
        self.assertEqual([row["models"] for row in r["models"]], [2, 5])
        self.assertEqual([row["prompt_bytes"] for row in r["length"]], [10 ** k for k in range(1, 8)])
        self.assertIsNotNone(r["growth_with_models"]["seconds"])


if __name__ == "__main__":
    skipping.main()
