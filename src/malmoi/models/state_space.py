"""A language model of selective state spaces: Mamba (Gu and Dao 2023, arXiv:2312.00752).

In the form of one decay a head (Dao and Gu 2024, arXiv:2405.21060, section 7), whose scan is a product of matrices.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import nn
from torch.nn import functional as F

from malmoi.layers.norms import RMSNorm
from malmoi.layers.seeded import fill_with
from malmoi.layers.selective_scan import chunked_scan, sequential_scan
from malmoi.layers.short_convolution import ShortConvolution
from malmoi.layers.states import State
from malmoi.models.stateful import StatefulBlock, StatefulConfig, StatefulModel

SLOWEST, FASTEST = 0.001, 0.1
"""First steps of the heads, from one to the other; and first rates, from 1 to `MOST`."""
MOST = 16.0


class StateSpaceConfig(StatefulConfig):
    """Residual blocks of a selective state space. `dropout` is on embeddings and what blocks add.

    Attributes:
        expansion: a block is so many times as wide inside.
        head_width: size of a head, each of which forgets at its own pace; a divisor of expansion * width.
        state: numbers that each unit inside remembers.
        reach: tokens that the short convolution before the scan sees.
    """

    expansion: PositiveInt = 2
    head_width: PositiveInt = 32
    state: PositiveInt = 32
    reach: Annotated[int, Field(ge=2, le=64)] = 4
    norm_epsilon: PositiveFloat = 1e-6

    @property
    def inner(self) -> int:
        """Width inside a block."""
        return self.expansion * self.width

    @property
    def heads(self) -> int:
        """Their number."""
        return self.inner // self.head_width

    @property
    def mixing(self) -> list[str]:
        """See `LanguageModelConfig.mixing`."""
        return ["state space"]

    @classmethod
    def sized(cls, layers: int, width: int) -> dict[str, int]:
        """See `LanguageModelConfig.sized`: a block has about half the weights of a GPT's."""
        return {"layers": 2 * layers, "width": width}

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.inner % self.head_width:
            raise ValueError(f"head_width={self.head_width} does not divide expansion * width = {self.inner}")
        return self


class StateSpace(StatefulModel):
    """Embeddings, blocks of state spaces, a final norm, the head."""

    config: StateSpaceConfig

    def __init__(self, config: StateSpaceConfig) -> None:
        blocks = (StateSpaceBlock(config) for _ in range(config.layers))
        super().__init__(config, blocks, RMSNorm(config.width, config.norm_epsilon))


class StateSpaceBlock(StatefulBlock):
    """A selective state space on a normed copy, added to the residual stream.

    Its state is what the short convolution has read last, and the state of the scan, float32 whatever the dtype.
    """

    def __init__(self, config: StateSpaceConfig) -> None:
        super().__init__()
        self.config = config
        inner, size, heads = config.inner, config.state, config.heads
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.up = nn.Linear(config.width, 2 * inner + 2 * size + heads, bias=False)
        self.convolution = ShortConvolution(inner + 2 * size, config.reach)
        self.pace = Pace(heads)
        self.gated_norm = RMSNorm(inner, config.norm_epsilon)
        self.output = nn.Linear(inner, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def empty_state(self, rows: int, dtype: torch.dtype, device: torch.device) -> State:
        """See `StatefulBlock.empty_state`."""
        config = self.config
        read = torch.zeros(rows, config.reach - 1, config.inner + 2 * config.state, dtype=dtype, device=device)
        return read, torch.zeros(rows, config.state, config.heads, config.head_width, device=device)

    def forward(self, hidden: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """See `StatefulBlock.forward`."""
        config, length = self.config, hidden.shape[1]
        sizes = [config.inner, config.inner + 2 * config.state, config.heads]
        gate, scanned, steps = torch.split(self.up(self.norm(hidden)), sizes, dim=-1)
        read = torch.cat([state[0].to(scanned.dtype), scanned], dim=1)
        convolved = F.silu(self.convolution(read)[:, -length:])
        values, writes, reads = torch.split(convolved, [config.inner, config.state, config.state], dim=-1)
        values = values.reshape(*values.shape[:-1], config.heads, config.head_width)
        with torch.autocast(hidden.device.type, enabled=False):  # sums over many tokens want float32
            outputs, after = self.pace(values.float(), writes.float(), reads.float(), steps.float(), state[1])
        normed = self.gated_norm(outputs.flatten(2).to(gate.dtype) * F.silu(gate))
        return hidden + self.dropout(self.output(normed)), (read[:, length:], after)


class Pace(nn.Module):
    """How fast each head forgets: the discretisation around the scan.

    Attributes:
        rate: (heads,), the logarithm of how fast a head forgets a step of one.
        step: (heads,), added to the step that a token asks for.
        skip: (heads,), how much of a token passes by the state.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.rate, self.step, self.skip = (nn.Parameter(torch.zeros(heads)) for _ in range(3))

    def forward(
        self,
        values: torch.Tensor,
        writes: torch.Tensor,
        reads: torch.Tensor,
        steps: torch.Tensor,
        state: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `selective_scan`; steps: (rows, length, heads), before they are made positive."""
        steps = F.softplus(steps + self.step.float())
        scan = sequential_scan if values.shape[1] == 1 else chunked_scan
        log_decays = -self.rate.float().exp() * steps
        outputs, state = scan(values * steps[..., None], log_decays, writes, reads, state)
        return outputs + self.skip.float()[:, None] * values, state

    def first_weights(self, seed: int, name: str) -> None:
        """Rates evenly from 1 to `MOST`, steps from `SLOWEST` to `FASTEST` in equal ratios; everything passes by."""
        heads = len(self.rate)
        fill_with(self.rate, torch.linspace(1, MOST, heads).log())
        steps = torch.logspace(math.log10(SLOWEST), math.log10(FASTEST), heads)
        fill_with(self.step, steps.expm1().log())  # softplus gives the steps back
        self.skip.fill_(1)
