"""What the gateway's integration tests share: weir-vendor and weir serve on free ports, with a store and a configuration
of their own, and clients that see what a user sees.

WEIR is the binary's path; WEIR_VENDOR the simulator's, by default beside it. Every gateway that a test starts must end
with status 0, without a request under way, an error in its log or a sanitizer's report. SPDX-License-Identifier:
GPL-3.0-or-later"""
import contextlib, http.client, http.server, json, os, pathlib, random, re, select, shutil, signal, socket, subprocess, tempfile
import threading, time, unittest

import skipping

WEIR = os.environ.get("WEIR", "build/weir")
WEIR_VENDOR = os.environ.get("WEIR_VENDOR", os.path.join(os.path.dirname(WEIR), "weir-vendor"))
ENV = dict(os.environ, OPENBLAS_NUM_THREADS="1", LC_ALL="C.UTF-8")
SLOW = float(os.environ.get("WEIR_TEST_SLOW", "1"))  # limits of time are so many times as long; 3 and more: under sanitizers
START_S = 10 * SLOW


def weir(*args, status=0):
    done = subprocess.run([WEIR, *map(str, args)], capture_output=True, text=True, env=ENV, timeout=120)
    assert done.returncode == status, f"{args}: status {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def until(what, seconds=5.0, step=0.005):
    """Waits until `what` gives something true, and gives that; its last value where it never comes."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        found = what()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(step)


class Process:
    """A server whose first line says where it is."""

    def __init__(self, folder, name, args, env=None):
        self.name = name
        self.err_path = pathlib.Path(folder, name + ".err")
        with open(self.err_path, "ab") as err:
            self.process = subprocess.Popen(list(map(str, args)), stdout=subprocess.PIPE, stderr=err,
                                            env=dict(ENV, **(env or {})), start_new_session=True)
        first = self._first_line()
        found = re.search(rb"(\d+\.\d+\.\d+\.\d+):(\d+)", first)
        if not found:
            self.kill()
            raise AssertionError(f"{name} didn't start: {first!r}\n{self.err()[-2000:]}")
        self.host, self.port = found[1].decode(), int(found[2])

    def _first_line(self):
        line, deadline = b"", time.monotonic() + START_S
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
            if not byte:
                break
            line += byte
        return line

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def err(self):
        return self.err_path.read_text("utf-8", "replace")

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds):
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        if self.running():
            self.process.kill()
        status = self.process.wait()
        self.process.stdout.close()
        return status

    def rss_kib(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    @property
    def decision(self):
        return self.headers["x-weir-decision-id"]

    @property
    def text(self):
        return self.json["choices"][0]["message"]["content"]

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:2000]!r}"


def ask(address, method, path, body=None, headers=None, timeout=30):
    """One request over a connection of its own."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout * SLOW)
    try:
        return ask_over(connection, method, path, body, headers)
    finally:
        connection.close()


