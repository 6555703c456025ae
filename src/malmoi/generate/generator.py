"""Tokens and text from a prompt, one piece at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from malmoi.core.accelerator import device_of
from malmoi.core.errors import UserError
from malmoi.generate.prefix import PrefixCache
from malmoi.generate.sampling import SamplingSettings, next_token, random_source
from malmoi.generate.stop import StopStrings
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Model
from malmoi.tokenizers.stream import TextStream
from malmoi.tokenizers.tokenizer import Tokenizer

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """One generated token.

    Attributes:
        text: what it adds to the answer; empty while a character or a stop string is not yet whole.
        token: its id.
        finish_reason: set on the last piece: "stop" (the model ended, or a stop string), "length" (no more room).
    """

    text: str
    token: int
    finish_reason: FinishReason | None = None


@dataclass(frozen=True)
class Completion:
    """A whole answer.

    Attributes:
        text: what was generated, without prompt, stop string and special tokens.
        tokens: the ids generated, the end token included.
        seconds: wall-clock time, reading the prompt included.
    """

    text: str
    finish_reason: FinishReason
    tokens: list[int]
    seconds: float


class PromptTooLong(UserError):
    """The prompt leaves no room in the model's context."""

    def __init__(self, length: int, context: int) -> None:
        super().__init__(
            f"The prompt is {length:,} tokens long, and the model reads at most {context:,}, its answer included.",
            "Shorten it, or use a model with a longer context.",
        )


def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: list[int],
    settings: SamplingSettings,
    cache: PrefixCache | None = None,
    *,
    begins: bool = False,
) -> Iterator[Piece]:
    """Generate with a cache: the prompt is read once, then every step computes one token.

    Args:
        prompt: token ids; an empty prompt starts a new text.
        cache: one that an earlier call filled; what the two prompts begin with is not computed again.
        begins: a text of its own is generated, as the answer in a dialogue is, not the rest of the prompt's.

    Raises:
        PromptTooLong: it leaves no room in the context.
    """
    cache = cache or PrefixCache(model)
    return _generate(model, tokenizer, prompt, settings, cache.logits, begins)


def generate_without_cache(
    model: LanguageModel, tokenizer: Tokenizer, prompt: list[int], settings: SamplingSettings
) -> Iterator[Piece]:
    """What `generate` must agree with: every step reads everything again."""

    @torch.inference_mode()
    def logits(tokens: list[int]) -> torch.Tensor:
        device = device_of(model)
        return model.logits(torch.tensor([tokens], dtype=torch.int64, device=device))[0, -1]

    return _generate(model, tokenizer, prompt, settings, logits)


def complete(model: LanguageModel, tokenizer: Tokenizer, prompt: str, settings: SamplingSettings) -> Completion:
    """Continue a text.

    Raises:
        PromptTooLong: it leaves no room in the context.
    """
    return collect(generate(model, tokenizer, tokenizer.opening + tokenizer.encode(prompt), settings))


def collect(pieces: Iterator[Piece]) -> Completion:
    """Run a generation to its end."""
    start = time.perf_counter()
    whole = list(pieces)
    reason = whole[-1].finish_reason
    assert reason is not None, "a generation ends with a finish reason"
    text = "".join(piece.text for piece in whole)
    return Completion(text, reason, [piece.token for piece in whole], time.perf_counter() - start)


def _generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: list[int],
    settings: SamplingSettings,
    logits: Callable[[list[int]], torch.Tensor],
    begins: bool = False,
) -> Iterator[Piece]:
    """Check at once, generate later."""
    prompt = prompt or tokenizer.start
    room = model.config.context - len(prompt)
    if room < 1:
        raise PromptTooLong(len(prompt), model.config.context)
    maximum = min(room, settings.maximum_tokens or room)
    text = TextStream(tokenizer, begins=begins or not tokenizer.decode(prompt))
    return _pieces(model, tokenizer, prompt, settings, logits, maximum, text)


def _pieces(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: list[int],
    settings: SamplingSettings,
    logits: Callable[[list[int]], torch.Tensor],
    maximum: int,
    text: TextStream,
) -> Iterator[Piece]:
    tokens = list(prompt)
    generator, stop = random_source(settings.seed), StopStrings(settings.stop)
    with evaluating(model):
        while True:
            token = next_token(logits(tokens), settings, generator, tokens)
            tokens.append(token)
            ended = token in tokenizer.stops
            passed = stop.feed("" if ended else text.feed(token))
            if not (ended or stop.found or len(tokens) - len(prompt) == maximum):
                yield Piece(passed, token)
                continue
            passed += stop.feed(text.finish())
            reason: FinishReason = "stop" if ended or stop.found else "length"
            yield Piece(passed + stop.finish(), token, reason)
            return


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Without dropout; afterwards the model is as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
