"""Answers in OpenAI's shapes."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from malmoi.generate.generator import Piece
from malmoi.generate.score import TokenScore
from malmoi.tokenizers.stream import TextStream
from malmoi.tokenizers.tokenizer import Tokenizer

Kind = Literal["chat", "text"]
Fields = dict[str, Any]

_OBJECTS = {
    "chat": ("chatcmpl", "chat.completion", "chat.completion.chunk"),
    "text": ("cmpl",) + 2 * ("text_completion",),
}


@dataclass
class Answer:
    """One response, whole or in chunks.

    Attributes:
        prompt_tokens, completion_tokens: counted for `usage`.
    """

    kind: Kind
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    identifier: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: list[Fields]) -> Fields:
        """The response that is sent at once."""
        return {**self._frame(_OBJECTS[self.kind][1]), "choices": choices, "usage": self.usage()}

    def choice(self, index: int, text: str, reason: str, logprobs: Fields | None = None) -> Fields:
        """One finished choice of it."""
        shared = {"index": index, "logprobs": logprobs, "finish_reason": reason}
        if self.kind == "chat":
            return {**shared, "message": {"role": "assistant", "content": text, "refusal": None}}
        return {**shared, "text": text}

    def opening(self) -> Iterable[Fields]:
        """What a stream begins with."""
        return [self._chunk({"index": 0, "delta": {"role": "assistant", "content": ""}})] if self.kind == "chat" else []

    def chunk(self, index: int, piece: Piece) -> Iterable[Fields]:
        """What a piece adds to a stream."""
        self.completion_tokens += 1
        if piece.text:
            text = {"delta": {"content": piece.text}} if self.kind == "chat" else {"text": piece.text}
            yield self._chunk({"index": index, **text})
        if piece.finish_reason:
            empty: Fields = {"delta": {}} if self.kind == "chat" else {"text": ""}
            yield self._chunk({"index": index, **empty, "finish_reason": piece.finish_reason})

    def closing(self) -> Fields:
        """The chunk that carries the usage."""
        return {**self._frame(_OBJECTS[self.kind][2]), "choices": [], "usage": self.usage()}

    def usage(self) -> Fields:
        """How many tokens went in and came out, end tokens included."""
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}

    def _chunk(self, choice: Fields) -> Fields:
        return {
            **self._frame(_OBJECTS[self.kind][2]),
            "choices": [{"logprobs": None, "finish_reason": None, **choice}],
        }

    def _frame(self, name: str) -> Fields:
        identifier = f"{_OBJECTS[self.kind][0]}-{self.identifier}"
        return {"id": identifier, "object": name, "created": self.created, "model": self.model}


def event(content: Fields) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def logprobs_field(tokenizer: Tokenizer, scores: list[TokenScore], *, begins: bool) -> Fields:
    """Scores in the shape of the older completions, which evaluation harnesses read; offsets are characters.

    Args:
        begins: see `TextStream`.
    """
    stream, offset, offsets = TextStream(tokenizer, begins=begins), 0, []
    for score in scores:
        offsets.append(offset)
        offset += len(stream.feed(score.token))
    return {
        "tokens": [token_name(tokenizer, score.token) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [
            {token_name(tokenizer, token): value for token, value in score.top.items()} or None for score in scores
        ],
        "text_offset": offsets,
    }


def token_name(tokenizer: Tokenizer, token: int) -> str:
    """The token as text; part of a character as its bytes, a special token as the vocabulary has it."""
    content = tokenizer.token_bytes(token)
    if not content:  # what only pads the table of a model has no text at all
        return tokenizer.backend.id_to_token(token) or f"token:{token}"
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)
