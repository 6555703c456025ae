"""A server on a free loopback port, in a thread of its own."""

import contextlib
import threading
import time
from collections.abc import Iterator

import openai
import pytest
import uvicorn

from malmoi.serve.app import build_app
from malmoi.serve.engine import Engine
from malmoi.serve.run import ServeOptions, bind


@contextlib.contextmanager
def serve(engine: Engine, api_key: str | None = None, loopback: bool = True) -> Iterator[str]:
    """The address of a server that lives as long as the block."""
    listener = bind(ServeOptions("127.0.0.1", 0, api_key, engine.name))
    app = build_app(engine, loopback=loopback, api_key=api_key)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def serving():
    """`serve`, for tests that need a server of their own."""
    return serve


@pytest.fixture(scope="session")
def engine(model, tokenizer):
    return Engine(model, tokenizer, "tiny")


@pytest.fixture(scope="session")
def address(engine):
    with serve(engine) as url:
        yield url


@pytest.fixture(scope="session")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=20) as made:
        yield made
