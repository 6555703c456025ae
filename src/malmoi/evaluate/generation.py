"""What generation costs: time and memory when a model has already read so many tokens."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import torch

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.core.errors import UserError
from malmoi.generate.generator import evaluating
from malmoi.models.language_model import LanguageModel
from malmoi.models.registry import count_parameters

STEPS = 24
"""Tokens that are generated in one round."""

ROUNDS = 5
"""Rounds of each model; the first warms up."""


def generation_costs(
    models: Mapping[str, LanguageModel], tokens: Sequence[int], lengths: Sequence[int], advance: Advance | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Tokens a second of processor time and bytes of the cache at the end of texts of these lengths.

    Models take turns. One whose context is shorter is timed as if it were long enough; what it writes then is worth
    nothing, but costs the same.

    Args:
        tokens: read before, again and again where they are too few.
        advance: called after every model and length with 1.

    Returns:
        name of the model -> length -> "tokens_per_second" and "bytes".

    Raises:
        UserError: a length is too short to measure, or a model has weights for every position and not enough of them.
    """
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in models}
    for length in lengths:
        read = length - STEPS * ROUNDS
        if read < 1:
            raise UserError(f"A text of {length:,} tokens is too short to time.", f"Take {STEPS * ROUNDS + 1} or more.")
        text = (list(tokens) * (read // len(tokens) + 1))[:read]
        for name, cost in _costs(models, text, length, advance).items():
            found[name][str(length)] = cost
    return found


@torch.inference_mode()
def _costs(
    models: Mapping[str, LanguageModel], text: list[int], length: int, advance: Advance | None
) -> dict[str, dict[str, float]]:
    with contextlib.ExitStack() as stack:
        writers = {}
        for name, model in models.items():
            stack.enter_context(evaluating(model))
            stack.enter_context(_room_for(name, model, length))
            writers[name] = _Writer(model, text, length)
            if advance:
                advance(1)
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(ROUNDS):
            for name, writer in writers.items():
                seconds[name].append(writer.write(STEPS))
    return {
        name: {"tokens_per_second": STEPS / statistics.median(some[1:]), "bytes": writers[name].cache.bytes}
        for name, some in seconds.items()
    }


class _Writer:
    """A model that has read a text, with a cache that has room for so many tokens."""

    def __init__(self, model: LanguageModel, text: list[int], length: int) -> None:
        self.model, self.cache = model, model.cache(1, length)
        self._device = device_of(model)
        self._last = self._next(text)

    def write(self, steps: int) -> float:
        """So many more tokens, the most probable ones; the processor seconds they took."""
        started = time.process_time()
        for _ in range(steps):
            self._last = self._next([self._last])
        return time.process_time() - started

    def _next(self, tokens: list[int]) -> int:
        hidden = self.model(torch.tensor([tokens], device=self._device), self.cache)
        return int(self.model.head(hidden[:, -1]).argmax())


@contextlib.contextmanager
def _room_for(name: str, model: LanguageModel, length: int) -> Iterator[None]:
    """The model with a context of at least `length`, where that takes no other weights."""
    own = model.config
    longer = own.model_copy(update={"context": max(length, own.context)})
    if count_parameters(longer) != count_parameters(own):
        raise UserError(
            f"{name} has weights for each of its {own.context:,} positions and cannot go on to {length:,}.",
            f"Ask for lengths up to {own.context:,}, or compare a model with rotary positions.",
        )
    model.config = longer
    try:
        yield
    finally:
        model.config = own
