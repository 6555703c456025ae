"""What a longer context is worth: the loss of a model token by token from the beginning of its context."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from malmoi.core.accelerator import device_of
from malmoi.data.batch import TextBatch
from malmoi.evaluate.kept_bytes import kept_bytes
from malmoi.models.language_model import LanguageModel
from malmoi.objectives.causal import Causal

FIRST_SPAN = 64
"""Positions of the first span; each later one is as long as all before it."""


def losses_by_position(model: LanguageModel, rows: torch.Tensor, advance: Callable[[int], None]) -> torch.Tensor:
    """(context,) float64, the mean over rows of the nats that each position's next token costs.

    Args:
        rows: (rows, context + 1) int64.
        advance: called after every row with 1.
    """
    total = torch.zeros(rows.shape[1] - 1, dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for row in rows.to(device_of(model)):
            logits = model.logits(row[None, :-1])[0].float()
            total += F.cross_entropy(logits, row[1:], reduction="none").double().cpu()
            advance(1)
    return total / len(rows)


def spans(losses: torch.Tensor) -> list[tuple[int, int, float]]:
    """(first position, end, mean loss) of spans that double in length."""
    found, start, end = [], 0, FIRST_SPAN
    while start < len(losses):
        found.append((start, min(end, len(losses)), float(losses[start:end].mean())))
        start, end = end, 2 * end
    return found


def training_costs(
    models: Mapping[str, LanguageModel], rows: torch.Tensor, rounds: int = 3
) -> dict[str, dict[str, float]]:
    """What a training step takes: processor seconds, the median of rounds that take turns, and bytes kept.

    Args:
        rows: (rows, context + 1) int64, of the step.
    """
    batch, objective = TextBatch(rows[:, :-1], rows[:, 1:]), Causal()
    seconds: dict[str, list[float]] = {name: [] for name in models}
    kept = {}
    for number in range(rounds + 1):
        for name, model in models.items():
            model.train()
            started = time.process_time()
            if number == 0:  # warms up, and counts
                kept[name] = kept_bytes(partial(model, batch.tokens), model.parameters())
            objective.loss(model, batch).total.backward()  # type: ignore[no-untyped-call]
            if number:
                seconds[name].append(time.process_time() - started)
            model.zero_grad()
            model.eval()
    return {name: {"seconds": statistics.median(some), "kept_bytes": kept[name]} for name, some in seconds.items()}


def cut_into_rows(documents: Sequence[Sequence[int]], separator: int, context: int, most: int) -> torch.Tensor:
    """(rows, context + 1) int64 of the texts one after the other, at most `most` rows; none if there is too little."""
    tokens: list[int] = []
    for document in documents:
        tokens += [separator, *document]
        if len(tokens) > most * context:
            break
    count = min(most, (len(tokens) - 1) // context)
    rows = [tokens[row * context : (row + 1) * context + 1] for row in range(count)]
    return torch.tensor(rows, dtype=torch.int64).view(count, context + 1)
