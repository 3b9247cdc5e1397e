#!/usr/bin/env python3
"""weir ope on the wire of the shell: reference values of other programs on the Open Bandit Dataset, logs of weir's own in every
form, logs that are broken, memory. WEIR is the binary's path; the reference values need WEIR_DATA, or ../shared/data beside the
tree (with ../shared/reference). SPDX-License-Identifier: GPL-3.0-or-later"""
import gzip, json, lzma, math, os, pathlib, random, resource, shutil, subprocess, tempfile, time, unittest
import xml.etree.ElementTree

import skipping

HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parents[2]
WEIR = str(pathlib.Path(os.environ.get("WEIR", ROOT / "build/weir")).resolve())
PLACES = [os.environ["WEIR_DATA"]] if "WEIR_DATA" in os.environ else [p / "shared/data" for p in HERE.parents]
DATA = next((pathlib.Path(p) for p in PLACES if (pathlib.Path(p) / "obd").is_dir()), None)
MAP = ROOT / "docs/examples/open-bandit.yaml"
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1", COLUMNS="80")
GRADED = "format: jsonl\nchosen: model\npropensities: p\nmetrics: {quality: quality, cost: cost, latency_ms: ms}\n"


def run(*args, status=0, stdin=None, env=None):
    done = subprocess.run([WEIR, *map(str, args)], capture_output=True, text=True, env=env or ENV, timeout=300, input=stdin)
    assert status is None or done.returncode == status, f"{args}: status {done.returncode}, not {status}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def report(*args, status=0, stdin=None):
    done = run("ope", *args, "--json", "-", status=status, stdin=stdin)
    return json.loads(done.stdout), done.stderr


def metric(r, name="quality", policy=0):
    return r["policies"][policy]["metrics"][name]


def estimates(r, name="quality"):
    return {k: v["value"] for k, v in metric(r, name)["estimates"].items()}


class Scratch(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)

    def write(self, name, text):
        (self.dir / name).write_text(text)
        return self.dir / name


# ---- reference values ----

NAMES = {"ipw": "ips", "snipw": "snips", "ipw_slope": "clipped-ips", "ipw_mse": "clipped-ips-mse", "dr_slope": "clipped-dr",
         "dr_mse": "clipped-dr-mse"}
PREFIXES = {"cipw(": "clipped-ips(", "dr_clip(": "clipped-dr(", "dr-ps(": "clipped-dr(", "sg_ipw(": "sgips(", "sg_dr(": "sgdr("}


def counterpart(name):
    """Of a value's name in the reference files: the estimator's."""
    name = name.replace("(lambda=", "(")
    for theirs, ours in PREFIXES.items():
        if name.startswith(theirs) or name.startswith(theirs.replace("_", "-")):
            name = ours + name[len(theirs):]
    name = NAMES.get(name.replace("-slope", "_slope").replace("-mse", "_mse"), name)
    if name.endswith(("_slope", "-slope")):
        name = name[:-6]
    return name.replace("_", "-")


@unittest.skipIf(DATA is None, "no real data: set WEIR_DATA or put it into ../shared/data")
class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.values = DATA.parent / "reference"
        cls.tabular = json.loads((cls.values / "obd-tabular.json").read_text())
        cls.logistic = json.loads((cls.values / "obd-logistic.json").read_text())

    def policy(self, to, who):
        return f"table,file={self.values / f'obd-bts-{who}.csv'}" if to == "bts" else "random"

    def asked(self, logged, to, who, *more, status=0):
        return report("--log", DATA / f"obd/{logged}-{who}.csv", "--map", MAP, "--policy", self.policy(to, who), "--metric",
                      "quality", *more, status=status)

    def test_tabular(self):
        worst, n = 0, 0
        for who in "men", "women":
            for logged, to in ("random", "bts"), ("bts", "random"):
                key, x = f"{who}:{logged}->{to}", self.tabular[f"{who}:{logged}->{to}"]
                r, _ = self.asked(logged, to, who, "--reward-model", "table", "--folds", "1", status=key == "women:bts->random")
                found = metric(r)["estimates"]
                standing = metric(r)["standing"]
                self.assertEqual([r["log"]["rows"], len(r["log"]["models"])], [x["n"], x["A"]])
                self.assertAlmostEqual(metric(r)["logged"]["mean"], x["mean"], delta=1e-12)
                pairs = [(standing["mean_weight"], x["iw_mean"]), (standing["max_weight"], x["iw_max"]),
                         (found["dr"]["value"], x["dr_check"])]
                for name, value in x["est"].items():
                    if name.endswith("_lambda"):
                        ours = found[counterpart(name[:-7])]["lambda"]
                        self.assertEqual(math.inf if ours is None else ours, float(value), f"{key} {name}")
                    else:
                        pairs.append((found[counterpart(name)]["value"], value))
                for k, (ours, theirs) in enumerate(pairs):
                    # a weight of 21,739 has no digits beyond 1e-12 of itself
                    self.assertLessEqual(abs(ours - theirs), 1e-12 * max(1, abs(theirs)), f"{key}: pair {k}: {ours}, not {theirs}")
                    worst, n = max(worst, abs(ours - theirs) / max(1, abs(theirs))), n + 1
                self.assertAlmostEqual(standing["ess"] / x["ess"], 1, delta=1e-12)
                for name, se in ("ips", "ipw_se"), ("dr", "dr_se"):
                    self.assertAlmostEqual(found[name]["se"] / x[se], 1, delta=1e-9)
        print(f"{n} reference values: {worst:.1e} off at most")

    def test_logistic(self):
        """Their reward model sees features of the users that the data here lacks: what leans on it can't agree. What must: all
        that goes without it, what only takes its noise off, and those intervals."""
        free = ("ipw", "snipw", "cipw(", "sg-ipw(", "ipw-")
        near = ("dr", "sndr", "dr-mse", "switch-dr-mse", "dr-os-mse", "dr-ps(lambda=10)", "dr-os(lambda=1000)",
                "sg-dr(lambda=0.001)", "sg-dr(lambda=0.01)", "sg-dr(lambda=0.05)")
        close, leaning = [], []
        for who in "men", "women":
            r, _ = self.asked("random", "bts", who, "--reward-model", "logistic", "--bootstrap", 2000)
            found, n = metric(r)["estimates"], 0
            for name, value in self.logistic[who]["est"].items():
                if name.endswith("-lambda"):
                    continue
                off = abs(found[counterpart(name)]["value"] / value - 1)
                if name.startswith(free):
                    self.assertLess(off, 1e-9, f"{who} {name}")
                    close.append(off)
                    n += 1
                elif name in near:
                    self.assertLess(off, 0.05, f"{who} {name}")
                    close.append(off)
                    n += 1
                else:
                    leaning.append(off)
            self.assertEqual(n, 20)
            for name in "ipw", "snipw", "dr":
                theirs = self.logistic[who]["bootstrap_ci_2000"][name]
                for ours, end in zip(found[counterpart(name)]["percentile"], ("lower", "upper")):
                    close.append(abs(ours / theirs[f"95.0% CI ({end})"] - 1))
                    self.assertLess(close[-1], 0.05, f"{who} {name} {end}")
            back, x = self.asked("bts", "random", who, status=who == "women")[0], self.logistic[who]["reverse_bts_to_uniform"]
            for theirs, ours in ("ipw", "ips"), ("snipw", "snips"), ("cipw10", "clipped-ips(10)"), ("cipw100", "clipped-ips(100)"):
                self.assertAlmostEqual(estimates(back)[ours] / x[theirs], 1, delta=1e-9)
        print(f"{len(close)} logistic values: {100 * max(close):.1f} % off at most, {len(leaning)} that lean on the reward model: up to "
              f"{100 * max(leaning):.1f} %")

    def test_degenerate_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "report.json"
            done = run("ope", "--log", DATA / "obd/bts-women.csv", "--map", MAP, "--policy", "random", "--json", out, status=1)
            r = json.loads(out.read_text())
        self.assertIn("effective sample size is 2.1 of 10000 rows", done.stderr)
        self.assertTrue(done.stdout.startswith("Refused: "), done.stdout[:200])
        self.assertEqual(r["verdicts"][0]["verdict"], "refused")
        self.assertIn("effective sample size", metric(r)["standing"]["refusal"])


# ---- weir's own logs ----

