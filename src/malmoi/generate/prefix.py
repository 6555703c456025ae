"""The cache of a model, kept from one answer to the next."""

from __future__ import annotations

import torch

from malmoi.core.accelerator import device_of
from malmoi.layers.cache import Cache
from malmoi.models.language_model import LanguageModel


class PrefixCache:
    """Gives the logits after a sequence of tokens and remembers what the model keeps of it.

    Asked for a sequence that begins like the one before, it computes only what is new: one token while an answer
    grows, the new message when a dialogue goes on.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._tokens: list[int] = []
        self._cache: Cache | None = None

    @torch.inference_mode()
    def logits(self, tokens: list[int]) -> torch.Tensor:
        """(vocabulary,) logits of what follows `tokens`, which must fit the context and hold at least one."""
        known = min(common_prefix(self._tokens, tokens), len(tokens) - 1)
        # A step that was interrupted has stored nothing that counts, so the tokens noted here are always whole.
        if self._cache is not None:
            known = self._cache.crop(known)
        self._tokens = tokens[:known]
        if self._cache is None or len(tokens) > self._cache.capacity:
            self._cache = self._larger(len(tokens))
        device = device_of(self.model)
        new = torch.tensor([tokens[known:]], dtype=torch.int64, device=device)
        logits: torch.Tensor = self.model.head(self.model(new, self._cache)[:, -1])
        self._tokens = list(tokens)
        return logits[0]

    def _larger(self, length: int) -> Cache:
        """A cache with room for twice `length` tokens that holds those of the present one."""
        capacity = min(self.model.config.context, max(256, 2 * length))
        return self.model.cache(1, capacity) if self._cache is None else self._cache.repeat(1, capacity)


def common_prefix(first: list[int], second: list[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    if first == second[: len(first)]:
        return len(first)
    return next(place for place, (a, b) in enumerate(zip(first, [*second, -1], strict=False)) if a != b)
