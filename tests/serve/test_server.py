"""What is not about the answers: bytes that are no request, who may ask, and who waits."""

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import tokenizers
import torch
from starlette.requests import Request
from tokenizers.processors import TemplateProcessing

from malmoi.core.errors import UserError
from malmoi.generate.dialogue import Dialogue
from malmoi.serve.engine import Engine
from malmoi.serve.errors import ApiError
from malmoi.serve.guard import is_loopback
from malmoi.serve.requests import BODY_LIMIT, ChatRequest, read_request
from malmoi.serve.run import ServeOptions, bind
from malmoi.tokenizers.tokenizer import Tokenizer

CHAT = {"messages": [{"role": "user", "content": "안녕"}], "max_tokens": 3}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}",
             b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b'{"messages": "x"}', b'{"prompt": "x"}',
             b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', b'{"\\ud800": 1}']
)  # fmt: skip
def test_any_bytes_get_an_answer_of_the_right_shape(address, body):
    response = httpx.post(f"{address}/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "way_out"),
    [
        ("안녕".encode("cp949"), "it is not UTF-8. Send it as UTF-8."),
        (b"[" * 100_000, "it is nested too deeply. Send"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "a number has too many digits. Send a shorter one."),
        (b"hello", "line 1 column 1 (char 0). Send one object, from { to }."),
        (b"[]", "it is no object. Send one, from { to }."),
    ],
)
def test_what_is_no_json_is_told_what_to_send(address, body, way_out):
    message = httpx.post(f"{address}/v1/chat/completions", content=body).json()["error"]["message"]
    assert "The request cannot be read as JSON: " in message
    assert way_out in message


def test_what_stands_before_every_text_of_a_vocabulary_stands_before_a_prompt(model, tokenizer, serving):
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    begin = ("<|im_start|>", backend.token_to_id("<|im_start|>"))
    backend.post_processor = TemplateProcessing(single="<|im_start|> $A", special_tokens=[begin])
    with serving(Engine(model, Tokenizer(backend), "tiny")) as address:
        answer = httpx.post(f"{address}/v1/completions", json={"prompt": "여우가", "max_tokens": 1}).json()
    assert answer["usage"]["prompt_tokens"] == 1 + len(tokenizer.encode("여우가"))


def test_an_answer_is_the_same_in_pieces_and_whole_and_in_a_dialogue(make_model, llama_tokenizer, serving):
    model, heard = make_model(vocabulary=llama_tokenizer.size), []
    body = {"messages": [{"role": "user", "content": "여우?"}], "temperature": 1, "max_tokens": 12}
    with serving(Engine(model, llama_tokenizer, "tiny")) as address:
        url = f"{address}/v1/chat/completions"
        for seed in range(6):
            asked = body | {"seed": seed}
            whole = httpx.post(url, json=asked).json()["choices"][0]["message"]["content"]
            events = httpx.post(url, json=asked | {"stream": True}).text.removesuffix("data: [DONE]\n\n").split("\n\n")
            chunks = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"] for event in events if event]
            assert "".join(chunk.get("content", "") for chunk in chunks) == whole
            heard.append(whole)
    for seed, whole in enumerate(heard):
        dialogue = Dialogue(model, llama_tokenizer, ChatRequest.model_validate(body | {"seed": seed}).sampling())
        assert "".join(piece.text for piece in dialogue.answer("여우?")) == whole


def test_a_request_too_large_is_not_read_to_its_end(address):
    response = httpx.post(f"{address}/v1/completions", content=b"x" * (BODY_LIMIT + 1))
    assert response.status_code == 413


def test_a_client_that_leaves_within_its_request_is_no_mistake_of_the_server():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(ApiError, match="The client left"):
        asyncio.run(read_request(ChatRequest, Request({"type": "http"}, receive)))


def test_unknown_routes_and_methods_are_answered_in_the_same_shape(address):
    assert httpx.get(f"{address}/v1/nothing").json()["error"]["type"] == "not_found_error"
    assert httpx.get(f"{address}/v1/completions").status_code == 405
    assert httpx.get(f"{address}/docs").status_code == 404
    assert httpx.get(f"{address}/health").json() == {"status": "ok"}


def test_names_that_do_not_mean_this_machine_are_refused(address):
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[bad"):
        assert httpx.get(f"{address}/v1/models", headers={"Host": host}).status_code == 403
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert httpx.get(f"{address}/v1/models", headers={"Host": host}).status_code == 200


def test_pages_of_other_origins_are_refused(address):
    url = f"{address}/v1/chat/completions"
    for origin in ("https://evil.example", "null", "http://["):
        assert httpx.post(url, json=CHAT, headers={"Origin": origin}).status_code == 403
    assert httpx.post(url, json=CHAT, headers={"Origin": address}).status_code == 200


def test_a_key_is_asked_for(serving, model, tokenizer):
    with serving(Engine(model, tokenizer, "tiny"), api_key="열쇠-secret") as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/").status_code == 200
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0).models.list()
        header = {"Authorization": "Bearer 열쇠-secret".encode()}
        assert httpx.get(f"{url}/v1/models", headers=header).status_code == 200


