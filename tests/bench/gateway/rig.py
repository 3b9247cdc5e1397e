"""What the gateway's benchmarks share: a store, a simulated vendor, weir before it, the client, and how all is told.
Standard library only. SPDX-License-Identifier: GPL-3.0-or-later"""
import argparse, atexit, http.client, json, os, pathlib, resource, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
MIB = 1 << 20

# Prices as of 2024; what matters is that they differ.
PRICES = {"llama3.2-1b": (.05, .2), "llama3.2-3b": (.06, .24), "llama3.1-8b": (.1, .4), "llama3.1-70b": (.6, 2.4),
          "llama3.1-405b": (2.7, 10.8), "gpt-4o-mini": (.15, .6), "qwen2.5-32b-coder-instruct": (.2, .8),
          "qwen2.5-72b-instruct": (.6, 2.4), "gpt-4o": (2.5, 10.)}


class Failed(Exception):
    pass


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def arguments(about, isolated=True):
    p = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where weir and weir-vendor were built")
    p.add_argument("--load", type=pathlib.Path, help="the client; default: BUILD/tests/bench/gateway/gateway_load")
    p.add_argument("--data", type=pathlib.Path, default=None, help="real outcomes; default: $WEIR_DATA or the shared "
                   "folder's data; without cascades there, simulated outcomes")
    p.add_argument("--shared", type=pathlib.Path, default=pathlib.Path(os.environ.get("WEIR_SHARED", ROOT / "../shared")),
                   help="folder with data/ and bench/gateway/; default: $WEIR_SHARED or ../shared")
    p.add_argument("--work", type=pathlib.Path, default=None, help="keeps the trained store, logs; default: a new one")
    p.add_argument("--json", metavar="FILE", help="the figures for machines; -: standard output instead of the table")
    if isolated:
        p.add_argument("--isolate", action="store_true", help="in a network namespace of its own, where no port is taken "
                       "(needs root and unshare)")
    return p


def isolate(o):
    """Starts the program again where nobody else listens."""
    if not getattr(o, "isolate", False) or os.environ.get("GATEWAY_ISOLATED"):
        return
    os.environ["GATEWAY_ISOLATED"] = "1"
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])


