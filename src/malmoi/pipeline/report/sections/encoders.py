"""Training an encoder: how many hidden words it guesses, beside counting, and whether texts go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Heading, Section, Table, Text, Tile
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts, mixture_table
from malmoi.pipeline.report.words import Words, percent

PRETRAINED = ("parameters", "layers", "width", "context", "steps", "tokens", "tokens_per_second", "precision")
"""Results that are shown as facts, by their names in `stage.json`."""


def encoder_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Accuracy of each objective beside its controls, curves, guesses, and what was read."""
    trained = [stage for stage in stages if stage.kind == "pretrain-encoder"]
    blocks: list[Block] = []
    tiles = []
    for stage in trained:
        result = stage.result
        blocks += [*titled(stage, trained), facts(result, PRETRAINED, say), *_accuracies(result, say)]
        blocks += curves(stage, say, say("loss.item"))
        blocks += _guesses(stage, say)
        if result.get("mixture"):
            blocks += [Heading(say("mixture")), mixture_table(result["mixture"], say)]
        masked, controls = (result.get("objectives") or {}).get("masked"), result.get("controls")
        if masked and controls:
            note = say("masked.note", share=percent(controls["neighbours"]))
            tiles.append(Tile(percent(masked["accuracy"]), say("masked.tile"), note))
    if not blocks:
        return None
    return Section("pretrain-encoder", say("pretrain-encoder"), say("pretrain-encoder.lede"), blocks, tiles)


def _accuracies(result: dict[str, Any], say: Words) -> list[Block]:
    blocks: list[Block] = []
    controls = result.get("controls") or {}
    for name, measured in (result.get("objectives") or {}).items():
        others = controls if name == "masked" else {"half": 0.5}
        bars = [Bar(say("model"), measured["accuracy"], percent(measured["accuracy"]), "main")]
        bars += [Bar(say(f"control.{key}"), value, percent(value), "control") for key, value in others.items()]
        blocks.append(Bars(say(f"objective.{name}"), bars))
    if controls:
        blocks.append(Text(say("masked.counted")))
    return blocks


def _guesses(stage: StageRecord, say: Words) -> list[Block]:
    guesses = stage.json("guesses.json") or []
    columns = [say("guess.text"), say("guess.right"), say("guess.model")]
    rows = [[one["text"], one["right"], " · ".join(one["guesses"])] for one in guesses]
    return [Heading(say("guesses")), Table(columns, rows)] if rows else []