def ask_over(connection, method, path, body=None, headers=None):
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class Stream:
    """An event stream, read as it comes. `events` are the data of each event; `comments` what followed a colon."""

    def __init__(self, address, path, body, headers=None, timeout=30, receive_buffer=0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout * SLOW)
        self.socket.connect((host, int(port)))
        raw = json.dumps(body).encode()
        lines = {"Host": address, "Content-Type": "application/json", "Content-Length": len(raw), **(headers or {})}
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
        self.socket.sendall(head.encode() + raw)
        self.response = None
        self.events, self.comments, self.names = [], [], []
        self.cut = False  # the connection broke before the answer's end

    def open(self):
        """Reads the head."""
        if not self.response:
            self.response = http.client.HTTPResponse(self.socket)
            self.response.begin()
            self.status = self.response.status
            self.headers = {k.lower(): v for k, v in self.response.getheaders()}
        return self

    def read(self, most=None):
        """Reads events to the end, or `most` of them; gives their data."""
        self.open()
        found, data = [], []
        try:
            while most is None or len(found) < most:
                line = self.response.readline()
                if not line:
                    break
                line = line.rstrip(b"\r\n")
                if not line and data:
                    found.append(b"\n".join(data).decode())
                    data = []
                elif line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif line.startswith(b":"):
                    self.comments.append(line[1:].strip().decode())
                elif line.startswith(b"event:"):
                    self.names.append(line[6:].strip().decode())
        except (http.client.IncompleteRead, ConnectionError):
            self.cut = True
        self.events += found
        return found

    @property
    def done(self):
        return bool(self.events) and self.events[-1] == "[DONE]"

    @property
    def chunks(self):
        return [json.loads(e) for e in self.events if e != "[DONE]"]

    @property
    def text(self):
        return "".join(c["delta"].get("content") or "" for e in self.chunks for c in e.get("choices") or [])

    @property
    def errors(self):
        return [c["error"] for c in self.chunks if "error" in c]

    def close(self):
        if self.response:
            self.response.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Vendor(Process):
    def __init__(self, folder, scenario=None, name="vendor", listen="127.0.0.1:0", threads=1):
        super().__init__(folder, name, [WEIR_VENDOR, "--listen", listen, "--threads", threads])
        if scenario:
            self.scenario(scenario)

    def scenario(self, scenario):
        """A dict, or a list of rules."""
        scenario = {"rules": scenario} if isinstance(scenario, list) else scenario
        answer = ask(self.address, "POST", "/scenario", scenario)
        assert answer.status == 200, answer

    def stats(self):
        return ask(self.address, "GET", "/stats").json

    def count(self, model):
        """How many requests came for a model of the vendor's."""
        return self.stats()["models"].get(model, {}).get("requests", 0)

    def last(self, model):
        return ask(self.address, "GET", f"/last?model={model}").json

    def reset(self):
        ask(self.address, "POST", "/reset")

    def stop(self):
        self.signal(signal.SIGTERM)
        status = self.wait(10)
        left = self.err()
        self.kill()
        assert status == 0, f"{self.name} ended with {status}\n{left}"


