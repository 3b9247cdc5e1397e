#!/usr/bin/env python3
"""weir-vendor on the wire: shapes, refusals, every scenario file, counters. WEIR is the path of weir; weir-vendor lies beside
it. SPDX-License-Identifier: GPL-3.0-or-later"""
import base64, fractions, gzip, http.client, json, math, os, pathlib, random, signal, socket, struct, subprocess, tempfile, time, unittest

import skipping

VENDOR = pathlib.Path(os.environ.get("WEIR", "build/weir")).resolve().parent / "weir-vendor"
SCENARIOS = pathlib.Path(__file__).resolve().parents[1] / "cases/scenarios"
CHAT, COMPLETIONS, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
GEMINI, GEMINI_STREAM = ("/v1beta/models/gemini-x:" + way for way in ("generateContent", "streamGenerateContent?alt=sse"))
TOOL = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
VERSION = {"anthropic-version": "2023-06-01"}


class Vendor:
    def __init__(self, *args):
        self.process = subprocess.Popen([VENDOR, *map(str, args)], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        host, port = line.split()[-1].rsplit(":", 1)
        self.address = (host, int(port))

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10)
        self.process.stdout.close()
        assert status == 0, f"ended with {status}"

    def ask(self, path, body=None, headers=(), method=None):
        """Status, headers, body."""
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        data = (json.dumps(body) if isinstance(body, (dict, list)) else body or "").encode() if body is not None else None
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, data,
                               {"content-type": "application/json", **dict(headers)})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path, body=None, headers=(), status=200):
        got, _, text = self.ask(path, body, headers)
        assert got == status, f"{path}: {got}, not {status}: {text[:500]}"
        return json.loads(text)

    def events(self, path, body, headers=()):
        """The data of a stream's events."""
        status, head, text = self.ask(path, body, headers)
        assert status == 200 and head["content-type"].startswith("text/event-stream"), (status, text[:300])
        lines = text.decode().replace("\r\n", "\n").split("\n")
        return [line[6:] for line in lines if line.startswith("data: ")]

    def scenario(self, name):
        text = (SCENARIOS / f"{name}.yaml").read_text() if not name.startswith("{") else name
        self.json("/reset", "")
        self.json("/scenario", text)

    def open(self, path, body, headers=()):
        """A bare socket with the request sent."""
        data = json.dumps(body).encode()
        link = socket.create_connection(self.address, timeout=20)
        head = "".join(f"{name}: {value}\r\n" for name, value in dict(headers).items())
        link.sendall(f"POST {path} HTTP/1.1\r\nHost: v\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return link

    def until(self, condition, seconds=5):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stats = self.json("/stats")
            if condition(stats):
                return stats
            time.sleep(0.005)
        raise AssertionError(f"never came: {self.json('/stats')}")


def chat(text="hello", **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def messages(text="hello", **more):
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def gemini(text="hello", **more):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def read_all(link):
    """What comes until the end, and whether that was a reset."""
    got = b""
    try:
        while piece := link.recv(65536):
            got += piece
    except ConnectionResetError:
        return got, True
    finally:
        link.close()
    return got, False


class Shapes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.v = Vendor()

    @classmethod
    def tearDownClass(cls):
        cls.v.__exit__()

    def setUp(self):
        self.v.scenario("{}")

    def test_chat(self):
        whole = self.v.json(CHAT, chat(max_tokens=7, n=2))
        self.assertEqual([c["finish_reason"] for c in whole["choices"]], ["length"] * 2)
        self.assertEqual(whole["usage"]["completion_tokens"], 14)
        self.assertEqual(self.v.json(CHAT, chat(max_tokens=7, n=2))["choices"], whole["choices"])
        self.assertNotEqual(self.v.json(CHAT, chat("other", max_tokens=7, n=2))["choices"], whole["choices"])
        events = self.v.events(CHAT, chat(max_tokens=7, n=2, stream=True))
        self.assertEqual(events[-1], "[DONE]")
        chunks = [json.loads(e) for e in events[:-1]]
        self.assertTrue(all("usage" not in c for c in chunks))
        self.assertEqual(len({c["id"] for c in chunks}), 1)
        for choice in whole["choices"]:
            mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice["index"]]
            self.assertEqual("".join(c["delta"].get("content", "") for c in mine), choice["message"]["content"])
            self.assertEqual(mine[0]["delta"]["role"], "assistant")
            self.assertEqual(mine[-1]["finish_reason"], "length")

    def test_chat_usage_chunk_only_where_asked(self):
        events = self.v.events(CHAT, chat(stream=True, stream_options={"include_usage": True}))
        chunks = [json.loads(e) for e in events[:-1]]
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["total_tokens"],
                         chunks[-1]["usage"]["prompt_tokens"] + chunks[-1]["usage"]["completion_tokens"])
        self.assertTrue(all(c["usage"] is None for c in chunks[:-1]))

    def test_messages(self):
        whole = self.v.json(MESSAGES, messages(system="be brief"), VERSION)
        events = [json.loads(e) for e in self.v.events(MESSAGES, messages(system="be brief", stream=True), VERSION)]
        self.assertEqual([e["type"] for e in events[:3]], ["message_start", "content_block_start", "ping"])
        self.assertEqual([e["type"] for e in events[-3:]], ["content_block_stop", "message_delta", "message_stop"])
        text = "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")
        self.assertEqual(text, whole["content"][0]["text"])
        self.assertEqual(events[-2]["usage"]["output_tokens"], whole["usage"]["output_tokens"])
        self.assertEqual(whole["stop_reason"], "end_turn")

    def test_gemini(self):
        whole = self.v.json(GEMINI, gemini())
        events = [json.loads(e) for e in self.v.events(GEMINI_STREAM, gemini())]
        text = "".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in events)
        self.assertEqual(text, whole["candidates"][0]["content"]["parts"][0]["text"])
        self.assertEqual(["finishReason" in e["candidates"][0] for e in events], [False] * (len(events) - 1) + [True])
        self.assertEqual(events[-1]["usageMetadata"], whole["usageMetadata"])
        array = self.v.json(GEMINI_STREAM.split("?")[0], gemini())
        self.assertEqual(len(array), len(events))

    def test_tools_and_their_answers(self):
        function = {"type": "function", "function": {"name": "weather", "parameters": TOOL}}
        body = chat("please call weather", tools=[function])
        call = self.v.json(CHAT, body)["choices"][0]
        self.assertEqual(call["finish_reason"], "tool_calls")
        arguments = json.loads(call["message"]["tool_calls"][0]["function"]["arguments"])
        self.assertIsInstance(arguments["city"], str)
        pieces = [json.loads(e)["choices"][0]["delta"].get("tool_calls", [{}])[0].get("function", {}).get("arguments", "")
                  for e in self.v.events(CHAT, {**body, "stream": True})[:-1]]
        self.assertEqual(json.loads("".join(pieces)), arguments)
        body["messages"] += [call["message"], {"role": "tool", "content": "rain",
                                               "tool_call_id": call["message"]["tool_calls"][0]["id"]}]
        self.assertEqual(self.v.json(CHAT, body)["choices"][0]["finish_reason"], "stop")
        self.assertEqual(self.v.json(CHAT, chat("hello", tools=[function]))["choices"][0]["finish_reason"], "stop")

        body = messages(tools=[{"name": "weather", "input_schema": TOOL}], tool_choice={"type": "any"})
        answer = self.v.json(MESSAGES, body, VERSION)
        self.assertEqual((answer["stop_reason"], answer["content"][0]["type"]), ("tool_use", "tool_use"))
        events = [json.loads(e) for e in self.v.events(MESSAGES, {**body, "stream": True}, VERSION)]
        text = "".join(e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta")
        self.assertEqual(json.loads(text), answer["content"][0]["input"])

        tools = [{"functionDeclarations": [{"name": "weather", "parameters": TOOL}]}]
        config = {"functionCallingConfig": {"mode": "ANY"}}
        part = self.v.json(GEMINI, gemini(tools=tools, toolConfig=config))["candidates"][0]["content"]["parts"][0]
        self.assertIsInstance(part["functionCall"]["args"]["city"], str)

    def test_structured_output_fits(self):
        form = {"type": "json_schema", "json_schema": {"name": "w", "schema": TOOL}}
        content = self.v.json(CHAT, chat(response_format=form))["choices"][0]["message"]["content"]
        self.assertEqual(set(json.loads(content)), {"city", "days"})

    def test_completions_embeddings_models(self):
        body = {"model": "m", "prompt": "once", "max_tokens": 5}
        whole = self.v.json(COMPLETIONS, body)["choices"][0]
        events = self.v.events(COMPLETIONS, {**body, "stream": True})
        self.assertEqual("".join(json.loads(e)["choices"][0]["text"] for e in events[:-1]), whole["text"])
        floats = self.v.json("/v1/embeddings", {"model": "m", "input": ["a b", "c"], "dimensions": 8})["data"]
        packed = self.v.json("/v1/embeddings", {"model": "m", "input": "a b", "dimensions": 8, "encoding_format": "base64"})
        for a, b in zip(floats[0]["embedding"], struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"]))):
            self.assertAlmostEqual(a, b, places=6)
        self.assertAlmostEqual(sum(x * x for x in floats[1]["embedding"]), 1, places=5)
        self.assertEqual(self.v.json("/v1/models")["object"], "list")
        self.assertIn("has_more", self.v.json("/v1/models", headers=VERSION))

    def test_refusals(self):
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        user, said = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
        calls = {"role": "assistant", "content": None, "tool_calls": [call]}
        use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]}
        schema = {"type": "object", "properties": {"a": {"type": "string", "const": "x"}}}
        cases = [
            (CHAT, "{", "could not parse"), (CHAT, {"messages": [user]}, "model"), (CHAT, {"model": "m"}, "'messages'"),
            (CHAT, {"model": "m", "messages": []}, "empty array"), (CHAT, chat(top_k=3), "Unrecognized request argument"),
            (CHAT, chat(max_tokens=0), "max_tokens"), (CHAT, chat(stream_options={"include_usage": True}), "stream_options"),
            (CHAT, chat(temperature=3), "temperature"), (CHAT, chat(max_tokens=3, max_completion_tokens=3), "not supported"),
            (CHAT, {"model": "m", "messages": [{"role": "model", "content": "x"}]}, "'model'"),
            (CHAT, {"model": "m", "messages": [{"role": "user"}]}, "null"),
            (CHAT, {"model": "m", "messages": [{"role": "user", "content": [{"type": "image"}]}]}, "'image'"),
            (CHAT, {"model": "m", "messages": [user, calls, user]}, "c1"), (CHAT, {"model": "m", "messages": [user, calls]}, "c1"),
            (CHAT, {"model": "m", "messages": [user, {"role": "tool", "content": "r", "tool_call_id": "c1"}]}, "response to"),
            (CHAT, chat(tools=[{"name": "f"}]), "tools[0].type"), (CHAT, chat(tool_choice="any"), "tool_choice"),
            (MESSAGES, {"model": "m", "messages": [user]}, "max_tokens: Field required"),
            (MESSAGES, messages(stop=["x"]), "stop: Extra inputs"), (MESSAGES, messages(temperature=1.5), "temperature"),
            (MESSAGES, {"model": "m", "max_tokens": 5, "messages": [said, user]}, "first message"),
            (MESSAGES, {"model": "m", "max_tokens": 5, "messages": [{"role": "system", "content": "x"}, user]}, "system"),
            (MESSAGES, {"model": "m", "max_tokens": 5, "messages": [user, use, user]}, "without `tool_result`"),
            (MESSAGES, {"model": "m", "max_tokens": 5, "messages": [user, said, result]}, "unexpected `tool_use_id`"),
            (MESSAGES, messages(""), "non-empty"), (MESSAGES, messages(tools=[{"name": "f", "parameters": {}}]), "input_schema"),
            (MESSAGES, messages(thinking={"type": "enabled", "budget_tokens": 2000}), "budget_tokens"),
            (GEMINI, {}, "contents"), (GEMINI, gemini(messages=[]), "Unknown name"),
            (GEMINI, {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
            (GEMINI, {"contents": [{"role": "user", "parts": []}]}, "parts"),
            (GEMINI, {"contents": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}, "Unknown name \"type\""),
            (GEMINI, gemini(generationConfig={"max_tokens": 3}), "Unknown name"),
            (GEMINI, gemini(tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}]), "const"),
            (GEMINI, {"contents": [{"role": "user", "parts": [{"text": "x"}]}, {"role": "model", "parts": [
                {"functionCall": {"name": "f", "args": {}}}]}, {"role": "user", "parts": [{"text": "y"}]}]}, "equal"),
        ]
        for path, body, part in cases:
            error = self.v.json(path, body, VERSION, status=400)
            shape = {CHAT: {"message", "type", "param", "code"}, MESSAGES: {"type", "message"}}
            self.assertEqual(set(error["error"]) - {"details"}, shape.get(path, {"code", "message", "status"}), error)
            self.assertIn(part, error["error"]["message"], body)
        self.assertIn("anthropic-version", self.v.json(MESSAGES, messages(), status=400)["error"]["message"])
        self.assertEqual(self.v.json("/stats")["invalid"], len(cases) + 1)
        self.assertIn("anthropic-version", self.v.json("/last?model=(invalid)")["fault"])
        # what looks alike and is right
        self.v.json(MESSAGES, {"model": "m", "max_tokens": 5, "messages": [user, use, result]}, VERSION)
        self.v.json(MESSAGES, {"model": "m", "max_tokens": 5, "messages": [user, user, said, user]}, VERSION)
        self.v.json(GEMINI, gemini(system_instruction={"parts": [{"text": "x"}]}, generation_config={"max_output_tokens": 3}))
        self.v.json(GEMINI, gemini(tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]))
        self.v.scenario("{lenient: true}")
        self.v.json(CHAT, chat(top_k=3))

    def test_keys_models_context(self):
        self.v.scenario("keys")
        for path, body, header, status in ((CHAT, chat(), "authorization", 401), (MESSAGES, messages(), "x-api-key", 401),
                                           (GEMINI, gemini(), "x-goog-api-key", 400)):
            right = "Bearer sk-right" if header == "authorization" else "sk-right"
            self.v.json(path, body, VERSION, status=status)
            self.v.json(path, body, {**VERSION, header: right + "x"}, status=status)
            self.v.json(path, body, {**VERSION, header: right})
            last = self.v.ask("/last")[2].decode()
            self.assertNotIn("sk-right", last)
            self.assertRegex(last, header + '":"sha256:[0-9a-f]{8}"')
        self.v.scenario("{models: [a], max_context: 20}")
        self.assertEqual(self.v.json(CHAT, chat(), status=404)["error"]["code"], "model_not_found")
        error = self.v.json(CHAT, {**chat("word " * 50), "model": "a"}, status=400)["error"]
        self.assertEqual(error["code"], "context_length_exceeded")

    def test_what_was_sent_is_shown(self):
        self.v.json(CHAT, chat("zażółć", user="u"), {"X-Extra": "e"})
        last = self.v.json("/last?model=m")
        self.assertEqual(json.loads(last["body"]), chat("zażółć", user="u"))
        self.assertEqual((last["path"], last["headers"]["x-extra"]), (CHAT, "e"))
        self.v.json("/last?model=nobody", status=404)
        self.assertIn("did you mean", self.v.json("/scenario", "rulse: []", status=400)["error"])
        self.assertEqual(self.v.ask("/v2/what")[0], 404)