class Own(Scratch):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        d = cls.at = pathlib.Path(cls.folder.name)
        run("simulate", "--prompts", 600, "--models", 4, "--out", d / "train.jsonl")
        run("simulate", "--prompts", 2500, "--models", 4, "--seed", 5, "--out", d / "stream.jsonl")
        run("train", "--data", d / "train.jsonl", "--store", d / "live.mdb", "--estimator", "ridge")
        run("learn", "--store", d / "live.mdb", "--data", d / "stream.jsonl", "--value", 0.01, "--feedback", "bandit", "--policy",
            "plugin", "--explore", 0.05)
        run("store", "export", "--log", "--store", d / "live.mdb", "--output", d / "live.jsonl")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def asked(self, *more, log=None, policy="plugin,value=0.02", **rest):
        return report("--log", log or self.at / "live.mdb", "--policy", policy, *more, **rest)

    def test_store_and_export_agree(self):
        """Exported lines have no features: reward models that need none are the same to the bit."""
        both = []
        for log in "live.mdb", "live.jsonl":
            r, said = self.asked("--reward-model", "logged", "--value", 0.01, "--curve", "plugin,value=?", log=self.at / log)
            self.assertEqual([said, r["log"]["rows"], r["log"]["malformed"]], ["", 2500, 0])
            r.pop("seconds")
            r["log"].pop("files")
            both.append(r)
        self.assertEqual(*both)
        self.assertEqual(sorted(both[0]["policies"][0]["metrics"]), ["cost", "latency", "loss", "quality"])
        self.assertTrue(both[0]["log"]["propensities_known"])
        self.assertGreater(len(both[0]["curve"]["points"]), 10)

    def test_a_store_of_another_training_is_told(self):
        """Features mean something to their training alone, whichever store it is in: a copy of the log's store knows them, a store
        that was trained on other prompts doesn't, and a training in the log's own store leaves them behind."""
        run("train", "--data", self.at / "stream.jsonl", "--store", self.dir / "other.mdb", "--estimator", "ridge")
        run("train", "--data", self.at / "train.jsonl", "--store", self.dir / "again.mdb", "--estimator", "knn")
        for name in "copy.mdb", "retrained.mdb":
            shutil.copy(self.at / "live.mdb", self.dir / name)
        run("train", "--data", self.at / "stream.jsonl", "--store", self.dir / "retrained.mdb", "--estimator", "ridge")
        live, retrained = self.at / "live.mdb", self.dir / "retrained.mdb"
        for log, store, known in (live, live, True), (live, self.dir / "copy.mdb", True), (live, self.dir / "again.mdb", True), \
                (live, self.dir / "other.mdb", False), (live, retrained, False), (retrained, retrained, False), (retrained, live, False):
            r, said = self.asked("--store", store, "--metric", "quality", log=log, status=0 if known else 1)
            self.assertEqual([r["log"]["other_training"], metric(r)["standing"]["undecided"]], [0, 0] if known else [2500, 1],
                             f"{log} asked of {store}")
            if known:
                self.assertEqual(said, "")
                continue
            self.assertIn("the features of 2500 are another training's than the store's", said)
            self.assertTrue(metric(r)["standing"]["refusal"].endswith("the store's"))
            text = " ".join(run("ope", "--log", log, "--policy", "plugin,value=0.02", "--store", store, "--metric", "quality",
                                status=1).stdout.split())
            self.assertIn("features ! those of 2,500 rows are another training's than the store's", text)
        r, said = self.asked("--store", self.dir / "other.mdb", "--metric", "quality", policy="fixed,model=" +
                             self.asked()[0]["log"]["models"][0])
        self.assertEqual(said, "")

    def test_a_decision_counts_once(self):
        """A store and its copy, and the export of either, are one log."""
        shutil.copy(self.at / "live.mdb", self.dir / "copy.mdb")
        once, _ = self.asked()
        r, said = self.asked("--log", self.at / "live.jsonl", "--log", self.dir / "copy.mdb")
        self.assertEqual([said, r["log"]["rows"], r["log"]["duplicates"], once["log"]["duplicates"]], ["", 2500, 5000, 0])
        for report in once, r:
            report.pop("seconds")
            report["log"].pop("files"), report["log"].pop("duplicates")
        self.assertEqual(once, r)
        text = run("ope", "--log", self.at / "live.mdb", "--log", self.at / "live.jsonl", "--policy", "plugin,value=0.02").stdout
        self.assertIn("! 2,500 rows that had been read before", text)

    def test_trials_without_support_say_nothing_of_the_sequence(self):
        """Where the logging policy explores, weighting sees all; where it doesn't, nothing is promised of the rest."""
        for logging, logs in ("plugin,value=0.01,explore=0.1", 3), ("plugin,value=0.01", 0):
            done = run("ope", "simulate", "--data", self.at / "stream.jsonl", "--store", self.at / "live.mdb", "--logging", logging, "--policy",
                       "random", "--logs", 3, "--rows-from", 300, "--rows-to", 400, "--bootstrap", 20, "--json", self.at / "trials.json")
            self.assertEqual("confidence sequence: held" in done.stdout, logs > 0)
            sequence = json.loads((self.at / "trials.json").read_text())["sequence"]
            self.assertEqual([sequence["logs"], sequence["coverage"] is None], [logs, logs == 0])

    def test_trials_count_quantiles(self):
        """The truth is every outcome's by its chance; of an exploring log's interval it is seldom out."""
        done = run("ope", "simulate", "--data", self.at / "stream.jsonl", "--store", self.at / "live.mdb", "--logging",
                   "plugin,value=0.01,explore=0.1", "--policy", "random", "--metric", "quality,cost", "--logs", 20, "--rows-from", 400,
                   "--rows-to", 800, "--bootstrap", 20, "--reward-model", "table", "--json", self.at / "trials.json")
        self.assertEqual(done.stdout.count("intervals of quantiles hold: 50 % in "), 1)
        cells = json.loads((self.at / "trials.json").read_text())["policies"][0]["metrics"]
        self.assertEqual(cells["quality"]["tail"], [])
        tail = cells["cost"]["tail"]
        self.assertEqual([t["level"] for t in tail], [0.5, 0.9, 0.95, 0.99])
        costs = sorted(o["cost"] for line in (self.at / "stream.jsonl").read_text().splitlines()
                       for o in json.loads(line)["outcomes"].values())
        for t in tail:
            self.assertEqual(t["truth"], costs[math.ceil(t["level"] * len(costs) - 1e-9) - 1])
            self.assertGreaterEqual(t["coverage"], 0.75)

    def test_trials_need_a_policy_that_decides(self):
        for logging in "logged", "column", "logged,name=before":
            done = run("ope", "simulate", "--data", self.at / "stream.jsonl", "--store", self.at / "live.mdb", "--logging", logging,
                       "--policy", "random", "--logs", 3, status=2)
            self.assertIn('reads chances from a log, and this is the policy that logs are drawn with', done.stderr)
            self.assertEqual(done.stdout, "")

    def test_the_estimate_is_near_the_truth(self):
        """What the candidate would have got is known of made-up outcomes: the store that decided then is gone, but a fixed
        model's mean needs no store."""
        lines = [json.loads(line) for line in (self.at / "stream.jsonl").read_text().splitlines()]
        for model in "gpt-4o-mini", "llama-3.1-8b":
            truth = sum(line["outcomes"][model]["quality"] for line in lines) / len(lines)
            c = metric(self.asked(policy=f"fixed,model={model}")[0])["estimates"]["sndr"]
            self.assertLess(abs(c["value"] - truth), 4 * c["se"], f"{model}: {c['value']}, in truth {truth}")

    def test_time_of_a_store(self):
        """A part of the store's time is what a log of those lines is, and so are the same lines chosen from an export."""
        rows = [json.loads(line) for line in (self.at / "live.jsonl").read_text().splitlines()]
        since, until = (sorted(r["time_ms"] for r in rows)[i] for i in (700, 2000))
        self.assertLess(since, until, "the store's decisions were all made in one millisecond")
        kept = [r for r in rows if since <= r["time_ms"] < until]
        both = [self.asked("--reward-model", "logged", log=self.write("part.jsonl", lines(kept)))[0]]
        for log in "live.mdb", "live.jsonl":
            r, said = self.asked("--reward-model", "logged", "--since", since, "--until", until, log=self.at / log)
            self.assertEqual([said, r["log"]["rows"], r["log"]["outside"]], ["", len(kept), len(rows) - len(kept)])
            both.append(r)
        for r in both:
            without_asking(r)
        self.assertEqual(both[0], both[1])
        self.assertEqual(both[0], both[2])

    def test_every_source(self):
        plain = (self.at / "live.jsonl").read_text()
        whole, _ = self.asked(policy="random", log=self.at / "live.jsonl")
        piped, _ = self.asked(policy="random", log="-", stdin=plain)
        self.assertEqual(metric(piped), metric(whole))
        half = plain.splitlines(keepends=True)
        a, b = self.write("a.jsonl", "".join(half[:700])), self.write("b.jsonl", "".join(half[700:]))
        two, _ = report("--log", a, b, "--policy", "random")
        self.assertEqual(metric(two), metric(whole))
        if shutil.which("zstd"):
            subprocess.run(["zstd", "-q", a, "-o", f"{a}.zst"], check=True)
            packed, _ = report("--log", f"{a}.zst", b, "--policy", "random")
            self.assertEqual(metric(packed), metric(whole))

    def test_reports(self):
        svg, out = self.dir / "o.svg", self.dir / "o.json"
        done = run("ope", "--log", self.at / "live.mdb", "--policy", "plugin,value=0.02", "--policy", "random", "--curve",
                   "plugin,value=?", "--json", out, "--svg", svg)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)
        self.assertEqual([(v["policy"], v["other"]) for v in json.loads(out.read_text())["verdicts"]],
                         [("plugin,value=0.02", None), ("plugin,value=0.02", "random"), ("random", None)])
        tree = xml.etree.ElementTree.fromstring(svg.read_text())
        self.assertTrue(tree.tag.endswith("svg"))
        self.assertIn("plugin,value=0.02", "".join(tree.itertext()))
        again, _ = self.asked("--seed", 1)
        self.assertEqual(metric(again), metric(self.asked("--seed", 1)[0]))
        self.assertNotEqual(metric(again), metric(self.asked("--seed", 2)[0]))

    def test_mistakes(self):
        for args, text in [(["--policy", "plugni"], 'no policy is named "plugni": did you mean plugin?'),
                           (["--policy", "plugin,valeu=1"], 'policy plugin has no key "valeu": did you mean value?'),
                           (["--policy", "fixed,model=gpt-4p"], 'the log knows no model "gpt-4p": did you mean gpt-4o?'),
                           (["--policy", "plugin", "--metric", "qualty"], "no metric 'qualty'; did you mean 'quality'?"),
                           (["--policy", "plugin", "--estimator", "sn"], 'no estimator "sn"'),
                           (["--policy", "plugin", "--reward-model", "tabel"], 'named "tabel": did you mean table?'),
                           (["--policy", "plugin", "--interval", "tt"], "--interval"),
                           (["--policy", "oracle"], "needs the truth, which a log doesn't hold"),
                           ([], "--policy POLICY is missing")]:
            done = run("ope", "--log", self.at / "live.mdb", *args, status=2)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertIn("--log FILE... is missing", run("ope", "--policy", "random", status=2).stderr)
        self.assertIn("No such file", run("ope", "--log", self.dir / "none", "--policy", "random", status=1).stderr)
        done = run("ope", "--log", self.at / "live.mdb", "--policy", "column", status=1)
        self.assertIn("can't be asked about 2500 of 2500 rows", done.stderr)

    def test_curve_mistakes(self):
        for curve, text in [("plugin,value=1", "leaves no knob open: write KEY=? for one of value, mu, latency_usd_per_s, explore"),
                            ("plugin,value=?,explore=?", "only one knob can be left open, not value and explore"),
                            ("plugin,valeu=?", 'policy plugin has no key "valeu": did you mean value?'),
                            ("plugin,novelty_limit=?", "what can: value, mu, latency_usd_per_s, explore"),
                            ("fixed,model=?", "model can't be left open (model=?); what can: explore"),
                            ("column", "has no knob that could be left open"),
                            ("constrained,max_latency=?", "name the store")]:
            done = run("ope", "--log", self.at / "live.mdb", "--curve", curve, status=2)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stdout, "")
        done = run("ope", "--log", self.at / "live.mdb", "--policy", "plugin,value=?", status=2)
        self.assertIn("value=? is for a curve: here it needs a number", done.stderr)
        done = run("ope", "--log", self.at / "live.mdb", "--curve", "plugin,value=?", "--metric", "quality", status=2)
        self.assertIn("a curve needs the quality and the cost", done.stderr)

    def test_curve_of_every_knob(self):
        for curve, store in [("constrained,max_cost=?,value=inf", False), ("constrained,min_quality=?", False),
                             ("plugin,explore=?", False), ("threshold,threshold=?", False), ("constrained,max_latency=?", True),
                             ("plugin,latency_usd_per_s=?,value=0.01", True), ("thompson,value=?", True)]:
            done = subprocess.run([WEIR, "ope", "--log", self.at / "live.mdb", "--curve", curve, "--reward-model", "logged", "--json",
                                   "-", *(["--store", self.at / "live.mdb"] if store else [])], capture_output=True, text=True, env=ENV)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            c = json.loads(done.stdout)["curve"]
            if done.returncode:
                self.assertIn(c["refusal"], done.stderr)
            self.assertIn(c["knob"] + "=?", curve)
            knobs = [math.inf if p["knob"] is None else p["knob"] for p in c["points"] + c["refused"]]
            self.assertEqual([len(knobs), len(set(knobs))], [c["settings"]] * 2)
            self.assertGreater(c["settings"], 10, curve)

    def test_listed(self):
        self.assertIn("ope", run("--help").stdout)
        self.assertIn("reward-model", run("completion", "bash").stdout)


