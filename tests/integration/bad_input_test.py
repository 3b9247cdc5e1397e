#!/usr/bin/env python3
"""Bad input, as cases: what the command says and how it exits, and that a store is whole afterwards.

Statuses: 0 done, 1 the work failed, 2 wrong usage. Never a signal. WEIR is the binary's path.
SPDX-License-Identifier: GPL-3.0-or-later"""
import hashlib, json, os, pathlib, random, shutil, signal, struct, subprocess, sys, tempfile, time, unittest

import skipping

WEIR = os.path.abspath(os.environ.get("WEIR", "build/weir"))
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1")
MODELS = ("large", "small")


def run(*args, text=b"", **more):
    return subprocess.run([WEIR, *map(str, args)], input=text, capture_output=True, env=ENV, timeout=120, **more)


def line(i, prompt=None, **changes):
    rng = random.Random(i)
    found = {m: {"quality": float(rng.random() < (0.9 if m == "large" else 0.5)), "cost": 0.01 if m == "large" else 0.001}
             for m in MODELS}
    found["large"].update(changes)
    return json.dumps({"id": str(i), "prompt": prompt if prompt is not None else f"question {i % 17} about {i % 5}",
                       "outcomes": found})


GOOD = [line(i) for i in range(60)]

# Lines put before good ones: what the warning says beside file and line. None: it is no error.
LINES = {
    "NaN": ('{"prompt":"x","outcomes":{"large":{"quality":NaN}}}', "NaN"),
    "infinity": ('{"prompt":"x","outcomes":{"large":{"quality":1e999}}}', "1e999"),
    "quality above 1": (line(900, quality=1.5), '"quality" of model "large" is 1.5: must be a number from 0 to 1'),
    "quality below 0": (line(901, quality=-0.1), "from 0 to 1"),
    "quality as text": (line(902, quality="good"), '"quality"'),
    "negative cost": (line(903, cost=-1), '"cost" of model "large" is -1: must be a number of 0 or more'),
    "negative tokens": (line(904, output_tokens=-5), '"output_tokens"'),
    "negative latency": (line(905, latency_ms=-5), '"latency_ms"'),
    "duplicate id": (GOOD[3], 'id "3" was there before'),
    "no prompt": ('{"id":"a","outcomes":{"large":{"quality":1}}}', '"prompt"'),
    "prompt as a number": ('{"prompt":7,"outcomes":{"large":{"quality":1}}}', '"prompt"'),
    "outcomes as a list": ('{"prompt":"x","outcomes":[1]}', '"outcomes"'),
    "a list": ("[1,2]", "object"),
    "cut off": (GOOD[0][:40], ""),
    "invalid UTF-8": (b'{"prompt":"a\xff\xfeb","outcomes":{"large":{"quality":1}}}', None),
    "only emoji": (line(906, prompt="\U0001F600\U0001F469\u200d\U0001F680"), None),
    "no bytes": (line(907, prompt=""), None),
    "an unknown key": ('{"prompt":"x","colour":1,"outcomes":{"large":{"quality":1,"cost":1}}}', None),
    "deep nesting": ('{"prompt":' + "[" * 100000 + "]" * 100000 + "}", ""),
}

# Whole files that can't be used, and what is said of them.
FILES = {
    "empty": (b"", "no usable line"),
    "blank": (b"\n\n  \n", "no usable line"),
    "all malformed": (b"{\n[]\n", "no usable line"),
    "zeros": (b"\0" * 5000, "no usable line"),
    "no labels": (b'{"prompt":"x","outcomes":{}}\n' * 3, ""),
    "cut zstd": (b"\x28\xb5\x2f\xfd\x24\x10", ""),
}

