#!/usr/bin/env python3
"""The documents are true: the README's examples run, its program compiles and works, links and anchors lead somewhere, and
the manual pages are well-formed. WEIR is the binary's path. SPDX-License-Identifier: GPL-3.0-or-later

A fenced block after the line "<!-- run -->" is run, in order, in one scratch folder, with weir on PATH; one after
"<!-- compile -->" is compiled against the build and run after that; "<!-- output -->" or "<!-- output | FILTER -->" marks what the last of them printed.
"docs_test.py --update" writes that anew: outputs change with the program, so a test of their numbers would test nothing.

A block may leave programs in the background, with their output in files; whatever still runs at the document's end is
ended. Ports that documents name are free ones here, so that nothing else on the machine is in the way."""
import os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIR = pathlib.Path(os.environ.get("WEIR", ROOT / "build/weir")).resolve()
RUN_IN = ["README.md", "docs/guide.md"]
BLOCK = re.compile(r"^<!-- (run|compile|output)(?: \| (.+?))? -->\n```(\w*)\n(.*?)^```$", re.M | re.S)


def environment():
    return dict(os.environ, PATH=f"{WEIR.parent}{os.pathsep}{os.environ['PATH']}", OPENBLAS_NUM_THREADS="1",
                COLUMNS="100", LC_ALL="C.UTF-8", LD_LIBRARY_PATH=str(WEIR.parent))


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    found = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return found


PORTS = dict(zip(("8080", "9000"), free_ports(2)))  # as documents say them, and as they are here
SESSIONS = []  # of blocks that left something running


def runs(session):
    try:
        os.killpg(session, 0)
        return True
    except ProcessLookupError:
        return False


def shell(script, folder):
    for said, real in PORTS.items():
        script = script.replace(f"127.0.0.1:{said}", f"127.0.0.1:{real}")
    block = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment(), text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        printed, _ = block.communicate(timeout=600)
    except BaseException:
        os.killpg(block.pid, signal.SIGKILL)
        raise
    if runs(block.pid):
        SESSIONS.append(block.pid)
    assert block.returncode == 0, f"status {block.returncode} of\n{script}\n{printed}"
    for said, real in PORTS.items():
        printed = printed.replace(f"127.0.0.1:{real}", f"127.0.0.1:{said}")
    return printed


def end_sessions():
    for session in filter(runs, SESSIONS):
        os.killpg(session, signal.SIGKILL)
    SESSIONS.clear()


def compile_and_run(text, folder):
    (folder / "program.c").write_text(text)
    command = (f"cc -std=c17 -Wall -Wextra -Werror -I {ROOT}/include program.c -o program -L {WEIR.parent} -lweir && "
               "./program")
    return shell(command, folder)


def play(document, folder):
    """Runs the document's blocks; the text with outputs as they are now, and how many blocks there were."""
    done = {"run": 0, "compile": 0, "output": 0}
    text = document.read_text()

    last = ""

    def one(match):
        nonlocal last
        what, command, _, body = match.groups()
        done[what] += 1
        if what == "run":
            last = shell(body, folder)
        elif what == "compile":
            last = compile_and_run(body, folder)
        if what != "output":
            return match.group(0)
        (folder / "last-output").write_text(last)
        printed = shell(f"cat last-output | {command or 'cat'}", folder).strip("\n")
        assert printed.strip(), f"nothing was printed before, or by: {command}"
        printed = "\n".join(line.rstrip() for line in printed.split("\n")) + "\n"
        at = match.start(4) - match.start()
        return match.group(0)[:at] + printed + match.group(0)[at + len(body):]

    try:
        return BLOCK.sub(one, text), done
    finally:
        end_sessions()


def anchors(text):
    """As GitHub makes them of headings, and those that are written out."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    made = set(re.findall(r'<a id="([^"]+)"></a>', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        made.add(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-"))
    return made


class Docs(unittest.TestCase):
    def test_examples_run(self):
        for name in RUN_IN:
            with tempfile.TemporaryDirectory() as folder:
                _, done = play(ROOT / name, pathlib.Path(folder))
            print(f"{name}: {done['run']} blocks run, {done['compile']} compiled, {done['output']} outputs made")
            self.assertGreater(done["run"], 0)

    def test_every_command_has_an_example(self):
        table = re.findall(r'X\(([a-z]+), "', (ROOT / "tools/cli.h").read_text())
        self.assertGreater(len(table), 5)
        text = (ROOT / "README.md").read_text()
        run = "".join(m.group(4) for m in BLOCK.finditer(text) if m.group(1) == "run")
        for command in table:
            self.assertRegex(run, rf"\bweir {command}\b")

    def test_links_lead_somewhere(self):
        n = 0
        for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
            text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                other = (document.parent / path).resolve() if path else document
                if other == ROOT / "docs/results.md" and not other.exists():
                    print("docs/results.md isn't there yet: tests/bench/results makes it")
                    continue
                n += 1
                self.assertTrue(other.exists(), f"{document.name}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(other.read_text()), f"{document.name}: {target}")
        print(f"{n} links")
        self.assertGreater(n, 10)

    def test_sections_that_the_code_names_exist(self):
        made = anchors((ROOT / "docs/formats.md").read_text())
        n = 0
        for file in ROOT.rglob("*.[ch]"):
            if any(part.startswith("build") for part in file.relative_to(ROOT).parts):
                continue
            for title in re.findall(r'docs/formats\.md, \\?"([^"\\]+)', file.read_text()):
                n += 1
                self.assertIn(title.lower().replace(" ", "-"), made, f"{file.name} names {title}")
        self.assertGreater(n, 5)

    def test_manual_pages(self):
        commands = re.findall(r'X\(([a-z]+), "', (ROOT / "tools/cli.h").read_text())
        asked = {command: [WEIR, "help", "--man", *([command] if command else [])] for command in ["", *commands]}
        asked["vendor"] = [pathlib.Path(WEIR).with_name("weir-vendor"), "--man"]
        for command, line in asked.items():
            page = subprocess.run(line, capture_output=True, text=True)
            self.assertEqual(page.returncode, 0, page.stderr)
            for heading in (".TH WEIR", ".SH NAME", ".SH SYNOPSIS", ".SH EXIT STATUS"):
                self.assertIn(heading, page.stdout)
            self.assertIn(f"weir\\-{command}" if command else "weir", page.stdout)
            if not shutil.which("groff"):
                continue
            seen = subprocess.run(["groff", "-man", "-Tutf8", "-wall"], input=page.stdout, capture_output=True, text=True)
            self.assertEqual((seen.returncode, seen.stderr), (0, ""), command)
        if not shutil.which("groff"):
            print("skipped: pages weren't formatted, there is no groff")


def update():
    for name in RUN_IN:
        with tempfile.TemporaryDirectory() as folder:
            text, done = play(ROOT / name, pathlib.Path(folder))
        (ROOT / name).write_text(text)
        print(f"{name}: {done['output']} outputs written")


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update()
    else:
        unittest.main(verbosity=1)
