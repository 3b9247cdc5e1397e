#!/usr/bin/env python3
"""The bars on real data: trains, evaluates and learns with the command, prints each figure beside its bar.

Needs the outcome files in WEIR_DATA, or ../shared/data beside the tree, and skips without them. WEIR is the binary's
path. SPDX-License-Identifier: GPL-3.0-or-later"""
import json, os, pathlib, subprocess, sys, tempfile, time, unittest

import skipping

WEIR = os.environ.get("WEIR", "build/weir")
HERE = pathlib.Path(__file__).resolve()
PLACES = [os.environ["WEIR_DATA"]] if "WEIR_DATA" in os.environ else [p / "shared/data" for p in HERE.parents]
DATA = next((pathlib.Path(p) for p in PLACES if (pathlib.Path(p) / "cascades-train.jsonl").exists()), None)
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1")


def weir(*args):
    done = subprocess.run([WEIR, *map(str, args)], capture_output=True, text=True, env=ENV, timeout=600)
    assert done.returncode == 0, f"{args}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@unittest.skipIf(DATA is None, "no real data: set WEIR_DATA or put it into ../shared/data")
class Bars(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)
        self.below = []

    def judge(self, what, figure, bar):
        """Prints a figure beside its bar; what is below it fails the test at its end."""
        verdict = "ok" if figure >= bar else "BELOW THE BAR"
        print(f"{what:44} {figure:.4f}   bar {bar:.4f}   {verdict}", flush=True)
        if figure < bar:
            self.below.append(f"{what}: {figure:.4f} < {bar}")

    def tearDown(self):
        self.assertEqual(self.below, [])

    def evaluate(self, name):
        train, test = DATA / f"{name}-train.jsonl", DATA / f"{name}-test.jsonl"
        if not (train.exists() and test.exists()):
            self.skipTest(f"no {name} in {DATA}")
        start = time.monotonic()
        weir("train", "--store", self.dir / "r.mdb", "--data", train)
        trained = time.monotonic()
        report = json.loads(weir("eval", "--store", self.dir / "r.mdb", "--data", test, "--json", "-"))
        print(f"{name}: trained in {trained - start:.1f} s, evaluated in {time.monotonic() - trained:.1f} s")
        return report

    def within(self, what, figure, lo, hi):
        print(f"{what:44} {figure:.4f}   within {lo} .. {hi}", flush=True)
        if not lo <= figure <= hi:
            self.below.append(f"{what}: {figure:.4f} is outside {lo} .. {hi}")

    def never_worse_than_constants(self, name, report):
        """The zero router mixes single models by their means alone."""
        policies = report["policies"]
        self.judge(f"{name}: AIQ less the zero router's", policies["plugin"]["aiq"] - policies["zero"]["aiq"], 0)

    def test_cascades(self):
        report = self.evaluate("cascades")
        self.judge("cascades: AIQ", report["policies"]["plugin"]["aiq"], 0.8415)
        self.never_worse_than_constants("cascades", report)
        for what in ("quality", "cost"):
            self.within(f"cascades: coverage of 90% {what} intervals", report["estimator"][f"{what}_coverage_90"], 0.87, 0.93)

    def test_routerbench(self):
        report = self.evaluate("routerbench")
        self.judge("routerbench: AIQ", report["policies"]["plugin"]["aiq"], 0.8584)
        self.never_worse_than_constants("routerbench", report)

    def test_routellm_mmlu(self):
        self.judge("routellm-mmlu: APGR", self.evaluate("routellm-mmlu")["strong_weak"]["apgr"], 0.603)

    def test_routellm_gsm8k(self):
        self.judge("routellm-gsm8k: APGR", self.evaluate("routellm-gsm8k")["strong_weak"]["apgr"], 0.622)

    def test_drift(self):
        stream = DATA / "drift-stream.jsonl"
        if not stream.exists():
            self.skipTest(f"no drift-stream in {DATA}")
        out = weir("learn", "--store", self.dir / "d.mdb", "--data", stream, "--feedback", "bandit", "--segments", 2,
                   "--json", "-")
        report = json.loads(out)
        before, after = report["segments"]
        self.judge("drift-stream: mean quality before the change", before["mean_quality"], 0.80)
        self.judge("drift-stream: mean quality after it", after["mean_quality"], 0.62)
        self.assertEqual(report["n"], len(stream.read_text().split("\n")) - 1)


if __name__ == "__main__":
    if DATA is None:
        print("SKIPPED: no real data: set WEIR_DATA or put it into ../shared/data", file=sys.stderr)
    skipping.main(verbosity=2)
