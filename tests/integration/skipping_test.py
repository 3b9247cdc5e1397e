#!/usr/bin/env python3
"""Test programs say with status 77 that they had nothing to test with: whole programs, whole classes, every test; not
where one test has run, or has failed. SPDX-License-Identifier: GPL-3.0-or-later"""
import pathlib, subprocess, sys, unittest

import skipping

HEAD = "import skipping, unittest\nclass T(unittest.TestCase):\n"
TAIL = "\nskipping.main()"
SKIP, RUN, FAIL = (f"    def test_{name}(self): {body}\n" for name, body in
                   (("skip", "self.skipTest('why')"), ("run", "pass"), ("fail", "self.fail()")))
CLASS = "    @classmethod\n    def setUpClass(cls): raise unittest.SkipTest('why')\n"
PARTS = "    def test_parts(self):\n        with self.subTest(): self.skipTest('why')\n"


class Skipping(unittest.TestCase):
    def test_status(self):
        for body, wanted in ((SKIP, 77), (CLASS + RUN + FAIL, 77), (RUN, 0), (SKIP + RUN, 0), (SKIP + FAIL, 1), (FAIL, 1),
                             (PARTS + RUN, 0), ("    @unittest.skip('why')\n" + RUN, 77)):
            done = subprocess.run([sys.executable, "-c", HEAD + body + TAIL], capture_output=True, text=True,
                                  cwd=pathlib.Path(__file__).parent)
            self.assertEqual(done.returncode, wanted, body + done.stderr)


if __name__ == "__main__":
    skipping.main()