class Rig:
    """Ends all that it started, however the program ends."""

    def __init__(self, o):
        isolate(o)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # children inherit it
        self.o, self.running = o, []
        self.build, self.shared = o.build.resolve(), o.shared.resolve()
        self.load_path = (o.load or self.build / "tests/bench/gateway/gateway_load").resolve()
        for path in (self.build / "weir", self.build / "weir-vendor", self.load_path):
            if not path.exists():
                sys.exit(f"{path} is missing: build first")
        self.data = (o.data or pathlib.Path(os.environ.get("WEIR_DATA", self.shared / "data"))).resolve()
        self.work = (o.work or pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        if not o.work:
            atexit.register(shutil.rmtree, self.work, ignore_errors=True)
        atexit.register(self.end_all)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self.env = dict(os.environ, OPENBLAS_NUM_THREADS="1", BENCH_KEY="sk-bench")

    # ---- processes ----

    def start(self, name, *args, **more):
        """Standard error goes to WORK/NAME.err."""
        with open(self.work / f"{name}.err", "wb") as err:
            p = subprocess.Popen([str(a) for a in args], stdin=more.pop("stdin", subprocess.DEVNULL), stderr=err,
                                 stdout=more.pop("stdout", subprocess.DEVNULL), env=dict(self.env, **more.pop("env", {})),
                                 **more)
        p.label = name
        self.running.append(p)
        return p

    def end(self, p, most_s=35):
        """What it took, in seconds; a crash is a failure."""
        began = time.monotonic()
        if p.poll() is None:
            p.terminate()
            try:
                p.wait(most_s)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise Failed(f"{p.label} didn't end within {most_s} s of SIGTERM: {self.tail(p.label)}")
        if p in self.running:
            self.running.remove(p)
        if p.returncode not in (0, -signal.SIGTERM):
            raise Failed(f"{p.label} ended with status {p.returncode}: {self.tail(p.label)}")
        return time.monotonic() - began

    def end_all(self):
        for p in reversed(self.running):
            if p.poll() is None:
                p.kill()
                p.wait()
        self.running = []

    def tail(self, name, n=600):
        try:
            return (self.work / f"{name}.err").read_text(errors="replace")[-n:].strip()
        except OSError:
            return ""

    def run(self, *args, timeout=600):
        done = subprocess.run([str(a) for a in args], capture_output=True, text=True, env=self.env, timeout=timeout)
        if done.returncode:
            raise Failed(f"{' '.join(map(str, args))}: status {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    # ---- the store and what is asked ----

    def training(self):
        real = self.data / "cascades-train.jsonl"
        if real.exists():
            return real, self.data / "cascades-test.jsonl"
        say(f"no cascades in {self.data}: simulated outcomes stand in")
        made = self.work / "simulated.jsonl"
        if not made.exists():
            self.run(self.build / "weir", "simulate", "--prompts", 4000, "--models", 5, "--seed", 1, "--out", made)
        return made, made

    def store(self, fresh=True, name="store"):
        """A trained store of this measurement's own: the trained one stays as it is."""
        trained, copy = self.work / "trained.mdb", self.work / f"{name}.mdb"
        if not trained.exists():
            self.run(self.build / "weir", "train", "--store", trained, "--data", self.training()[0])
        if fresh or not copy.exists():
            for path in (copy, copy.with_name(copy.name + "-lock")):
                path.unlink(missing_ok=True)
            shutil.copy(trained, copy)
        return copy

    def models(self):
        with open(self.training()[0]) as lines:
            seen = {}
            for line, _ in zip(lines, range(200)):
                seen.update(dict.fromkeys(json.loads(line)["outcomes"]))
        return list(seen)

    def bodies(self, name="bodies", n=1000, **more):
        """Requests with prompts that the store hasn't seen; a path."""
        path = self.work / f"{name}.jsonl"
        with open(self.training()[1]) as lines, open(path, "w") as out:
            for line, _ in zip(lines, range(n)):
                prompt = json.loads(line)["prompt"]
                messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
                out.write(json.dumps({"model": "weir", "messages": messages, **more}) + "\n")
        return path

    # ---- vendor and gateway ----

    def vendor(self, *rules, threads=1):
        """weir-vendor by these rules (dicts); its port."""
        scenario = self.work / "scenario.json"
        scenario.write_text(json.dumps({"rules": list(rules)}))
        p = self.start("vendor", self.build / "weir-vendor", "--listen", "127.0.0.1:0", "--scenario", scenario,
                       "--threads", threads, stdout=subprocess.PIPE, text=True)
        line = p.stdout.readline()
        if not line.startswith("listening on "):
            raise Failed(f"weir-vendor: {line.strip()} {self.tail('vendor')}")
        self.vendor_process, self.vendor_port = p, int(line.rsplit(":", 1)[1])
        return self.vendor_port

    def configure(self, vendor_port, threads, name="weir", **more):
        config = {
            "listen": f"127.0.0.1:{free_port()}", "store": str(more.pop("store", None) or self.store()), "threads": threads,
            "policy": {"value_usd": .01},
            "providers": [{"name": "vendor", "protocol": "openai", "base_url": f"http://127.0.0.1:{vendor_port}/v1",
                           "key_env": "BENCH_KEY"}],
            "models": [{"name": m, "input_usd_per_mtok": PRICES.get(m, (1, 4))[0],
                        "output_usd_per_mtok": PRICES.get(m, (1, 4))[1], "deployments": [{"provider": "vendor"}]}
                       for m in self.models()],
            "log": {"format": "json"}, **more}
        path = self.work / f"{name}.json"
        path.write_text(json.dumps(config, indent=1))
        return path, int(config["listen"].rsplit(":", 1)[1])

    def gateway(self, vendor_port, threads=2, wait=True, name="weir", **more):
        """weir serve, log and routing on; the process. Its port is p.port."""
        path, port = self.configure(vendor_port, threads, name, **more)
        p = self.start(name, self.build / "weir", "serve", "--config", path)
        p.port = port
        if wait:
            self.await_health(p)
        return p

    def await_health(self, p, most_s=10):
        began = time.monotonic()
        while time.monotonic() - began < most_s:
            if p.poll() is not None:
                raise Failed(f"{p.label} ended with status {p.returncode}: {self.tail(p.label)}")
            try:
                if ask(p.port, "GET", "/healthz")[0] == 200:
                    return
            except OSError:
                time.sleep(.005)
        raise Failed(f"{p.label} isn't healthy after {most_s} s: {self.tail(p.label)}")

    def load(self, kind, *args, timeout=3600):
        """A kind of load to its end; its last line's figures."""
        return json.loads(self.run(self.load_path, kind, *args, timeout=timeout).strip().split("\n")[-1])

    def crowd(self, port, bodies, streams, per_s, **more):
        extra = [x for k, v in more.items() for x in (f"--{k.replace('_', '-')}", v)]
        p = self.start("load", self.load_path, "streams", "--to", f"127.0.0.1:{port}", "--bodies", bodies, "--streams",
                       streams, "--per-s", per_s, *extra, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return Crowd(self, p)

    def warm_up(self, weir, n=2000):
        """Whole answers until what is made once is made, the writer's copy of the estimators among it; how many."""
        self.load("flood", "--to", f"127.0.0.1:{weir.port}", "--bodies", self.bodies("warm-up"), "--connections", 8,
                  "--requests", n)
        time.sleep(1.5)  # longer than traffic.refresh_ms
        return n

    def log_tally(self, name="weir"):
        """Lines of weir's log by level, and what went wrong first."""
        tally, wrong = {}, None
        with open(self.work / f"{name}.err", errors="replace") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = {"level": "unreadable", "message": line.strip()}
                level = entry.get("level", "?").lower()
                tally[level] = tally.get(level, 0) + 1
                if wrong is None and level not in ("info", "debug"):
                    wrong = line.strip()[:500]
        return {"lines": tally, "first_problem": wrong}


class Crowd:
    """gateway_load streams, which obeys."""

    def __init__(self, rig, process):
        self.rig, self.process = rig, process

    def tell(self, word):
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"the client ended: {self.rig.tail('load')}")
        return json.loads(line)

    def until(self, holds, most_s, what, every_s=.2):
        """The first figures for which it holds."""
        began = time.monotonic()
        while True:
            figures = self.tell("count")
            if holds(figures):
                return figures
            if time.monotonic() - began > most_s:
                raise Failed(f"{what}: not within {most_s} s: {figures}")
            time.sleep(every_s)

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.rig.running.remove(self.process)


# ---- asking ----

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, method, path, body=None, timeout=10):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        c.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        return r.status, r.read()
    finally:
        c.close()


def stats(port):
    return json.loads(ask(port, "GET", "/stats")[1])


def mean_us(weir, *names):
    """Means of histograms at /metrics, all labels together."""
    sums = {}
    for line in ask(weir.port, "GET", "/metrics")[1].decode().splitlines():
        name, _, value = line.rpartition(" ")
        name = name.split("{")[0]
        if name.endswith(("_sum", "_count")):
            sums[name] = sums.get(name, 0) + float(value)
    return {n: 1e6 * sums[n + "_sum"] / sums[n + "_count"] for n in names if sums.get(n + "_count")}


# ---- what a process uses ----

def cpu_s(pid):
    """utime + stime, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid, store=None):
    """Bytes. log_file: pages of the store's file that are mapped and resident; they are the page cache's."""
    found = {}
    for name in ("status", "smaps_rollup"):
        for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key in ("VmRSS", "RssAnon", "RssFile", "VmHWM", "Pss", "Pss_Anon", "Private_Dirty"):
                found[key] = int(rest.split()[0]) << 10
    if store:
        found["store_file"], inside = 0, False
        for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if "-" in line.split(" ", 1)[0]:
                inside = line.endswith(str(store))
            elif inside and line.startswith("Rss:"):
                found["store_file"] += int(line.split()[1]) << 10
    return found


def socket_bytes():
    """The kernel's memory for all TCP sockets of this network namespace."""
    for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[line.split().index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def kernel_counts(*names):
    """Of this network namespace since it began: ListenOverflows, TCPTimeouts and the like."""
    found, head = {}, None
    for line in pathlib.Path("/proc/net/netstat").read_text().splitlines():
        if head and head[0] == line.split()[0]:
            found.update(zip(head[1:], map(int, line.split()[1:])))
        head = line.split()
    return {n: found.get(n, 0) for n in names}


def queued_bytes(*ports):
    """Payload that waits in the sockets of these ports, either end: sent but not received, received but not read."""
    queued = 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] != "0A" and {int(fields[k].rsplit(":", 1)[1], 16) for k in (1, 2)} & set(ports):
            queued += sum(int(n, 16) for n in fields[4].split(":"))
    return queued


# ---- telling ----

class Report:
    """rows: (what, measured). bars: (what, bar, measured, met)."""

    def __init__(self, name, title, command):
        self.name, self.title, self.command = name, title, command
        self.rows, self.bars, self.notes, self.tables, self.figures = [], [], [], [], {}
        self.load_before = os.getloadavg()[0]

    def row(self, what, measured):
        self.rows.append((what, measured))

    def bar(self, what, bar, measured, met):
        self.bars.append((what, bar, measured, bool(met)))

    def note(self, text):
        self.notes.append(text)
        say(f"NOTE: {text}")

    def table(self, header, rows):
        self.tables.append({"header": header, "rows": rows})

    def write(self, o):
        out = {"name": self.name, "title": self.title, "command": self.command, "load": self.load_before,
               "rows": self.rows, "bars": self.bars, "tables": self.tables, "notes": self.notes, "figures": self.figures}
        if o.json == "-":
            print(json.dumps(out, indent=1))
            return
        if o.json:
            pathlib.Path(o.json).write_text(json.dumps(out, indent=1) + "\n")
        print(f"{self.title}\n{self.command}   (load before: {self.load_before:.1f} on {os.cpu_count()} cores)\n")
        aligned([["what", "measured"], *self.rows])
        for t in self.tables:
            aligned([t["header"], *t["rows"]])
        aligned([["what", "bar", "measured", "met"], *[(*b[:3], "yes" if b[3] else "NO") for b in self.bars]])
        for text in self.notes:
            print(f"note: {text}")


def aligned(rows):
    rows = [[str(c) for c in row] for row in rows]
    if len(rows) < 2:
        return
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(c.ljust(w) for c, w in zip(row, wide)).rstrip())
    print()


def main(measure, parser):
    o = parser.parse_args()
    try:
        report = measure(Rig(o), o)
    except (Failed, subprocess.TimeoutExpired, OSError) as why:
        sys.exit(f"FAILED: {type(why).__name__}: {why}")
    report.write(o)
    return 0 if all(b[3] for b in report.bars) else 3
