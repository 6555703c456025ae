"""The requests this server takes: OpenAI's, closed to fields it does not honour."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from malmoi.core.config import Settings
from malmoi.core.errors import nearest
from malmoi.generate.sampling import Penalty, SamplingSettings
from malmoi.serve.errors import ApiError, client_left

BODY_LIMIT = 4 * 2**20
"""Bytes of the largest request that is read."""

RequestType = TypeVar("RequestType", bound="GenerationRequest")


def _is_unicode(text: str) -> str:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("half of a surrogate pair is not text")
    return text


def _joined_parts(content: Any) -> Any:
    """Text given as OpenAI's list of parts, as one string."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError("only parts of type 'text' are understood")
    return "".join(part["text"] for part in content)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _prompts(value: Any) -> Any:
    """A text, a list of texts, a list of token ids or a list of such lists, as a list of prompts."""
    if isinstance(value, str) or (isinstance(value, list) and value and all(type(item) is int for item in value)):
        return [value]
    return value


Text = Annotated[str, AfterValidator(_is_unicode)]
Stop = Annotated[Text, Field(min_length=1, max_length=256)]
Prompt = Text | list[Annotated[int, Field(ge=0)]]


class Part(Settings):
    """Part of a request. A value is what it says it is: no true becomes 1, and no "7" a number."""

    model_config = ConfigDict(strict=True)


class Message(Part):
    """One turn of a dialogue. An answer may be sent back as it came: what OpenAI's client adds to it is None."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_joined_parts)]
    name: None = None
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None


class StreamOptions(Part):
    """What a stream carries besides the text. `include_obfuscation` asks for padding, which loopback needs not."""

    include_usage: bool = False
    include_obfuscation: bool = False


class GenerationRequest(Part):
    """What both kinds of completion share. None, and a field left out, mean the server's default."""

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: Penalty | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[list[Stop] | None, BeforeValidator(_as_list), Field(max_length=16)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    user: str | None = None

    def sampling(self) -> SamplingSettings:
        """The same as settings of the generator."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return SamplingSettings(**given, maximum_tokens=self.limit, stop=tuple(self.stop or ()))

    @property
    def limit(self) -> int | None:
        """The largest number of tokens wanted."""
        return self.max_tokens


class ChatRequest(GenerationRequest):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: Literal[False] | None = None

    @property
    def limit(self) -> int | None:
        """The largest number of tokens wanted, by its newer name or its older one."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(GenerationRequest):
    """POST /v1/completions."""

    prompt: Annotated[list[Prompt], BeforeValidator(_prompts), Field(min_length=1, max_length=64)]
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    best_of: Literal[1] | None = None
    suffix: Literal[""] | None = None


async def read_request(kind: type[RequestType], request: Request) -> RequestType:
    """The body of a request as `kind`.

    Raises:
        ApiError: it is too large, not JSON, or has an unknown field or a value that is not honoured; or the client
            leaves before it has sent all of it.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > BODY_LIMIT:
                raise ApiError(413, f"The request is larger than {BODY_LIMIT:,} bytes.", code="request_too_large")
    except ClientDisconnect:
        raise client_left() from None
    content = _read_json(bytes(body))
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise _field_error(kind, error) from None


def _read_json(body: bytes) -> dict[str, Any]:
    """An object of JSON, in UTF-8."""
    try:
        content = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        reason = "it is not UTF-8. Send it as UTF-8"
    except RecursionError:
        reason = "it is nested too deeply. Send lists and objects as deep as the API has them"
    except json.JSONDecodeError as error:
        reason = f"{error}. Send one object, from {{ to }}"
    except ValueError:  # of Python's limit on digits
        reason = "a number has too many digits. Send a shorter one"
    else:
        if isinstance(content, dict):
            return content
        reason = "it is no object. Send one, from { to }"
    raise ApiError(400, f"The request cannot be read as JSON: {reason}.", code="invalid_json")


def _field_error(kind: type[GenerationRequest], error: ValidationError) -> ApiError:
    """The first thing wrong, named as the client wrote it; of a prompt, which may be several things, the innermost."""
    field = error.errors()[0]["loc"][:1]
    first = max((one for one in error.errors() if one["loc"][:1] == field), key=lambda one: len(one["loc"]))
    path = [str(part) for part in first["loc"]]
    name = ".".join(part for part in path if "[" not in part)  # with brackets they are kinds of what a value may be
    if first["type"] == "extra_forbidden":
        inner: dict[str, type[Settings]] = {"stream_options": StreamOptions, "messages": Message}
        holder = inner[path[0]] if path[1:] else kind
        hint = nearest(path[-1], holder.model_fields, likeness=0.6) or f"Known: {', '.join(holder.model_fields)}."
        return ApiError(400, f"This server does not know the field {name!r}. {hint}", name, "unknown_field")
    if first["type"] == "missing":
        return ApiError(400, f"The field {name!r} is missing.", name, "missing_field")
    shown = repr(first["input"])
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "too_short":
        reason = f"it needs at least {first['ctx']['min_length']}"
    return ApiError(400, f"The value {shown} of {name!r} is not supported: {reason}.", name, "unsupported_value")
