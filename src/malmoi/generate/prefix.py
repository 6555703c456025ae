"""The key/value cache, kept from one answer to the next."""

from __future__ import annotations

from typing import cast

import torch

from malmoi.layers.cache import CacheShape, KeyValueCache
from malmoi.models.model import Model


class PrefixCache:
    """Gives the logits after a sequence of tokens and remembers its keys and values.

    Asked for a sequence that begins like the one before, it computes only what is new: one token while an answer
    grows, the new message when a dialogue goes on.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._tokens: list[int] = []
        self._cache: KeyValueCache | None = None

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
        device = next(self.model.parameters()).device
        new = torch.tensor([tokens[known:]], dtype=torch.int64, device=device)
        logits: torch.Tensor = self.model.head(self.model(new, self._cache)[:, -1])
        self._tokens = list(tokens)
        return logits[0]

    def _larger(self, length: int) -> KeyValueCache:
        """A cache with room for twice `length` tokens that holds those of the present one."""
        config, weight = self.model.config, next(self.model.parameters())
        capacity = min(config.context, max(256, 2 * length))
        if self._cache is None:
            return KeyValueCache(cast(CacheShape, config), 1, capacity, weight.dtype, weight.device)
        return self._cache.repeat(1, capacity)


def common_prefix(first: list[int], second: list[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    if first == second[: len(first)]:
        return len(first)
    return next(place for place, (a, b) in enumerate(zip(first, [*second, -1], strict=False)) if a != b)