class Scenarios(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.v = Vendor("--threads", 2)

    @classmethod
    def tearDownClass(cls):
        cls.v.__exit__()

    def each(self):
        return ((CHAT, chat()), (MESSAGES, messages()), (GEMINI, gemini()))

    def stream(self, path, body):
        return (GEMINI_STREAM, body) if path == GEMINI else (path, {**body, "stream": True})

    def test_errors(self):
        types = {"429": (429, 429, 429, "rate_limit_error"), "quota": (429, 400, 429, "invalid_request_error"),
                 "500": (500, 500, 500, "api_error"), "503": (503, 503, 503, "api_error"),
                 "529": (503, 529, 503, "overloaded_error"), "401": (401, 401, 400, "authentication_error"),
                 "context_length": (400, 400, 400, "invalid_request_error"),
                 "content_filter": (400, 400, 400, "invalid_request_error")}
        for name, (*statuses, kind) in types.items():
            self.v.scenario(name)
            for (path, body), status in zip(self.each(), statuses):
                for stream in (False, True):
                    where, what = self.stream(path, body) if stream else (path, body)
                    got, head, text = self.v.ask(where, what, VERSION)
                    self.assertEqual(got, status, (name, path))
                    if path == MESSAGES:
                        self.assertEqual(json.loads(text)["error"]["type"], kind)
                    if name == "429":
                        told = (head["retry-after"], head["retry-after-ms"])
                        gemini = path not in (CHAT, MESSAGES)  # in its body alone
                        self.assertEqual(told, (None, None) if gemini else ("1", "250"))
                        self.assertEqual(b'"retryDelay":"0.25s"' in text, gemini)
        self.v.scenario("quota")
        self.assertEqual(self.v.json(CHAT, chat(), status=429)["error"]["code"], "insufficient_quota")
        self.v.scenario("429_then_ok")
        self.assertEqual([self.v.ask(CHAT, chat())[0] for _ in range(4)], [429, 429, 200, 200])
        self.v.scenario("two_vendors")
        self.assertEqual([self.v.ask(CHAT, {**chat(), "model": m})[0] for m in ("bad", "good")], [500, 200])

    def test_a_share_repeats(self):
        runs = []
        for _ in range(2):
            self.v.scenario("500_half")
            runs.append([self.v.ask(CHAT, chat())[0] for _ in range(40)])
        self.assertEqual(runs[0], runs[1])
        self.assertTrue(8 < runs[0].count(500) < 32, runs[0])

    def test_error_in_mid_stream(self):
        self.v.scenario("error_mid_stream")
        for path, body in self.each():
            events = self.v.events(*self.stream(path, body), VERSION)
            self.assertEqual(len(events), 5)
            self.assertIn("error", json.loads(events[-1]))

    def test_slow(self):
        self.v.scenario("slow_first_token")
        began = time.monotonic()
        link = self.v.open(CHAT, chat(stream=True, max_tokens=2))
        self.assertIn(b"200 OK", link.recv(65536))
        self.assertLess(time.monotonic() - began, 1)
        read_all_after = b""
        while b"[DONE]" not in read_all_after:
            read_all_after += link.recv(65536)
        link.close()
        self.assertGreater(time.monotonic() - began, 1.45)
        self.v.scenario("slow_answer")
        began = time.monotonic()
        self.v.json(CHAT, chat())
        self.assertGreater(time.monotonic() - began, 1.45)

    def test_cuts(self):
        for name in ("cut_mid_stream", "cut_mid_event", "cut_head", "reset_mid_stream", "reset"):
            self.v.scenario(name)
            for path, body in self.each():
                got, reset = read_all(self.v.open(*self.stream(path, body), VERSION))
                self.assertEqual(reset, name.startswith("reset"), (name, path, got[-100:]))
                if name in ("cut_mid_stream", "reset_mid_stream") and got:
                    self.assertEqual(got.count(b"\ndata: "), 4, got)
                if name == "cut_mid_stream":
                    self.assertIn(b"data: ", got)
                if name == "cut_mid_event":
                    head, rest = got.split(b"\r\n\r\n", 1)
                    self.assertLess(len(rest), 300 + 60)
                if name == "cut_head":
                    self.assertEqual(len(got), 25)
                if name == "reset":
                    self.assertEqual(got, b"")
                self.assertNotIn(b"\r\n0\r\n\r\n", got)
            self.assertEqual(self.v.json("/stats")["broken"], 3)
        self.v.scenario("cut_mid_event")
        got, _ = read_all(self.v.open(CHAT, chat()))
        head, rest = got.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.assertEqual(len(rest), 300)
        self.assertGreater(length, 300)

    def test_malformed(self):
        self.v.scenario("malformed_sse")
        events = self.v.events(CHAT, chat(stream=True))
        self.assertRaises(ValueError, json.loads, events[3])
        self.assertRaises(ValueError, json.loads, self.v.ask(CHAT, chat())[2])
        self.v.scenario("garbage")
        self.assertIn(b"\xff\xfe", self.v.ask(CHAT, chat(stream=True))[2])
        self.v.scenario("bad_utf8")
        self.assertRaises(UnicodeDecodeError, self.v.ask(CHAT, chat(stream=True))[2].decode)
        self.v.scenario("not_object")
        self.assertEqual(json.loads(self.v.events(CHAT, chat(stream=True))[3]), [1, 2, 3])
        self.v.scenario("huge_line")
        self.assertGreater(max(map(len, self.v.events(CHAT, chat(stream=True)))), (20 << 20) - 1)
        self.v.scenario("no_done")
        self.assertNotIn("[DONE]", self.v.events(CHAT, chat(stream=True)))
        self.assertNotIn("message_stop", self.v.ask(MESSAGES, messages(stream=True), VERSION)[2].decode())
        self.assertNotIn("finishReason", self.v.ask(GEMINI_STREAM, gemini())[2].decode())
        self.v.scenario("wrong_content_type")
        status, head, text = self.v.ask(CHAT, chat())
        self.assertEqual((status, head["content-type"], text[:5]), (200, "text/html; charset=utf-8", b"<!DOC"))

    def test_usage(self):
        self.v.scenario("no_usage")
        for path, body in self.each():
            for where, what in ((path, body), self.stream(path, body)):
                text = self.v.ask(where, what, VERSION)[2]
                self.assertNotIn(b'"usage', text)
        self.v.scenario("usage")
        usage = self.v.json(CHAT, chat())["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (1000, 300))
        self.assertEqual(usage["prompt_tokens_details"], {"cached_tokens": 600, "audio_tokens": 50, "cache_write_tokens": 100})
        self.assertEqual(usage["completion_tokens_details"]["reasoning_tokens"], 120)
        usage = self.v.json(MESSAGES, messages(max_tokens=400), VERSION)["usage"]  # input_tokens are without those of the cache
        self.assertEqual([usage[k] for k in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
                                             "output_tokens")], [300, 600, 100, 300])
        usage = self.v.json(GEMINI, gemini())["usageMetadata"]  # candidates are without thoughts
        self.assertEqual([usage[k] for k in ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount",
                                             "thoughtsTokenCount", "totalTokenCount")], [1000, 600, 180, 120, 1300])

    def test_clients_that_leave(self):
        for name in ("endless", "silent"):
            self.v.scenario(name)
            links = [self.v.open(CHAT, chat(stream=True)) for _ in range(50)]
            self.v.until(lambda s: s["running"] == 50)
            if name == "endless":
                self.assertIn(b"data: ", links[0].recv(1000) + links[0].recv(1000))
            left_ms = time.time() * 1000
            for link in links:
                link.close()
            stats = self.v.until(lambda s: s["running"] == 0)
            self.assertEqual((stats["aborted"], len(stats["aborts"])), (50, 50))
            late = max(a["at_ms"] for a in stats["aborts"]) - left_ms
            self.assertLess(late, 1000)

    def test_slow_bytes(self):
        self.v.scenario("slow_headers")
        began = time.monotonic()
        self.v.json(CHAT, chat())
        self.assertGreater(time.monotonic() - began, 0.5)
        self.v.scenario("drip")
        began = time.monotonic()
        events = self.v.events(CHAT, chat(stream=True))
        self.assertEqual(events[-1], "[DONE]")
        self.assertGreater(time.monotonic() - began, 0.5)

    def test_gzip(self):
        self.v.scenario("gzip")
        _, head, text = self.v.ask(CHAT, chat())
        self.assertEqual(head["content-encoding"], "gzip")
        self.assertEqual(json.loads(gzip.decompress(text))["object"], "chat.completion")
        self.assertIn(b"data: [DONE]", gzip.decompress(self.v.ask(CHAT, chat(stream=True))[2]))
        self.v.scenario("gzip_broken")
        for stream in (False, True):
            self.assertRaises(Exception, gzip.decompress, self.v.ask(CHAT, chat(stream=stream))[2])

    def test_outage(self):
        self.v.scenario("outage")
        link = self.v.open(CHAT, chat())
        read_all(link)
        refused = 0
        for _ in range(20):
            time.sleep(0.02)
            try:
                socket.create_connection(self.v.address, timeout=2).close()
            except ConnectionRefusedError:
                refused += 1
        self.assertGreater(refused, 10)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                self.assertEqual(self.v.json(CHAT, chat())["object"], "chat.completion")
                return
            except (ConnectionError, http.client.HTTPException):
                time.sleep(0.05)
        self.fail("it never came back")

    def test_what_is_said(self):
        tools = [{"type": "function", "function": {"name": n, "parameters": TOOL}} for n in ("get_weather", "get_time")]
        self.v.scenario("tool_calls")
        calls = self.v.json(CHAT, chat(tools=tools))["choices"][0]["message"]["tool_calls"]
        self.assertEqual([c["function"]["name"] for c in calls], ["get_weather", "get_time"])
        self.assertEqual(json.loads(calls[0]["function"]["arguments"]), {"city": "Zürich"})
        self.assertEqual(len(self.v.json(CHAT, chat(tools=tools, parallel_tool_calls=False))["choices"][0]["message"]["tool_calls"]), 1)
        indices = {c["index"] for e in self.v.events(CHAT, chat(tools=tools, stream=True))[:-1]
                   for c in json.loads(e)["choices"][0]["delta"].get("tool_calls", [])}
        self.assertEqual(indices, {0, 1})
        self.v.scenario("reasoning")
        self.assertEqual(self.v.json(CHAT, chat())["choices"][0]["message"]["content"], "The bridge holds.")
        blocks = self.v.json(MESSAGES, messages(), VERSION)["content"]
        self.assertEqual([b["type"] for b in blocks], ["thinking", "text"])
        events = [json.loads(e) for e in self.v.events(MESSAGES, messages(stream=True), VERSION)]
        thoughts = "".join(e["delta"].get("thinking", "") for e in events if e["type"] == "content_block_delta")
        self.assertEqual(thoughts, blocks[0]["thinking"])
        self.assertEqual([p.get("thought") for p in self.v.json(GEMINI, gemini())["candidates"][0]["content"]["parts"]], [True, None])
        self.v.scenario("refusal")
        self.assertEqual(self.v.json(CHAT, chat())["choices"][0]["message"]["refusal"], "I can't help with that.")
        self.assertEqual(self.v.json(MESSAGES, messages(), VERSION)["stop_reason"], "refusal")
        self.assertIn("promptFeedback", self.v.json(GEMINI, gemini()))
        self.v.scenario("echo")
        self.assertEqual(self.v.json(CHAT, chat("wie weit?"))["choices"][0]["message"]["content"], "wie weit?")

    def test_many_paced_streams(self):
        self.v.scenario("{rules: [{match: {stream: only}, events: 6, event_bytes: 100, event_ms: 100}]}")
        links = [self.v.open(CHAT, chat(stream=True)) for _ in range(300)]
        began = time.monotonic()
        for link in links:
            got = b""
            while b"[DONE]" not in got:
                got += link.recv(65536)
            link.close()
            numbers = [int(piece[:9]) for piece in got.split(b'"content":"')[2:]]
            self.assertEqual(numbers, list(range(6)))
        self.assertLess(time.monotonic() - began, 5)
        self.v.until(lambda s: s["ended"] == 300 and s["peak"] == 300)


