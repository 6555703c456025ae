"""The most probable answers to many prompts, several at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import torch

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.generate.generator import PromptTooLong, evaluating
from malmoi.generate.sampling import SamplingSettings, next_token, random_source
from malmoi.generate.shared import SharedPrefix
from malmoi.generate.stop import StopStrings
from malmoi.models.language_model import LanguageModel
from malmoi.tokenizers.stream import TextStream
from malmoi.tokenizers.tokenizer import Tokenizer

MOST_ROWS = 32
"""Answers that grow together; with more, a step waits for its slowest longer than it gains."""

_GREEDY = SamplingSettings(temperature=0)


def answer_greedily(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    maximum_tokens: int,
    stop: Sequence[str] = (),
    advance: Advance | None = None,
) -> list[str]:
    """What `generate` gives for each prompt at temperature 0, up to rounding.

    What all prompts begin with is read once. Prompts of equal length are answered together: their tokens then stand at
    equal positions, so that nothing has to be padded or masked.

    Args:
        prompts: token ids, at least one each.
        maximum_tokens: longest answer.
        stop: texts that end an answer and do not belong to it.
        advance: told how many prompts were answered since the last call.

    Raises:
        PromptTooLong: a prompt leaves no room for the longest answer.
    """
    longest = max(map(len, prompts), default=0)
    if longest + maximum_tokens > model.config.context:
        raise PromptTooLong(longest, model.config.context)
    shared = SharedPrefix(model, prompts)
    answers = [""] * len(prompts)
    with torch.inference_mode(), evaluating(model):
        for numbers in _batches(prompts, shared, maximum_tokens):
            rows = [_Answer(tokenizer, stop, maximum_tokens) for _ in numbers]
            _grow(rows, [prompts[number] for number in numbers], shared, maximum_tokens)
            for number, row in zip(numbers, rows, strict=True):
                answers[number] = row.text
            if advance:
                advance(len(numbers))
    return answers


class _Answer:
    """One answer as it grows."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], maximum: int) -> None:
        self.text, self.done = "", False
        self._tokenizer, self._left = tokenizer, maximum
        self._stream, self._stop, self._source = TextStream(tokenizer), StopStrings(stop), random_source(0)

    def take(self, logits: torch.Tensor) -> int:
        """The next token, of (vocabulary,) logits; a finished answer repeats whatever comes and forgets it."""
        token = next_token(logits, _GREEDY, self._source, [])
        if self.done:
            return token
        self._left -= 1
        ended = token in self._tokenizer.stops
        self.text += self._stop.feed("" if ended else self._stream.feed(token))
        self.done = ended or self._stop.found or not self._left
        if self.done:
            self.text += self._stop.feed(self._stream.finish()) + self._stop.finish()
        return token


def _grow(rows: list[_Answer], prompts: list[list[int]], shared: SharedPrefix, maximum_tokens: int) -> None:
    """Read the prompts, all of one length, and answer until the last answer is complete."""
    device = device_of(shared.model)
    cache = shared.rows(len(rows), len(prompts[0]) + maximum_tokens)
    tokens = [prompt[len(shared.tokens) :] for prompt in prompts]
    while True:
        hidden = shared.model(torch.tensor(tokens, device=device), cache)[:, -1]
        logits = shared.model.head(hidden).float()
        tokens = [[row.take(own)] for row, own in zip(rows, logits, strict=True)]
        if all(row.done for row in rows):
            return


def _batches(prompts: Sequence[list[int]], shared: SharedPrefix, maximum_tokens: int) -> Iterator[list[int]]:
    """Numbers of prompts of equal length."""
    ordered = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    for length, same in groupby(ordered, key=lambda number: len(prompts[number])):
        most = min(MOST_ROWS, shared.most_rows(length - len(shared.tokens), length + maximum_tokens))
        while batch := list(islice(same, most)):
            yield batch
