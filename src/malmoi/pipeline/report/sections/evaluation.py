"""Bits per byte beside the controls, and samples over the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Chart, Samples, Section, Table, Text, Tile
from malmoi.pipeline.report.chart import Level, Series, line_chart
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent

ALL = "all sources"


def evaluation_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Bits per byte of each evaluated model beside its controls, over all sources and for each."""
    evaluations = [stage for stage in stages if stage.kind == "evaluate" and "table" in stage.result]
    if not evaluations:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in evaluations:
        blocks += titled(stage, evaluations)
        table = stage.result["table"]
        row = table[ALL]
        below = 1 - row["model"] / row["bigram"]
        note = say("below.tile" if below >= 0 else "above.tile", share=percent(abs(below), 0))
        tiles.append(Tile(f"{row['model']:.2f}", say("bits.tile"), note))
        ordered = sorted(row.items(), key=lambda item: -item[1])
        bars = [
            Bar(say(name), bits, f"{bits:.3f}", "main" if name == "model" else "control")
            for name, bits in ordered
            if math.isfinite(bits)
        ]
        blocks.append(Bars(say("bits"), bars))
        progress = _progress(stage, stages, say)
        if progress is not None:
            blocks.append(progress)
        if len(table) > 2:
            blocks.append(_by_source(stage, say))
    blocks.append(Text(say("counted")))
    return Section("evaluate", say("evaluate"), say("evaluate.lede"), blocks, tiles)


def _by_source(stage: StageRecord, say: Words) -> Table:
    table, scored = stage.result["table"], stage.result.get("scored", {})
    names = list(table[ALL])
    columns = [say("source"), "#" + say("bytes"), *("#" + say(name) for name in names), "#" + say("below")]
    rows = []
    for source, row in table.items():
        figures = [f"{row[name]:.3f}" if math.isfinite(row[name]) else "" for name in names]
        below = percent(1 - row["model"] / row["bigram"])
        rows.append([say(source), f"{scored.get(source, {}).get('bytes', 0):,}", *figures, below])
    return Table(columns, rows, last_is_total=True)


def _progress(evaluation: StageRecord, stages: Sequence[StageRecord], say: Words) -> Chart | None:
    """Validation loss of the evaluated model's training in bits per byte, with the controls as horizontal lines."""
    names = [Path(one["name"]).name for one in evaluation.record.get("inputs", {}).get("checkpoint", [])]
    trained = next((stage for stage in stages if stage.kind == "pretrain" and stage.name in names), None)
    scored = evaluation.result.get("scored", {}).get(ALL)
    if trained is None or not scored or not scored["bytes"]:
        return None
    nats_to_bits = scored["tokens"] / scored["bytes"] / math.log(2)
    points = [(step, loss * nats_to_bits) for step, loss in trained.curve("validation_loss")]
    levels = [
        Level(say(name), bits) for name, bits in evaluation.result["table"][ALL].items() if name not in ("model", "xz")
    ]
    chart = line_chart(say("bits.progress"), say("step"), [Series(say("model"), points)], levels)
    return Chart(chart) if chart else None


def samples_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """The same prompts continued at several checkpoints."""
    sampled = [stage for stage in stages if stage.kind == "pretrain" and stage.lines("samples.jsonl")]
    sampled = sampled or [stage for stage in stages if stage.kind == "evaluate" and stage.lines("samples.jsonl")]
    if not sampled:
        return None
    blocks: list[Block] = []
    for stage in sampled:
        blocks += titled(stage, sampled)
        records = sorted(stage.lines("samples.jsonl"), key=lambda record: int(record["step"]))
        for prompt in dict.fromkeys(record["prompt"] for record in records):
            texts = [
                (say("at.step", step=f"{record['step']:,}"), record["text"].removeprefix(prompt))
                for record in records
                if record["prompt"] == prompt
            ]
            blocks.append(Samples(prompt, texts))
    return Section("samples", say("samples"), say("samples.lede"), blocks)
