#!/usr/bin/env python3
"""The official clients of OpenAI and Anthropic against the running gateway, which stands before weir-vendor. The tests
themselves are in sdk/; this starts what they talk to, and has npm install the clients, once, into a folder beside the
binaries (WEIR_SDK_DIR: another one).

Without node 20, npm or the packages there is nothing to test with: that is said on standard error, and isn't a failure
unless WEIR_SDK_REQUIRED is set. WEIR is the path of weir; weir-vendor lies beside it (WEIR_VENDOR: elsewhere).
SPDX-License-Identifier: GPL-3.0-or-later"""
import json, os, pathlib, random, re, shutil, signal, subprocess, sys, tempfile, unittest

import skipping

WEIR = pathlib.Path(os.environ.get("WEIR", "build/weir")).resolve()
VENDOR = pathlib.Path(os.environ.get("WEIR_VENDOR", WEIR.parent / "weir-vendor")).resolve()
SDK = pathlib.Path(__file__).resolve().parent / "sdk"
CLIENTS = pathlib.Path(os.environ.get("WEIR_SDK_DIR", WEIR.parent / "sdk")).resolve()
LEAST_NODE = 20
PROTOCOLS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
PRICES = {"openai": (2, 8), "anthropic": (20, 80), "gemini": (0.1, 0.4)}  # USD for a million tokens, in and out
CLIENT_KEY, VENDOR_KEY = "client-key-of-these-tests", "vendor-key-of-these-tests"
# What goes wrong with the models "PROTOCOL-NAME": keys of a weir-vendor rule.
ILLNESSES = {
    "limited": {"error": {"kind": "rate_limit", "retry_after": 7}},
    "limited-2": {"error": {"kind": "rate_limit", "retry_after": 7}},
    "server": {"error": {"kind": "server"}},
    "overloaded": {"error": {"kind": "overloaded"}},
    "quota": {"error": {"kind": "quota"}},
    "unauthorized": {"error": {"kind": "auth"}},
    "context": {"error": {"kind": "context_length"}},
    "filter": {"error": {"kind": "content_filter"}},
    "mute": {"silent": True},
    "reset": {"reset": True},
    "garbled": {"malformed": "bad_json", "malformed_after": 0},
    "page": {"html": True},
    "once": {"match": {"every": 2}, "error": {"kind": "server"}},
}
TEXT = "žluťoučký kůň 🐎 says \"quoted\",\n\ta\\b and </script> — 終わり"
CALLS = [{"name": "get_weather", "arguments": '{"city":"Oslo — \\"north\\"","days":3}'},
         {"name": "get_time", "arguments": '{"zone":"CET"}'}]
# What prompts with these words bring about, whichever vendor is asked.
PROMPTS = {
    "[text]": {"text": TEXT},
    "[person]": {"text": '{"name":"Žofie \\"Z\\"","age":7}'},
    "[empty]": {"tokens": 0},
    "[long]": {"tokens": 600},
    "[two calls]": {"tool_calls": CALLS},
    "[reasoning]": {"reasoning": "first this, then that", "text": "so it is"},
    "[refusal]": {"refusal": "I would rather not."},
    "[filtered]": {"finish": "content_filter"},
    "[cached]": {"usage": {"input": 100, "output": 9, "cached": 40, "cache_write": 10}},
    "[uncounted]": {"usage": {"send": False}},
    "[silent]": {"silent": True},
    "[slow]": {"tokens": 200, "per_token_ms": 25},
    "[cut]": {"tokens": 40, "cut": {"events": 12}},
    "[reset]": {"tokens": 40, "cut": {"events": 12, "reset": True}},
    "[error in the middle]": {"tokens": 40, "error": {"kind": "overloaded", "after_events": 12}},
    "[gzip]": {"text": TEXT, "encoding": "gzip"},
}
# Virtual keys of the gateways with budgets, and what `weir key create` makes of them. A month's end within a run is rare.
KEYS = {"spender": ["--budget", "0.005USD/month"], "streamer": ["--budget", "0.005USD/month"],
        "retrier": ["--budget", "0.002USD/month"], "lowered": ["--budget", "0.004USD/month"],
        "mixed": ["--budget", "1USD/month"], "rated": ["--rpm", "7", "--tpm", "50k"], "slow": ["--rpm", "1"]}
STOPPED = {"id": "msg_01stopped", "type": "message", "role": "assistant", "model": "anthropic-model",
           "content": [{"type": "text", "text": "as far as"}], "stop_reason": "stop_sequence", "stop_sequence": "END",
           "usage": {"input_tokens": 9, "output_tokens": 3}}


