"""Where a translator looks: attention from the words of the target to those of the source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from malmoi.core.accelerator import device_of
from malmoi.generate.generator import evaluating
from malmoi.layers.attention import Attention
from malmoi.layers.cache import KeysAndValues
from malmoi.models.seq2seq import Block, EncoderDecoder
from malmoi.tokenizers.tokenizer import Tokenizer

END = "⏎"
"""Stands for the end of a text, to which much attention goes that looks for nothing."""


@dataclass(frozen=True)
class WordAttention:
    """How much each word of a target looks at each word of its source, the ends of both included.

    Attributes:
        source, target: words.
        weights: for each word of the target, shares that add up to 1.
    """

    source: list[str]
    target: list[str]
    weights: list[list[float]]

    def as_json(self) -> dict[str, Any]:
        """For a file of the stage."""
        return asdict(self)


def word_attention(model: EncoderDecoder, tokenizer: Tokenizer, source: str, target: str) -> WordAttention:
    """Attention of the last layer, the mean over its heads.

    It is a sum over the tokens of a source word and a mean over those of a target word; a token of the target is that
    which the decoder is about to write. What goes beyond the context is left out.
    """
    room = model.config.context - 1
    sides = [[*tokenizer.encode(text)[:room], tokenizer.end] for text in (source, target)]
    weights = attention_to_source(model, *(torch.tensor([side], device=device_of(model)) for side in sides))[
        -1, 0
    ].mean(0)
    columns, rows = (_words(tokenizer, side) for side in sides)
    by_column = torch.stack([weights[:, first:end].sum(1) for _, first, end in columns], dim=1)
    by_row = torch.stack([by_column[first:end].mean(0) for _, first, end in rows])
    words = [[word for word, *_ in side] for side in (columns, rows)]
    return WordAttention(words[0], words[1], [[round(value, 4) for value in row] for row in by_row.tolist()])


@torch.inference_mode()
def attention_to_source(model: EncoderDecoder, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(layers, rows, heads, target length, source length) float32, shares that add up to 1.

    Args:
        source: (rows, source length) int64, nothing padded.
        target: (rows, target length) int64, what is written, without the decoder's start.
    """
    inputs: list[tuple[Attention, torch.Tensor, KeysAndValues]] = []

    def keep(layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], named: dict[str, Any]) -> None:
        assert isinstance(layer, Attention)
        inputs.append((layer, arguments[0], named["source"]))

    blocks = [block for block in model.decoder.blocks if isinstance(block, Block) and block.cross_attention is not None]
    hooks = [block.cross_attention.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]  # type: ignore[union-attr]
    start = torch.full((len(target), 1), model.config.start, device=target.device)
    try:
        with evaluating(model):
            model(source, None, torch.cat([start, target[:, :-1]], dim=1))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([_weights(*one) for one in inputs])


def _weights(layer: Attention, hidden: torch.Tensor, source: KeysAndValues) -> torch.Tensor:
    """(rows, heads, target length, source length), the weights by which a layer mixes the values of the source."""
    rows, length, _ = hidden.shape
    query = layer.query(hidden).view(rows, length, layer.heads, layer.head_width).transpose(1, 2)
    weights: torch.Tensor = (query @ source[0].transpose(-1, -2) * layer.scale).float().softmax(-1)
    return weights


def _words(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[str, int, int]]:
    """Each word with its first token and the one behind its last; a word begins behind a blank, or is a mark."""
    spelled = [tokenizer.token_bytes(id) for id in ids[:-1]]
    text, ends, length = b"".join(spelled).decode("utf-8", errors="replace"), [], 0
    for piece in spelled:
        length += len(piece)
        ends.append(length)
    words: list[tuple[str, int, int]] = []
    first = reached = 0
    for match in re.finditer(r"\s*(\w+(?:[-'’]\w+)*|[^\w\s]+)", text):
        reached = len(text[: match.end()].encode())
        end = next((place + 1 for place, size in enumerate(ends) if size >= reached), len(ends))
        if end > first:
            words.append((match[1], first, end))
            first = end
        elif words:  # a token that reaches over the end of a word belongs to both
            words[-1] = (words[-1][0] + match[1], *words[-1][1:])
    return [*words, (END, len(ids) - 1, len(ids))]
