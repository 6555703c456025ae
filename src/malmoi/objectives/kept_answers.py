"""What a teacher answers, kept on disk, so that it is asked once whatever is learned from it how often."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch.nn import functional as F

from malmoi.core.files import atomic_file
from malmoi.data.batch import Batch


class Answers(NamedTuple):
    """The likeliest tokens or classes of distributions, and all others together.

    Attributes:
        tokens: (items, k) int64.
        logprobs: (items, k) float32.
        rest: (items,) float32, the logarithm of what the others have together; without them minus infinity.
    """

    tokens: torch.Tensor
    logprobs: torch.Tensor
    rest: torch.Tensor

    @classmethod
    def of(cls, logprobs: torch.Tensor, count: int) -> Answers:
        """The likeliest of (items, classes) float32 log-probabilities; all where there are no more than `count`."""
        found, tokens = logprobs.topk(min(count, logprobs.shape[1]), dim=1)
        return cls(tokens, found, _others(logprobs, tokens))

    def divergence(self, logprobs: torch.Tensor) -> torch.Tensor:
        """The sum over items of the Kullback-Leibler divergence of (items, classes) float32 from these, in nats.

        With some classes taken as one it is at most that of all classes apart.
        """
        tokens, theirs, rest = (one.to(logprobs.device) for one in self)
        total = F.kl_div(logprobs.gather(1, tokens), theirs, reduction="sum", log_target=True)
        if tokens.shape[1] == logprobs.shape[1]:
            return total
        return total + F.kl_div(_others(logprobs, tokens), rest, reduction="sum", log_target=True)


class KeptAnswers:
    """Answers to batches, a file for each.

    Args:
        directory: of one teacher, at one temperature.
        count: how many of the likeliest are kept.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self._directory, self._count = directory, count

    def to(self, batch: Batch, ask: Callable[[], torch.Tensor]) -> Answers:
        """Those to `batch`; `ask` gives (items, classes) float32 log-probabilities where none are kept yet.

        They are rounded alike, whether they were kept before or are now.
        """
        path = self._directory / f"{batch.digest()}.safetensors"
        try:
            stored = load_file(path)
        except (FileNotFoundError, SafetensorError):  # not there, or torn by somebody else
            answers = Answers.of(ask(), self._count)
            stored = {"tokens": answers.tokens.int(), "logprobs": answers.logprobs.half(), "rest": answers.rest.half()}
            with atomic_file(path, "wb") as file:
                file.write(save(stored))
        return Answers(stored["tokens"].long(), stored["logprobs"].float(), stored["rest"].float())


def _others(logprobs: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(items,) the logarithm of what all but these tokens have together."""
    return logprobs.scatter(1, tokens, -torch.inf).logsumexp(1)
