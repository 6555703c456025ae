"""Models beside each other: loss along the context, time and memory of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Block, Chart, Section, Table, Text
from malmoi.pipeline.report.chart import Series, line_chart
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent


def comparison_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """A table over the models, and their loss along the context."""
    compared = [stage for stage in stages if stage.kind == "compare" and stage.result.get("models")]
    blocks: list[Block] = []
    for stage in compared:
        models: dict[str, dict[str, Any]] = stage.result["models"]
        blocks += [*titled(stage, compared), _table(models, say)]
        names = [f"{start + 1:,}–{end:,}" for start, end, _ in next(iter(models.values()))["spans"]]
        series = [
            Series(name, [(float(place), span[2]) for place, span in enumerate(one["spans"])])
            for name, one in models.items()
        ]
        chart = line_chart(say("compare.along"), say("compare.position"), series, x_names=names)
        blocks += [Chart(chart)] if chart else []
        counted = say("compare.counted", rows=f"{stage.result['rows']:,}", context=f"{stage.result['context']:,}")
        blocks.append(Text(counted))
    return Section("compare", say("compare"), say("compare.lede"), blocks) if blocks else None


def _table(models: dict[str, dict[str, Any]], say: Words) -> Table:
    first = next(iter(models.values()))
    columns = [say("compare.model"), say("compare.attention")]
    columns += ["#" + say(f"compare.{key}") for key in ("loss", "of_first", "seconds", "of_first", "kept")]
    rows = [
        [
            name,
            ", ".join(one["attention"]),
            f"{one['loss']:.3f}",
            percent(one["loss"] / first["loss"]),
            f"{one['seconds']:.2f}",
            percent(one["seconds"] / first["seconds"]),
            f"{one['kept_bytes'] / 2**20:,.0f}",
        ]
        for name, one in models.items()
    ]
    return Table(columns, rows)
