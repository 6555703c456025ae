"""What was run, on what machine, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from malmoi.core.processes import own_command
from malmoi.pipeline.report.blocks import Block, Commands, Facts, Folded, Section, Table, Tile
from malmoi.pipeline.report.run import StageRecord
from malmoi.pipeline.report.words import Words, size


def total_seconds(stages: Sequence[StageRecord]) -> float:
    """What all stages took together."""
    return sum(float(stage.record.get("seconds") or 0) for stage in stages)


def machine(stages: Sequence[StageRecord], say: Words) -> str:
    """The machine of the first stage in a few words."""
    facts: dict[str, Any] = next((stage.record["machine"] for stage in stages if stage.record.get("machine")), {})
    cores = say("core" if facts["cores"] == 1 else "cores", count=facts["cores"]) if "cores" in facts else ""
    return ", ".join(part for part in (facts.get("processor", ""), cores) if part)


def run_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Stages with time and memory; machine and versions."""
    if not stages:
        return None
    seconds = total_seconds(stages)
    peak = max(stage.record.get("peak_memory") or 0 for stage in stages)
    rows = [
        [
            stage.name,
            say.duration(stage.record.get("seconds") or 0),
            size(stage.record.get("peak_memory") or 0),
        ]
        for stage in stages
    ]
    columns = [say("stage"), "#" + say("time"), "#" + say("memory")]
    table = Table(columns, [*rows, [say("total"), say.duration(seconds), size(peak)]], last_is_total=True)
    tile = Tile(say.duration(seconds), say("tile.time"), say("tile.memory", size=size(peak)))
    return Section("run", say("run"), say("run.lede"), [table, _machine_facts(stages[-1], say)], [tile])


def _machine_facts(stage: StageRecord, say: Words) -> Facts:
    facts, versions = stage.record.get("machine") or {}, stage.record.get("versions") or {}
    items = [(say("processor"), machine([stage], say))]
    if facts.get("instruction_sets"):
        items.append((say("instructions"), ", ".join(facts["instruction_sets"])))
    if facts.get("memory"):
        items.append((say("memory.machine"), size(facts["memory"])))
    if facts.get("system"):
        items.append((say("system"), facts["system"]))
    return Facts([*items, *((name, version) for name, version in versions.items())])


def next_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """Commands that use what was made."""
    malmoi, commands = own_command(), []
    assistants = [stage for stage in stages if stage.kind == "instruct"]
    bases = [stage for stage in stages if stage.kind == "pretrain"]
    if assistants:
        commands.append((say("chat"), f"{malmoi} chat {assistants[-1].directory}"))
    if assistants or bases:
        commands.append((say("serve"), f"{malmoi} serve {(assistants or bases)[-1].directory}"))
    if bases:
        commands.append((say("generate"), f"{malmoi} generate {bases[-1].directory} '{say('prompt.example')}'"))
    commands += [
        (say("predict.images"), f"{malmoi} predict {stage.directory} photo.jpg")
        for stage in stages
        if stage.kind == "classify-images"
    ]
    translators = [stage for stage in stages if stage.kind == "translator"]
    if translators:
        commands.append((say("translate"), f"{malmoi} translate {translators[-1].directory} 'This is an example'"))
    commands += [
        (say("answer"), f"{malmoi} answer {stage.directory} '{say('question.example')}' --file letter.txt")
        for stage in stages
        if stage.kind == "questions"
    ]
    commands += [
        (say("export.gguf"), f"{malmoi} export {stage.directory} --type q4_1")
        for stage in stages
        if stage.kind == "compress"
        and stage.result.get("figure") == "bits_per_byte"
        and any(step["method"] == "int4" for step in stage.result["steps"])
    ]
    corpora = [stage for stage in stages if stage.kind == "corpus"]
    if corpora and not bases:
        commands.append((say("cut.corpus"), f"{malmoi} tokenizer corpus={corpora[-1].directory} --out my-tokenizer"))
        train = f"{malmoi} pretrain corpus={corpora[-1].directory} tokenizer=my-tokenizer minutes=5 --out my-model"
        commands.append((say("train.corpus"), train))
    else:
        commands.append((say("own"), f"{malmoi} run ~/texts"))
    return Section("next", say("next"), "", [Commands(commands)])


def settings_section(stages: Sequence[StageRecord], say: Words) -> Section | None:
    """The settings of every stage, folded."""
    blocks: list[Block] = []
    for stage in stages:
        settings = dict(stage.record.get("settings") or {})
        for field, inputs in (stage.record.get("inputs") or {}).items():
            settings[field] = [one["name"] if isinstance(one, dict) else str(one) for one in inputs]
        blocks.append(Folded(stage.name, yaml.safe_dump(settings, allow_unicode=True, sort_keys=False).strip()))
    return Section("settings", say("settings"), say("settings.lede"), blocks) if blocks else None
