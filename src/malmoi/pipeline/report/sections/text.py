"""Where the text comes from, and what became of every document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from malmoi.pipeline.report.blocks import Bar, Bars, Block, Folded, Section, Table, Text
from malmoi.pipeline.report.run import StageRecord, titled
from malmoi.pipeline.report.words import Words, size


def text_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Sources with their licences, and the funnel of documents with the reasons for dropping them."""
    blocks: list[Block] = []
    sources = [source for stage in stages if stage.kind == "fetch" for source in _manifest(stage)]
    if sources:
        blocks.append(_sources(sources, say))
    for stage in stages:
        blocks += _pages(stage, say) if stage.kind == "crawl" else []
    corpora = [stage for stage in stages if stage.kind == "corpus" and stage.json("counts.json")]
    for stage in corpora:
        counts = stage.json("counts.json")
        blocks += [Text(warning) for warning in stage.result.get("warnings", [])]
        blocks += [
            *titled(stage, corpora),
            *_funnel(counts, stage.result.get("licences", {}), say),
            *_reasons(counts, stage, say),
        ]
        blocks += [*_mixture(stage, say), *_unreadable(stage, say)]
    return Section("text", say("text"), say("text.lede"), blocks) if blocks else None


def _manifest(stage: StageRecord) -> list[dict[str, Any]]:
    manifest = stage.json("manifest.json") or []
    return list(manifest["sources"] if isinstance(manifest, dict) else manifest)


def _sources(sources: Sequence[dict[str, Any]], say: Words) -> Table:
    columns = [say("source"), say("licence"), say("language"), "#" + say("files"), say("about")]
    rows = [
        [
            source["name"],
            source.get("licence", ""),
            source.get("language", ""),
            size(sum(file.get("bytes", 0) for file in source.get("files", []))),
            source.get("about", ""),
        ]
        for source in sources
    ]
    return Table(columns, rows)


def _pages(stage: StageRecord, say: Words) -> list[Block]:
    """What became of every address that a crawl saw."""
    found = stage.result
    bars = [
        Bar(say("addresses"), found["seen"], f"{found['seen']:,}", "control"),
        *(Bar("− " + say(fate), number, f"{number:,}", "dropped") for fate, number in found["others"].items()),
        Bar(say("kept"), found["kept"], f"{found['kept']:,} · {size(found['bytes'])}", "kept"),
    ]
    return [Bars(say("pages"), bars)]


def _funnel(counts: dict[str, Any], licences: dict[str, str], say: Words) -> list[Block]:
    """What was read, why documents were dropped, what was kept; then the licence and kept text of each source."""
    dropped = sorted(counts["dropped"].items(), key=lambda item: -item[1])
    bars = [
        Bar(say("read"), counts["read"], f"{counts['read']:,}", "control"),
        *(Bar("− " + _rule(reason, say), number, f"{number:,}", "dropped") for reason, number in dropped),
        Bar(say("kept"), counts["kept"], f"{counts['kept']:,}", "kept"),
    ]
    columns = [say("source"), say("licence"), *("#" + say(key) for key in ("read", "kept", "kept.bytes", "held_out"))]
    rows = [
        [
            source,
            licences.get(source, ""),
            f"{row['read']:,}",
            f"{row['kept']:,}",
            size(row["bytes"]),
            size(row["held_out_bytes"]),
        ]
        for source, row in counts["sources"].items()
    ]
    total = [say("total"), "", f"{counts['read']:,}", f"{counts['kept']:,}", size(counts["bytes"])]
    table = Table(columns, [*rows, [*total, size(counts["held_out_bytes"])]], last_is_total=True)
    return [Bars(say("funnel"), bars), table]


def _reasons(counts: dict[str, Any], stage: StageRecord, say: Words) -> list[Block]:
    """Documents and bytes that each rule dropped, and behind them examples with what was measured."""
    sizes, examples = counts.get("dropped_bytes"), stage.json("examples.json") or {}
    if not counts["dropped"] or sizes is None:
        return []
    columns = [say("rule"), "#" + say("document"), "#" + say("share"), "#" + say("bytes")]
    rows = [
        [_rule(rule, say), f"{number:,}", f"{number / counts['read']:.1%}", f"{sizes[rule]:,}"]
        for rule, number in counts["dropped"].items()
    ]
    total = sum(counts["dropped"].values())
    rows.append([say("total"), f"{total:,}", f"{total / counts['read']:.1%}", f"{sum(sizes.values()):,}"])
    shown = [
        f"{rule}: {row['identifier']}: {row['value']} ({row['limit']})\n    {' '.join(row['text'].split())}"
        for rule in counts["dropped"]
        for row in examples.get(rule, [])
    ]
    return [Table(columns, rows, last_is_total=True), Folded(say("dropped.examples"), "\n".join(shown))]


def _rule(name: str, say: Words) -> str:
    """A rule as `dropped.parquet` calls it, and in words."""
    words = say(name)
    return name if words == name else f"{name} ({words})"


def _mixture(stage: StageRecord, say: Words) -> list[Block]:
    """The share of the tokens that each source gets, beside the weight that was asked for."""
    shares = stage.json("mixture.json")
    if not shares:
        return []
    columns = [say("source"), *("#" + say(key) for key in ("weight", "share", "tokens", "epochs"))]
    rows = [
        [source, f"{row['weight']:.1%}", f"{row['share']:.1%}", f"{row['tokens']:,.0f}", f"{row['epochs']:.2f}"]
        for source, row in shares.items()
    ]
    return [Table(columns, rows)]


def _unreadable(stage: StageRecord, say: Words) -> list[Block]:
    """Files that could not be read, folded."""
    files = stage.json("unreadable.json")
    if not files:
        return []
    return [
        Folded(say("unreadable.files", count=len(files)), "\n".join(f"{path}: {why}" for path, why in files.items()))
    ]
