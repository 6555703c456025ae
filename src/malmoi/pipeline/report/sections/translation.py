"""Translators beside copying and a dictionary; what they write, and where they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Heading, Heat, Pairs, Section, Table, Text, Tile, as_text
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.sections.training import curves, facts
from malmoi.pipeline.report.words import Words
from malmoi.pipeline.translator_results import ATTENTION, TRANSLATIONS, translations_to_read

TRANSLATED = (
    "train_pairs",
    "test_pairs",
    "parameters",
    "layers",
    "decoder_layers",
    "width",
    "vocabulary",
    "steps",
    "epochs",
    "training_seconds",
    "perplexity",
)
"""Results that are shown as facts, by their names in `stage.json`."""

FIGURES = {"bleu": "BLEU", "chrf": "chrF"}

MOMENTS = 6
"""Of the training, at which translations are shown."""


def translation_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """BLEU and chrF of each translator beside its controls, translations, attention, and how it learned."""
    translators = [stage for stage in stages if stage.kind == "translator" and "bleu" in stage.result]
    if not translators:
        return None
    blocks: list[Block] = []
    tiles = []
    for stage in translators:
        result = stage.result
        blocks += [*titled(stage, translators), facts(result, TRANSLATED, say), _figures(result, say)]
        if len(result["files"]) > 1:
            blocks.append(_by_file(result["files"], say))
        if any(result["left_out"].values()):
            counts = as_text({say(f"left_out.{reason}"): count for reason, count in result["left_out"].items()})
            blocks.append(Text(say("translation.left_out", counts=counts)))
        blocks += [*_own_texts(stage, say), *_to_read(stage, say), *_attention(stage, say), *_learning(stage, say)]
        blocks += curves(stage, say, say("loss.token"))
        blocks.append(Text(say("translation.counted", beams=result["beams"], **result["signatures"])))
        for key, name in FIGURES.items():
            note = say("translation.note", value=f"{result['controls']['dictionary'][key]:.1f}")
            tiles.append(Tile(f"{result[key]:.1f}", say("translation.tile", figure=name, name=stage.name), note))
    return Section("translator", say("translation"), say("translation.lede"), blocks, tiles)


def _figures(result: dict[str, Any], say: Words) -> Pairs:
    """A figure each for the translator, for it with one beam, for the dictionary and for copying."""
    ways = {say("beams", count=result["beams"]) if result["beams"] > 1 else say("greedy"): result}
    if result["beams"] > 1:
        ways[say("greedy")] = result["one_beam"]
    ways |= {say(f"translation.{name}"): score for name, score in result["controls"].items()}
    bars = {
        title: [
            Bar(name, score[key], f"{score[key]:.1f}", "main" if score is result else "control")
            for name, score in ways.items()
        ]
        for key, title in FIGURES.items()
    }
    return Pairs([Bars(title, each) for title, each in bars.items()])


def _by_file(files: dict[str, dict[str, Any]], say: Words) -> Table:
    ways = ("translator", "dictionary", "copy")
    columns = [say("source"), "#" + say("pairs")]
    columns += [f"#{title}, {say(f'translation.{way}')}" for title in FIGURES.values() for way in ways]
    rows = [
        [name, f"{scores['pairs']:,}", *(f"{scores[way][key]:.1f}" for key in FIGURES for way in ways)]
        for name, scores in files.items()
    ]
    return Table(columns, rows)


def _own_texts(stage: StageRecord, say: Words) -> list[Block]:
    """What it makes of the texts that the settings name."""
    texts = stage.json("texts.json")
    return [Table([say("translation.text"), say("translation.translator")], texts)] if texts else []


def _to_read(stage: StageRecord, say: Words) -> list[Block]:
    records = (stage.json(TRANSLATIONS) or {}).get("pairs")
    if not records:
        return []
    columns = ["", *(say(f"translation.{key}") for key in ("text", "translator", "wanted")), "#chrF"]
    rows = [
        [say(f"translation.{name}"), record["source"], record["translation"], record["wanted"], f"{record['chrf']:.0f}"]
        for name, chosen in translations_to_read(records, seed=0).items()
        for record in chosen
    ]
    return [Heading(say("translation.read")), Table(columns, rows)]


def _attention(stage: StageRecord, say: Words) -> list[Block]:
    texts = (stage.json(ATTENTION) or {}).get("texts")
    if not texts:
        return []
    pictures = [Heat(" ".join(one["target"][:-1]), one["source"], one["target"], one["weights"]) for one in texts]
    return [Heading(say("translation.attention")), Text(say("translation.looks")), Pairs(pictures)]


def _learning(stage: StageRecord, say: Words) -> list[Block]:
    """The first watched text at some moments of the training, and what was wanted."""
    lines = stage.lines("samples.jsonl")
    watched = [line for line in lines if line["prompt"] == lines[0]["prompt"]]
    if not watched:
        return []
    every = max(1, (len(watched) - 1) // (MOMENTS - 1))
    chosen = {line["step"]: line for line in [*watched[::every], watched[-1]]}
    rows = [[say("at.step", step=f"{step:,}"), line["text"]] for step, line in chosen.items()]
    wanted = [say("translation.wanted"), watched[0]["wanted"]]
    table = Table(["", say("translation.translator")], [*rows, wanted], last_is_total=True)
    return [Heading(say("samples")), Text(f"“{watched[0]['prompt']}”"), table]
