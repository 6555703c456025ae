"""Fine-tuned classifiers beside their control, and an assistant before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Answer, Answers, Bar, Bars, Block, Confusion, Pairs, Section, Table, Tile
from malmoi.pipeline.report.chart import tidy
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts
from malmoi.pipeline.report.words import Words, percent

INSTRUCTED = ("dialogues", "held_out_dialogues", "steps", "learned_tokens", "train", "loss_before", "loss_after")
"""Results of the instruct stage that are shown as facts."""


def classification_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Accuracy, confusion and F1 of each classifier beside logistic regression."""
    classified = [stage for stage in stages if stage.kind == "classify" and "accuracy" in stage.result]
    if not classified:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in classified:
        blocks += titled(stage, classified)
        scores = {"fine-tuned": stage.result, **_controls(stage.result)}
        bars = [
            Bar(say(name), score["accuracy"], percent(score["accuracy"]), "main" if name == "fine-tuned" else "control")
            for name, score in scores.items()
        ]
        blocks.append(Bars(say("accuracy"), bars))
        tables = [_confusion(say(name), score, say) for name, score in scores.items() if score.get("confusion")]
        blocks += [Pairs(tables)] if tables else []
        blocks.append(_by_class(stage.result, say))
        blocks += curves(stage, say, say("loss.text"))
        control = max((score["accuracy"] for score in _controls(stage.result).values()), default=None)
        note = "" if control is None else say("accuracy.note", share=percent(control))
        tiles.append(Tile(percent(stage.result["accuracy"]), say("accuracy.tile", name=stage.name), note))
    return Section("classify", say("classify"), say("classify.lede"), blocks, tiles)


def _controls(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    control = result.get("control")
    return {"control": control} if control else {}


def _confusion(title: str, score: dict[str, Any], say: Words) -> Confusion:
    return Confusion(title, score["classes"], score["confusion"], say("true"), say("predicted"))


def _by_class(result: dict[str, Any], say: Words) -> Table:
    columns = [say("class"), "#" + say("precision"), "#" + say("recall"), "#F1"]
    figures = zip(result["classes"], result["precision"], result["recall"], result["f1"], strict=True)
    return Table(columns, [[name, *(f"{value:.3f}" for value in row)] for name, *row in figures])


def assistant_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Answers to the same questions before and after fine-tuning."""
    tuned = [stage for stage in stages if stage.kind == "instruct"]
    blocks: list[Block] = []
    tiles = []
    for stage in tuned:
        blocks += [*titled(stage, tuned), facts(stage.result, INSTRUCTED, say)]
        before, after = stage.result.get("loss_before"), stage.result.get("loss_after")
        if before is not None and after is not None:
            tiles.append(Tile(tidy(after), say("answers.tile"), say("answers.note", loss=tidy(before))))
        answers = [
            Answer(record["question"], record["before"], record["after"]) for record in stage.lines("answers.jsonl")
        ]
        if answers:
            blocks.append(Answers(answers, say("before"), say("after")))
        blocks += curves(stage, say, say("loss.token"))
    return Section("instruct", say("instruct"), say("instruct.lede"), blocks, tiles) if blocks else None
