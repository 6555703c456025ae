"""The tokenizer, and training from scratch: loss curves, derived numbers, what the model was fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Block, Chart, Facts, Heading, Section, Table, Text, Tokens, as_text
from malmoi.pipeline.report.chart import Series, line_chart, smooth
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent

TOKENIZER = ("kind", "vocabulary", "bytes_per_token", "characters_per_token", "unknown_share")
PRETRAINED = (
    "family",
    "parameters",
    "layers",
    "width",
    "context",
    "steps",
    "tokens",
    "tokens_per_second",
    "precision",
    "validation_loss",
    "perplexity",
)
"""Results that are shown as facts, by their names in `stage.json`."""


def tokenizer_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Facts about each tokenizer that was trained."""
    tokenizers = [stage for stage in stages if stage.kind == "tokenizer"]
    blocks: list[Block] = []
    for stage in tokenizers:
        blocks += [*titled(stage, tokenizers), facts(stage.result, TOKENIZER, say)]
        if stage.result.get("example"):
            blocks.append(Tokens(say("cut"), stage.result["example"]))
    return Section("tokenizer", say("tokenizer"), say("tokenizer.lede"), blocks) if blocks else None


def pretraining_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Loss and learning rate over the steps, what the dial derived, and the mixture as it came out."""
    trained = [stage for stage in stages if stage.kind == "pretrain"]
    blocks: list[Block] = []
    for stage in trained:
        blocks += [*titled(stage, trained), facts(stage.result, PRETRAINED, say)]
        blocks += curves(stage, say, say("loss.token"))
        blocks += map(Text, stage.warnings())
        if stage.result.get("mixture"):
            blocks += [Heading(say("mixture")), mixture_table(stage.result["mixture"], say)]
        blocks += _trials(stage, say)
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


def facts(result: dict[str, Any], keys: Sequence[str], say: Words) -> Facts:
    """The values of a result behind `keys`, those that it has."""
    return Facts([(say(f"fact.{key}"), as_text(result[key])) for key in keys if result.get(key) is not None])


def _trials(stage: StageRecord, say: Words) -> list[Block]:
    """The sizes among which the dial chose, the one with the least predicted loss last."""
    trials = (stage.json("plan.json") or {}).get("trials")
    if not trials:
        return []
    best = min(trial["predicted_loss"] for trial in trials)
    columns = [say("size"), *("#" + say(key) for key in ("fact.parameters", "fact.tokens_per_second", "tokens"))]
    rows = [
        [
            f"{trial['layers']} × {trial['width']}",
            f"{trial['parameters']:,}",
            f"{trial['tokens_per_second']:,}",
            f"{trial['tokens']:,}",
            f"{trial['epochs']:.1f}",
            f"{trial['predicted_loss'] / best:.2f} ×",
        ]
        for trial in sorted(trials, key=lambda trial: -float(trial["predicted_loss"]))
    ]
    table = Table([*columns, "#" + say("epochs"), "#" + say("predicted.loss")], rows, last_is_total=True)
    return [Heading(say("trials")), Text(say("trials.lede")), table]


def mixture_table(mixture: dict[str, dict[str, float]], say: Words) -> Table:
    """What a mixture took of each source."""
    columns = [say("source"), "#" + say("wanted"), "#" + say("share"), "#" + say("epochs")]
    return Table(
        columns,
        [
            [source, percent(row["weight"]), percent(row["share"]), f"{row['epochs']:.2f}"]
            for source, row in mixture.items()
        ],
    )