# Pools: file, and what is said: line and key among it.
POOLS = {
    "unknown key": ("models:\n  - name: large\n    inptu_usd_per_mtok: 3\n", ":3", "inptu_usd_per_mtok"),
    "negative price": ("models:\n  - name: large\n    input_usd_per_mtok: -3\n", ":3", "input_usd_per_mtok"),
    "no name": ("models:\n  - input_usd_per_mtok: 3\n", ":2", "name"),
    "a name twice": ("models:\n  - name: large\n  - name: large\n", ":3", "large"),
    "no YAML": ("models: [\n", ":", ""),
    "empty": ("", "", "models"),
}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.temporary.name)
        cls.good = cls.file("good.jsonl", "\n".join(GOOD) + "\n")
        cls.trained = cls.dir / "trained.mdb"
        done = run("train", "--store", cls.trained, "--data", cls.good, "--estimator", "ridge")
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def file(cls, name, content):
        path = cls.dir / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def copy(self, name):
        path = self.dir / name
        shutil.copyfile(self.trained, path)
        return path

    def weir(self, *args, status=0, says=(), **more):
        """Runs weir; its exit status and what it says are as they should be. Gives both outputs."""
        done = run(*args, **more)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{args}\n{out[:2000]}\n{err[:2000]}")
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, err, args)
        if status:
            self.assertTrue(err.startswith("weir"), err)
        return out, err

    def sound(self, store, n=None):
        found = json.loads(self.weir("store", "check", "--store", store, "--json", "-")[0])
        if n is not None:
            self.assertEqual(found["n_feedbacks"], n)


class Data(Case):
    def test_lines(self):
        for name, (bad, says) in LINES.items():
            with self.subTest(name):
                first = GOOD[3] if name == "duplicate id" else GOOD[0]
                path = self.file("lines.jsonl", (first + "\n").encode() + (bad if isinstance(bad, bytes) else bad.encode())
                                 + b"\n" + "\n".join(GOOD[10:]).encode() + b"\n")
                store = self.dir / "lines.mdb"
                store.unlink(missing_ok=True)
                expected = () if says is None else (f"{path}:2", says)
                _, err = self.weir("train", "--store", store, "--data", path, "--estimator", "constant", says=expected)
                self.assertEqual("warning" in err, says is not None, err)
                self.sound(store)
                if says is not None and name != "duplicate id":
                    self.weir("train", "--store", self.dir / "strict.mdb", "--data", path, "--strict", status=1, says=expected)
                    self.assertFalse((self.dir / "strict.mdb").exists())
                self.weir("learn", "--store", store, "--data", path)
                self.weir("eval", "--store", self.trained, "--data", path)

    def test_files(self):
        for name, (content, says) in FILES.items():
            with self.subTest(name):
                path = self.file("file.jsonl", content)
                store = self.dir / "file.mdb"
                self.weir("train", "--store", store, "--data", path, status=1, says=says)
                self.assertFalse(store.exists())
                self.weir("eval", "--store", self.trained, "--data", path, status=1, says=says)
                self.weir("calibrate", "--store", self.trained, "--data", path, status=1)
                copy = self.copy("untouched.mdb")
                before = copy.read_bytes()
                self.weir("train", "--store", copy, "--data", path, status=1)
                self.assertEqual(copy.read_bytes(), before)

    def test_pools(self):
        for name, (content, *says) in POOLS.items():
            with self.subTest(name):
                pool = self.file("pool.yaml", content)
                store = self.dir / "pool.mdb"
                self.weir("train", "--store", store, "--data", self.good, "--pool", pool, status=1, says=(str(pool), *says))
                self.assertFalse(store.exists())
                self.weir("store", "set-pool", "--store", self.trained, "--pool", pool, status=1, says=(str(pool), *says))

    def test_sets_that_hardly_are(self):
        one = [json.dumps({"id": str(i), "prompt": f"p {i}", "outcomes": {"only": {"quality": i % 2, "cost": 0.1}}})
               for i in range(20)]
        equal = [json.dumps({"id": str(i), "prompt": f"p {i}", "outcomes": {m: {"quality": 1, "cost": 0.1} for m in "abc"}})
                 for i in range(20)]
        for name, lines, models in (("one model", one, {"only"}), ("all equal", equal, set("abc")),
                                    ("one line", one[:1], {"only"}), ("two lines", equal[:2], set("abc"))):
            with self.subTest(name):
                path, store = self.file("hardly.jsonl", "\n".join(lines) + "\n"), self.dir / "hardly.mdb"
                store.unlink(missing_ok=True)
                self.weir("train", "--store", store, "--data", path)
                report = json.loads(self.weir("eval", "--store", store, "--data", path, "--json", "-")[0])
                self.assertEqual({m["name"] for m in report["models"]}, models)
                self.assertIn(self.weir("route", "--store", store, "p 1")[0].splitlines()[0], models)
                self.weir("learn", "--store", store, "--data", path)
                self.sound(store, len(lines))


