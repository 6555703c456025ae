"""A batch script for SLURM: requeued when its time is up, when its machines are wanted, and when one of them fails."""

from __future__ import annotations

from pathlib import Path

from malmoi.parallel.launch.settings import LaunchSettings
from malmoi.parallel.launch.templates import filled, torchrun

FILE = "slurm.sh"


def render(settings: LaunchSettings) -> str:
    """The script; `sbatch` takes it."""
    minutes = max(1, round(settings.hours * 60))
    return filled(
        FILE,
        name=settings.name,
        nodes=settings.nodes,
        devices=settings.devices_per_node,
        hardware=settings.hardware.lower(),
        time=f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        directory=str(Path.cwd()),
        torchrun=torchrun(settings, settings.words_here(), '"$head:$port"'),
    )
