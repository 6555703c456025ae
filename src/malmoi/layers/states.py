"""What generation keeps of a model whose memory does not grow: the state of each block after the last token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

State = tuple[torch.Tensor, ...]
"""What one block keeps, each tensor (rows, ...); all zeros before the first token."""


class StateCache:
    """A `Cache` of states. Going back is not possible: what is to be forgotten has left its trace in every number.

    Attributes:
        states: of every block. They are replaced as a whole, so that a step that is interrupted leaves no trace.
        length, capacity: see `Cache`; the capacity takes no memory.
    """

    def __init__(self, states: Sequence[State], capacity: int) -> None:
        self.states = list(states)
        self.length = 0
        self.capacity = capacity

    @property
    def bytes(self) -> int:
        """See `Cache`."""
        return sum(tensor.nbytes for state in self.states for tensor in state)

    def advance(self, states: Sequence[State], length: int) -> None:
        """Take the states after `length` more tokens, copied, since they may be views of something large."""
        copies = [tuple(tensor.clone() for tensor in state) for state in states]
        self.states, self.length = copies, self.length + length

    def crop(self, length: int) -> int:
        """See `Cache`: everything or nothing can be kept."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot crop {self.length} cached tokens to {length}")
        if length < self.length:
            self.states = [tuple(torch.zeros_like(tensor) for tensor in state) for state in self.states]
            self.length = 0
        return self.length

    def repeat(self, rows: int, length: int) -> StateCache:
        """See `Cache`."""
        states = [tuple(tensor.expand(rows, *tensor.shape[1:]).clone() for tensor in state) for state in self.states]
        wider = StateCache(states, length)
        wider.length = self.length
        return wider