class Prompts(Case):
    def test_prompts(self):
        rng = random.Random(1)
        for name, prompt in (("nothing", b""), ("emoji", "\U0001F600\U0001F3F3\ufe0f\u200d\U0001F308".encode()),
                             ("invalid UTF-8", b"\xff\xfe\xc0\x80\xed\xa0\x80abc\xc3"), ("zeros", b"\0" * 100),
                             ("10 MB of one letter", b"a" * 10_000_000), ("10 MB of lines", b"word\n" * 2_000_000),
                             ("10 MB of noise", rng.randbytes(10_000_000)), ("10 MB of CJK", "水".encode() * 3_400_000)):
            with self.subTest(name):
                start = time.monotonic()
                out, _ = self.weir("route", "--store", self.trained, "--json", "-", "-", text=prompt)
                self.assertIn(json.loads(out)["model"], MODELS)
                self.assertLess(time.monotonic() - start, 30)

    def test_long_prompts_in_data(self):
        path = self.file("long.jsonl", "\n".join([line(800, prompt="long " * 2_000_000)] + GOOD) + "\n")
        store = self.dir / "long.mdb"
        self.weir("train", "--store", store, "--data", path, "--estimator", "ridge")
        self.weir("learn", "--store", store, "--data", path, "--limit", 5)
        self.sound(store, 5)


class Words(Case):
    def test_unknown_names(self):
        for args, status, says in (
            (["rout"], 2, "did you mean 'route'"),
            (["route", "--store", self.trained, "--fixed", "larg", "hello"], 2, "large, small"),
            (["route", "--store", self.trained, "--strong", "nobody", "hello"], 2, "nobody"),
            (["eval", "--store", self.trained, "--data", self.good, "--strong", "nobody", "--weak", "small"], 2, "nobody"),
            (["calibrate", "--store", self.trained, "--data", self.good, "--strong", "nobody"], 2, "nobody"),
            (["train", "--store", "x.mdb", "--data", self.good, "--estimator", "magic"], 2, "magic"),
            (["train", "--store", "x.mdb", "--data", self.dir / "none.jsonl"], 1, "none.jsonl"),
            (["train", "--store", "x.mdb", "--data", self.dir], 1, str(self.dir)),
            (["route", "--store", self.dir / "none.mdb", "hello"], 1, "none.mdb"),
            (["eval", "--store", self.trained, "--data", self.good, "--json", self.dir / "no/where.json"], 1, "where.json"),
        ):
            with self.subTest(args[0] + " " + says):
                self.weir(*args, status=status, says=says)