# ---- made-up logs ----

def without_asking(r):
    """A report without what tells how its rows were come by; models in one order, whoever named them first."""
    r.pop("seconds")
    r["log"]["models"].sort()
    for key in "files", "since", "until", "outside", "untimed":
        r["log"].pop(key)
    return r


def row(i, p, model="a", quality=1, **more):
    return dict({"id": i, "model": model, "p": p, "quality": quality, "cost": 0.001, "ms": 100}, **more)


def lines(rows):
    return "".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows)


class Rollouts(Scratch):
    """Exported lines of two rollouts in turn."""
    N = 1501  # whose middle is in the middle of a block

    def line(self, i, of, candidate, draw):
        p = {"a": 0.5, "b": 0.3, "c": 0.2}
        m = draw.choices("abc", list(p.values()))[0]
        models = {k: {"propensity": x, "quality": None, "cost": None} for k, x in p.items()}
        for k in models if candidate else ():
            models[k]["candidate"] = candidate[k]
        more = {"rollout": {"name": of, "digest": f"{len(of):014x}00"}} if candidate else {}
        return {"kind": "served", "time_ms": 1772000000000 + i, "id": f"x{i}", "models": models, "chosen": m, "answered": m,
                "status": 200, "cost": draw.random(), "feedback": [{"model": m, "quality": int(draw.random() < 0.5)}], **more}

    def log(self, name, kept):
        draw = random.Random(4)
        takes = {"first": {"a": 0.1, "b": 0.8, "c": 0.1}, "second": {"a": 0.6, "b": 0.2, "c": 0.2}}
        whose = lambda i: "second" if i % 40 in (3, 17, 31) else "first"  # 7.5 %: a few in each block
        return self.write(name, lines(self.line(i, whose(i), takes[whose(i)] if whose(i) in kept else None, draw)
                                      for i in range(self.N)))

    def test_the_others_rows_are_like_rows_of_none(self):
        both, first = self.log("both.jsonl", ("first", "second")), self.log("first.jsonl", ("first",))
        found, _ = report("--log", both, "--policy", "column,rollout=first,name=x")
        right, _ = report("--log", first, "--policy", "column,name=x")
        self.assertEqual(without_asking(found), without_asking(right))
        self.assertEqual(metric(found)["standing"]["rows"], self.N - sum(i % 40 in (3, 17, 31) for i in range(self.N)))
        mixed, _ = report("--log", first, "--policy", "column,rollout=first,name=x")
        self.assertEqual(without_asking(mixed), right)
        done = run("ope", "--log", both, "--policy", "column", "--json", self.dir / "out.json", status=2)
        self.assertIn('"first" (1388 rows), "second" (113 rows): choose one, as column,rollout=NAME', done.stderr)
        self.assertFalse((self.dir / "out.json").exists())
        done = run("ope", "--log", both, "--policy", "column,rollout=frist", status=2)
        self.assertIn('no row that is read is of a rollout "frist": there are "first" (1388 rows)', done.stderr)
        r, _ = report("--log", both, "--policy", "column", "--until", "1772000000003", status=1)
        self.assertEqual(metric(r)["standing"]["undecided"], 0)


