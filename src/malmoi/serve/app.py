"""The routes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from malmoi.core.errors import UserError
from malmoi.generate.generator import Piece, PromptTooLong
from malmoi.generate.score import score
from malmoi.serve.engine import Engine, Generation
from malmoi.serve.errors import ApiError, client_left
from malmoi.serve.guard import Guard
from malmoi.serve.page_files import page_file
from malmoi.serve.requests import ChatRequest, CompletionRequest, GenerationRequest, read_request
from malmoi.serve.responses import DONE, Answer, event, logprobs_field
from malmoi.tokenizers.chat import encode_prompt

log = logging.getLogger(__name__)


def build_app(engine: Engine, *, loopback: bool, api_key: str | None) -> ASGIApp:
    """The server as an ASGI application."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    routes = Routes(engine)
    app.add_api_route("/", routes.page, methods=["GET"], response_class=Response)
    app.add_api_route("/page/{name}", routes.page, methods=["GET"], response_class=Response)
    app.add_api_route("/health", routes.health, methods=["GET"])
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", routes.model, methods=["GET"])
    app.add_api_route("/v1/chat/completions", routes.chat, methods=["POST"], response_class=Response)
    app.add_api_route("/v1/completions", routes.completions, methods=["POST"], response_class=Response)
    app.add_exception_handler(Exception, answer_error)
    for kind in (ApiError, UserError, HTTPException):
        app.add_exception_handler(kind, answer_error)
    return Guard(app, loopback=loopback, api_key=api_key)


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """Any error in OpenAI's shape."""
    return as_api_error(error, request.url.path).response()


def as_api_error(error: Exception, path: str = "") -> ApiError:
    """What to tell the client of an error."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, PromptTooLong):
        return ApiError(400, str(error), code="context_length_exceeded")
    if isinstance(error, UserError):
        return ApiError(400, str(error))
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, f"{path}: {error.detail}.")
    return ApiError(500, "The server made a mistake; its log says more.")


class Routes:
    """The routes of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._started = int(time.time())
        self._watchers: set[asyncio.Task[None]] = set()

    async def page(self, name: str = "index.html") -> Response:
        """The chat page and its parts."""
        return page_file(name)

    async def health(self) -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    async def models(self) -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [self._card()]}

    async def model(self, name: str) -> dict[str, Any]:
        """The model of a name."""
        self._check_model(name)
        return self._card()

    async def chat(self, request: Request) -> Response:
        """The next turn of a dialogue."""
        wanted = await read_request(ChatRequest, request)
        self._check_model(wanted.model)
        tokenizer = self._engine.tokenizer
        if tokenizer.chat_template is None:
            raise ApiError(400, "This base model has no chat template. Use /v1/completions.", code="no_chat_template")
        roles = {"developer": "system"}
        messages = [{"role": roles.get(turn.role, turn.role), "content": turn.content} for turn in wanted.messages]
        prompt = await asyncio.to_thread(encode_prompt, tokenizer, messages)
        return await self._answer(request, wanted, Answer("chat", self._engine.name), [prompt])

    async def completions(self, request: Request) -> Response:
        """The continuation of one or several texts."""
        wanted = await read_request(CompletionRequest, request)
        self._check_model(wanted.model)
        prompts = [await asyncio.to_thread(self._tokens, prompt) for prompt in wanted.prompt]
        answer = Answer("text", self._engine.name)
        if wanted.stream and (wanted.echo or wanted.logprobs is not None):
            raise ApiError(400, "'echo' and 'logprobs' cannot be streamed.", "stream", "unsupported_value")
        return await self._answer(request, wanted, answer, prompts)

    def _tokens(self, prompt: str | list[int]) -> list[int]:
        tokenizer = self._engine.tokenizer
        if isinstance(prompt, str):
            return tokenizer.opening + tokenizer.encode(prompt) or tokenizer.start
        if wrong := [token for token in prompt if token >= tokenizer.size]:
            message = f"Token {wrong[0]} does not exist: the vocabulary has {tokenizer.size:,}."
            raise ApiError(400, message, "prompt", "unsupported_value")
        return prompt or tokenizer.start

    async def _answer(
        self, request: Request, wanted: GenerationRequest, answer: Answer, prompts: list[list[int]]
    ) -> Response:
        answer.prompt_tokens = sum(map(len, prompts))
        generation = self._engine.start(prompts, wanted.sampling(), begins=answer.kind == "chat")
        watcher = asyncio.create_task(cancel_when_left(request, generation))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if wanted.stream:
            usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
            body = stream(answer, generation, usage)
            return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        answers: list[list[Piece]] = [[] for _ in prompts]
        async for index, piece in generation:
            answers[index].append(piece)
        if not answers[-1] or not answers[-1][-1].finish_reason:
            raise client_left()
        answer.completion_tokens = sum(map(len, answers))
        places = enumerate(zip(prompts, answers, strict=True))
        choices = [await self._choice(wanted, answer, index, *pair) for index, pair in places]
        return JSONResponse(answer.whole(choices))

    async def _choice(
        self, wanted: GenerationRequest, answer: Answer, index: int, prompt: list[int], pieces: list[Piece]
    ) -> dict[str, Any]:
        text, logprobs = "".join(piece.text for piece in pieces), None
        if isinstance(wanted, CompletionRequest):
            tokenizer, model = self._engine.tokenizer, self._engine.model
            given = tokenizer.decode(prompt)
            text = (given if wanted.echo else "") + text
            if wanted.logprobs is not None:
                tokens = prompt + [piece.token for piece in pieces]
                work = functools.partial(score, model, tokens, wanted.logprobs)
                scores = await self._engine.run(work)
                shown = scores if wanted.echo else scores[len(prompt) :]
                logprobs = logprobs_field(tokenizer, shown, begins=bool(wanted.echo) or not given)
        return answer.choice(index, text, pieces[-1].finish_reason or "", logprobs)

    def _check_model(self, name: str | None) -> None:
        if name not in {None, self._engine.name}:
            message = f"There is no model {name!r} here; this server has {self._engine.name!r}."
            raise ApiError(404, message, "model", "model_not_found")

    def _card(self) -> dict[str, Any]:
        engine = self._engine
        return {
            "id": engine.name,
            "object": "model",
            "created": self._started,
            "owned_by": "malmoi",
            "context": engine.model.config.context,
            "parameters": sum(parameter.numel() for parameter in engine.model.parameters()),
            "chat": engine.tokenizer.chat_template is not None,
        }


async def stream(answer: Answer, generation: Generation, usage: bool) -> AsyncIterator[bytes]:
    """An answer as server-sent events; an error on the way is an event too."""
    try:
        for chunk in answer.opening():
            yield event(chunk)
        async for index, piece in generation:
            for chunk in answer.chunk(index, piece):
                yield event(chunk)
        if usage:
            yield event(answer.closing())
    except Exception as error:
        log.exception("an answer broke off")
        yield event(as_api_error(error).body)
    yield DONE


async def cancel_when_left(request: Request, generation: Generation) -> None:
    """Give the model back as soon as the client is gone."""
    while not generation.ended:
        if await request.is_disconnected():
            generation.cancel()
            return
        await asyncio.sleep(0.1)
