"""From logits to the next token."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from malmoi.core.config import Settings
from malmoi.core.errors import UserError

StopString = Annotated[str, Field(min_length=1)]
Penalty = Annotated[float, Field(ge=0.01, le=100)]
"""Beyond these a float32 logit may no longer be a number."""

COLDEST = 1e-5
"""The least temperature that is divided by; below it the most probable token has all the probability."""


class SamplingSettings(Settings):
    """How the next token is chosen and when to stop.

    The filters apply in the order in which they stand here, each to what the one before it left.

    Attributes:
        repetition_penalty: divides the positive and multiplies the negative logits of tokens that occurred before;
            1 for none (CTRL, Keskar et al. 2019).
        temperature: divides the logits; 0, and what is below `COLDEST`, takes the most probable token, always.
        top_k: keep the k most probable tokens; 0 keeps all (Fan et al. 2018).
        top_p: keep the smallest set of most probable tokens that together have at least this probability
            (Holtzman et al. 2019).
        min_p: keep the tokens at least this probable relative to the most probable one (Nguyen et al. 2024).
        seed: makes the choices reproducible; None draws a new seed.
        maximum_tokens: stop after so many tokens; None goes on until the model ends or its context is full.
        stop: texts at which to stop; they are not part of the answer.
    """

    repetition_penalty: Penalty = 1.0
    temperature: float = Field(0.8, ge=0, allow_inf_nan=False)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    maximum_tokens: int | None = Field(None, ge=1)
    stop: tuple[StopString, ...] = ()


def random_source(seed: int | None) -> torch.Generator:
    """A generator of random numbers of its own, so that nobody else's draws change an answer."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def next_token(
    logits: torch.Tensor, settings: SamplingSettings, generator: torch.Generator, previous: list[int]
) -> int:
    """Choose a token.

    Args:
        logits: (vocabulary,) of any float dtype and device.
        previous: the tokens so far, prompt included; looked at only by the repetition penalty.

    Raises:
        UserError: the logits are not numbers.
    """
    logits = logits.float().cpu()
    if not torch.isfinite(logits.max()):
        raise UserError("The model's output is not a number.", "Its weights are damaged; use an earlier checkpoint.")
    if settings.repetition_penalty != 1:
        logits = penalize(logits, previous, settings.repetition_penalty)
    if settings.temperature < COLDEST:
        return int(logits.argmax())
    probabilities, tokens = candidates(logits, settings)
    return int(tokens[torch.multinomial(probabilities, 1, generator=generator)])


def penalize(logits: torch.Tensor, previous: list[int], penalty: float) -> torch.Tensor:
    """Make the tokens of `previous` less likely. Shapes: (vocabulary,) to (vocabulary,)."""
    seen = torch.tensor(sorted(set(previous)), dtype=torch.int64)
    values = logits[seen]
    return logits.index_copy(0, seen, torch.where(values > 0, values / penalty, values * penalty))


def candidates(logits: torch.Tensor, settings: SamplingSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens that temperature, top-k, top-p and min-p leave.

    Args:
        logits: (vocabulary,) float32; the temperature is at least `COLDEST`.

    Returns:
        Their probabilities, which need not sum to 1, and their ids, both (kept,), the most probable first unless all
        are kept.
    """
    scaled = (logits - logits.max()) / settings.temperature
    if not settings.top_k and settings.top_p == 1 and not settings.min_p:
        return scaled.softmax(0), torch.arange(len(logits))
    if settings.top_k:
        scaled, tokens = scaled.topk(min(settings.top_k, len(logits)))
        probabilities = scaled.softmax(0)
    else:
        probabilities, tokens = _most_probable(scaled.softmax(0), settings)
    before = probabilities.cumsum(0) - probabilities
    kept = ((before < settings.top_p) | (settings.top_p == 1)) & (probabilities >= settings.min_p * probabilities[0])
    kept[0] = True
    return probabilities[kept], tokens[kept]


def _most_probable(probabilities: torch.Tensor, settings: SamplingSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """All that top-p and min-p leave and some more, (most,) falling, and their ids: sorting all would take longer.

    Tokens less probable than an equal share of what top-p cuts off have no more than that together.
    """
    least = max((1 - settings.top_p) / len(probabilities), settings.min_p * float(probabilities.max()))
    tokens = (probabilities >= least).nonzero()[:, 0]
    found, order = probabilities[tokens].sort(descending=True, stable=True)
    return found, tokens[order]
