"""How each layer attends, as a list in the configuration: `[window(256), window(256), full]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import PlainSerializer, PlainValidator

from malmoi.core.errors import UserError
from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.mixes.registry import AUTO, MIXES
from malmoi.layers.pattern import FULL, Pattern
from malmoi.layers.pattern_text import Words, make, read_call, read_pattern


@dataclass(frozen=True)
class LayerAttention:
    """Who may look at whom in a layer, and how that is computed."""

    pattern: Pattern = FULL
    mix: Mix = AUTO

    def __str__(self) -> str:
        if self.pattern == FULL and not self.mix.exact:
            return str(self.mix)
        return str(self.pattern) + ("" if self.mix == AUTO else f" by {self.mix}")


EVERYTHING = LayerAttention()

_MOST_HEADS = 1 << 20
"""More than any model has; a damaged configuration may state what no tensor can be made of."""


def parse_layer(text: str) -> LayerAttention:
    """Read `PATTERN`, `PATTERN by MIX`, or a mix alone, such as `hashed(reach=64, rounds=4)`, that looks at everything.

    Raises:
        UserError: it is none of that.
    """
    words = Words(text)
    if words.peek() in MIXES:
        layer = LayerAttention(FULL, _read_mix(words))
    else:
        pattern = read_pattern(words)
        if words.peek() == "by":
            words.take()
            layer = LayerAttention(pattern, _read_mix(words))
        else:
            layer = LayerAttention(pattern)
    words.end()
    return layer


def _read_mix(words: Words) -> Mix:
    made: Mix = make(read_call(words), MIXES, words)
    return made


def _read_schedule(value: Any) -> Any:
    """A text or a list of texts to the layers they name."""
    listed = [value] if isinstance(value, str | LayerAttention) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str | LayerAttention) for one in listed):
        raise ValueError("this is no attention pattern and no list of some, such as [window(256), full]")
    if not listed:
        raise ValueError("the list is empty; [full] looks at everything")
    try:
        return tuple(one if isinstance(one, LayerAttention) else parse_layer(one) for one in listed)
    except UserError as error:
        raise ValueError(f"{error.what} {error.way_out}") from None


Schedule = Annotated[
    tuple[LayerAttention, ...],
    PlainValidator(_read_schedule),
    PlainSerializer(lambda layers: [str(layer) for layer in layers], return_type=list[str]),
]
"""The layers in turn, from the first again where there are more of them; written as texts."""


def check_schedule(
    schedule: Sequence[LayerAttention],
    outer: Pattern,
    *,
    context: int,
    layers: int,
    heads: int,
    shared: int,
    dropout: float,
    padded: bool = False,
) -> None:
    """Refuse what no layer can compute.

    Args:
        outer: what holds in every layer, such as causality.
        shared: key and value heads.
        dropout: of the attention weights while a model learns.
        padded: keys at the end of a row may be padding that nobody looks at.

    Raises:
        ValueError: more entries than layers, a number beyond the context, or a mix that cannot do its pattern.
    """
    if max(heads, shared) > _MOST_HEADS:
        raise ValueError(f"{heads} heads are more than any model has")
    if len(schedule) > layers:
        raise ValueError(f"{len(schedule)} patterns are more than the {layers} layers")
    real = torch.empty(1, 1, dtype=torch.bool, device="meta") if padded else None
    for layer in schedule:
        if layer.pattern.largest() > context:
            raise ValueError(f"{layer} reaches beyond the context of {context} tokens")
        query, key = (torch.empty(1, count, 1, 2, device="meta") for count in (heads, shared))
        refusal = layer.mix.refusal(Heads(query, key, key, outer & layer.pattern, real, dropout=dropout))
        if refusal:
            raise ValueError(f"{layer}: {type(layer.mix).__name__.lower()} cannot do {refusal}")