class Metrics:
    """A scrape. metrics["weir_requests_total", {"code": "200"}] adds up what has these labels; 0 where nothing does."""

    def __init__(self, text):
        self.text = text
        self.rows = []
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            name, labels, value = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line).groups()
            self.rows.append((name, dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")), float(value)))

    def __getitem__(self, key):
        name, wanted = key if isinstance(key, tuple) else (key, {})
        return sum(v for n, labels, v in self.rows if n == name and wanted.items() <= labels.items())


class Gateway(Process):
    torn = False  # a kill may leave half a log line

    def __init__(self, folder, config, name="weir", env=None, args=()):
        self.folder = pathlib.Path(folder)
        self.config_path = self.folder / (name + ".yaml")
        self.store = self.folder / config["store"]
        self.write(config)
        super().__init__(folder, name, [WEIR, "serve", "--config", self.config_path, *args], env)

    def write(self, config):
        """JSON is YAML."""
        text = config if isinstance(config, str) else json.dumps(config, indent=1)
        self.config_path.write_text(text)

    def reload(self, config):
        """SIGHUP; waits until it took effect or was refused."""
        before = self.metrics()
        self.write(config)
        self.signal(signal.SIGHUP)
        names = "weir_config_reloads_total", "weir_config_reload_failures_total"
        def moved():
            now = self.metrics()
            return any(now[n] > before[n] for n in names) and now
        now = until(moved, 10)
        assert now, "SIGHUP had no effect"
        return now[names[0]] > before[names[0]]

    def ask(self, method, path, body=None, headers=None, timeout=30):
        return ask(self.address, method, path, body, headers, timeout)

    def chat(self, model="weir", text="What is a weir?", headers=None, timeout=30, **more):
        return self.ask("POST", "/v1/chat/completions", chat_body(model, text, **more), headers, timeout)

    def stream(self, model="weir", text="What is a weir?", headers=None, timeout=30, **more):
        """A stream, read to its end. Where there was none (an error), an Answer."""
        with self.open_stream(model, text, headers, timeout, **more) as stream:
            stream.open()
            if "event-stream" not in stream.headers.get("content-type", ""):
                return Answer(stream.status, stream.headers, stream.response.read())
            stream.read()
            return stream

    def open_stream(self, model="weir", text="What is a weir?", headers=None, timeout=30, receive_buffer=0, **more):
        return Stream(self.address, "/v1/chat/completions", chat_body(model, text, stream=True, **more), headers, timeout,
                      receive_buffer)

    def feedback(self, decision, quality, source=None, **more):
        body = {"id": decision, "quality": quality, **more}
        if source:
            body["source"] = source
        return self.ask("POST", "/v1/feedback", body)

    def metrics(self):
        answer = self.ask("GET", "/metrics")
        assert answer.status == 200, answer
        return Metrics(answer.body.decode())

    def logs(self, message=None):
        """Log lines (JSON), or those with one message."""
        lines = []
        for line in self.err().splitlines():
            try:
                lines += [json.loads(line)] if line.startswith("{") else []
            except ValueError:
                if not self.torn:
                    raise
        return [line for line in lines if message in (None, line["msg"])]

    def request_log(self, decision):
        """The log line of one request; it is written when the request is complete, maybe after its answer."""
        def find():
            return [line for line in self.logs("request") if decision in (line.get("decision"), line.get("request_id"))]
        found = until(find, 3)
        assert found, f"no log line for {decision}\n{self.err()}"
        return found[0]

    def idle(self):
        """Whether no request is under way, after a moment."""
        return until(lambda: self.metrics()["weir_active_requests"] == 0, 5)

    def stop(self, seconds=15, check=True):
        """SIGTERM; gives the exit status."""
        idle = not check or self.idle()
        self.signal(signal.SIGTERM)
        status = self.wait(seconds)
        self.kill()
        if check:
            assert idle, "requests were left under way"
            assert status == 0, f"weir serve ended with {status}\n{self.err()}"
        return status


class Hook:
    """A webhook of somebody's: what it has been sent is in `seen`. Silent: it takes what comes, and doesn't answer."""

    def __init__(self, silent=False):
        self.seen = []
        self.ended = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                hook.seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                if silent:
                    hook.ended.wait()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # of whoever has left a silent one
        self.url = f"http://127.0.0.1:{self.server.server_port}/tell"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


def chat_body(model="weir", text="What is a weir?", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def model(name, *deployments, input=1.0, output=2.0, provider="sim", **more):
    """A model of the pool; deployments are names of the model at the vendor, or maps."""
    found = [d if isinstance(d, dict) else {"provider": provider, "model": d, "name": d} for d in deployments or (name,)]
    return {"name": name, "input_usd_per_mtok": input, "output_usd_per_mtok": output, **more, "deployments": found}


# Short waits; breakers that stay out of the way of tests of something else.
DEFAULTS = {"listen": "127.0.0.1:0", "threads": 1, "store": "weir.mdb", "log": {"format": "json"},
            "retry": {"max": 0, "base_ms": 10, "max_ms": 40}, "breaker": {"failures": 1000},
            "traffic": {"commit_ms": 5, "refresh_ms": 50}}


@unittest.skipUnless(os.path.exists(WEIR_VENDOR), "weir-vendor isn't built")
class Case(unittest.TestCase):
    """Gateways and vendors that end with the test."""

    maxDiff = 4000

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-gateway-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def subfolder(self, name):
        """A folder of its own for each process: a test may have several after one another."""
        return tempfile.mkdtemp(prefix=name + "-", dir=self.folder)

    def vendor(self, scenario=None, **more):
        vendor = Vendor(self.subfolder("vendor"), scenario, **more)
        self.addCleanup(vendor.kill)
        return vendor

    def hook(self, **more):
        hook = Hook(**more)
        self.addCleanup(hook.stop)
        return hook

    def config(self, vendor, models, timeouts=None, protocol=None, provider=None, **more):
        """A configuration with one provider, "sim", where the vendor is."""
        address = vendor if isinstance(vendor, str) else vendor.address
        sim = {"name": "sim", "base_url": f"http://{address}/v1", **(provider or {})}
        if timeouts:
            sim["timeouts"] = timeouts
        if protocol:
            sim["protocol"] = protocol
        made = {**DEFAULTS, "providers": [sim], "models": models}
        for key, value in more.items():
            made[key] = {**made[key], **value} if isinstance(value, dict) and isinstance(made.get(key), dict) else value
        return made

    def gateway(self, config, errors=(), folder=None, **more):
        """Started; at the test's end it is stopped, and must have behaved. `errors`: messages that its log may have."""
        gateway = Gateway(folder or self.subfolder("weir"), config, **more)
        self.addCleanup(self._end, gateway, set(errors))
        return gateway

    def _end(self, gateway, errors):
        try:
            if gateway.running():
                gateway.stop()
            self.check_log(gateway, errors)
        except AssertionError:
            print(f"---- log of {gateway.name}, {self.id()}\n{gateway.err()[-1500:]}")
            raise
        finally:
            gateway.kill()

    def check_log(self, gateway, errors=()):
        text = gateway.err()
        for bad in "AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:":
            self.assertNotIn(bad, text, text[-6000:])
        wrong = [line for line in gateway.logs() if line["level"] == "error" and line["msg"] not in errors]
        self.assertEqual(wrong, [])

    def assert_memory(self, gateway, before_kib, most_mib):
        """Resident memory above what it was. Sanitizers keep what was freed: nothing is said of it then."""
        if SLOW < 3:
            self.assertLess(gateway.rss_kib() - before_kib, most_mib << 10, "KiB more than before")

    @contextlib.contextmanager
    def faster_than(self, seconds):
        start = time.monotonic()
        yield
        self.assertLess(time.monotonic() - start, seconds * SLOW)

    @contextlib.contextmanager
    def slower_than(self, seconds):
        start = time.monotonic()
        yield
        self.assertGreaterEqual(time.monotonic() - start, 0.95 * seconds)  # timers go by a coarse clock


def main():
    skipping.main(verbosity=1)


class Trained(Case):
    """With a store, `trained`/weir.mdb, of two models: dear is always right, cheap in half of the cases, and costs a
    hundredth. Prompts tell which half."""
    PRICES = {"cheap": (0.1, 0.2), "dear": (10.0, 20.0)}
    HARD, EASY = "prove lemma integral prove lemma integral 7", "greet name colour greet name colour 7"

    @classmethod
    def setUpClass(cls):
        cls.trained = pathlib.Path(tempfile.mkdtemp(prefix="weir-trained-"))
        rng = random.Random(7)
        with open(cls.trained / "data.jsonl", "w") as out:
            for i in range(600):
                hard = rng.random() < 0.5
                words = ["prove", "lemma", "integral"] if hard else ["greet", "name", "colour"]
                prompt = " ".join(rng.choice(words) for _ in range(6)) + f" {rng.randrange(50)}"
                found = {"cheap": {"quality": float(rng.random() < (0.1 if hard else 0.97)), "cost": 2e-5,
                                   "input_tokens": 20, "output_tokens": 90, "latency_ms": 100},
                         "dear": {"quality": float(rng.random() < 0.98), "cost": 2e-3, "input_tokens": 20,
                                  "output_tokens": 90, "latency_ms": 900}}
                out.write(json.dumps({"id": str(i), "prompt": prompt, "outcomes": found}) + "\n")
        weir("train", "--store", cls.trained / "weir.mdb", "--data", cls.trained / "data.jsonl", "--estimator", "ridge")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.trained, ignore_errors=True)
