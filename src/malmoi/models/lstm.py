"""A language model of long short-term memory (Hochreiter and Schmidhuber 1997).

As a language model: Zaremba and others 2014, arXiv:1409.2329. With a tied head: Merity and others 2017,
arXiv:1708.02182.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import nn

from malmoi.layers.norms import RMSNorm
from malmoi.layers.seeded import fill_normal, fill_with
from malmoi.layers.states import State
from malmoi.models.stateful import StatefulBlock, StatefulConfig, StatefulModel


class LSTMConfig(StatefulConfig):
    """Layers of an LSTM on one another, each as wide as the embedding. `dropout` stands between all of them.

    Attributes:
        residual: each layer reads a normed copy and is added to what it read, and a norm stands before the head; more
            layers train so, and sooner. Without it the layers are those of `torch.nn.LSTM`.
        truncation: tokens. In training, gradients flow back no further than to the last multiple of this many, while
            the state itself is handed on (truncated back-propagation through time); 0 for the whole row.
    """

    residual: bool = False
    norm_epsilon: PositiveFloat = 1e-6
    truncation: NonNegativeInt = 0

    @property
    def mixing(self) -> list[str]:
        """See `LanguageModelConfig.mixing`."""
        return ["lstm"]

    @classmethod
    def sized(cls, layers: int, width: int) -> dict[str, Any]:
        """See `LanguageModelConfig.sized`: residual, since candidates are deep."""
        return {"layers": layers, "width": width, "residual": True}


class LSTM(StatefulModel):
    """Embeddings, LSTM layers, and the head on the last one's outputs."""

    config: LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config, (LSTMBlock(config) for _ in range(config.layers)), _norm(config))


class LSTMBlock(StatefulBlock):
    """One layer. Its state is what it gave last and its cell, both (rows, width)."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.norm = _norm(config)
        self.recurrence = Recurrence(config.width, config.width, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.residual, self.truncation = config.residual, config.truncation

    def empty_state(self, rows: int, dtype: torch.dtype, device: torch.device) -> State:
        """See `StatefulBlock.empty_state`."""
        zeros = torch.zeros(rows, self.recurrence.hidden_size, dtype=dtype, device=device)
        return zeros, zeros

    def forward(self, hidden: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """See `StatefulBlock.forward`."""
        given = []
        reach = self.truncation if self.training and self.truncation else hidden.shape[1]
        for part in torch.split(self.norm(hidden), reach, dim=1):
            output, state = self.recurrence(part, state)
            given.append(output)
        added = self.dropout(torch.cat(given, dim=1))
        return hidden + added if self.residual else added, state


class Recurrence(nn.LSTM):
    """PyTorch's layer, with first weights of our own. On a CPU it computes in the format of its weights.

    What oneDNN has of it in shorter formats depends on the processor: elsewhere it raises.
    """

    def forward(self, hidden: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:  # type: ignore[override]
        """(rows, length, width) to the same, from a state through which no gradient flows, and the state after it."""
        device, dtype = hidden.device.type, next(self.parameters()).dtype
        short = torch.is_autocast_enabled(device) and device != "cpu"
        with torch.autocast(device, enabled=short):
            before = (state[0].detach()[None], state[1].detach()[None])
            output, (last, cell) = super().forward(hidden if short else hidden.to(dtype), before)
        return output, (last[0], cell[0])

    def first_weights(self, seed: int, name: str) -> None:
        """Matrices normal with deviation 1 / sqrt(width); biases zero, but one for the gate that keeps the cell.

        Jozefowicz and others 2015, "An Empirical Exploration of Recurrent Network Architectures", on that bias.
        """
        width = self.hidden_size
        for own, parameter in self.named_parameters():
            if parameter.ndim == 2:
                fill_normal(parameter, width**-0.5, seed, f"{name}.{own}")
            else:
                bias = torch.zeros(parameter.shape)
                bias[width : 2 * width] = float(own == "bias_ih_l0")
                fill_with(parameter, bias)


def _norm(config: LSTMConfig) -> nn.Module:
    return RMSNorm(config.width, config.norm_epsilon) if config.residual else nn.Identity()