FORCED = {"input": 1234, "output": 567, "cached": 200, "cache_write": 30, "reasoning": 40, "audio_input": 5, "audio_output": 6}
PARTS = ("input", "cached", "cache_write", "audio_input", "output", "reasoning", "audio_output")
PRICE_KEYS = {"input": "input_usd_per_mtok", "cached": "cached_input_usd_per_mtok", "cache_write": "cache_write_usd_per_mtok",
              "audio_input": "audio_input_usd_per_mtok", "output": "output_usd_per_mtok",
              "reasoning": "reasoning_usd_per_mtok", "audio_output": "audio_output_usd_per_mtok"}


def bill(price, tally):
    """Nano-USD, by fractions; price: texts."""
    plain = {**tally, "input": tally["input"] - tally["cached"] - tally["cache_write"] - tally["audio_input"],
             "output": tally["output"] - tally["reasoning"] - tally["audio_output"]}
    def rate(part):
        side = "input" if part in PARTS[:4] else "output"
        return fractions.Fraction(price.get(PRICE_KEYS[part], price[PRICE_KEYS[side]]))
    usd = fractions.Fraction(price.get("request_usd", "0")) + sum(rate(p) * plain[p] for p in PARTS) / 10**6
    return math.ceil(usd * 10**9)


class Books(unittest.TestCase):
    def start(self, scenario, *args):
        vendor = self.enterContext(Vendor(*args))
        vendor.json("/scenario", json.dumps(scenario))
        return vendor

    def books(self, v, n, query="?last=10000"):
        """Once so many calls are in them."""
        v.until(lambda s: s["requests"] == n and not s["running"])
        return v.json("/books" + query)

    PLAIN = {"model": "*", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1000}

    def test_every_call_to_the_nano(self):
        price = {"input_usd_per_mtok": "0.152345", "output_usd_per_mtok": "0.600001", "cached_input_usd_per_mtok": "0.07",
                 "cache_write_usd_per_mtok": "0.19", "audio_input_usd_per_mtok": "10", "reasoning_usd_per_mtok": "1.1",
                 "audio_output_usd_per_mtok": "20.000003", "request_usd": "0.000000007"}
        bare = {"input_usd_per_mtok": "3", "output_usd_per_mtok": "15"}
        dice = random.Random(7)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "books.jsonl")
            v = self.start({}, "--books", path)
            expected = {}
            for i in range(150):
                usage = {k: dice.randrange(50) for k in PARTS}
                usage["input"] = 200 + dice.randrange(10**dice.randrange(1, 9))
                usage["output"] = 100 + dice.randrange(10**dice.randrange(1, 6))
                v.json("/scenario", json.dumps({
                    "prices": [{"model": "m", **{k: float(x) for k, x in price.items()}},
                               {"model": "gem*", **{k: float(x) for k, x in bare.items()}}],
                    "rules": [{"usage": usage}]}))
                api = dice.choice(["chat", "messages", "generate", "embeddings", "unknown"])
                head = {"x-request-id": f"call-{i}", "authorization": f"Bearer sk-{i % 3}"}
                if api == "chat":
                    v.ask(CHAT, chat(stream=bool(i % 2)), head)
                elif api == "unknown":
                    v.ask(CHAT, {**chat(), "model": "nobody"}, head)
                elif api == "messages":
                    v.ask(MESSAGES, messages(stream=bool(i % 2), max_tokens=10**7), {**head, **VERSION})
                elif api == "generate":
                    v.ask(GEMINI_STREAM if i % 2 else GEMINI, gemini(), head)
                else:
                    v.ask("/v1/embeddings", {"model": "m", "input": "x"}, head)
                tally = dict(usage)
                if api == "messages":  # its usage has no words for these
                    tally.update(audio_input=0, reasoning=0, audio_output=0)
                if api == "generate":
                    tally.update(cache_write=0)
                if api == "embeddings":
                    tally.update(output=0, reasoning=0, audio_output=0)
                nano = None if api == "unknown" else bill(bare if api == "generate" else price, tally)
                expected[f"call-{i}"] = (api.replace("unknown", "chat"), nano, [tally[p] for p in PARTS])
            books = self.books(v, 150)
            got = {c["request_id"]: (c["api"], c["nano_usd"], [c[p] for p in PARTS]) for c in books["last"]}
            self.assertEqual(got, expected)
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            self.assertEqual(lines, books["last"])
            total = sum(nano for _, nano, _ in expected.values() if nano is not None)
            self.assertEqual((books["nano_usd"], v.json("/stats")["nano_usd"]), (total, total))
            for names in ("models", "keys"):
                self.assertEqual(sum(a["nano_usd"] for a in books[names].values()), total)
                self.assertEqual(sum(a["calls"] for a in books[names].values()), 150)
            self.assertEqual(set(books["models"]), {"m", "gemini-x", "nobody"} - ({"nobody"} if not books["unpriced"] else set()))
            self.assertEqual(len(books["keys"]), 3)
            self.assertEqual(books["models"]["nobody"]["nano_usd"], 0)
            self.assertEqual((books["billed"], books["lost"]), (150, 0))
            self.assertEqual(books["unpriced"], books["models"]["nobody"]["calls"])
            self.assertEqual([c["request_id"] for c in v.json("/books?last=2")["last"]], ["call-148", "call-149"])
            self.assertEqual([c["request_id"] for c in v.json("/books?request_id=call-7")["last"]], ["call-7"])
            self.assertEqual(v.json("/books")["last"], [])
            v.json("/reset", "")
            self.assertEqual(v.json("/books?last=5"), {**v.json("/books"), "calls": 0, "nano_usd": 0, "last": []})
            self.assertEqual(len(path.read_text().splitlines()), 150)

    def test_what_is_not_billed(self):
        v = self.start({"prices": [self.PLAIN]})
        n = 0
        for name in ("429", "500", "529", "content_filter", "reset", "wrong_content_type"):
            scenario = {"prices": [self.PLAIN]}
            text = (SCENARIOS / f"{name}.yaml").read_text()
            v.json("/scenario", text + "\nprices: [{model: '*', input_usd_per_mtok: 1, output_usd_per_mtok: 1000}]\n")
            try:
                v.ask(CHAT, chat())
            except OSError:
                pass
            n += 1
        v.ask(CHAT, {"model": "m"})  # refused as malformed: not even a call
        books = self.books(v, n)
        self.assertEqual((books["calls"], books["billed"], books["nano_usd"]), (n, 0, 0), books["last"])

    def test_clients_that_leave_pay_for_what_was_made(self):
        rule = {"tokens": 1000, "per_token_ms": 20}
        v = self.start({"prices": [self.PLAIN], "rules": [rule]})
        for i, (path, body) in enumerate(((CHAT, chat(stream=True)), (MESSAGES, messages(stream=True, max_tokens=2000)),
                                          (GEMINI_STREAM, gemini()))):
            link = v.open(path, body, VERSION)
            got = b""
            while got.count(b"data: ") < 12:
                got += link.recv(65536)
            link.close()
            call = self.books(v, i + 1)["last"][-1]
            self.assertEqual((call["end"], call["billed"], call["partial"]), ("gone", True, True))
            tokens = got.count(b'"content":"') - 1 if path == CHAT else got.count(b"text_delta") or got.count(b'"parts"')
            self.assertTrue(tokens <= call["output"] <= tokens + 50, (tokens, call))
            self.assertEqual(call["nano_usd"], call["input"] * 1000 + call["output"] * 1000000)
        link = v.open(CHAT, chat())  # a whole answer, a fifth of a second of which is made
        time.sleep(0.2)
        link.close()
        call = self.books(v, 4)["last"][-1]
        self.assertTrue(5 <= call["output"] <= 60 and call["partial"], call)
        v.json("/scenario", json.dumps({"prices": [self.PLAIN], "rules": [{"silent": True}]}))
        v.open(CHAT, chat()).close()
        call = self.books(v, 5)["last"][-1]
        self.assertEqual((call["billed"], call["output"], call["nano_usd"]), (True, 0, call["input"] * 1000))
        self.assertGreater(call["input"], 0)

    def test_answers_that_end_early(self):
        v = self.start({"prices": [self.PLAIN], "rules": [{"tokens": 100, "cut": {"events": 11}}]})
        read_all(v.open(CHAT, chat(stream=True)))  # the first event has no token
        call = self.books(v, 1)["last"][-1]
        self.assertEqual((call["output"], call["end"], call["partial"]), (10, "broken", True))
        v.json("/scenario", json.dumps({"prices": [self.PLAIN], "rules": [
            {"tokens": 100, "error": {"kind": "server", "after_events": 6}}]}))
        v.ask(CHAT, chat(stream=True))
        self.assertEqual(self.books(v, 2)["last"][-1]["output"], 5)
        v.json("/scenario", json.dumps({"prices": [self.PLAIN], "rules": [  # a known sum is shared out over the pieces
            {"tokens": 100, "usage": {"output": 1000, "reasoning": 200}, "cut": {"events": 11}}]}))
        read_all(v.open(CHAT, chat(stream=True)))
        call = self.books(v, 3)["last"][-1]
        self.assertEqual((call["output"], call["reasoning"]), (200 + 80, 200))

    def test_max_tokens(self):
        """No answer and no bill is longer than it may be, whatever it is made of, unless the vendor ignores that."""
        finish = {CHAT: lambda a: (a["choices"][0]["finish_reason"], a["usage"]["completion_tokens"]),
                  MESSAGES: lambda a: (a["stop_reason"], a["usage"]["output_tokens"]),
                  GEMINI: lambda a: (a["candidates"][0]["finishReason"], a["usageMetadata"].get("candidatesTokenCount", 0)
                                     + a["usageMetadata"].get("thoughtsTokenCount", 0))}
        word = {CHAT: ("length", "stop"), MESSAGES: ("max_tokens", "end_turn"), GEMINI: ("MAX_TOKENS", "STOP")}
        rules = [{"tokens": 100}, {"usage": {"output": 100}}, {"reasoning": "one two three four five six seven eight nine"},
                 {"tokens": 4, "usage": {"reasoning": 50}}, {"text": "a b c d e f g h i"}]
        v = self.start({})

        def bodies(most):
            return ((CHAT, chat(max_completion_tokens=most)), (MESSAGES, messages(max_tokens=most)),
                    (GEMINI, gemini(generationConfig={"maxOutputTokens": most})))
        n = 0
        for rule in rules:
            for ignores in (False, True):
                v.json("/scenario", json.dumps({"prices": [self.PLAIN], "rules": [{**rule, "ignore_max_tokens": ignores}]}))
                for path, body in bodies(7):
                    with self.subTest(path, rule=rule, ignores=ignores):
                        why, tokens = finish[path](v.json(path, body, VERSION))
                        self.assertEqual(why, word[path][ignores])
                        self.assertTrue(tokens > 7 if ignores else tokens == 7, tokens)
                        n += 1
                        self.assertEqual(self.books(v, n)["last"][-1]["output"], tokens)
                        where, streamed = (GEMINI_STREAM, body) if path == GEMINI else (path, {**body, "stream": True})
                        text = v.ask(where, streamed, VERSION)[2].decode()
                        self.assertEqual(f'"{word[path][0]}"' in text, not ignores)
                        n += 1
                        self.assertEqual(self.books(v, n)["last"][-1]["output"], tokens)
                for path, body in bodies(5000):  # long enough: nothing is cut
                    self.assertEqual(finish[path](v.json(path, body, VERSION))[0], word[path][1])
                    n += 1
        v.json("/scenario", json.dumps({"rules": [{"reasoning": "one two three four", "text": "a b c d e f g h"}]}))
        message = v.json(CHAT, chat(max_tokens=7))["choices"][0]["message"]  # four were thought, three are said
        self.assertEqual((message["reasoning_content"], message["content"]), ("one two three four", "a b c"))
        message = v.json(CHAT, chat(max_tokens=3))["choices"][0]["message"]
        self.assertEqual((message["reasoning_content"], message["content"]), ("one two three", ""))
        v.json("/scenario", (SCENARIOS / "ignores_max_tokens.yaml").read_text())
        self.assertEqual(v.json(CHAT, chat(max_tokens=5))["usage"]["completion_tokens"], 400)
        tools = [{"type": "function", "function": {"name": "f", "parameters": TOOL}}]
        v.scenario("{rules: [{tools: always}]}")
        answer = v.json(CHAT, chat(max_tokens=5, tools=tools))["choices"][0]
        self.assertEqual((answer["finish_reason"], answer["message"].get("tool_calls")), ("length", None))
        self.assertEqual(v.json(CHAT, chat(max_tokens=500, tools=tools))["choices"][0]["finish_reason"], "tool_calls")
        self.assertEqual(v.json(CHAT, chat(n=3, max_tokens=4))["usage"]["completion_tokens"], 12)


