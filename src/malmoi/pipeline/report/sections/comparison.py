"""Models beside each other: loss along the context and over the training, time and memory of training and writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Block, Chart, Section, Table, Text
from malmoi.pipeline.report.chart import Series, line_chart
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent, size


def comparison_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Tables over the models, and their loss along the context and over the training."""
    compared = [stage for stage in stages if stage.kind == "compare" and stage.result.get("models")]
    blocks: list[Block] = []
    for stage in compared:
        models: dict[str, dict[str, Any]] = stage.result["models"]
        blocks += titled(stage, compared)
        if stage.result.get("generation"):
            blocks += [*_generation(stage.result, say), Text(say("compare.generation.counted"))]
        blocks += [_table(models, say)]
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
    columns = [say("compare.model"), say("compare.mixing")]
    columns += ["#" + say(f"compare.{key}") for key in ("loss", "of_first", "seconds", "of_first", "kept")]
    rows = [
        [
            name,
            ", ".join(one["mixing"]),
            f"{one['loss']:.3f}",
            percent(one["loss"] / first["loss"]),
            f"{one['seconds']:.2f}",
            percent(one["seconds"] / first["seconds"]),
            f"{one['kept_bytes'] / 2**20:,.0f}",
        ]
        for name, one in models.items()
    ]
    return Table(columns, rows)


def _generation(result: dict[str, Any], say: Words) -> list[Block]:
    """How good models are after their time of training, and what training and writing cost."""
    models: dict[str, dict[str, Any]] = result["models"]
    columns = [say("compare.model")]
    columns += ["#" + say(key) for key in ("fact.parameters", "bits", "compare.minutes", "tokens", "compare.trains")]
    rows = []
    for name, one in models.items():
        trained = ["", ""]
        if "training_seconds" in one:
            trained = [f"{one['training_seconds'] / 60:.1f}", f"{one['tokens']:,}"]
        speed = f"{result['step_tokens'] / one['seconds']:,.0f}"
        rows.append([name, f"{one['parameters']:,}", f"{one['bits_per_byte']:.3f}", *trained, speed])
    learning = [
        Series(name, [(seconds / 60, loss) for seconds, loss in one["learning"]])
        for name, one in models.items()
        if one.get("learning")
    ]
    chart = line_chart(say("compare.learning"), say("compare.minutes"), learning)
    return [Table(columns, rows), *([Chart(chart)] if chart else []), _writing(result, say)]


def _writing(result: dict[str, Any], say: Words) -> Table:
    columns = [say("compare.model")]
    for length in result["generation"]:
        columns += ["#" + say(f"compare.{key}", length=f"{length:,}") for key in ("writes", "cache")]
    rows = [
        [name]
        + [
            figure
            for cost in one["generation"].values()
            for figure in (f"{cost['tokens_per_second']:,.0f}", size(cost["bytes"]))
        ]
        for name, one in result["models"].items()
    ]
    return Table(columns, rows)