def scenario():
    rules = [{"name": words, "match": {"prompt": words}, **what} for words, what in PROMPTS.items()]
    rules.append({"match": {"prompt": "[stop sequence]", "api": "messages"}, "body": json.dumps(STOPPED)})
    for protocol in PROTOCOLS:
        for name, what in ILLNESSES.items():
            match = {"model": f"{protocol}-{name}", **what.get("match", {})}
            rules.append({"name": match["model"], **what, "match": match})
    return {"keys": [VENDOR_KEY], "rules": rules}


def model(name, protocol, vendor_model=None, **more):
    usd_in, usd_out = PRICES[protocol]
    deployment = {"provider": protocol, "model": vendor_model or name, **more.pop("deployment", {})}
    return {"name": name, "input_usd_per_mtok": usd_in, "output_usd_per_mtok": usd_out, "deployments": [deployment],
            **more}


def healthy():
    """One model of each vendor, OpenAI's with the old completions; a name with a slash, as resellers have them."""
    cached = {"cached_input_usd_per_mtok": 1, "cache_write_usd_per_mtok": 3}
    return [model("openai-model", "openai", deployment={"legacy_completions": True}, **cached),
            model("anthropic-model", "anthropic", **cached), model("gemini-model", "gemini", **cached),
            model("lab/embedder", "openai", abilities={"tools": False, "images": False, "json": False})]


def configuration(vendor, store, models, **more):
    return {"store": str(store), "listen": "127.0.0.1:0", "threads": 1, "auth": {"key_envs": ["WEIR_TEST_CLIENT_KEY"]},
            "policy": {"value_usd": 0.02}, "breaker": {"failures": 1000},
            "providers": [{"name": name, "base_url": vendor + path, "key_env": "WEIR_TEST_VENDOR_KEY"}
                          for name, path in PROTOCOLS.items()],
            "models": models, **more}


def weir(*args):
    return subprocess.run([WEIR, *map(str, args)], check=True, timeout=120, capture_output=True, text=True).stdout


def train(folder, models):
    """A store that knows all these models, the dearer the better."""
    rng = random.Random(5)
    words = "river stone bird number weather city the a of tells holds".split()
    lines = []
    for i in range(120):
        found = {}
        for m in models:
            usd = m["input_usd_per_mtok"] * 1e-5
            right = float(rng.random() < (0.9 if usd > 1e-4 else 0.7 if usd > 1e-5 else 0.4))
            found[m["name"]] = {"quality": right, "cost": usd * rng.uniform(0.5, 1.5), "input_tokens": 12,
                                "output_tokens": rng.randrange(8, 40), "latency_ms": rng.uniform(50, 500)}
        lines.append({"id": str(i), "prompt": " ".join(rng.choices(words, k=9)), "outcomes": found})
    data, store = folder / "train.jsonl", folder / "weir.mdb"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    subprocess.run([WEIR, "train", "--store", store, "--data", data, "--estimator", "ridge"], check=True, timeout=120,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, OPENBLAS_NUM_THREADS="1"))
    return store


class Server:
    """A process that says where it listens in its first line."""

    def __init__(self, args, log, **env):
        self.log = log
        with log.open("w") as err:
            self.process = subprocess.Popen([str(a) for a in args], stdout=subprocess.PIPE, stderr=err, text=True,
                                            env=dict(os.environ, OPENBLAS_NUM_THREADS="1", **env))
        line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, f"{args[0]}: {line!r}: {log.read_text()}"
        self.address = "http://" + found.group()

    def stop(self):
        """Its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def missing_tool():
    """Why the clients can't run here; "" where they can."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            return f"there is no {tool} on this machine"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=60).stdout.strip()
    found = re.match(r"v(\d+)\.", version)
    if not found or int(found.group(1)) < LEAST_NODE:
        return f"node is {version}, and the clients need {LEAST_NODE} or later"
    return ""