def test_the_outside_needs_a_key_and_a_taken_port_is_said_to_be_taken():
    with pytest.raises(UserError, match="--api-key"):
        bind(ServeOptions("0.0.0.0", 0, None, "x"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} of 127.0.0.1 is in use"):
            bind(ServeOptions("127.0.0.1", port, None, "x"))
    for host in ("no.such.host.invalid", ".local", "x" * 64):
        with pytest.raises(UserError, match="no address"):
            bind(ServeOptions(host, 0, "key", "x"))


def test_what_is_loopback():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "example.com", "")))


def test_the_page_asks_nobody_else(address):
    response = httpx.get(address)
    assert "default-src 'none'" in response.headers["content-security-policy"]
    for name in ("chat.js", "stream.js", "words.js", "chat.css", "mark.svg"):
        part = httpx.get(f"{address}/page/{name}")
        assert part.status_code == 200
        assert "http" not in part.text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in part.text
    for name in ("../app.py", "%2e%2e/app.py", "nothing.js"):
        assert httpx.get(f"{address}/page/{name}").status_code == 404


def test_the_page_says_everything_in_both_languages(address):
    text = httpx.get(f"{address}/page/words.js").text
    words = json.loads(text.removeprefix("export const words = ").rstrip().removesuffix(";"))
    assert words["en"].keys() == words["ko"].keys()
    for name, english in words["en"].items():
        assert sorted(part for part in english.split() if "{" in part) != [] or "{" not in words["ko"][name]


@pytest.fixture
def slow(make_model, tokenizer):
    """A model that needs its time, and how many tokens it has read one by one."""
    model = make_model(context=4096)
    steps: list[float] = []
    model.register_forward_pre_hook(lambda *_: (steps.append(time.monotonic()), time.sleep(0.01))[0])
    return Engine(model, tokenizer, "tiny", waiting=1), steps


LONG = {"prompt": "Once", "max_tokens": 4000, "temperature": 0, "stream": True}  # greedily it goes round in circles


def until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_gives_the_model_back(serving, slow, stream):
    engine, steps = slow
    with serving(engine) as url:
        if stream:
            with httpx.stream("POST", f"{url}/v1/completions", json=LONG) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/completions", json=LONG | {"stream": False}, timeout=0.5)
        assert until(lambda: time.monotonic() - steps[-1] > 0.5)
        assert len(steps) < 1000
        answer = httpx.post(f"{url}/v1/completions", json={"prompt": "Once", "max_tokens": 2})
        assert answer.status_code == 200


@pytest.mark.parametrize("asked", [CHAT, {"prompt": "안녕", "max_tokens": 3}], ids=["chat", "text"])
def test_nobody_waits_for_the_tokens_of_a_long_prompt(serving, model, tokenizer, monkeypatch, asked):
    begun, go, encode = threading.Event(), threading.Event(), Tokenizer.encode_with_places

    def slowly(*arguments, **options):
        begun.set()
        go.wait(20)
        return encode(*arguments, **options)

    monkeypatch.setattr(Tokenizer, "encode_with_places", slowly)
    with serving(Engine(model, tokenizer, "tiny")) as url, ThreadPoolExecutor() as threads:
        path = "chat/completions" if "messages" in asked else "completions"
        answer = threads.submit(httpx.post, f"{url}/v1/{path}", json=asked, timeout=30)
        try:
            assert begun.wait(10)
            assert httpx.get(f"{url}/health", timeout=5).is_success
        finally:
            go.set()
        assert answer.result().is_success


def test_one_answer_at_a_time_a_few_wait_the_rest_is_told_so(serving, slow):
    engine, _ = slow
    with serving(engine) as url:
        statuses, go = [], threading.Event()

        def ask():
            with httpx.stream("POST", f"{url}/v1/completions", json=LONG) as response:
                statuses.append(response.status_code)
                go.wait()

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert until(lambda: statuses == [200, 200])
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
            with pytest.raises(openai.RateLimitError):
                client.completions.create(model="tiny", prompt="x")
        finally:
            go.set()
            for thread in threads:
                thread.join()
        assert until(lambda: httpx.post(f"{url}/v1/completions", json={"prompt": "x", "max_tokens": 1}).is_success)


def test_a_model_that_fails_is_an_error_in_the_stream_and_not_the_end(serving, make_model, tokenizer):
    model = make_model()
    with serving(Engine(model, tokenizer, "tiny")) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        whole = model.embedding.weight.data.clone()
        model.embedding.weight.data.fill_(torch.nan)
        with pytest.raises(openai.APIError, match="not a number"):
            list(client.completions.create(model="tiny", prompt="x", stream=True))
        with pytest.raises(openai.BadRequestError, match="not a number"):
            client.completions.create(model="tiny", prompt="x")
        model.embedding.weight.data.copy_(whole)
        assert client.completions.create(model="tiny", prompt="x").choices


def test_a_base_model_without_a_template_says_so(serving, model, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with serving(Engine(model, tokenizer, "tiny")) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json=CHAT)
        assert response.status_code == 400
        assert "/v1/completions" in response.json()["error"]["message"]
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["chat"] is False
