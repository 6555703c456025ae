"""Answers found in passages, beside counting words, with some of them to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Heading, Marked, Pairs, Section, Text, Tile
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts
from malmoi.pipeline.report.words import Words, percent

ANSWERED = (
    "train_questions",
    "made_questions",
    "validation_questions",
    "test_questions",
    "parameters",
    "layers",
    "train",
    "steps",
    "training_seconds",
)
"""Results that are shown as facts, by their names in `stage.json`."""

FIGURES = ("f1", "exact_match")
UNANSWERED = ("left_unanswered", "wrongly_unanswered")

READ = 4
"""Answers of each kind that are shown."""

AROUND = 160
"""Characters that are shown of a passage on either side of what is marked."""


def questions_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """F1 and exact match of each model beside its control, what it leaves unanswered, and answers in their passages."""
    answering = [stage for stage in stages if stage.kind == "questions" and "f1" in stage.result]
    if not answering:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in answering:
        result = stage.result
        blocks += [*titled(stage, answering), facts(result, ANSWERED, say), _bars(FIGURES, result, say)]
        blocks.append(Text(say(f"questions.unit.{result['unit']}")))
        if result.get("unanswerable"):
            blocks += [_bars(UNANSWERED, result, say), Text(say("questions.threshold", count=result["unanswerable"]))]
        blocks += [*_to_read(stage, say), *curves(stage, say, say("loss.item"))]
        note = say("questions.note", share=percent(result["control"]["f1"]))
        tiles.append(Tile(percent(result["f1"]), say("questions.tile", name=stage.name), note))
    return Section("questions", say("questions"), say("questions.lede"), blocks, tiles)


def _bars(names: Sequence[str], result: dict[str, Any], say: Words) -> Pairs:
    control = result["control"]
    return Pairs(
        [
            Bars(
                say(f"questions.{name}"),
                [
                    Bar(say("model"), result[name], percent(result[name]), "main"),
                    Bar(say("questions.control"), control[name], percent(control[name])),
                ],
            )
            for name in names
        ]
    )


def _to_read(stage: StageRecord, say: Words) -> list[Block]:
    records = stage.json("answers.json") or []
    kinds = {
        "right": [one for one in records if one["wanted"] and one["f1"] == 1],
        "partly": [one for one in records if one["wanted"] and 0 < one["f1"] < 1],
        "wrong": [one for one in records if one["answer"] and not one["f1"]],
        "none": [one for one in records if not one["answer"] and not one["wanted"]],
    }
    blocks: list[Block] = []
    for kind, chosen in kinds.items():
        if chosen:
            every = max(1, len(chosen) // READ)
            blocks += [Heading(say(f"questions.{kind}")), *(_marked(one, say) for one in chosen[::every][:READ])]
    return blocks


def _marked(record: dict[str, Any], say: Words) -> Marked:
    """The passage with the answer and, where it is another, what was wanted."""
    passage, wanted = record["passage"], record["wanted"][:1]
    places = [(place, place + len(text), "wanted") for text in wanted for place in _nearest(passage, text, record)]
    if record["answer"]:
        start, end = record["span"]
        places = [(start, end, "found"), *(place for place in places if place[0] >= end or place[1] <= start)]
    places.sort()
    parts, at = [], max(0, places[0][0] - AROUND) if places else 0
    opening = "… " if at else ""
    for start, end, kind in places:
        parts += [(passage[at:start], ""), (passage[start:end], kind)]
        at = end
    rest = passage[at : at + AROUND]
    parts.append((rest + (" …" if at + AROUND < len(passage) else ""), ""))
    answered = record["answer"] or say("questions.no_answer")
    note = say("questions.answered", answer=answered, wanted=" / ".join(wanted) or say("questions.no_answer"))
    return Marked(record["question"], note, [(opening, ""), *parts])


def _nearest(passage: str, text: str, record: dict[str, Any]) -> list[int]:
    """Where a text stands in the passage, the place nearest to the answer; none where it does not."""
    found = [match.start() for match in re.finditer(re.escape(text), passage)]
    return sorted(found, key=lambda place: abs(place - record["span"][0]))[:1]
