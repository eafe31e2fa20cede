"""The language-model agent against a real HTTP server on this machine."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from longlive_env.agents import LLMAgent, make_agent, play_episode
from longlive_env.agents.chat import ChatEndpoint
from longlive_env.agents.llm import as_data_url, first_line
from longlive_env.engine.world import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.errors import AgentError

CAT, CAR = "a red cat jumps in the city", "a blue car moves left on the beach"


class Server:
    """Answers in turn what it is told to: a text, "hang", or (status, headers, body); the last goes on."""

    def __init__(self) -> None:
        self.answers: list[Any] = [CAR]
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if answer == "hang":
                    released.wait(30)
                    return
                if isinstance(answer, str):
                    answer = (200, {}, json.dumps({"choices": [{"message": {"content": answer}}]}))
                status, headers, text = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None: ...

        self.released = released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def endpoint(self, **settings: Any) -> ChatEndpoint:
        return ChatEndpoint(self.url, "some-model", **{"backoff_s": 0.0, **settings})


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def failed(status: int, message: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
    return status, headers, json.dumps({"error": {"message": message}})


def test_models_that_reason_are_asked_as_they_want_it(server: Server) -> None:
    wants = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    server.answers = [failed(400, wants), "fine"]
    assert server.endpoint().complete([], max_tokens=9) == "fine"
    assert [sorted(body) for _, _, body in server.requests] == [
        ["max_tokens", "messages", "model"],
        ["max_completion_tokens", "messages", "model"],
    ]
    silent = {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}
    server.answers = [(200, {}, json.dumps(silent))]
    with pytest.raises(AgentError, match="some-model came to the end of its tokens before it said anything"):
        server.endpoint().complete([], max_tokens=9)


def test_an_episode(server: Server, small_world: World) -> None:
    server.answers = [f'\n"{CAR}"\nIt drives away.', CAT]
    agent = LLMAgent("a snail on the moon", every=3, endpoint=server.endpoint(key="secret"))
    episode = play_episode(PromptEnv(small_world), agent, seed=1, options={"prompt": CAT}, steps=5)
    assert episode.prompts == (CAT, CAR, CAR, CAR, CAT, CAT)  # asked at blocks 0 and 3
    assert len(server.requests) == 2
    path, headers, body = server.requests[1]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert body["model"] == "some-model" and body["messages"][0]["role"] == "system"
    text, picture = body["messages"][1]["content"]
    assert text["text"].index(CAT) < text["text"].index(CAR)  # prompts so far
    assert "a snail on the moon" in text["text"] and "lunar surface" in text["text"]
    data = picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (48, 32)


def test_a_model_without_eyes_is_told_what_is_seen(
    server: Server, small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLIVE_LLM_EYES", "probe")
    env = PromptEnv(small_world, task="goal")
    play_episode(env, LLMAgent(endpoint=server.endpoint()), seed=1, options={"prompt": CAT}, steps=1)
    instructions, question = server.requests[0][2]["messages"]
    assert "You are told what its newest frames show." in instructions["content"]
    first = PromptEnv(small_world, task="goal").reset(seed=1, options={"prompt": CAT})[1]
    assert f"What the newest frames show: {first['seen']}\n" in question["content"]
    one = small_world
    models = (one.transformer, one.codec, one.text_encoder, one.tokenizer)
    other = World(replace(one.config, vocabulary=""), *models)
    with pytest.raises(AgentError, match=r"cannot see world 'tiny', .* vocabulary ''; .*LLM_EYES=picture"):
        play_episode(PromptEnv(other), LLMAgent(endpoint=server.endpoint()), options={"prompt": CAT}, steps=1)
    monkeypatch.setenv("LONGLIVE_LLM_EYES", "nose")
    with pytest.raises(AgentError, match="LONGLIVE_LLM_EYES is 'nose'; expected picture or probe"):
        LLMAgent(endpoint=server.endpoint())
    with pytest.raises(AgentError, match=r"^eyes is 'nose'; expected picture or probe"):
        LLMAgent(endpoint=server.endpoint(), eyes="nose")  # type: ignore[arg-type]


def test_a_prompt_that_lacks_something_is_asked_for_again(server: Server, small_world: World) -> None:
    server.answers = ["it jumps in the city", CAR]
    options, agent = {"prompt": CAT}, LLMAgent(endpoint=server.endpoint())
    assert play_episode(PromptEnv(small_world), agent, seed=1, options=options, steps=1).prompts[1] == CAR
    assert "it names no subject" in server.requests[1][2]["messages"][-1]["content"]
    for answer, reason in (
        ("a red cat jumps", "no place"),
        ("", "is empty"),
        ("cat " * 999, "takes at most 2048"),
        ("a red cat jumps in the city" + " now" * 50, "is longer than"),
    ):
        server.answers = [answer]
        assert play_episode(PromptEnv(small_world), agent, seed=1, options=options, steps=1).prompts[1] == CAT
        assert reason in server.requests[-1][2]["messages"][-1]["content"]


def test_trouble_that_passes_is_waited_for(server: Server) -> None:
    server.answers = [failed(429, **{"Retry-After": "0"}), failed(500), failed(503), "fine"]
    assert server.endpoint(tries=4).complete([], max_tokens=9) == "fine"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answer", "tries", "message"),
    [
        (failed(503, "overloaded"), 3, "answered with status 503: overloaded$"),
        (failed(401, "bad key"), 1, "status 401: bad key; check the key in the environment"),
        (failed(404), 1, r"status 404; check the address and the model's name \(some-model\)"),
        ((307, {"Location": "http://127.0.0.1:9/"}, ""), 1, "answered with status 307$"),
        ((200, {}, "<html>"), 1, "answered something else than a chat completion"),
        ((200, {}, '{"choices": []}'), 1, "answered something else than a chat completion"),
        ("hang", 2, "timed out.* after 2 attempts; check the network"),
    ],
)
def test_trouble_that_stays(server: Server, answer: Any, tries: int, message: str) -> None:
    server.answers = [answer]
    endpoint = server.endpoint(
        tries=tries if answer == "hang" else 3, timeout_s=0.2 if answer == "hang" else 20.0
    )
    with pytest.raises(AgentError, match=message) as caught:
        endpoint.complete([], max_tokens=9)
    assert len(server.requests) == tries and "\n" not in str(caught.value)


def test_nobody_is_there(server: Server) -> None:
    server.close()
    with pytest.raises(AgentError, match=r"cannot reach http://127.0.0.1:\d+/v1 \(.*refused.*\) after 2 "):
        server.endpoint(tries=2).complete([], max_tokens=9)


def test_the_key_stays_secret() -> None:
    assert "secret" not in repr(ChatEndpoint("https://example.org/v1", "m", "secret"))
    ChatEndpoint("http://localhost:1/v1", "m", "secret")
    with pytest.raises(AgentError, match="would carry the key in the open"):
        ChatEndpoint("http://example.org/v1", "m", "secret")
    with pytest.raises(AgentError, match="is not an address"):
        ChatEndpoint("localhost:11434", "m")


def test_the_environment(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for name in ("LONGLIVE_LLM_URL", "LONGLIVE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AgentError, match="no model is named; set LONGLIVE_LLM_MODEL"):
        make_agent("llm")
    monkeypatch.setenv("LONGLIVE_LLM_MODEL", "some-model")
    monkeypatch.setenv("LONGLIVE_LLM_URL", "")  # as if it were not there
    with pytest.raises(AgentError, match="needs a key; set OPENAI_API_KEY, or LONGLIVE_LLM_URL"):
        make_agent("llm:a snail on the moon")
    monkeypatch.setenv("LONGLIVE_LLM_URL", server.url)
    assert isinstance(make_agent("llm"), LLMAgent)
    with pytest.raises(AgentError, match="every is 0"):
        LLMAgent(every=0)


def test_answers_are_cleaned() -> None:
    assert first_line('\n\n- "a cat  waits"\nmore') == "a cat waits"
    assert first_line("``` ```\n") == ""


def test_large_frames_are_made_small() -> None:
    data = as_data_url(np.zeros((480, 832, 3), np.uint8)).removeprefix("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 185)
