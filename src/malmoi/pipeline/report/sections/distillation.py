"""A student beside its teacher, and beside itself without one."""

from __future__ import annotations

from collections.abc import Sequence

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Section, Tile
from malmoi.pipeline.report.chart import tidy
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts
from malmoi.pipeline.report.words import Words, percent

DISTILLED = ("layers", "temperature", "alpha", "hidden", "steps")
"""Results that are shown as facts, by their names in `stage.json`."""


def distillation_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """The figure of teacher, student and control, and what the student learned by."""
    distilled = [stage for stage in stages if stage.kind == "distil" and stage.result.get("figures")]
    blocks: list[Block] = []
    tiles = []
    for stage in distilled:
        result = stage.result
        shown = percent if result["figure"] == "accuracy" else tidy
        bars = [
            Bar(say(f"distil.{name}"), value, shown(value), "main" if name == "student" else "control")
            for name, value in result["figures"].items()
        ]
        blocks += [*titled(stage, distilled), facts(result, DISTILLED, say)]
        blocks += [Bars(say(f"distil.{result['figure']}"), bars), *curves(stage, say, say("loss.item"))]
        sizes, closed = result["parameters"], result.get("share_of_gap_closed")
        if closed is not None:
            note = say("distil.note", share=percent(sizes["student"] / sizes["teacher"]))
            tiles.append(Tile(percent(closed), say("distil.tile"), note))
    return Section("distil", say("distil"), say("distil.lede"), blocks, tiles) if blocks else None
