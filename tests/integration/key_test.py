#!/usr/bin/env python3
"""weir key beside others that change the same store. WEIR is the binary's path. SPDX-License-Identifier: GPL-3.0-or-later"""
import concurrent.futures, json, os, pathlib, re, subprocess, tempfile, time, unittest

WEIR = os.environ.get("WEIR", "build/weir")
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1", COLUMNS="80")
TEXT = re.compile(r"^sk-weir-[A-Za-z0-9_-]{43}\n$")


def weir(*args, status=0):
    done = subprocess.run([WEIR, *map(str, args)], capture_output=True, text=True, env=ENV, timeout=120)
    assert done.returncode == status, f"{args}: status {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


class Keys(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.temporary.name)
        self.store = self.dir / "s.mdb"
        weir("simulate", "--prompts", 300, "--models", 3, "--out", self.dir / "d.jsonl", "--pool-out", self.dir / "p.yaml")
        weir("learn", "--store", self.store, "--data", self.dir / "d.jsonl", "--pool", self.dir / "p.yaml")

    def tearDown(self):
        self.temporary.cleanup()

    def key(self, *args, status=0):
        return weir("key", *args, "--store", self.store, status=status)

    def listed(self):
        return {k["name"]: k for k in json.loads(self.key("ls", "--json", "-")[0])["keys"]}

    def test_a_life(self):
        out, err = self.key("create", "alice", "--team", "search", "--models", "a,b", "--rpm", 60, "--tpm", "200k",
                            "--concurrent", 4, "--note", "nightly runs", "--expires", "2100-01-31")
        self.assertRegex(out, TEXT)
        self.assertNotIn(out.strip(), err)
        alice = json.loads(self.key("show", "alice", "--json")[0])
        self.assertEqual(alice["key"], "..." + out.strip()[-4:])
        self.assertEqual((alice["team"], alice["models"], alice["note"]), ("search", ["a", "b"], "nightly runs"))
        self.assertEqual((alice["requests_per_minute"], alice["tokens_per_minute"], alice["concurrent"]), (60, 200000, 4))
        self.assertEqual((alice["state"], alice["expires"]), ("valid", "2100-01-31T00:00:00Z"))
        rotated, _ = self.key("rotate", "alice", "--grace", "1h")
        self.assertRegex(rotated, TEXT)
        self.assertNotEqual(rotated, out)
        self.assertIsNotNone(self.listed()["alice"]["previous_until"])
        self.key("expire", "alice", "now")
        self.assertEqual(self.listed()["alice"]["state"], "expired")
        self.assertIn("weir key expire alice never", self.key("rotate", "alice", status=2)[1])
        self.key("expire", "alice", "never")
        self.assertEqual(self.listed()["alice"]["state"], "valid")
        self.assertIn("alice", self.key("ls")[0])
        self.key("revoke", "alice")
        self.assertEqual(self.listed()["alice"]["state"], "revoked")
        self.assertIn("already", self.key("create", "alice", status=2)[1])
        self.assertIn("did you mean 'alice'", self.key("show", "alcie", status=2)[1])
        self.key("rm", "alice")
        self.assertEqual(self.listed(), {})
        for text in (out, rotated):
            self.assertNotIn(text.strip()[8:24].encode(), self.store.read_bytes())

    def test_set(self):
        """What is given changes; the rest, and the text, stay."""
        text = self.key("create", "alice", "--team", "search", "--models", "a,b", "--rpm", 60, "--tpm", "200k", "--note", "n")[0]
        before = self.listed()["alice"]
        self.assertEqual(self.key("set", "alice", "--rpm", 120), ("", ""))
        self.assertEqual(self.listed()["alice"], {**before, "requests_per_minute": 120})
        self.key("set", "alice", "--models", "c", "--rpm", 0, "--concurrent", 3, "--expires", "2100-01-31", "--team", "", "--note", "")
        now = self.listed()["alice"]
        self.assertEqual(now, {**before, "requests_per_minute": None, "models": ["c"], "concurrent": 3, "team": None,
                               "note": None, "expires": "2100-01-31T00:00:00Z"})
        self.assertEqual(now["key"], "..." + text.strip()[-4:])
        self.key("set", "alice", "--models", "*", "--expires", "never", "--tpm", "0")
        self.assertEqual(self.listed()["alice"], {**now, "models": [], "expires": None, "tokens_per_minute": None})
        # a text in its grace is as it was
        self.key("rotate", "alice", "--grace", "1h")
        until = self.listed()["alice"]["previous_until"]
        self.key("set", "alice", "--expires", "now")
        self.key("set", "alice", "--expires", "30d")
        self.assertEqual((self.listed()["alice"]["previous_until"], self.listed()["alice"]["state"]), (until, "valid"))
        now = self.listed()["alice"]
        for wrong, why in ((["alice"], "needs what to change"), (["alcie", "--rpm", 1], "did you mean 'alice'"), (["--rpm", 1], "NAME"),
                           (["alice", "--rpm", 5, "--models", "a,,b"], "empty"), (["alice", "--rpm", 5, "--expires", "soon"], "30d"),
                           (["alice", "--budget", "1USD/day"], "weir budget set"), (["alice", "--rpm", -1], "--rpm")):
            self.assertIn(why, self.key("set", *wrong, status=2)[1])
        self.assertIn("leave out", self.key("create", "bob", "--rpm", 0, status=2)[1])
        self.assertEqual(self.listed(), {"alice": now})
        self.key("revoke", "alice")
        self.assertIn("revoked", self.key("set", "alice", "--rpm", 1, status=2)[1])

    def test_many_at_once(self):
        """Every name once, whoever is faster; nobody's change is lost."""
        def one(i):
            done = subprocess.run([WEIR, "key", "create", f"k{i % 20}", "--store", self.store, "--note", str(i)],
                                  capture_output=True, text=True, env=ENV, timeout=120)
            return i, done.returncode, done.stdout
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = list(pool.map(one, range(40)))
        made = {f"k{i % 20}": (str(i), out) for i, status, out in done if status == 0}
        self.assertEqual(len(made), 20)
        self.assertEqual(sorted(status for _, status, _ in done), [0] * 20 + [2] * 20)
        listed = self.listed()
        self.assertEqual(set(listed), set(made))
        for name, (note, out) in made.items():
            self.assertEqual((listed[name]["note"], listed[name]["key"]), (note, "..." + out.strip()[-4:]))

    def test_beside_the_writer(self):
        """A learner has the store, and commits all the time."""
        weir("simulate", "--prompts", 20000, "--models", 3, "--seed", 5, "--out", self.dir / "more.jsonl")
        before = json.loads(weir("store", "info", self.store, "--json", "-")[0])["n_records"]
        learner = subprocess.Popen([WEIR, "learn", "--store", str(self.store), "--data", "-"], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENV)
        lines = (self.dir / "more.jsonl").read_bytes().splitlines(keepends=True)
        fed, n_keys = 0, 0
        for i in range(30):
            learner.stdin.write(b"".join(lines[fed:fed + 200]))
            learner.stdin.flush()
            fed += 200
            name = f"k{i}"
            self.assertRegex(self.key("create", name)[0], TEXT)
            if i % 3 == 1:
                self.key("rotate", name, "--grace", "1h")
            if i % 3 == 2:
                self.key("rm", name)
            else:
                n_keys += 1
            self.assertIsNone(learner.poll())
        learner.stdin.close()
        self.assertEqual(learner.wait(timeout=120), 0, learner.stderr.read())
        learner.stderr.close()
        self.assertEqual(len(self.listed()), n_keys)
        checked = json.loads(weir("store", "check", self.store, "--json", "-")[0])
        self.assertEqual(checked["n_records"] - before, fed)

    def test_store_is_refused_where_it_must_be(self):
        """Nothing is made where there is nothing, and no file is touched that isn't ours."""
        weir("key", "create", "a", "--store", self.dir / "none.mdb", status=1)
        self.assertFalse((self.dir / "none.mdb").exists())
        foreign = self.dir / "foreign"
        foreign.write_bytes(b"x" * 10000)
        self.assertIn("foreign", weir("key", "create", "a", "--store", foreign, status=1)[1])
        self.assertEqual(foreign.read_bytes(), b"x" * 10000)


if __name__ == "__main__":
    unittest.main(verbosity=1)
