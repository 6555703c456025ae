"""A ladder of trainings, the law fitted to it, and how well it foretold the next size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Block, Chart, Heading, Section, Table, Text, Tile
from malmoi.pipeline.report.chart import LineChart, Series, line_chart
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent
from malmoi.pipeline.scaling_law import Law

POINTS = 40
"""Of a drawn law."""


def scaling_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """The losses over the sizes with the law, the prediction beside what was reached, and depth against width."""
    made = [stage for stage in stages if stage.kind == "scaling" and stage.result.get("ladder")]
    blocks: list[Block] = []
    tiles = []
    for stage in made:
        result, law = stage.result, Law(**stage.result["law"])
        after = result["next"]
        chart = _chart(result, law, say)
        blocks += [*titled(stage, made), *([Chart(chart)] if chart else []), Text(_formula(law, after, say))]
        blocks.append(_prediction(result, say))
        if result["shapes"]:
            blocks += [Heading(say("scaling.shapes")), _shapes(result["shapes"], say)]
        note = f"{say('scaling.predicted')} {after['predicted']:.3f}, {say('scaling.reached')} {after['loss']:.3f}"
        tiles.append(Tile(_signed(result["off"]), f"{say('scaling.next')}: {say('scaling.off')}", note))
    blocks.append(Text(say("scaling.counted")))
    return Section("scaling", say("scaling"), say("scaling.lede"), blocks, tiles) if made else None


def _chart(result: dict[str, Any], law: Law, say: Words) -> LineChart | None:
    """Dots for the trainings of each number of tokens, and a faint line for the law at that number."""
    after = result["next"]
    everyone = [*result["ladder"], after]
    low, high = (choose(rung["parameters"] for rung in everyone) for choose in (min, max))
    series = []
    for tokens in sorted({rung["tokens"] for rung in everyone}):
        xs = [low * (high / low) ** (place / (POINTS - 1)) for place in range(POINTS)]
        line = [(x, law.loss(x, tokens)) for x in xs]
        points = [(float(rung["parameters"]), rung["loss"]) for rung in everyone if rung["tokens"] == tokens]
        series.append(Series(say("scaling.law", count=f"{tokens:,}"), line, "faint"))
        series.append(Series(say("scaling.tokens", count=f"{tokens:,}"), sorted(points), "dots"))
    return line_chart(say("scaling.chart"), say("fact.parameters"), series, logarithmic=True)


def _formula(law: Law, after: dict[str, Any], say: Words) -> str:
    return say(
        "scaling.formula",
        floor=f"{law.floor:.2f}",
        a=f"{law.parameter_scale:.3g}",
        alpha=f"{law.parameter_exponent:.2f}",
        b=f"{law.token_scale:.3g}",
        beta=f"{law.token_exponent:.2f}",
        error=percent(law.error),
        low=f"{after['low']:.3f}",
        high=f"{after['high']:.3f}",
    )


def _prediction(result: dict[str, Any], say: Words) -> Table:
    after = result["next"]
    columns = ["", say("size"), *("#" + say(key) for key in ("fact.parameters", "tokens", "fact.validation_loss"))]
    size, figures = _size(after), [f"{after['parameters']:,}", f"{after['tokens']:,}"]
    rows = [
        [say("scaling.reached"), size, *figures, f"{after['loss']:.3f}", ""],
        [say("scaling.predicted"), size, *figures, f"{after['predicted']:.3f}", _signed(result["off"])],
        [
            say("scaling.operations"),
            size,
            *figures,
            f"{after['by_operations']:.3f}",
            _signed(result["by_operations_off"]),
        ],
        [say("scaling.control"), "", "", "", f"{result['control']:.3f}", _signed(result["control_off"])],
    ]
    return Table([*columns, "#" + say("scaling.off")], rows)


def _shapes(shapes: Sequence[dict[str, Any]], say: Words) -> Table:
    keys = ("fact.parameters", "fact.validation_loss", "scaling.expected", "scaling.off", "fact.tokens_per_second")
    rows = [
        [
            _size(rung),
            f"{rung['parameters']:,}",
            f"{rung['loss']:.3f}",
            f"{rung['expected']:.3f}",
            _signed(rung["loss"] / rung["expected"] - 1),
            f"{rung['tokens_per_second']:,}",
        ]
        for rung in shapes
    ]
    return Table([say("size"), *("#" + say(key) for key in keys)], rows)


def _size(rung: dict[str, Any]) -> str:
    return f"{rung['layers']} × {rung['width']}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"
