"""A script for a Ray cluster whose machines share a disk."""

from __future__ import annotations

from pathlib import Path

from malmoi.parallel.launch.settings import LaunchSettings
from malmoi.parallel.launch.templates import filled

FILE = "ray_train.py"


def render(settings: LaunchSettings) -> str:
    """The script; `python` takes it on a machine of the cluster."""
    words = settings.words_here()
    return filled(
        FILE,
        file=FILE,
        command=[settings.python, "-m", "malmoi", *words],
        directory=str(Path.cwd()),
        storage=str(Path(words[-1]).parent / ".ray"),
        processes=settings.processes,
        gpu=bool(settings.hardware),
        hardware=settings.hardware,
        name=settings.name,
        restarts=settings.restarts,
    )
