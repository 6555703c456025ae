"""The tokenizer, and training from scratch: loss curves, derived numbers, what the model was fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Block, Chart, Facts, Section, Table, Tokens, as_text
from malmoi.pipeline.report.chart import Series, line_chart, smooth
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent


def tokenizer_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Facts about each tokenizer that was trained."""
    tokenizers = [stage for stage in stages if stage.kind == "tokenizer"]
    blocks: list[Block] = []
    for stage in tokenizers:
        blocks += [*titled(stage, tokenizers), Facts(plain_facts(stage.result, say))]
        if stage.result.get("example"):
            blocks.append(Tokens(say("cut"), stage.result["example"]))
    return Section("tokenizer", say("tokenizer"), say("tokenizer.lede"), blocks) if blocks else None


def pretraining_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Loss and learning rate over the steps, what the dial derived, and the mixture as it came out."""
    trained = [stage for stage in stages if stage.kind == "pretrain"]
    blocks: list[Block] = []
    for stage in trained:
        blocks += [*titled(stage, trained), Facts(plain_facts(stage.result, say))]
        blocks += curves(stage, say, say("loss.token"))
        if stage.result.get("mixture"):
            blocks.append(_mixture(stage.result["mixture"], say))
    return Section("pretrain", say("pretrain"), say("pretrain.lede"), blocks) if blocks else None


def curves(stage: StageRecord, say: Words, title: str) -> list[Chart]:
    """Training and held-out loss of a stage that trains."""
    loss = stage.curve("loss")
    series = [
        Series(say("training.loss"), loss, "faint"),
        Series(say("training.loss"), smooth(loss, max(2, len(loss) // 40))),
        Series(say("validation.loss"), stage.curve("validation_loss"), "dots"),
    ]
    chart = line_chart(title, say("step"), series)
    return [Chart(chart)] if chart else []


def plain_facts(result: dict[str, Any], say: Words) -> list[tuple[str, str]]:
    """The numbers and words of a result; nested values are left to other blocks."""
    return [
        (say(f"fact.{key}").removeprefix("fact.").replace("_", " "), as_text(value))
        for key, value in result.items()
        if isinstance(value, (str, int, float, bool)) and len(as_text(value)) < 60
    ]


def _mixture(mixture: dict[str, dict[str, float]], say: Words) -> Table:
    columns = [say("source"), "#" + say("wanted"), "#" + say("share"), "#" + say("epochs")]
    return Table(
        columns,
        [
            [source, percent(row["weight"]), percent(row["share"]), f"{row['epochs']:.2f}"]
            for source, row in mixture.items()
        ],
    )
