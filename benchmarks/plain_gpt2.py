"""The control of `time_to_loss.py`: GPT-2's shape and a plain loop, with nothing of malmoi in it.

The recipe is the one that minimal GPT repositories print for a laptop: 4 layers, 4 heads, width 128, context 64,
12 rows, 2,000 steps, AdamW at 1e-3 falling to 1e-4 along a cosine. PyTorch's defaults throughout, fused attention.
"""

from __future__ import annotations

import math
import time

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, CONTEXT, ROWS = 4, 4, 128, 64, 12
WARM_UP, BETAS, WEIGHT_DECAY, CLIP = 100, (0.9, 0.99), 0.1, 1.0


class Block(nn.Module):
    """Attention and feed-forward, each behind a LayerNorm (Radford and others 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, length, width) to the same."""
        rows, length, _ = hidden.shape
        parts = self.query_key_value(self.norm1(hidden)).split(WIDTH, dim=2)
        query, key, value = (part.view(rows, length, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.output(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        result: torch.Tensor = hidden + self.down(F.gelu(self.up(self.norm2(hidden))))
        return result


class PlainGPT2(nn.Module):
    """Learned positions, tied head; GPT-2's first weights."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                last = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(rows, length) to (rows, length, vocabulary) logits."""
        hidden = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(hidden)), self.embedding.weight)


def train_control(
    tokens: torch.Tensor, vocabulary: int, seed: int, steps: int = 2_000, rate: float = 1e-3
) -> tuple[PlainGPT2, float]:
    """Train on `tokens`, (n,) int64; returns the model and the seconds of its steps."""
    torch.manual_seed(seed)
    model = PlainGPT2(vocabulary)
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}], betas=BETAS
    )
    started = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * _factor(step, steps)
        starts = torch.randint(len(tokens) - CONTEXT, (ROWS,))
        rows = torch.stack([tokens[start : start + CONTEXT + 1] for start in starts])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    return model, time.monotonic() - started


def _factor(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a tenth."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    progress = (step - WARM_UP) / (steps - WARM_UP)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))