class Command(unittest.TestCase):
    def test_outcomes(self):
        lines = [{"id": "1", "prompt": "How far?", "outcomes": {"m": {"quality": 1, "input_tokens": 70, "output_tokens": 40,
                                                                       "latency_ms": 1000}}}]
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            with Vendor("--outcomes", file.name, "--speed", 4) as v:
                began = time.monotonic()
                body = {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "How far?"}]}
                usage = v.json(CHAT, body)["usage"]
                self.assertTrue(0.24 < time.monotonic() - began < 1)
                self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (70, 40))
                began = time.monotonic()
                self.assertEqual(len(v.events(CHAT, {**body, "stream": True})), 43)
                self.assertTrue(0.2 < time.monotonic() - began < 1)
                self.assertEqual(v.json(CHAT, chat("Unknown?"))["usage"]["completion_tokens"], 16)
                self.assertEqual(v.json("/v1/models")["data"][0]["id"], "m")

    def test_mistakes(self):
        for args, status, part in ((["--thread", "x"], 2, "--threads"), (["--nope"], 2, "--help"), (["--speed", "0"], 2, "above 0"),
                                   (["--scenario", "/nowhere"], 1, "/nowhere"), (["--books", "/no/where"], 1, "/no/where"), (["--listen", "nonsense"], 1, "nonsense")):
            done = subprocess.run([VENDOR, *args], capture_output=True, text=True, timeout=20)
            self.assertEqual((done.returncode, done.stdout), (status, ""), args)
            self.assertIn(part, done.stderr)
        self.assertIn("Usage: weir-vendor", subprocess.run([VENDOR, "--help"], capture_output=True, text=True).stdout)

    def test_ends_with_streams_under_way(self):
        with Vendor("--scenario", SCENARIOS / "endless.yaml") as v:
            links = [v.open(CHAT, chat(stream=True)) for _ in range(20)]
            v.until(lambda s: s["running"] == 20)
        for link in links:
            read_all(link)


if __name__ == "__main__":
    skipping.main()
