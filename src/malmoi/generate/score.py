"""How probable a model finds a text that already exists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from malmoi.core.accelerator import device_of
from malmoi.generate.generator import evaluating
from malmoi.models.model import Model

_POSITIONS = 128


@dataclass(frozen=True)
class TokenScore:
    """One token of a scored text.

    Attributes:
        logprob: its natural log-probability given all before it; None for the first, which nothing comes before.
        top: the most probable tokens at its place with theirs, the most probable first.
    """

    token: int
    logprob: float | None
    top: dict[int, float]


def score(model: Model, tokens: list[int], top: int = 0) -> list[TokenScore]:
    """Score every token of a text that fits the context, in one pass.

    Args:
        top: how many alternatives to give at each place.
    """
    with evaluating(model):
        return [TokenScore(tokens[0], None, {}), *_scores(model, tokens, top)] if tokens else []


@torch.inference_mode()
def _scores(model: Model, tokens: list[int], top: int) -> list[TokenScore]:
    device = device_of(model)
    hidden = model(torch.tensor([tokens], dtype=torch.int64, device=device))[0, :-1]
    return list(_by_position(model, hidden, tokens, top))


def _by_position(model: Model, hidden: torch.Tensor, tokens: list[int], top: int) -> Iterator[TokenScore]:
    """A few positions at a time: the logits of a whole context would be larger than the model."""
    for start in range(0, len(hidden), _POSITIONS):
        logprobs = model.head(hidden[start : start + _POSITIONS]).float().log_softmax(-1).cpu()
        best = logprobs.topk(min(top, logprobs.shape[-1]))
        for row, token in enumerate(tokens[start + 1 : start + 1 + len(logprobs)]):
            alternatives = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
            yield TokenScore(token, float(logprobs[row, token]), dict(alternatives))
