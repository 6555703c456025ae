"""A search for settings: its trials, how much each setting decides, and what the best ones have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.core.processes import own_command
from malmoi.pipeline.report.blocks import (
    Bar,
    Bars,
    Block,
    Chart,
    Commands,
    Facts,
    Heading,
    Pairs,
    Section,
    Table,
    Text,
    Tile,
    as_text,
)
from malmoi.pipeline.report.chart import Level, LineChart, Series, line_chart
from malmoi.pipeline.report.run import StageRecord
from malmoi.pipeline.report.words import Words, percent

SHOWN = 8
"""Trials in the table of the best."""


def search_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Trials in their order, the importance of each setting, and the best settings."""
    stage = next((stage for stage in stages if stage.kind == "tune" and stage.result.get("trials")), None)
    if stage is None:
        return None
    result = stage.result
    counts = {state: sum(one["state"] == state for one in result["trials"]) for state in _STATES}
    blocks: list[Block] = [
        Facts([(say(f"tune.{state}"), as_text(count)) for state, count in counts.items()]),
        Commands([(say("tune.run"), f"{own_command()} run {result['file']}")]),
        *_charts([_history(result, say)]),
    ]
    if result["importance"]:
        bars = [Bar(_short(key), share, percent(share, 0), "main") for key, share in result["importance"].items()]
        blocks.append(Bars(say("tune.importance"), bars))
    blocks += _charts([_against(key, result) for key in result["space"]])
    blocks += _charts([_learning(result, say)])
    blocks += [Heading(say("tune.table")), _table(result, say), Text(say("tune.counted"))]
    tile = Tile(
        f"{result['best_value']:.3f}",
        say("tune.tile", measure=result["measure"]),
        "" if result["first"] is None else say("tune.tile.note", value=f"{result['first']:.3f}"),
    )
    return Section("tune", say("tune"), say("tune.lede"), blocks, [tile])


_STATES = ("finished", "stopped", "failed")


def _charts(charts: Sequence[LineChart | None]) -> list[Block]:
    drawn = [Chart(chart) for chart in charts if chart is not None]
    pairs: list[Block] = [Pairs(drawn[place : place + 2]) for place in range(0, len(drawn) - 1, 2)]
    return pairs + ([drawn[-1]] if len(drawn) % 2 else [])


def _finished(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in result["trials"] if one["value"] is not None]


def _history(result: dict[str, Any], say: Words) -> LineChart | None:
    """The figure of every trial, the best up to each, and the last loss of those that were stopped."""
    finished = _finished(result)
    stopped = [one for one in result["trials"] if one["state"] == "stopped" and one["losses"]]
    best: list[tuple[float, float]] = []
    choose = max if result["maximize"] else min
    for one in finished:
        best.append((one["number"] + 1, choose([one["value"], *(value for _, value in best)])))
    series = [
        Series(say("tune.best"), best),
        Series(say("tune.finished"), [(one["number"] + 1, one["value"]) for one in finished], "dots"),
        Series(say("tune.stopped.loss"), [(one["number"] + 1, one["losses"][-1][1]) for one in stopped], "dots"),
    ]
    levels = [] if result["first"] is None else [Level(say("tune.first"), result["first"])]
    return line_chart(f"{say('tune.trials')}: {result['measure']}", say("tune.trial"), series, levels)


def _against(key: str, result: dict[str, Any]) -> LineChart | None:
    """The figure of every trial over what it had for a setting."""
    points = [(one["values"][key], one["value"]) for one in _finished(result) if key in one["values"]]
    space = result["space"][key]
    if not space["choices"]:
        return line_chart(
            _short(key), "", [Series(result["measure"], sorted(points), "dots")], logarithmic=space["log"]
        )
    names = [str(choice) for choice in space["choices"]]
    places = [(float(names.index(str(x))), y) for x, y in points]
    return line_chart(_short(key), "", [Series(result["measure"], places, "dots")], x_names=names)


def _short(key: str) -> str:
    """A key without its stage and its group."""
    return key.rpartition(".")[2]


def _learning(result: dict[str, Any], say: Words) -> LineChart | None:
    """The losses of every trial at its validations, the best one's drawn out."""
    curves = {
        one["number"]: [(float(place), loss) for place, loss in one["losses"]]
        for one in result["trials"]
        if one["losses"]
    }
    series = [Series(say("tune.all"), points, "faint") for number, points in curves.items() if number != result["best"]]
    best = curves.get(result["best"], [])
    name = f"{say('tune.trial')} {result['best'] + 1}"
    return line_chart(say("tune.learning"), say("tune.validation"), [*series, Series(name, best)]) if best else None


def _table(result: dict[str, Any], say: Words) -> Table:
    sign = -1 if result["maximize"] else 1
    best = sorted(_finished(result), key=lambda one: (sign * one["value"], one["number"]))
    columns = ["#" + say("tune.trial"), "#" + result["measure"], *("#" + _short(key) for key in result["space"])]
    rows = [
        [
            str(one["number"] + 1),
            f"{one['value']:.4f}",
            *(as_text(one["values"].get(key)) for key in result["space"]),
            say.duration(one["seconds"]),
        ]
        for one in best[:SHOWN]
    ]
    return Table([*columns, "#" + say("time")], rows)
