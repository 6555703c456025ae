"""Language models whose blocks hand a state of fixed size from token to token, instead of looking back at all of them.

Their memory in generation is constant, and they have no longest text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from pydantic import PositiveInt
from torch import nn

from malmoi.core.accelerator import device_of
from malmoi.layers.states import State, StateCache
from malmoi.layers.tied_head import TiedHead
from malmoi.models.language_model import LanguageModel, LanguageModelConfig
from malmoi.models.model import check_room


class StatefulConfig(LanguageModelConfig):
    """Base of the configurations of these models.

    Attributes:
        context: longest text that is read at once or written. Nothing grows with it; evaluation reads on beyond it.
    """

    context: PositiveInt = 1 << 16


class StatefulBlock(nn.Module):
    """One block: hidden states in and out, and the state that goes from token to token."""

    def empty_state(self, rows: int, dtype: torch.dtype, device: torch.device) -> State:
        """The state before the first token: zeros."""
        raise NotImplementedError

    def forward(self, hidden: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """(rows, length, width) to the same, and the state after the last token."""
        raise NotImplementedError


class StatefulModel(LanguageModel):
    """Token embeddings, blocks, a norm; `head` gives logits. `dropout` is on embeddings and on what blocks add."""

    config: StatefulConfig

    def __init__(self, config: StatefulConfig, blocks: Iterable[StatefulBlock], norm: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = TiedHead(self.embedding) if config.tied else nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor, cache: StateCache | None = None) -> torch.Tensor:
        """Hidden states after the norm. Padding on the right needs no mask: nothing looks ahead.

        Args:
            tokens: (rows, length) int64.
            cache: the states after the tokens before these.

        Returns:
            (rows, length, width) in the model's dtype.

        Raises:
            UserError: the tokens do not fit into the cache.
        """
        length = tokens.shape[1]
        check_room((cache.length if cache else 0) + length, cache.capacity if cache else self.config.context)
        if cache is None:
            return self.finish(self.through(self.embed(tokens)))
        hidden, states = self._pass(self.embed(tokens), 0, len(self.blocks), cache.states)
        cache.advance(states, length)
        return self.finish(hidden)

    def embed(self, tokens: torch.Tensor, segments: torch.Tensor | None = None) -> torch.Tensor:
        """See `Backbone.embed`; there are no segments here."""
        embedded: torch.Tensor = self.dropout(self.embedding(tokens))
        return embedded

    def through(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor | None = None,
        *,
        first: int = 0,
        end: int | None = None,
        documents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Backbone.through`; the lengths change nothing, since no token looks ahead at the padding, and neither do
        documents, since no layer has a pattern.
        """
        return self._pass(hidden, first, len(self.blocks) if end is None else end, None)[0]

    @property
    def embedding_parts(self) -> list[nn.Module]:
        """See `Backbone.embedding_parts`."""
        return [self.embedding, self.dropout]

    def cache(self, rows: int, length: int) -> StateCache:
        """See `LanguageModel.cache`."""
        return StateCache([block.empty_state(rows, self.dtype, device_of(self)) for block in self._blocks()], length)

    def _pass(
        self, hidden: torch.Tensor, first: int, end: int, states: Sequence[State] | None
    ) -> tuple[torch.Tensor, list[State]]:
        """Through the blocks from `first` to before `end`, with their states; None for a new text."""
        after = []
        for index, block in enumerate(self.blocks[first:end]):
            assert isinstance(block, StatefulBlock)
            before = states[index] if states else block.empty_state(len(hidden), hidden.dtype, hidden.device)
            hidden, state = block(hidden, before)
            after.append(state)
        return hidden, after

    def _blocks(self) -> list[StatefulBlock]:
        return [block for block in self.blocks if isinstance(block, StatefulBlock)]
