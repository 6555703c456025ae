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
INSTRUCTED = (
    "dialogues",
    "held_out_dialogues",
    "too_long",
    "steps",
    "learned_tokens",
    "train",
    "loss_before",
    "loss_after",
)
"""Results that are shown as facts, by their names in `stage.json`."""


def classification_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Accuracy, confusion and F1 of each classifier beside its control; correlations where it tells a number."""
    kinds = ("classify", "label-words")
    classified = [stage for stage in stages if stage.kind in kinds and _figure(stage.result)]
    if not classified:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in classified:
        result = stage.result
        scores = {say("fine-tuned"): result}
        if "control" in result:
            scores[say(f"control.{result.get('control_unit', 'word')}")] = result["control"]
        figure = _figure(result)
        bars = [
            Bar(name, score[figure], _shown(figure, score[figure]), "main" if score is result else "control")
            for name, score in scores.items()
        ]
        if "majority" in result:
            bars.append(Bar(say("majority"), result["majority"], percent(result["majority"])))
        blocks += [*titled(stage, classified), facts(result, CLASSIFIED, say), Bars(say(figure), bars)]
        if "confusion" in result:
            blocks.append(Pairs([_confusion(name, score, say) for name, score in scores.items()]))
        blocks += [*_by_class(result, say), *curves(stage, say, say("loss.text"))]
        note = say("accuracy.note", share=_shown(figure, result["control"][figure])) if "control" in result else ""
        tiles.append(Tile(_shown(figure, result[figure]), say(f"{figure}.tile", name=stage.name), note))
    return Section("classify", say("classify"), say("classify.lede"), blocks, tiles)


def _confusion(title: str, score: dict[str, Any], say: Words) -> Confusion:
    return Confusion(title, score["classes"], score["confusion"], say("true"), say("predicted"))


def _figure(result: dict[str, Any]) -> str:
    """The main figure of a result: for several classes at once, for a number, for one class."""
    return next((name for name in ("micro_f1", "pearson", "accuracy") if name in result), "")


def _shown(figure: str, value: float) -> str:
    return percent(value) if figure == "accuracy" else f"{value:.3f}"


def _by_class(result: dict[str, Any], say: Words) -> list[Table]:
    if "f1" not in result:
        return []
    columns = [say("class"), "#" + say("precision"), "#" + say("recall"), "#F1"]
    figures = zip(result["classes"], result["precision"], result["recall"], result["f1"], strict=True)
    return [Table(columns, [[name, *(f"{value:.3f}" for value in row)] for name, *row in figures])]


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
