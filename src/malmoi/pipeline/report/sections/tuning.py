"""Fine-tuned classifiers beside their control, and an assistant before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Answer, Answers, Bar, Bars, Block, Confusion, Pairs, Section, Table, Tile
from malmoi.pipeline.report.chart import tidy
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts
from malmoi.pipeline.report.words import Words, percent

CLASSIFIED = ("train_texts", "validation_texts", "test_texts", "train", "layers", "steps")
INSTRUCTED = ("dialogues", "held_out_dialogues", "steps", "learned_tokens", "train", "loss_before", "loss_after")
"""Results that are shown as facts, by their names in `stage.json`."""


def classification_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Accuracy, confusion and F1 of each classifier beside logistic regression."""
    classified = [stage for stage in stages if stage.kind == "classify" and "accuracy" in stage.result]
    if not classified:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in classified:
        result = stage.result
        scores = {say("fine-tuned"): result}
        if "control" in result:
            scores[say(f"control.{result.get('control_unit', 'word')}")] = result["control"]
        bars = [
            Bar(name, score["accuracy"], percent(score["accuracy"]), "main" if score is result else "control")
            for name, score in scores.items()
        ]
        if "majority" in result:
            bars.append(Bar(say("majority"), result["majority"], percent(result["majority"])))
        confusions = [_confusion(name, score, say) for name, score in scores.items()]
        blocks += [*titled(stage, classified), facts(result, CLASSIFIED, say), Bars(say("accuracy"), bars)]
        blocks += [Pairs(confusions), _by_class(result, say), *curves(stage, say, say("loss.text"))]
        note = say("accuracy.note", share=percent(result["control"]["accuracy"])) if "control" in result else ""
        tiles.append(Tile(percent(result["accuracy"]), say("accuracy.tile", name=stage.name), note))
    return Section("classify", say("classify"), say("classify.lede"), blocks, tiles)


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
