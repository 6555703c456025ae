"""The record of a training: one line of JSON a step, and a line for whoever watches."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from malmoi.core.files import append_json_line, atomic_file, read_json_lines
from malmoi.train.watch import Listener

FILE = "metrics.jsonl"


class Metrics:
    """Appends records to `metrics.jsonl`, each with the step after which it was made.

    Args:
        after: records of later steps are cut: a killed run goes on from an earlier state and makes them again.
        listeners: are told every record after it was written.
    """

    def __init__(self, directory: Path, after: int, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = listeners
        self._path = directory / FILE
        kept = [r for r in read_json_lines(self._path) if r["step"] <= after] if self._path.exists() else []
        with atomic_file(self._path) as file:
            file.writelines(json.dumps(record) + "\n" for record in kept)

    def write(self, step: int, **values: Any) -> None:
        """Add one record, with null for a number that is not finite."""
        append_json_line(self._path, {"step": step, **{name: _finite(value) for name, value in values.items()}})
        for listener in self._listeners:
            listener(step, values)


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    return value if not isinstance(value, float) or math.isfinite(value) else None
