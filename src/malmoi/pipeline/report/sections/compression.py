"""Compressed models: what each takes and what is left of it, beside the original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Section, Table, Text, Tile
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, percent, size


def compression_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """A card for each compressed model."""
    compressed = [stage for stage in stages if stage.kind == "compress" and stage.result.get("models")]
    blocks: list[Block] = []
    tiles = []
    for stage in compressed:
        models: dict[str, dict[str, Any]] = stage.result["models"]
        original, smaller = models["original"], models["compressed"]
        share = smaller["file_bytes"] / original["file_bytes"]
        tiles.append(Tile(percent(share, 0), say("compress.tile"), stage.name))
        methods = " · ".join(step["method"] for step in stage.result["steps"])
        blocks += [
            *titled(stage, compressed),
            Text(say("compress.methods", methods=methods, base=stage.result["from"])),
        ]
        bars = [
            Bar(say(f"compress.{name}"), one["file_bytes"], size(one["file_bytes"]), role)
            for (name, one), role in zip(models.items(), ("control", "main"), strict=True)
        ]
        blocks += [Bars(say("compress.file_bytes"), bars), _card(stage.result, say)]
        if stage.result["uncompared"]:
            blocks.append(Text(say("compress.uncompared", why=stage.result["uncompared"])))
    if not blocks:
        return None
    return Section("compress", say("compress"), say("compress.lede"), [*blocks, Text(say("compress.counted"))], tiles)


def _card(result: dict[str, Any], say: Words) -> Table:
    models = list(result["models"].values())
    rows = [
        [say("compress.file_bytes"), *(size(one["file_bytes"]) for one in models)],
        [say("compress.peak_memory"), *(size(one["peak_memory"]) for one in models)],
    ]
    for length in models[0]["milliseconds"]:
        times = [one["milliseconds"][length] for one in models]
        rows.append([say("compress.milliseconds", length=length), *(f"{time:.1f}" for time in times)])
    if result["figure"]:
        rows.append([say(f"compress.{result['figure']}"), *(f"{one['quality']:.4f}" for one in models)])
    if result["control"] is not None:
        rows.append([say("compress.control", steps=f"{result['recovery']['steps']:,}"), f"{result['control']:.4f}", ""])
    if result["bigram"] is not None:
        rows.append([say("compress.bigram"), f"{result['bigram']:.4f}", ""])
    return Table(["", *("#" + say(f"compress.{name}") for name in result["models"])], rows)
