#!/usr/bin/env python3
"""kill -9 at any point of `weir learn`: the store stays sound and holds every feedback that was acknowledged.

At least 200 kills, alternating bandit and full feedback, new stores and old ones, group commits of 1 to 20; each is
followed by `weir store check`. WEIR is the binary's path. SPDX-License-Identifier: GPL-3.0-or-later"""
import json, os, pathlib, random, signal, subprocess, tempfile, time, unittest

import skipping

WEIR = os.environ.get("WEIR", "build/weir")
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1")
KILLS = 210
MODELS = {"large": (0.95, 0.02), "medium": (0.7, 0.004), "small": (0.4, 0.0005)}


def weir(*args, status=0):
    done = subprocess.run([WEIR, *map(str, args)], capture_output=True, text=True, env=ENV, timeout=120)
    assert done.returncode == status, f"{args}: status {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def write_stream(path, n, rng):
    with open(path, "w") as out:
        for i in range(n):
            found = {name: {"quality": float(rng.random() < q), "cost": usd, "input_tokens": 9, "output_tokens": 20}
                     for name, (q, usd) in MODELS.items()}
            out.write(json.dumps({"id": str(i), "prompt": f"question {rng.randrange(500)} of {rng.randrange(9)}",
                                  "outcomes": found}) + "\n")
    return path


class Kill(unittest.TestCase):
    def test_no_kill_loses_what_was_acknowledged(self):
        seed = int(os.environ.get("WEIR_SEED", "1"))
        rng = random.Random(seed)
        killed = acknowledged_total = 0
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            stream = write_stream(folder / "stream.jsonl", 6000, rng)
            small = write_stream(folder / "small.jsonl", 150, rng)
            runs = 0
            while killed < KILLS:
                runs += 1
                self.assertLess(runs, 3 * KILLS, "learning ends before it can be killed")
                feedback, group = rng.choice(["bandit", "full"]), rng.choice([1, 2, 5, 20])
                if runs % 15 == 1:  # a new store: from nothing, or trained
                    store = folder / f"s{runs}.mdb"
                    before = 0
                    if runs % 30 == 1:
                        weir("train", "--store", store, "--data", small, "--estimator", "ridge")
                acknowledged, running = self.one(store, stream, feedback, group, rng, before)
                killed += running
                if not store.exists():  # killed before there was one
                    self.assertEqual(acknowledged, 0)
                    continue
                out, _ = weir("store", "check", "--store", store, "--json", "-")
                found = json.loads(out)["n_feedbacks"]
                self.assertGreaterEqual(found, before + acknowledged, f"seed {seed}, run {runs}")
                acknowledged_total += acknowledged
                before = found
            self.assertGreater(acknowledged_total, KILLS)
            left = [p.name for p in folder.iterdir() if ".new-" in p.name]
            # it still learns and routes
            weir("learn", "--store", store, "--data", small)
            out, _ = weir("store", "check", "--store", store, "--json", "-")
            self.assertEqual(json.loads(out)["n_feedbacks"], before + 150)
            self.assertIn(weir("route", "--store", store, "question 1 of 2")[0].splitlines()[0], MODELS)
        print(f"{killed} kills in {runs} runs, {acknowledged_total} feedbacks acknowledged, none lost; "
              f"{len(left)} temporary files left behind; {time.monotonic() - start:.0f} s")

    def one(self, store, stream, feedback, group, rng, before):
        log = store.with_suffix(".ack")
        with open(log, "w") as out:  # a file, so that nothing that was printed is lost with the pipe
            process = subprocess.Popen([WEIR, "learn", "--store", store, "--data", stream, "--ack", "--feedback", feedback,
                                        "--group-commit", str(group)], stdout=out, stderr=subprocess.PIPE, text=True, env=ENV)
        wait = rng.expovariate(1 / 0.06) if rng.random() < 0.9 else 0.3
        deadline = time.monotonic() + min(wait, 0.5)
        if rng.random() < 0.5:  # among commits: once the first is there
            while not log.stat().st_size and process.poll() is None and time.monotonic() < deadline + 2:
                time.sleep(0.001)
            deadline = min(deadline, time.monotonic() + rng.random() * 0.03)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        said = process.stderr.read()
        status = process.wait()
        process.stderr.close()
        self.assertIn(status, (0, -signal.SIGKILL), said)
        counts = [int(line) for line in log.read_text().split("\n")[:-1]]  # a line that was cut off doesn't count
        self.assertEqual(counts, sorted(counts))
        return (counts[-1] if counts else 0), running


if __name__ == "__main__":
    skipping.main()
