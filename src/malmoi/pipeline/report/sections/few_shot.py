"""What a model did with examples in its prompt, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import (
    Block,
    Chart,
    Folded,
    Heading,
    Pairs,
    Section,
    Table,
    Text,
    Tile,
)
from malmoi.pipeline.report.chart import Level, Series, line_chart
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent

SHOWN = 3
"""Answers of a task that are shown."""


def few_shot_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """A table over all tasks, a chart for each, a prompt, and some free answers without and with examples."""
    asked = [stage for stage in stages if stage.kind == "few-shot" and stage.result.get("tasks")]
    if not asked:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in asked:
        tasks: dict[str, dict[str, Any]] = stage.result["tasks"]
        charts = [chart for name, task in tasks.items() for chart in _chart(name, task, say)]
        blocks += [*titled(stage, asked), _table(tasks, say), Pairs(charts)]
        cut = sum(scores["cut"] for task in tasks.values() for scores in task["scores"].values())
        if cut:
            blocks.append(Text(say("few-shot.cut", count=f"{cut:,}")))
        blocks += [Folded(say("few-shot.prompt", task=name), task["prompt"]) for name, task in tasks.items()]
        blocks += _answers(stage, tasks, say)
        tiles.append(_tile(tasks, say))
    blocks.append(Text(say("few-shot.counted")))
    return Section("few-shot", say("few-shot"), say("few-shot.lede"), blocks, tiles)


def _table(tasks: dict[str, dict[str, Any]], say: Words) -> Table:
    shots = list(next(iter(tasks.values()))["scores"])
    columns = [say("task"), say("counts"), "#" + say("items"), "#" + say("control")]
    columns += ["#" + say("few-shot.shots", shots=number) for number in shots]
    rows = [
        [
            name,
            say(f"counts.{task['figure']}"),
            f"{task['items']:,}",
            percent(task["control"]),
            *(_with_interval(scores[task["figure"]]) for scores in task["scores"].values()),
        ]
        for name, task in tasks.items()
    ]
    return Table(columns, rows)


def _with_interval(figure: dict[str, float]) -> str:
    return f"{percent(figure['value'])} ({100 * figure['low']:.0f}–{100 * figure['high']:.0f})"


def _chart(name: str, task: dict[str, Any], say: Words) -> list[Chart]:
    """The figure over the number of examples, which stand at equal distances."""
    figures = [scores[task["figure"]] for scores in task["scores"].values()]
    points = [(float(place), 100 * figure["value"]) for place, figure in enumerate(figures)]
    intervals = [(100 * figure["low"], 100 * figure["high"]) for figure in figures]
    chart = line_chart(
        f"{name} (%)",
        say("few-shot.x"),
        [Series(say(f"counts.{task['figure']}"), points, intervals=intervals)],
        [Level(say("control"), round(100 * task["control"], 1))],
        list(task["scores"]),
    )
    return [Chart(chart)] if chart else []


def _answers(stage: StageRecord, tasks: dict[str, dict[str, Any]], say: Words) -> list[Block]:
    """The first items of each task with free answers, with the fewest and with the most examples."""
    items = stage.lines("items.jsonl")
    rows, few, many = [], *_ends(tasks)
    for name, task in tasks.items():
        own = [one for one in items if one["task"] == name and task["kind"] == "answer"]
        pairs = zip(_of(own, few), _of(own, many), strict=True)
        rows += [[name, one["input"], one["wanted"], one["answer"], other["answer"]] for one, other in pairs]
    if not rows:
        return []
    columns = [say(key) for key in ("task", "asked", "wanted.answer")]
    columns += [say("few-shot.shots", shots=shots) for shots in (few, many)]
    return [Heading(say("few-shot.answers")), Table(columns, rows)]


def _ends(tasks: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """The fewest and the most examples."""
    shots = list(next(iter(tasks.values()))["scores"])
    return shots[0], shots[-1]


def _of(items: Sequence[dict[str, Any]], shots: str) -> list[dict[str, Any]]:
    return [one for one in items if str(one["shots"]) == shots][:SHOWN]


def _tile(tasks: dict[str, dict[str, Any]], say: Words) -> Tile:
    """The first task with the most examples, beside the fewest."""
    name, task = next(iter(tasks.items()))
    few, many = _ends(tasks)
    value, before = (percent(task["scores"][shots][task["figure"]]["value"]) for shots in (many, few))
    note = say("few-shot.note", value=before, shots=few) if few != many else ""
    return Tile(value, say("few-shot.tile", task=name, shots=many), note)
