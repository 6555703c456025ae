"""Classifiers of images beside their controls, and what a generator of images made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.pictures import data_address
from malmoi.pipeline.report.blocks import (
    Bar,
    Bars,
    Block,
    Chart,
    Confusion,
    Folded,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
    Tile,
)
from malmoi.pipeline.report.chart import Series, line_chart
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts
from malmoi.pipeline.report.words import Words, percent

CLASSIFIED = (
    "network",
    "size",
    "train",
    "parameters",
    "trained_parameters",
    "frozen_unchanged",
    "train_images",
    "test_images",
    "steps",
)
MADE = ("generator_parameters", "discriminator_parameters", "train_images", "steps")
"""Results that are shown as facts, by their names in `stage.json`."""


def image_classes_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Accuracy of each classifier of images beside its controls, confusion, and the images it got wrong."""
    classified = [stage for stage in stages if stage.kind == "classify-images" and "accuracy" in stage.result]
    if not classified:
        return None
    blocks: list[Block] = [Bars(say("accuracy"), _bars(classified, say))]
    tiles = []
    for stage in classified:
        result = stage.result
        counted = Confusion(
            say("images.confusion"), result["classes"], result["confusion"], say("true"), say("predicted")
        )
        blocks += [*titled(stage, classified), facts(result, CLASSIFIED, say), *_skipped(result, say)]
        blocks += [*_wrong(stage, say), counted, *curves(stage, say, say("loss.image"))]
        note = say("images.note", share=percent(result["controls"]["neighbour"]["accuracy"]))
        tiles.append(Tile(percent(result["accuracy"]), say("accuracy.tile", name=stage.name), note))
    return Section("images", say("images"), say("images.lede"), blocks, tiles)


def _bars(stages: Sequence[StageRecord], say: Words) -> list[Bar]:
    """A bar for each classifier and for its controls; equal controls of several classifiers stand once."""
    bars = [
        Bar(stage.name, stage.result["accuracy"], percent(stage.result["accuracy"]), "main" if not number else "kept")
        for number, stage in enumerate(stages)
    ]
    controls = {
        Bar(say(f"images.{name}"), score["accuracy"], percent(score["accuracy"])): None
        for stage in stages
        for name, score in stage.result["controls"].items()
    }
    return [*bars, *controls]


def _wrong(stage: StageRecord, say: Words) -> list[Block]:
    pictures = [
        Picture(
            say(
                "images.wrong.one",
                true=record["true"],
                predicted=record["predicted"],
                share=percent(record["probability"], 0),
            ),
            record["picture"],
        )
        for record in stage.lines("wrong.jsonl")
    ]
    return [Pictures(say("images.wrong"), pictures, "small")] if pictures else []


def _skipped(result: dict[str, Any], say: Words) -> list[Block]:
    skipped = result.get("skipped_images")
    if not skipped:
        return []
    return [Folded(say("images.skipped", count=len(skipped)), "\n".join(f"{a}: {b}" for a, b in skipped.items()))]


def made_images_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Images of several moments, beside real ones and controls, with what a classifier sees in them."""
    trained = [stage for stage in stages if stage.kind == "generate-images" and "scores" in stage.result]
    if not trained:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in trained:
        result = stage.result
        blocks += [*titled(stage, trained), *_progress(stage, say), *_beside(stage, say), _scores(result, say)]
        blocks += [Text(say("made.counted", sure=percent(result["sure"], 0))), _shares(result, say)]
        blocks += [*_losses(stage, say), facts(result, MADE, say)]
        note = say("made.tile.note", share=percent(result["scores"]["made"]["sure"]))
        tiles.append(Tile(percent(result["least_share"]), say("made.tile"), note))
    return Section("made", say("made"), say("made.lede"), blocks, tiles)


def _progress(stage: StageRecord, say: Words) -> list[Block]:
    pictures = [
        Picture(say("at.step", step=int(match[1])), data_address(path.read_bytes()))
        for path in sorted((stage.directory / "pictures").glob("step-*.png"))
        if (match := re.search(r"step-(\d+)", path.name))
    ]
    return [Pictures(say("made.progress"), pictures)] if pictures else []


def _beside(stage: StageRecord, say: Words) -> list[Block]:
    paths = {name: stage.directory / "pictures" / f"{name}.png" for name in stage.result["scores"]}
    pictures = [
        Picture(say(f"made.{name}"), data_address(path.read_bytes())) for name, path in paths.items() if path.is_file()
    ]
    return [Pictures(say("made.beside"), pictures)] if pictures else []


def _scores(result: dict[str, Any], say: Words) -> Table:
    columns = [
        say("made.images"),
        *("#" + say(f"made.{key}") for key in ("sure", "least", "real", "variety", "nearest")),
    ]
    rows = [
        [
            say(f"made.{name}"),
            percent(score["sure"]),
            percent(min(score["shares"])),
            percent(score["real"]),
            percent(score["variety"]),
            f"{score['nearest']:.3f}",
        ]
        for name, score in result["scores"].items()
    ]
    return Table(columns, rows)


def _shares(result: dict[str, Any], say: Words) -> Bars:
    shares = zip(result["classes"], result["scores"]["made"]["shares"], strict=True)
    bars = [Bar(name, share, percent(share), "kept") for name, share in shares]
    return Bars(say("made.shares", count=f"{result['samples']:,}"), bars)


def _losses(stage: StageRecord, say: Words) -> list[Block]:
    series = [Series(say(f"made.{name}"), stage.curve(f"validation_{name}")) for name in ("generator", "discriminator")]
    chart = line_chart(say("made.losses"), say("step"), series)
    return [Chart(chart)] if chart else []
