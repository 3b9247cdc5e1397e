#!/usr/bin/env python3
"""weir learn on a real stream on which one model falls and the other rises half-way: with default options it must keep up,
say when, and name the model; a trained store must not lose by learning. WEIR is the binary's path.
SPDX-License-Identifier: GPL-3.0-or-later"""
import json, os, pathlib, random, shutil, subprocess, tempfile, unittest

import skipping

WEIR = os.environ.get("WEIR", "build/weir")
DATA = pathlib.Path(os.environ.get("WEIR_DATA", "../shared/data"))
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1")


def weir(*args):
    done = subprocess.run([WEIR, *map(str, args)], capture_output=True, text=True, env=ENV, timeout=600)
    assert done.returncode == 0, f"{args}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def need(name):
    if not (DATA / name).exists():
        print(f"skipped: no {DATA / name} (set WEIR_DATA)", flush=True)
        raise unittest.SkipTest(f"no {DATA / name}")
    return DATA / name


class Drift(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def learn(self, store, data, *args):
        report = self.dir / "report.json"
        weir("learn", "--store", self.dir / store, "--data", data, "--segments", 2, "--json", report, *args)
        return json.loads(report.read_text())

    def test_keeps_up_from_nothing(self):
        data = need("drift-stream.jsonl")
        half = data.read_bytes().count(b"\n") // 2
        for seed in range(3):
            report = self.learn(f"cold{seed}.mdb", data, "--feedback", "bandit", "--seed", seed)
            before, after = (part["mean_quality"] for part in report["segments"])
            print(f"seed {seed}: {before:.4f} before the change, {after:.4f} after it", flush=True)
            self.assertGreaterEqual(before, 0.80)
            self.assertGreaterEqual(after, 0.62)
            first = report["drifts"][0]
            self.assertEqual(first["model"], "gpt-4")
            self.assertTrue(half < first["at"] <= half + 60)
            self.assertLess(first["after"], first["before"] - 0.2)

    def test_full_feedback_does_not_lose_either(self):
        report = self.learn("full.mdb", need("drift-stream.jsonl"), "--feedback", "full")
        before, after = (part["mean_quality"] for part in report["segments"])
        print(f"full feedback: {before:.4f}, {after:.4f}", flush=True)
        self.assertGreaterEqual(before, 0.80)
        self.assertGreaterEqual(after, 0.62)

    def static(self, store, data):
        """Quality of the store as it was trained, at the value that is learn's default."""
        weir("eval", "--store", store, "--data", data, "--json", self.dir / "eval.json")
        points = json.loads((self.dir / "eval.json").read_text())["policies"]["plugin"]["points"]
        return min(points, key=lambda p: abs((p["value"] or 1e9) - 1))["quality"]

    def test_a_trained_store_is_not_spoilt(self):
        lines = [line for line in need("cascades-train.jsonl").read_text().split("\n") if line]
        lost = []
        for order in range(3):
            random.Random(order).shuffle(lines)
            fit, stream, trained = (self.dir / name for name in ("fit.jsonl", "stream.jsonl", "trained.mdb"))
            fit.write_text("\n".join(lines[::2]) + "\n")
            stream.write_text("\n".join(lines[1::2]) + "\n")
            weir("train", "--store", trained, "--data", fit, "--estimator", "ridge")
            best = self.static(trained, stream)
            for seed in range(2):
                shutil.copy(trained, self.dir / "learning.mdb")
                report = self.learn("learning.mdb", stream, "--feedback", "bandit", "--seed", seed)
                lost.append(best - report["mean_quality"])
        mean = sum(lost) / len(lost)
        print(f"lost by learning where nothing changes: {mean:.4f} of", " ".join(f"{x:.4f}" for x in lost), flush=True)
        self.assertLessEqual(mean, 0.007)


if __name__ == "__main__":
    skipping.main(verbosity=1)
