"""Who hands out machines, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file
from malmoi.parallel.launch import kubernetes, ray, skypilot, slurm
from malmoi.parallel.launch.settings import LaunchSettings


@dataclass(frozen=True)
class Target:
    """One who hands out machines.

    Attributes:
        file: name of what is written for it.
        render: makes its content.
        submit: the command that takes the file.
        comes_and_goes: whether its machines keep nothing, so that there has to be a storage.
        sells_spot: whether it has machines that may be taken away.
    """

    file: str
    render: Callable[[LaunchSettings], str]
    submit: str
    comes_and_goes: bool = False
    sells_spot: bool = False


TARGETS: Mapping[str, Target] = {
    "slurm": Target(slurm.FILE, slurm.render, "sbatch"),
    "kubernetes": Target(kubernetes.FILE, kubernetes.render, "kubectl apply -f", comes_and_goes=True),
    "skypilot": Target(skypilot.FILE, skypilot.render, "sky jobs launch", comes_and_goes=True, sells_spot=True),
    "ray": Target(ray.FILE, ray.render, "python"),
}


def write_files(on: str, settings: LaunchSettings, directory: Path) -> Path:
    """Write what `on` needs into `directory`; returns the file.

    Raises:
        UserError: `on` cannot do what is asked.
    """
    target = TARGETS[on]
    if settings.storage and not target.comes_and_goes:
        raise UserError(
            f"--storage is for kubernetes and skypilot; with {on} the run directory lies on a disk that all share.",
            "Leave --storage out, and give a shared place with --out.",
        )
    if settings.spot and not target.sells_spot:
        raise UserError(f"--spot is for skypilot, not for {on}.", "Leave --spot out.")
    content = target.render(settings)
    path = directory / target.file
    with atomic_file(path) as file:
        file.write(content)
    return path