def install():
    """Has npm install the clients, unless they are there. Why they aren't; "" where they are."""
    wanted, stamp = (SDK / "package.json").read_text(), CLIENTS / "installed.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    shutil.rmtree(CLIENTS, ignore_errors=True)
    CLIENTS.mkdir(parents=True)
    (CLIENTS / "package.json").write_text(wanted)
    try:
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1",
                               "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"], cwd=CLIENTS,
                              capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "npm install took more than ten minutes"
    if done.returncode:
        return "npm install failed: " + "\n".join(l for l in done.stderr.splitlines() if "error" in l)[:600]
    stamp.write_text(wanted)
    return ""


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        why = missing_tool() or install()
        if why and os.environ.get("WEIR_SDK_REQUIRED"):
            raise AssertionError(f"WEIR_SDK_REQUIRED is set, and {why}")
        if why:
            print(f"\n*** SKIPPED: the official clients were NOT tested: {why}\n", file=sys.stderr, flush=True)
            raise unittest.SkipTest(why)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        folder = pathlib.Path(cls.temporary.name)
        ill = [model(f"{p}-{name}", p) for name in ILLNESSES for p in PROTOCOLS]
        limited = [m for m in ill if m["name"].endswith("-limited")]
        (folder / "scenario.json").write_text(json.dumps(scenario(), ensure_ascii=False))  # YAML has no surrogates
        cls.servers = {}
        vendor = cls.start("vendor", [VENDOR, "--scenario", folder / "scenario.json"], folder)
        store = train(folder, healthy() + ill)
        cls.serve("gateway", folder, store, vendor.address, healthy())
        hasty = {"retry": {"max": 1, "base_ms": 1}, "limits": {"request_ms": 3000}}
        cls.serve("ill", folder, store, vendor.address, ill, **hasty)
        cls.serve("limited", folder, store, vendor.address, limited, limits=hasty["limits"])
        cls.serve_budgets(folder, store)

    @classmethod
    def start(cls, name, args, folder):
        server = Server(args, folder / f"{name}.log", WEIR_TEST_CLIENT_KEY=CLIENT_KEY, WEIR_TEST_VENDOR_KEY=VENDOR_KEY)
        cls.servers[name] = server
        cls.addClassCleanup(server.end)
        return server

    @classmethod
    def serve(cls, name, folder, store, vendor, models, **more):
        own = folder / f"{name}.mdb"
        shutil.copy(store, own)
        config = folder / f"{name}.json"
        config.write_text(json.dumps(configuration(vendor, own, models, **more)))
        cls.start(name, [WEIR, "serve", "--config", config], folder)

    @classmethod
    def serve_budgets(cls, folder, store):
        """Two gateways with keys of weir's own, whose refusals are 429 and 402, before a vendor that keeps books."""
        models = healthy()
        prices = [{"model": m["name"], **{k: v for k, v in m.items() if k.endswith("_usd_per_mtok")}} for m in models]
        (folder / "bank.json").write_text(json.dumps({**scenario(), "prices": prices}, ensure_ascii=False))
        bank = cls.start("bank", [VENDOR, "--scenario", folder / "bank.json"], folder)
        cls.keys, cls.stores = {}, {}
        for name, status in (("budgets", 429), ("payment", 402)):
            own, cls.stores[name] = folder / f"with-{name}.mdb", folder / f"{name}.mdb"
            shutil.copy(store, own)
            cls.keys[name] = {k: weir("key", "create", k, "--store", own, *v).strip() for k, v in KEYS.items()}
            weir("budget", "set", "all", "--store", own, "--limit", "100USD", "--per", "total", "--soft")
            cls.serve(name, folder, own, bank.address, models, auth={"virtual_keys": True},
                      budgets={"refuse_status": status}, traffic={"commit_ms": 5})

    def run_file(self, name):
        env = {f"WEIR_SDK_{k.upper()}": server.address for k, server in self.servers.items()}
        env |= {"NODE_PATH": str(CLIENTS / "node_modules"), "WEIR_SDK_KEY": CLIENT_KEY, "WEIR_SDK_TEXT": TEXT,
                "WEIR_SDK_PRICES": json.dumps(PRICES), "WEIR_SDK_WEIR": str(WEIR),
                "WEIR_SDK_KEYS": json.dumps(self.keys), "WEIR_SDK_STORES": json.dumps(self.stores, default=str)}
        done = subprocess.run(["node", "--test", "--test-reporter=spec", SDK / name], capture_output=True, text=True,
                              env=dict(os.environ, **env), timeout=300)
        logs = "\n".join(f"-- {s.log.name}\n{s.log.read_text()[-2000:]}" for s in self.servers.values())
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}\n{logs}")
        self.assertRegex(done.stdout, r"pass [1-9]", "no test ran")

    def test_z_servers_end_well_and_tell_no_key(self):
        gateways = [name for name in self.servers if name not in ("vendor", "bank")]
        statuses = {name: self.servers[name].stop() for name in (*gateways, "vendor", "bank")}
        self.assertEqual(set(statuses.values()), {0}, statuses)
        for store in self.stores.values():
            self.assertIn("every balance is right", weir("budget", "audit", "--store", store))
        for server in self.servers.values():
            self.assertNotRegex(server.log.read_text(), f"{CLIENT_KEY}|{VENDOR_KEY}")


def add(path):
    name = path.name.removesuffix(".test.js")
    setattr(Clients, f"test_{name}", lambda self: self.run_file(path.name))


for each in sorted(SDK.glob("*.test.js")):
    add(each)

if __name__ == "__main__":
    skipping.main()
