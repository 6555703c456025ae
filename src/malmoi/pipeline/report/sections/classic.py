"""Sorting texts before deep learning: what each way was right in, and what the hand-made features look like."""

from __future__ import annotations

from collections.abc import Sequence

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Heading, Section, Table, Text, Tile
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import facts
from malmoi.pipeline.report.words import Words, percent

WAYS = ("features", "naive Bayes", "words", "words and features", "deep")
"""In the order of their history."""


def classic_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """A bar for each way, with the story between them, and the means of the features by class."""
    classic = [stage for stage in stages if stage.kind == "classic"]
    blocks: list[Block] = []
    tiles = []
    for stage in classic:
        result = stage.result
        ways = {name: result["ways"][name] for name in WAYS if name in result["ways"]}
        best = max(ways, key=lambda name: float(ways[name]["accuracy"]))
        bars = [Bar(say("majority"), result["majority"], percent(result["majority"]))]
        bars += [
            Bar(
                say(f"classic.{name}"), way["accuracy"], percent(way["accuracy"]), "main" if name == best else "control"
            )
            for name, way in ways.items()
        ]
        blocks += [*titled(stage, classic), facts(result, ("train_texts", "test_texts"), say)]
        blocks += [Bars(say("accuracy"), bars), *(Text(say(f"classic.story.{name}")) for name in ways)]
        columns = [say("classic.feature"), *(f"#{name}" for name in result["classes"])]
        rows = [
            [say(f"feature.{feature}"), *(f"{means[name]:.3g}" for name in result["classes"])]
            for feature, means in result["features"].items()
        ]
        blocks += [Heading(say("classic.features.title")), Table(columns, rows)]
        tiles.append(Tile(percent(ways[best]["accuracy"]), say("accuracy.tile", name=say(f"classic.{best}")), ""))
    return Section("classic", say("classic"), say("classic.lede"), blocks, tiles) if blocks else None
