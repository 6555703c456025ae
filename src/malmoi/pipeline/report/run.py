"""Reads what the stages of a run left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.pipeline.report.blocks import Heading


@dataclass(frozen=True)
class StageRecord:
    """A finished stage.

    Attributes:
        directory: where it wrote.
        record: its `stage.json`.
    """

    directory: Path
    record: dict[str, Any]

    @property
    def kind(self) -> str:
        """Which kind of stage it is."""
        return str(self.record.get("kind") or self.record.get("stage") or "")

    @property
    def name(self) -> str:
        """Its name in the recipe."""
        return str(self.record.get("name") or self.directory.name)

    @property
    def result(self) -> dict[str, Any]:
        """What its `run` returned."""
        result: dict[str, Any] = self.record.get("result") or {}
        return result

    def json(self, name: str) -> Any:
        """The content of a JSON file of the stage; None when it has no such file."""
        path = self.directory / name
        return read_json(path) if path.is_file() else None

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The records of a .jsonl file of the stage; none when it has no such file."""
        path = self.directory / name
        return list(read_json_lines(path)) if path.is_file() else []

    def warnings(self) -> list[str]:
        """What the training said against itself, each once."""
        return list(dict.fromkeys(record["warning"] for record in self.lines("metrics.jsonl") if "warning" in record))

    def curve(self, name: str) -> list[tuple[float, float]]:
        """(step, value) of a figure in `metrics.jsonl`; of a step that was done again after a kill, the last."""
        values = {
            record["step"]: record[name] for record in self.lines("metrics.jsonl") if record.get(name) is not None
        }
        return sorted(values.items())


def read_stages(directories: Sequence[Path]) -> list[StageRecord]:
    """The finished stages among `directories`, in their order.

    Raises:
        UserError: a directory is no stage's.
    """
    stages = []
    for directory in directories:
        if not (directory / "stage.json").is_file():
            raise UserError(f"{directory} is no stage's directory: it has no stage.json.", "Name finished stages.")
        stages.append(StageRecord(directory, read_json(directory / "stage.json")))
    return [stage for stage in stages if stage.record.get("status") == "done"]


def titled(stage: StageRecord, among: Sequence[StageRecord]) -> list[Heading]:
    """A heading with the stage's name where a section is about more than one stage."""
    return [Heading(stage.name)] if len(among) > 1 else []