class Stores(Case):
    def commands(self, store):
        return (["route", "--store", store, "hello"], ["store", "check", store], ["store", "info", store],
                ["store", "export", store], ["store", "compact", store],
                ["learn", "--store", store, "--data", self.good],
                ["train", "--store", store, "--data", self.good, "--estimator", "constant"])

    def test_foreign_truncated_newer_damaged(self):
        whole = self.trained.read_bytes()
        lmdb_newer = bytearray(whole)
        at = lmdb_newer.find(struct.pack("<I", 0xBEEFC0DE))  # LMDB's magic; its data version follows
        self.assertGreaterEqual(at, 0)
        lmdb_newer[at + 4] = 99
        cases = {"foreign": (b"hello\n" * 1000, "not a weir store"), "empty": (b"", "empty"),
                 "cut in a header": (whole[:3000], "cut off"), "cut in the middle": (whole[:len(whole) // 2], "cut off"),
                 "newer LMDB": (bytes(lmdb_newer), ""), "SQLite": (b"SQLite format 3\0" + bytes(8000), "not a weir store")}
        for name, (content, says) in cases.items():
            store = self.file("bad.mdb", content)
            for args in self.commands(store):
                with self.subTest(f"{name}: {args[0]}"):
                    self.weir(*args, status=1, says=("bad.mdb", says))
                    self.assertEqual(store.read_bytes(), content)  # never written to

    def test_a_folder(self):
        folder = self.dir / "folder.mdb"
        folder.mkdir()
        for args in self.commands(folder):
            self.weir(*args, status=1, says="folder.mdb")

    def test_damage_anywhere_is_no_crash(self):
        whole, rng = self.trained.read_bytes(), random.Random(5)
        for i in range(60):
            damaged = bytearray(whole)
            at = rng.randrange(len(whole)) if i % 2 else rng.randrange(16384)
            damaged[at] ^= 1 << rng.randrange(8)
            store = self.file("flipped.mdb", bytes(damaged))
            for args in (["store", "check", store], ["route", "--store", store, "hello"]):
                done = run(*args)
                self.assertIn(done.returncode, (0, 1), f"byte {at}: {args[0]}: {done.stderr[:500]}")

    def test_in_use_by_a_writer(self):
        store = self.copy("busy.mdb")
        writer = subprocess.Popen([WEIR, "learn", "--store", store, "--data", "-", "--ack", "--group-commit", "1"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV)
        try:
            writer.stdin.write((GOOD[0] + "\n").encode())
            writer.stdin.flush()
            self.assertEqual(writer.stdout.readline(), b"1\n")
            for args in self.commands(store)[4:]:
                with self.subTest(args[0]):
                    self.weir(*args, status=1, says=("busy.mdb", "in use", str(writer.pid)))
            self.weir("route", "--store", store, "hello")  # readers go on
            self.sound(store, 1)
        finally:
            writer.stdin.close()
            writer.wait(timeout=60)
            writer.stdout.close()
        self.assertEqual(writer.returncode, 0)
        self.weir("learn", "--store", store, "--data", self.good, "--limit", 3)
        self.sound(store, 4)

    def as_another(self):
        """Keyword arguments that run weir as someone whom file modes bind."""
        if os.geteuid():
            return {}
        more = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
        try:
            run("--version", **more)
        except PermissionError:
            print("SKIPPED: root, and nobody else may run the binary", file=sys.stderr)
            self.skipTest("nobody else may run the binary")
        return more

    def test_read_only(self):
        more = self.as_another()
        folder = self.dir / "readonly"
        folder.mkdir()
        store = folder / "r.mdb"
        shutil.copyfile(self.trained, store)
        os.chmod(self.good, 0o444)
        for mode, folder_mode in ((0o444, 0o555), (0o444, 0o755)):
            os.chmod(store, mode)
            os.chmod(folder, folder_mode)
            os.chmod(self.dir, 0o755)
            before = hashlib.sha256(store.read_bytes()).digest()
            for args in self.commands(store)[:4]:
                with self.subTest(f"{oct(folder_mode)} {args[:2]}"):
                    self.weir(*args, **more)
            for args in self.commands(store)[5:]:
                with self.subTest(f"{oct(folder_mode)} {args[0]}"):
                    self.weir(*args, status=1, says=("r.mdb", "ermission denied"), **more)
            self.assertEqual(hashlib.sha256(store.read_bytes()).digest(), before)
        os.chmod(folder, 0o555)
        self.weir("train", "--store", folder / "new.mdb", "--data", self.good, status=1, says="new.mdb", **more)
        self.assertEqual({p.name for p in folder.iterdir()} - {"r.mdb-lock"}, {"r.mdb"})
        os.chmod(folder, 0o755)

    def test_full_disk(self):
        """In a mount of its own, of 16 MB; where that isn't allowed, skipped."""
        disk = self.dir / "disk"
        disk.mkdir()
        probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True)
        if probe.returncode:
            print("SKIPPED: no mounts of our own here:", probe.stderr.decode().strip(), file=sys.stderr)
            self.skipTest("no mounts of our own")
        script = """set -e
            mount -t tmpfs -o size=16m tmpfs "$1"; cp "$2" "$1/s.mdb"; "$3" store check "$1/s.mdb" >/dev/null
            head -c 20M /dev/zero >"$1/filler" 2>/dev/null || true
            for i in 1 2 3; do "$3" learn --store "$1/s.mdb" --data "$4" --group-commit 1 && exit 90 || test $? = 1; done
            "$3" train --store "$1/s.mdb" --data "$4" --estimator ridge && exit 91 || test $? = 1
            "$3" train --store "$1/new.mdb" --data "$4" --estimator ridge && exit 92 || test $? = 1
            test ! -s "$1/new.mdb" || exit 93
            "$3" store check "$1/s.mdb" >/dev/null; "$3" route --store "$1/s.mdb" hello >/dev/null
            rm "$1/filler"
            "$3" learn --store "$1/s.mdb" --data "$4" >/dev/null; "$3" store check "$1/s.mdb" >/dev/null"""
        done = subprocess.run(["unshare", "-m", "bash", "-c", script, "-", disk, self.trained, WEIR, self.good],
                              capture_output=True, text=True, env=ENV)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("space", done.stderr)


if __name__ == "__main__":
    skipping.main()
