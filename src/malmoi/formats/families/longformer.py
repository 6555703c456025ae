"""Longformer (Beltagy and others 2020, arXiv:2004.05150): RoBERTa with windows, and global tokens of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from malmoi.formats.families.bert import ROBERTA, ROBERTA_TABLE
from malmoi.formats.family import Family, Fields
from malmoi.layers.mixes.registry import AUTO
from malmoi.layers.pattern import FULL, Either, Pattern
from malmoi.layers.patterns import Global, Window
from malmoi.layers.schedule import EVERYTHING, LayerAttention
from malmoi.models.encoder_config import EncoderConfig

_LAYER = "longformer.encoder.layer.{}.attention.self"
TABLE = {theirs.replace("roberta.", "longformer."): ours for theirs, ours in ROBERTA_TABLE.items()} | {
    f"{_LAYER}.{name}_global.{kind}": f"blocks.{{}}.attention.global_{name}.{kind}"
    for name in ("query", "key", "value")
    for kind in ("weight", "bias")
}
_FIRST = Global((0,))
"""The token whose state stands for the text. It is global where there is one: not while words are guessed."""


def _understand(fields: Fields, names: Collection[str]) -> dict[str, Any]:
    ends = {name.rpartition(".")[0] for name in names}
    values = ROBERTA.understand(fields, names)
    layers = min(fields["num_hidden_layers"], len(names))  # a file that states more layers is refused elsewhere
    widths = fields.get("attention_window", 512)
    widths = [widths] * layers if isinstance(widths, int) else widths
    first = "" if values["masked_head"] else f" | {_FIRST}"
    windows = [f"window({width // 2 + 1}){first}" if width // 2 + 1 < values["context"] else "full" for width in widths]
    return {
        **values,
        "attention": windows if len(set(windows)) > 1 else windows[:1],
        "global_projections": True,
        "pooler": "tanh" if ends & {"pooler.dense", "longformer.pooler.dense", "classifier.dense"} else "none",
    }


def _express(config: EncoderConfig) -> dict[str, Any] | None:
    widths = [_width(config, layer) for layer in map(config.layer_attention, range(config.layers))]
    plain = config.model_copy(update={"attention": (EVERYTHING,), "global_projections": False})
    fields = ROBERTA.express(plain)
    if fields is None or not config.global_projections or not all(widths):
        return None
    return {**fields, "attention_window": widths}


def _width(config: EncoderConfig, layer: LayerAttention) -> int:
    """Their window, half of it on either side; 0 where they cannot say what a layer does."""
    if layer.mix != AUTO:
        return 0
    if layer.pattern == FULL:
        return 2 * config.context
    pattern: Pattern = layer.pattern
    if not config.masked_head:
        if not isinstance(pattern, Either) or pattern.right != _FIRST:
            return 0
        pattern = pattern.left
    narrow = isinstance(pattern, Window) and pattern.dilation == 1 and pattern.size > 1
    return 2 * (pattern.size - 1) if narrow and isinstance(pattern, Window) else 0


LONGFORMER = Family(
    "longformer",
    EncoderConfig,
    TABLE,
    _understand,
    _express,
    name="Longformer",
    words="LongformerForMaskedLM",
    prefix="longformer.",
    unsupported=ROBERTA.unsupported,
    classes_table=ROBERTA.classes_table,
    tied=ROBERTA.tied,
)