class Made(Scratch):
    def setUp(self):
        super().setUp()
        self.map = self.write("map.yaml", GRADED)

    def asked(self, rows, *more, policy="random", **rest):
        log = rows if isinstance(rows, pathlib.Path) else self.write("log.jsonl", lines(rows))
        return report("--log", log, "--map", self.map, "--policy", policy, *more, **rest)

    def uniform(self, n, seed=1):
        draw, third = random.Random(seed), {m: 1 / 3 for m in "abc"}
        return [row(i, third, m := draw.choice("abc"), int(draw.random() < {"a": .2, "b": .5, "c": .8}[m]),
                    cost=draw.random() * 0.01, ms=draw.randrange(50, 5000)) for i in range(n)]

    def test_uniform_on_uniform_is_the_mean(self):
        """Weights are 1, whatever is done to them; a reward model cancels but for what folds leave of it."""
        rows = self.uniform(600)
        r, _ = self.asked(rows)
        for name, key in ("quality", "quality"), ("cost", "cost"), ("latency", "ms"):
            mean = sum(x[key] for x in rows) / len(rows)
            found = estimates(r, name)
            for k in "ips", "snips", "clipped-ips", "clipped-ips(1)", "sgips":
                self.assertAlmostEqual(found[k] / mean, 1, delta=1e-12, msg=f"{name} {k}")
            for k in "dm", "dr", "sndr", "switch-dr", "dr-os", "mrdr":
                self.assertAlmostEqual(found[k] / mean, 1, delta=0.1, msg=f"{name} {k}")
            self.assertAlmostEqual(found["dr"], found["sndr"], delta=1e-12 * mean)
        d = next(c for c in r["contrasts"] if c["metric"] == "quality")
        self.assertLess(abs(d["difference"]), 4 * d["se"] + 1e-12)

    def test_no_event_is_no_proof_that_there_are_none(self):
        """No error in n rows: with a chance of 2.5 % none of n shows one that comes 1 - 0.025^(1/n) of the time."""
        rows = [dict(x, failed=0) for x in self.uniform(900)]
        self.map.write_text(GRADED.replace("cost: cost", "cost: cost, error: failed"))
        r, _ = self.asked(rows, "--metric", "error", policy="fixed,model=c")
        m = metric(r, "error")
        most = 1 - 0.025 ** (1 / m["standing"]["ess"])
        self.assertAlmostEqual(m["standing"]["ess"], sum(x["model"] == "c" for x in rows), delta=1e-6)
        self.assertEqual([m["value"], m["estimates"]["sndr"]["t"]], [0, [0, 0]])
        self.assertAlmostEqual(m["interval"][1], most, delta=1e-9)
        self.assertEqual([m["interval"][0], m["standing"]["bound_lo"]], [0, 0])
        d = next(c for c in r["contrasts"] if c["metric"] == "error")
        self.assertEqual(d["verdict"], "not enough evidence")
        # what c's errors would add to what ran, too, is no difference
        self.assertAlmostEqual(d["interval"][1], most * (1 - m["standing"]["ess"] / 900), delta=1e-9)

    def test_value_needs_both_metrics(self):
        done = run("ope", "--log", self.write("log.jsonl", lines(self.uniform(200))), "--map", self.map, "--policy", "random", "--metric",
                   "cost,latency", "--value", "0.05", status=2)
        self.assertIn("a value needs the quality and the cost: the metrics leave one out", done.stderr)

    def test_files_are_written_though_nobody_reads(self):
        log, out = self.write("log.jsonl", lines(self.uniform(200))), self.dir / "o.json"
        with subprocess.Popen([WEIR, "ope", "--log", log, "--map", self.map, "--policy", "random", "--json", out], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as p:
            p.stdout.close()
            self.assertEqual([p.stderr.read(), p.wait()], ["", 0])
        self.assertEqual(json.loads(out.read_text())["log"]["rows"], 200)
        # a verdict's exit status and reasons stay what they are
        refused = ["ope", "--log", self.write("few.jsonl", lines(self.uniform(30))), "--map", self.map, "--policy", "random"]
        said = run(*refused, status=1).stderr
        with subprocess.Popen([WEIR, *refused, "--json", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            p.stdout.close()
            self.assertEqual([p.stderr.read(), p.wait()], [said, 1])
        with open("/dev/full", "w") as full:
            for more in [], ["--json", "-"], ["--svg", "-"]:
                done = subprocess.run([WEIR, "ope", "--log", log, "--map", self.map, "--policy", "random", *more], stdout=full,
                                      stderr=subprocess.PIPE, text=True)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, "written|No space left")

    def test_mass_without_support_widens_what_is_shown(self):
        """A tenth of the rows could not have gone to c: the interval that is shown allows for it, as the difference's does."""
        rows = self.uniform(1500, 4)
        for i in range(0, len(rows), 10):
            rows[i].update(p={"a": 0.5, "b": 0.5, "c": 0}, model="ab"[i // 10 % 2])
        r, _ = self.asked(rows, "--metric", "quality", policy="fixed,model=c")
        m = metric(r)
        own, shown, s = m["estimates"]["sndr"]["t"], m["interval"], m["standing"]
        self.assertAlmostEqual(s["unsupported"], 0.1)
        self.assertAlmostEqual(s["bound_hi"], 0.2)
        self.assertAlmostEqual(shown[0], own[0] - 0.2)
        self.assertEqual(shown[1], min(own[1] + 0.2, 1))
        d = next(c for c in r["contrasts"] if c["metric"] == "quality")
        self.assertGreater(d["interval"][1] - d["interval"][0], 0.4)
        self.asked(rows, "--metric", "quality", "--svg", self.dir / "o.svg", policy="fixed,model=c")

    def test_bounds(self):
        """A tenth of the rows could not have gone to c, the dearest; what one request can cost at most is known."""
        rows = self.uniform(1500, 4)
        for x in rows:
            x["cost"] = 0.01 + 0.01 * (x["model"] == "c") + x["cost"] / 2
        for i in range(0, len(rows), 10):
            rows[i].update(p={"a": 0.5, "b": 0.5, "c": 0}, model="ab"[i // 10 % 2], cost=0.01)
        r, said = self.asked(rows, "--metric", "quality,cost,latency", policy="fixed,model=c")
        self.assertIn("and nothing bounds their cost: say what one request can cost at most (--bound cost=USD)", said)
        self.assertEqual([r["bounds"], metric(r, "cost")["standing"]["bound_hi"]], [{"cost": None, "latency": None, "loss": None}, None])
        free = next(c for c in r["contrasts"] if c["metric"] == "cost")
        r, said = self.asked(rows, "--value", "0.01", "--bound", "cost=0.03,latency=6e4", policy="fixed,model=c")
        self.assertEqual([said, r["bounds"]], ["", {"cost": 0.03, "latency": 6e4, "loss": 0.04}])
        for name, most in ("cost", 0.03), ("latency", 6e4), ("loss", 0.04):
            m = metric(r, name)
            own, s = m["estimates"]["sndr"]["t"], m["standing"]
            self.assertEqual([s["refusal"], s["bound_lo"]], [None, s["bound_hi"]])
            self.assertAlmostEqual(s["bound_hi"] / most, 0.2)
            self.assertAlmostEqual(m["interval"][1], min(own[1] + 0.2 * most, most))
        c = next(c for c in r["contrasts"] if c["metric"] == "cost")
        self.assertEqual([free["interval"], free["difference"]], [[None, None], c["difference"]])
        self.assertAlmostEqual((c["difference"] - c["interval"][0] - 0.006) / c["se"], 1.96, delta=0.03)
        self.assertEqual([c["verdict"], c["relative_interval"][0] > 0], ["worse", True])
        # the same bound ten times as wide leaves nothing to tell
        r, _ = self.asked(rows, "--metric", "cost", "--bound", "cost=0.3", policy="fixed,model=c")
        self.assertEqual(r["contrasts"][0]["verdict"], "not enough evidence")
        log = self.write("log.jsonl", lines(rows))
        text = run("ope", "--log", log, "--map", self.map, "--policy", "random", "--bound", "cost=0.5", "--bound", "latency=60000").stdout
        self.assertIn("said to be at most        0.5 USD and 60000 ms a request", text)

    def test_names_tell_policies_apart(self):
        log = self.write("log.jsonl", lines(self.uniform(200)))
        for given, why in ((["random", "random"], 'policy "random" is given twice: give it once, or each a name of its own (name=...)'),
                           (["fixed,model=a,name=x", "logged", "fixed,name=x,model=b"],
                            'policies "fixed,model=a,name=x" and "fixed,name=x,model=b" are both called "x": give one of them another name'),
                           (["random", "logged,name=random"], 'policies "random" and "logged,name=random" are both called "random"')):
            asked = [x for p in given for x in ("--policy", p)]
            # told before anything is read
            for where in log, self.dir / "missing.jsonl":
                self.assertIn(why, run("ope", "--log", where, "--map", self.map, *asked, status=2).stderr)
            self.assertIn(why, run("ope", "simulate", "--data", log, "--store", self.dir / "none.mdb", *asked, status=2).stderr)
        r, _ = report("--log", log, "--map", self.map, "--policy", "random,name=one", "--policy", "random", "--policy", "random,name=on")
        self.assertEqual([p["name"] for p in r["policies"]], ["one", "random", "on"])
        self.assertEqual([v["verdict"] for v in r["verdicts"]], ["same"] * 5)

    def test_bounds_that_arent(self):
        log = self.write("log.jsonl", lines(self.uniform(200)[:-1] + [row(0, {"a": 1}, cost=0.75)]))
        for given, word in (("cost", "METRIC=MOST"), ("=1", "METRIC=MOST"), (",cost=1", "METRIC=MOST"), ("cos=1", "did you mean 'cost'"),
                            ("cost=0", "above 0"), ("cost=-1", "above 0"), ("cost=inf", "above 0"), ("cost=nan", "above 0"), ("cost=", "above 0"),
                            ("cost=1e999", "above 0"), ("cost=0.5x", "above 0"), ("cost=1,cost=2", "twice"), ("quality=1", "it lies in [0,1]"),
                            ("loss=1", "it has one where the cost has"), ("cost=" + "1" * 80, "METRIC=MOST"),
                            ("cost=0.5", "the cost isn't bounded by 0.5 USD: 1 row of the log has more, up to 0.75;")):
            done = run("ope", "--log", log, "--map", self.map, "--policy", "random", "--bound", given, "--json", "-", status=2)
            self.assertIn(word, done.stderr, given)
            self.assertEqual(done.stdout, "")

    def test_order_changes_nothing(self):
        """Rows weigh alike, so that what needs no folds is the same to rounding; folds go by the order."""
        rows = self.uniform(500, 2)
        policy = "fixed,model=b"
        whole, turned = (self.asked(x, "--folds", "1", "--bootstrap", "200", policy=policy)[0]
                         for x in (rows, random.Random(3).sample(rows, len(rows))))
        for name in "quality", "cost", "latency":
            a, b = estimates(whole, name), estimates(turned, name)
            for k in a:
                if a[k] is not None:
                    self.assertAlmostEqual(a[k], b[k], delta=1e-9 * abs(a[k]), msg=f"{name} {k}")

    def test_malformed_rows_are_named(self):
        good, p = self.uniform(120), {"a": 0.5, "b": 0.5}
        bad = [(row(0, {"a": 0, "b": 1}), "p"), (row(0, {"a": 1.5, "b": -0.5}), "p"), (row(0, {"a": 0.5, "b": 0.4}), "p"),
               (row(0, {"b": 1}), "p"), ({"id": 1, "p": p, "quality": 1}, "model"), (row(0, p, quality=1.5), "quality"),
               (row(0, p, cost=-1), "cost"), (row(0, {"a": "x", "b": 0.5}), "p"), ({"id": 1, "model": "a", "quality": 1}, "p"),
               ('{"model": "a", "p": {"a": NaN, "b": 0.5}}\n', "column"), ("not JSON\n", "column"), ("[1, 2]\n", "object")]
        for entry, word in bad:
            log = self.write("log.jsonl", lines(good[:60] + [entry] + good[60:]))
            r, said = self.asked(log)
            self.assertEqual([r["log"]["rows"], r["log"]["malformed"]], [120, 1], f"{entry}: {said}")
            self.assertIn("log.jsonl:61:", said)
            self.assertIn(word, said.split("log.jsonl:61:")[1])
            done = run("ope", "--log", log, "--map", self.map, "--policy", "random", "--strict", "--json", "-", status=1)
            self.assertIn("log.jsonl:61:", done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertIn("no usable row", run("ope", "--log", self.write("e.jsonl", "{}\n"), "--map", self.map, "--policy", "random",
                                           status=1).stderr)

    def test_every_malformed_row_can_be_named(self):
        bad = [row(i, {"a": 0.5, "b": 0.4}) for i in range(25)]
        log, named = self.write("log.jsonl", lines(bad + self.uniform(90))), self.dir / "malformed.txt"
        r, said = report("--log", log, "--map", self.map, "--policy", "random", "--malformed", named)
        self.assertEqual([r["log"]["rows"], r["log"]["malformed"]], [90, 25])
        self.assertIn("... and 15 more warnings", said)
        self.assertEqual([line.split(":")[1] for line in named.read_text().splitlines()], [str(i) for i in range(1, 26)])
        # also where nothing is left, and not where no log is read
        run("ope", "--log", self.write("bad.jsonl", lines(bad)), "--map", self.map, "--policy", "random", "--malformed", named, status=1)
        self.assertEqual(len(named.read_text().splitlines()), 25)
        self.assertIn("reads no log", run("ope", "simulate", "--malformed", named, status=2).stderr)
        run("ope", "--log", log, "--map", self.map, "--policy", "random", "--malformed", self.dir / "no/where", status=1)

    def test_a_log_of_others_needs_a_mapping(self):
        csv = self.write("log.csv", "\ufeffid,model\n" + "1,a\n" * 20000)
        done = run("ope", "--log", csv, "--policy", "random", status=1)
        self.assertEqual([done.stderr.count("\n"), "(--map FILE)" in done.stderr], [1, True], done.stderr)
        self.assertIn("--map FILE", run("ope", "--log", "-", "--policy", "random", stdin=csv.read_text(), status=1).stderr)
        # JSON lines might be weir's, until the last has been read
        done = run("ope", "--log", self.write("log.jsonl", lines(self.uniform(30))), "--policy", "random", status=1)
        self.assertIn("others' logs need a mapping", done.stderr)
        self.assertIn("holds no usable row (malformed ones were left out); logs of others need a mapping of their columns (--map)",
                      done.stderr)
        # one bad line is no other system's log
        own = "".join(json.dumps({"kind": "decision", "model": m, "propensities": {"a": 0.5, "b": 0.5}, "outcomes": {m: {"quality": i % 3 and 1}}})
                      + "\n" for i, m in enumerate("ab" * 60))
        r, said = report("--log", self.write("own.jsonl", "cut off\"}\n\n  " + own), "--policy", "random")
        self.assertEqual([r["log"]["rows"], r["log"]["malformed"]], [120, 1])

    def test_what_is_packed_otherwise_is_named(self):
        text = "m,p,q\n" + "a,0.5,1\n" * 100
        for name, packed in ("gzip", gzip.compress(text.encode())), ("xz", lzma.compress(text.encode())), ("zip", b"PK\3\4" + b"0" * 99):
            log = self.dir / "log.packed"
            log.write_bytes(packed)
            for args in ["--map", self.map], []:
                done = run("ope", "--log", log, *args, "--policy", "random", status=1)
                self.assertIn(f"log.packed: is compressed by {name}, and zstd alone is read", done.stderr)
            self.assertIn(f"compressed by {name}", run("train", "--data", log, "--store", self.dir / "s.mdb", status=1).stderr)

    def test_one_row_is_a_row(self):
        rows = self.uniform(60)
        log = self.write("log.jsonl", lines(rows + [row(0, {"a": 0.5})]))
        done = subprocess.run([WEIR, "ope", "--log", log, "--map", self.map, "--policy", "random"], capture_output=True, text=True, env=ENV)
        self.assertIn("! 1 malformed row\n", done.stdout)
        self.assertRegex(done.stdout, "rows +60 of 3 models\n")

    def test_an_open_quote_counts_what_it_takes_along(self):
        head, draw = "m,p,q,note\n", random.Random(2)
        good = [f"{draw.choice('ab')},0.5,{draw.randrange(2)},x\n" for _ in range(300)]
        self.map.write_text("format: csv\nchosen: m\npropensity: p\nmetrics: {quality: q}\n")
        for text, lost, said in (
                (head + "".join(good[:200]) + '"a,0.5,1,x\n' + "".join(good[200:]), 101, "a quoted field doesn't end"),
                (head + "".join(good[:200]) + '"a,0.5,1,x\n' + "".join(good[200:]).rstrip("\n"), 101, "all of lines 202 to 302 is one record"),
                (head + "".join(good[:200]) + '"a,0.5,1,x\n' + "".join(good[200:]) + 'a,0.5,1,"x"\n', 102, "text follows a closing quote"),
                (head + "".join(good) + 'a,0.5,1,"two\nlines"\na,7,1,"two\nlines"\n', 1, ':304: key "propensity" is 7')):
            r, err = self.asked(self.write("log.csv", text))
            self.assertEqual(r["log"]["rows"] + r["log"]["malformed"], 302 if lost == 102 or lost == 1 else 301, err)
            self.assertEqual(r["log"]["malformed"], lost, err)
            self.assertIn(said, err)

    def test_a_chance_of_one_tells_all(self):
        """A log of one model, or one that always does the same: what the others had needs no telling."""
        self.map.write_text("format: jsonl\nchosen: model\npropensity: p\nmetrics: {quality: quality, cost: cost}\n")
        draw = random.Random(4)
        one = [row(i, 1, quality=int(draw.random() < 0.7)) for i in range(300)]
        r, said = self.asked(one, policy="fixed,model=a")
        self.assertEqual([said, r["verdicts"][0]["verdict"], r["log"]["propensities_known"]], ["", "same", True])
        two = [dict(x, model="ab"[x["id"] % 2]) for x in one]
        r, said = self.asked(two, policy="random", status=1)
        self.assertEqual(metric(r)["standing"]["unsupported"], 0.5)
        self.assertIn("the log is deterministic", said)
        # of some rows alone it isn't enough: these would stand for all
        some = [dict(x, p=1 if x["id"] % 10 == 0 else 0.5) for x in two]
        r, _ = self.asked(some, policy="random", status=None)
        self.assertEqual([metric(r)["standing"]["unsupported"], r["log"]["propensities_known"]], [None, False])

    def test_rows_that_are_left_out_name_no_model(self):
        """A slip of the pen in a row that is malformed, or in one that came before, is no model that `random` could choose."""
        rows, names = self.uniform(120), ["a", "b", "c"]
        slips = [row(7, {"a": 0.5, "zz": 0.4}), row(8, {"a": 1}, "zz"), row(9, {"zz": 1}, "zz", quality=7)]
        csv = "m,p,q\n" + "".join(f"{x['model']},0.3333,{x['quality']}\n" for x in rows)
        own = [{"kind": "decision", "id": str(x["id"]), "time_ms": 1, "model": x["model"], "propensities": x["p"],
                "outcomes": {x["model"]: {"quality": x["quality"]}}} for x in rows]
        for name, text, map in (
                ("log.jsonl", lines(slips[:1] + rows + slips[1:]), GRADED),
                ("log.jsonl", lines(rows + [dict(rows[3], p={"zz": 1}, model="zz")] + slips), GRADED + "id: id\n"),
                ("log.csv", csv.replace("q\n", "q\nzz,7,1\nzz,x,1\n", 1) + "zz,0,1\n", "format: csv\nchosen: m\npropensity: p\nmetrics: {quality: q}\n"),
                ("log.jsonl", lines([dict(own[0], model="zz"), *own, dict(own[0], propensities={"zz": 2})]), None)):
            log, args = self.write(name, text), [] if map is None else ["--map", self.write("other.yaml", map)]
            r, _ = report("--log", log, *args, "--policy", "random")
            self.assertEqual([sorted(r["log"]["models"]), r["log"]["rows"]], [names, 120], text[:200])
            done = run("ope", "--log", log, *args, "--policy", "fixed,model=zz", status=2)
            self.assertRegex(done.stderr, "no model \"zz\"; it knows ([abc], ){2}[abc]\n")

    ESTIMATED = GRADED + "estimates: {quality: q, cost: c}\n"

    def estimated(self, n, chances, seed=9):
        """Rows whose estimates hold on average; the dearer a model the better."""
        draw, rows = random.Random(seed), []
        for i in range(n):
            hard = draw.random()
            q = {m: 0.9 - hard * (0.6 - 0.25 * k) for k, m in enumerate("abc")}
            c = {m: 0.001 * 3 ** k * (0.5 + draw.random()) for k, m in enumerate("abc")}
            m = draw.choices("abc", [chances[m] for m in "abc"])[0]
            rows.append(row(i, chances, m, int(draw.random() < q[m]), q=q, c=c, cost=c[m]))
        return rows

    def curve(self, rows, *more, curve="plugin,value=?", status=0):
        self.map.write_text(self.ESTIMATED)
        log, svg = self.write("log.jsonl", lines(rows)), self.dir / "curve.svg"
        done = run("ope", "--log", log, "--map", self.map, "--curve", curve, "--json", self.dir / "o.json", "--svg", svg, *more,
                   status=status)
        words = "".join(xml.etree.ElementTree.fromstring(svg.read_text()).itertext())
        return json.loads((self.dir / "o.json").read_text())["curve"], done, " ".join(done.stdout.split()), words

    def test_curve_without_support_is_refused_where_it_goes_there(self):
        c, done, text, picture = self.curve(self.estimated(1500, {"a": 0.5, "b": 0.5, "c": 0}))
        self.assertEqual([c["refusal"], c["settings"], done.stderr], [None, len(c["points"]) + len(c["refused"]), ""])
        self.assertGreater(len(c["points"]), 2)
        self.assertIsNone(c["refused"][-1]["knob"])
        n = len(c["refused"])
        for r in c["refused"]:
            self.assertIn("% of the candidate's choices go to models that the log could not have chosen", r["refusal"])
        self.assertIn(f"{n} of {c['settings']} settings aren't shown: at value", text)
        self.assertIn(f"{n} of {c['settings']} settings and 1 of 3 models can't be judged", picture)
        # what is refused is in no figure
        self.assertEqual([c["aiq"], c["aiq_interval"], c["cost_at_95"]], [None] * 3)
        self.assertIn(f"{n} of {c['settings']} settings can't be judged", c["why_not"])
        single = {s["model"]: s for s in c["singles"]}
        self.assertEqual([single["c"]["refusal"], single["c"]["cost"], single["a"]["refusal"]], ["the log never chose it", None, None])
        self.assertEqual(c["singles_judged"], 2)
        # a setting alone is refused for the same reason
        shown = c["refused"][0]
        r, said = self.asked(self.dir / "log.jsonl", "--metric", "cost", policy=f"plugin,value={shown['knob']}", status=1)
        self.assertEqual(metric(r, "cost")["standing"]["refusal"], shown["refusal"])
        # where costs are bounded only the settings that lean on c for over half of the rows are
        b, _, _, _ = self.curve(self.estimated(1500, {"a": 0.5, "b": 0.5, "c": 0}), "--bound", "cost=0.02")
        self.assertGreater(len(b["points"]), len(c["points"]))
        for x in b["points"]:
            self.assertLessEqual(x["unsupported"], 0.5)
            self.assertGreaterEqual(x["cost_band"][1], min(x["cost"] + 2 * x["unsupported"] * 0.02, 0.02))
        self.assertGreater(b["points"][-1]["unsupported"], 0.2)
        self.assertIsNone(b["aiq"])

    def test_curve_of_a_log_that_supports_it(self):
        c, done, text, picture = self.curve(self.estimated(1500, {"a": 0.3, "b": 0.4, "c": 0.3}))
        self.assertEqual([c["refusal"], c["refused"], c["why_not"], c["singles_judged"]], [None, [], None, 3])
        self.assertTrue(c["aiq_interval"][0] < c["aiq"] < c["aiq_interval"][1])
        self.assertNotIn("can't be judged", text + picture)

    def test_curves_that_are_refused(self):
        sure = [dict(r, p={m: int(m == r["model"]) for m in "abc"}) for r in self.estimated(400, {"a": 0.3, "b": 0.4, "c": 0.3})]
        bare = [{k: v for k, v in r.items() if k not in "qc"} for r in self.estimated(400, {"a": 0.3, "b": 0.4, "c": 0.3})]
        few = self.estimated(60, {"a": 0.3, "b": 0.4, "c": 0.3})
        for rows, why in [(sure, "the log is deterministic"), (bare, "value weighs estimates of quality and cost, and the log's rows "
                                                               "hold none: name a store"), (few, "settings of value can be judged, "
                                                                                            "and a curve needs two")]:
            c, done, text, picture = self.curve(rows, status=1)
            self.assertIn(why, done.stderr)
            self.assertEqual(done.stderr.strip(), "weir ope: plugin,value=?: curve: " + c["refusal"])
            self.assertIn("Refused: " + c["refusal"], text)
            self.assertIn("No curve of plugin,value=?: ", picture)
            self.assertEqual([c["points"], c["singles"], c["aiq"]], [[], [], None])

    def test_deterministic_log(self):
        rows = [row(i, {"a": 1, "b": 0}, quality=i % 2) for i in range(200)]
        r, said = self.asked(rows, policy="fixed,model=b", status=1)
        self.assertTrue(r["log"]["deterministic"])
        self.assertIn("deterministic", said)
        self.assertEqual(r["verdicts"][0]["verdict"], "refused")
        self.assertTrue(all(v["ips"] is None or v["ips"] == 0 for v in [estimates(r)]))

    def test_exit_status_goes_by_the_verdict(self):
        """A metric that hardly a row knows is told and no failure; what can't be judged at all is, and so is what was asked for."""
        rows = self.uniform(600)
        for i, x in enumerate(rows):
            if i >= 12:
                del x["ms"]
        why = "weir ope: %s: %s: 12 rows know the %s: at least 50 are needed\n"
        r, said = self.asked(rows, "--policy", "random", policy="fixed,model=c")
        self.assertEqual(said, why % ("fixed,model=c", "latency", "latency") + why % ("random", "latency", "latency"))
        self.assertNotIn("refused", [v["verdict"] for v in r["verdicts"]])
        self.assertEqual([c["verdict"] for c in r["contrasts"] if c["metric"] == "latency"], ["refused"] * 3)
        r, said = self.asked(rows, "--metric", "latency", policy="fixed,model=c", status=1)
        self.assertEqual([said, r["verdicts"][0]["verdict"]], [why % ("fixed,model=c", "latency", "latency"), "refused"])
        rows = self.uniform(600)
        for i, x in enumerate(rows):
            if i >= 12:
                del x["quality"]
        margins = "--margin-cost", "0.1", "--margin-quality", "0.1"
        r, said = self.asked(rows, policy="fixed,model=c")
        self.assertIn("fixed,model=c: quality: 12 rows", said)
        r, said = self.asked(rows, *margins, policy="fixed,model=c", status=1)
        self.assertEqual([r["verdicts"][0]["verdict"], r["trades"][0]["verdict"]], ["refused", "refused"])
        r, said = self.asked(rows[:30], "--policy", "random", policy="fixed,model=c", status=1)
        self.assertIn("weir ope: random: cost: 30 rows know the cost", said)
        self.assertEqual([v["verdict"] for v in r["verdicts"]], ["refused"] * 3)
        _, said = self.asked(self.uniform(600), policy="column", status=1)
        self.assertTrue(said.startswith("weir ope: column: quality, cost, latency: the candidate can't be asked about 600 of"), said)
        self.assertEqual(said.count("\n"), 1)
        free = [dict(x, cost=0) for x in self.uniform(600)]
        r, said = self.asked(free, *margins, policy="fixed,model=c", status=1)
        self.assertEqual(said, "weir ope: fixed,model=c: cost: nothing can be saved, compared with a cost of 0\n")

    def test_cheaper_with_an_unknown_quality_is_not_better(self):
        """A log without a single label: what is asked of quality can't be answered, and cost alone is no verdict."""
        cost = {"a": 1, "b": 2, "c": 3}
        rows = [{k: v for k, v in dict(x, cost=cost[x["model"]] * (1 + x["cost"])).items() if k != "quality"} for x in self.uniform(600)]
        r, _ = self.asked(rows, policy="fixed,model=a")
        self.assertEqual(r["verdicts"][0]["verdict"], "not enough evidence")
        self.assertIn("better than what ran in cost", r["verdicts"][0]["text"])
        self.assertTrue(r["verdicts"][0]["text"].endswith(" No row of the log knows the quality."))
        r, _ = self.asked(rows, "--metric", "cost", policy="fixed,model=a")
        self.assertEqual(r["verdicts"][0]["verdict"], "better")
        log = self.write("log.jsonl", lines(rows))
        whole = "ope", "--log", log, "--map", self.map, "--policy", "fixed,model=a"
        for more, status, why in ((("--margin-cost", "0.1"), 1, "no row of the log knows the quality: margins need it and the cost"),
                                  (("--value", "2"), 1, "no row of the log knows both the quality and the cost: a value needs them"),
                                  (("--margin-quality", "0.1", "--metric", "cost"), 2, "margins need the quality and the cost: the metrics leave one out")):
            done = run(*whole, *more, status=status)
            self.assertIn(f"weir ope: {why}\n", done.stderr)

    def test_candidates_stand_on_the_same_rows(self):
        """The candidate is the other one, but can't be asked about 8 % of the rows, the good ones: there is no difference."""
        rows, third = self.uniform(1000), {m: 1 / 3 for m in "abc"}
        self.map.write_text(GRADED + "target: t\n")
        for i, x in enumerate(rows):
            x.update({"t": third} if i % 25 > 1 else {"quality": 1, "cost": 0.05, "ms": 9000})
        asked = [x for x in rows if "t" in x]
        r, _ = self.asked(rows, "--policy", "random", policy="column")
        found = [metric(r, policy=p) for p in (0, 1)]
        self.assertEqual([f["standing"]["rows"] for f in found], [920, 920])
        self.assertEqual([f["standing"]["undecided"] for f in found], [0.08, 0])
        for name, key in ("quality", "quality"), ("cost", "cost"), ("latency", "ms"):
            mean = sum(x[key] for x in asked) / len(asked)
            for p in 0, 1:
                self.assertAlmostEqual(metric(r, name, p)["logged"]["mean"] / mean, 1, delta=1e-12)
                self.assertAlmostEqual(metric(r, name, p)["estimates"]["ips"]["value"] / mean, 1, delta=1e-12)
            self.assertEqual(metric(r, name, 0)["tail"], metric(r, name, 1)["tail"])
            d = next(c for c in r["contrasts"] if c["metric"] == name and c["other"] == "random")
            self.assertLess(max(abs(d["difference"]), d["se"]), 1e-12 * mean, f"{name}: {d}")

    def test_who_is_refused_takes_no_rows_from_others(self):
        rows = self.uniform(400)
        self.map.write_text(GRADED + "target: t\n")
        for i, x in enumerate(rows):
            if i % 3:
                x["t"] = {"a": 0, "b": 0, "c": 1}
        r, said = self.asked(rows, "--policy", "column", status=1)
        alone, _ = self.asked(rows)
        self.assertIn("can't be asked about 134 of 400 rows", said)
        self.assertEqual(metric(r, policy=0), metric(alone))
        self.assertEqual(metric(r, policy=1)["standing"]["rows"], 266)
        self.assertEqual([(c["other"], c["verdict"]) for c in r["contrasts"] if c["metric"] == "quality"][1], ("column", "refused"))

    def test_nobody_decided(self):
        self.map.write_text(GRADED + "flags: {forced: pinned, cached: hit}\n")
        rows = [dict(x, **{("pinned", "hit")[i % 2]: 1}) for i, x in enumerate(self.uniform(300))]
        for policy in "random", "logged":
            for more in [], ["--metric", "quality"], ["--value", "0.01", "--margin-cost", "0.1"]:
                r, said = self.asked(rows, *more, policy=policy, status=1)
                self.assertIn("no row of the log was decided by a policy: all were pinned or cached", said)
                self.assertEqual([r["log"]["rows"], r["log"]["decided"], r["log"]["forced"]], [300, 0, 0.5])
                self.assertEqual({v["verdict"] for v in r["verdicts"]}, {"refused"})
                self.assertIsNone(metric(r)["estimates"]["sndr"]["value"])
        log = self.dir / "log.jsonl"
        text = run("ope", "--log", log, "--map", self.map, "--policy", "random", "--svg", self.dir / "o.svg", status=1).stdout
        self.assertTrue(text.startswith("Refused: this log can't judge random: no row of the log was decided"), text)
        xml.etree.ElementTree.fromstring((self.dir / "o.svg").read_text())

    def test_what_pinned_rows_know_counts_for_nothing(self):
        """The quality is known of pinned rows alone: it is as good as unknown, and stops nothing else."""
        self.map.write_text(GRADED + "flags: {forced: pinned}\n")
        rows = [dict(x, pinned=int(i % 2), quality=x["quality"] if i % 2 else None) for i, x in enumerate(self.uniform(600))]
        r, _ = self.asked(rows)
        self.assertEqual(sorted(r["policies"][0]["metrics"]), ["cost", "latency"])
        done = run("ope", "--log", self.dir / "log.jsonl", "--map", self.map, "--policy", "random", "--metric", "quality", status=1)
        self.assertIn("no row of the log that somebody decided on knows the quality", done.stderr)

    def test_two_loggers_in_the_map_order(self):
        """The mapping names policies in another order than the log shows them first."""
        self.map.write_text("format: csv\nchosen: m\npropensity: p\nlogger: who\nby_logger: {new: p_new, old: p_old}\n"
                            "metrics: {quality: y}\n")
        draw, text, n, total = random.Random(4), ["who,m,p,p_old,p_new,y"], 400, 0
        for i in range(n):
            who, chances = ("old", {"a": .8, "b": .2}) if i < 300 else ("new", {"a": .3, "b": .7})
            m = "a" if draw.random() < chances["a"] else "b"
            y = int(draw.random() < {"a": .4, "b": .7}[m])
            old, new = {"a": (.8, .3), "b": (.2, .7)}[m]
            text.append(f"{who},{m},{chances[m]},{old},{new},{y}")
            total += 0.5 / (0.75 * old + 0.25 * new) * y
        r, _ = self.asked(self.write("two.csv", "\n".join(text) + "\n"))
        self.assertIsNone(metric(r)["estimates"]["bips"]["why_not"])
        self.assertAlmostEqual(estimates(r)["bips"], total / n, delta=1e-12)

    def days(self):
        """Three days' rows: of the first, which chose among other models; of the second, with a candidate, from its first
        millisecond to its last; of the third; and some without a time. [(day or None, row)], mixed."""
        draw, begin, rows = random.Random(11), 1772409600000, []  # 2026-03-02
        for i in range(900):
            day = i % 3
            models = "old a b".split() if day == 0 else "a b c".split()
            m = draw.choice(models)
            ms = begin + 86400000 * (day - 1) + (0 if i == 1 else 86399999 if i == 4 else draw.randrange(86400000))
            # zones and forms that say the same
            text = ["%.3f" % (ms / 1000), ms, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000 + 7200)) +
                    f".{ms % 1000:03}+02:00"][i // 3 % 3]
            more = {"to": dict(zip(models, (0.5, 0.3, 0.2)))} if day == 1 else {}
            rows.append((day, row(i, {k: 1 / 3 for k in models}, m, int(draw.random() < 0.3 + 0.1 * day), t=text, **more)))
        for i in range(30):
            rows.append((None, row(f"none{i}", {k: 1 / 3 for k in "ab"} | {"c": 1 - 2 / 3}, "b", 1)))
        draw.shuffle(rows)
        return rows

    def test_time(self):
        self.map.write_text(GRADED + "target: to\ntime: t\n")
        rows = self.days()
        whole = self.asked([r for _, r in rows], policy="column", status=1)
        self.assertIn("can't be asked about", whole[1])
        self.assertEqual([whole[0]["log"][k] for k in ("since", "until", "outside", "untimed")], [None, None, 0, 0])
        of_day = [r for day, r in rows if day == 1]
        for policy in "column", "random":
            alone = without_asking(self.asked(of_day, policy=policy)[0])
            self.assertEqual(alone["log"]["models"], ["a", "b", "c"])
            for since, until in [("2026-03-02", "2026-03-03"), ("1772409600", "1772496000000"),
                                 ("2026-03-02 01:00:00+01:00", "2026-03-03T00:00Z")]:
                r, said = self.asked([r for _, r in rows], "--since", since, "--until", until, policy=policy)
                self.assertEqual([said, r["log"]["since"], r["log"]["until"], r["log"]["outside"], r["log"]["untimed"]],
                                 ["", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", 600, 30])
                self.assertEqual(without_asking(r), alone)
        # one end alone
        for args, days in (["--since", "2026-03-02"], (1, 2)), (["--until", "2026-03-02"], (0,)):
            r, _ = self.asked([r for _, r in rows], *args)
            self.assertEqual([r["log"]["rows"], r["log"]["outside"], r["log"]["untimed"]], [300 * len(days), 900 - 300 * len(days), 30])
            self.assertEqual("old" in r["log"]["models"], 0 in days)
        for epoch in "1970-01-01", "0":
            r, _ = self.asked([r for _, r in rows], "--since", epoch)
            self.assertEqual([r["log"]["since"], r["log"]["outside"]], ["1970-01-01T00:00:00Z", 0])
        shown = run("ope", "--log", self.dir / "log.jsonl", "--map", self.map, "--policy", "random", "--since", "2026-03-02").stdout
        self.assertIn("since 2026-03-02T00:00:00Z: 300 rows of another time left out", " ".join(shown.split()))
        self.assertIn("! 30 rows without a time", shown)

    def test_time_in_csv(self):
        """Only the chosen model's chance is known: which models there were is what the rows that are read tell."""
        self.map.write_text("format: csv\nchosen: m\npropensity: p\ntime: t\nmetrics: {quality: y}\n")
        head, rows = "m,p,y,t\n", [(day, f"{r['model']},{1 / 3},{r['quality']},{r.get('t', '')}\n") for day, r in self.days()]
        both = []
        for kept, args in (True, ()), (False, ("--since", "2026-03-02", "--until", "2026-03-03")):
            log = self.write("days.csv", head + "".join(text for day, text in rows if day == 1 or not kept))
            r, _ = self.asked(log, *args)
            self.assertEqual(r["log"]["rows"], 300)
            both.append(without_asking(r))
        self.assertEqual(both[0]["log"]["models"], ["a", "b", "c"])
        self.assertEqual(*both)
        # a column of chances is every row's
        self.map.write_text("format: csv\nchosen: m\npropensities: p_*\ntime: t\nmetrics: {quality: y}\n")
        models = ["old", "a", "b", "c"]
        text = [(day, ",".join([r["model"], *(str(r["p"].get(m, "")) for m in models), str(r["quality"]), str(r.get("t", ""))]) + "\n")
                for day, r in self.days()]
        head, both = "m," + ",".join("p_" + m for m in models) + ",y,t\n", []
        for kept, args in (True, ()), (False, ("--since", "2026-03-02", "--until", "2026-03-03")):
            log = self.write("days.csv", head + "".join(line for day, line in text if day == 1 or not kept))
            both.append(without_asking(self.asked(log, *args, policy="fixed,model=b")[0]))
        self.assertEqual(both[0]["log"]["models"], ["a", "b", "c", "old"])
        self.assertEqual(*both)

    def test_time_mistakes(self):
        self.map.write_text(GRADED + "time: t\n")
        log = self.write("days.jsonl", lines(r for _, r in self.days()))
        timeless = self.write("timeless.jsonl", lines(r for day, r in self.days() if day is None))
        for args, text in [(["--since", "yesterday"], 'since must be a time such as 2026-03-01, '),
                           (["--until", "2026-13-01"], 'not "2026-13-01"'),
                           (["--since", "2026"], 'not "2026"'),
                           (["--until", ""], "until must be a time"),
                           (["--since", "1e300"], 'not "1e300"'),
                           (["--since", "2026-03-02", "--until", "2026-03-02T00:00:00Z"], "since must be before until"),
                           (["--since", "2026-03-03", "--until", "2026-03-02"], "since must be before until")]:
            done = run("ope", "--log", log, "--map", self.map, "--policy", "random", *args, status=2)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stdout, "")
        for file, text in (log, "leave out 900 rows, from 2026-03-01T"), (timeless, "tells no row's time"):
            done = run("ope", "--log", file, "--map", self.map, "--policy", "random", "--since", "2026-04-01", status=1)
            self.assertIn(text, done.stderr)
        for action in "simulate", "rollout":
            done = run("ope", action, "--store", log, "--data", log, "--policy", "random", "--until", "2026-04-01", status=2)
            self.assertIn(f"--until chooses among a log's rows, and {action} reads no log", done.stderr)

    def test_options_of_other_actions_are_refused(self):
        """Nothing that was asked for is passed over."""
        log = self.write("log.jsonl", lines(self.estimated(900, {"a": 0.3, "b": 0.4, "c": 0.3})))
        for option, value in [("--logs", 5), ("--data", log), ("--logging", "random"), ("--rows-from", 20), ("--rows-to", 50)]:
            for action in [], ["evaluate"]:
                done = run("ope", *action, "--log", log, "--map", self.map, "--policy", "random", option, value, status=2)
                self.assertIn(f"{option} is for drawing logs (weir ope simulate): what is evaluated is read with --log",
                              done.stderr)
                self.assertEqual(done.stdout, "")
        for option, value in [("--log", log), ("--map", self.map)]:
            done = run("ope", "simulate", "--data", log, "--store", log, "--policy", "random", option, value, status=2)
            self.assertIn(f"{option} is of a log: simulate draws its own from --data", done.stderr)
        for option in ["--policy", "random"], ["--log", log], ["--strict"]:
            done = run("ope", "rollout", "--store", log, *option, status=2)
            self.assertIn(f"{option[0]} means nothing to rollout, which takes --store and --json", done.stderr)

    def test_memory_stays(self):
        """Of 20,000 and of 100,000 rows: the longer log's may not cost more than what is kept of clusters and the first 64 MiB
        of rows."""
        def peak(n):
            log = self.dir / f"{n}.csv"
            self.map.write_text("format: csv\nchosen: m\npropensities: p_*\nsession: s\nmetrics: {quality: y, cost: c}\n"
                                "features: x_*\n")
            draw = random.Random(n)
            with log.open("w") as f:
                f.write("m,s,y,c," + ",".join(f"p_m{k}" for k in range(11)) + "," + ",".join(f"x_{k}" for k in range(40)) + "\n")
                tail = "," + ",".join(["0.25"] + ["0.075"] * 10) + ","
                for i in range(n):
                    k = draw.choices(range(11), [0.25] + [0.075] * 10)[0]
                    f.write(f"m{k},s{i % 5000},{int(draw.random() < 0.5)},{draw.random():.5f}{tail}"
                            + ",".join(f"{draw.random():.3f}" for _ in range(40)) + "\n")
            # a process of its own, so that the children's greatest is this one's
            code = ("import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
                    "print(r, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            done = subprocess.run(["python3", "-c", code, WEIR, "ope", "--log", log, "--map", self.map, "--policy", "random",
                                   "--bootstrap", "100", "--reward-model", "ridge"], capture_output=True, text=True, env=ENV)
            status, kib = map(int, done.stdout.split())
            self.assertEqual(status, 0, done.stderr)
            log.unlink()
            return kib / 1024
        small, large = peak(20000), peak(100000)
        print(f"20,000 rows: {small:.0f} MiB, 100,000 rows: {large:.0f} MiB")
        self.assertLess(large, 512)
        self.assertLess(large - small, 64)


if __name__ == "__main__":
    skipping.main()
