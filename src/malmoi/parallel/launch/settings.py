"""What is launched, and on what."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.config import Settings
from malmoi.core.errors import UserError

STORAGE = PurePosixPath("/storage")
"""Where machines in a cloud see what outlives them."""

RECIPES = PurePosixPath("/recipe")
"""Where they see a recipe that lies here."""

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
"""What torchrun hands on to the processes, which then save and end."""

SAVING = 120
"""Seconds between the signal and the end: a step has to be finished and a checkpoint written."""

PORT = 29_500
"""Where the processes find each other."""


class LaunchSettings(Settings):
    """What is launched, and on what. Every process runs the same `malmoi run`.

    Attributes:
        recipe: a shipped recipe's name, or a path to a YAML file or a folder of text.
        overrides: `stage.key=value` assignments.
        minutes: see `malmoi run`.
        out: run directory, on a disk that all machines share.
        nodes: machines.
        devices_per_node: processes on each, one a device.
        hardware: the accelerator as its dealer calls it, such as H100; for Kubernetes LABEL=VALUE chooses machines;
            empty for processors alone.
        storage: what keeps the run directory where machines come and go: a volume, or for SkyPilot a bucket such as
            s3://NAME; it is mounted at /storage.
        spot: machines that may be taken away at any moment, and cost less.
        hours: after which SLURM ends the job, which then goes on at the end of the queue.
        restarts: how often the processes are started anew after a failure before the job fails.
        install: a command that brings malmoi to a new machine; empty where it is there.
        image: container for Kubernetes; empty for the runtime's own.
        python: the interpreter on the machines.
    """

    recipe: str
    overrides: tuple[str, ...] = ()
    minutes: PositiveFloat | None = None
    out: str
    nodes: PositiveInt = 1
    devices_per_node: PositiveInt = 1
    hardware: str = ""
    storage: str = ""
    spot: bool = False
    hours: PositiveFloat = 24
    restarts: NonNegativeInt = 3
    install: str = "pip install malmoi"
    image: str = ""
    python: str = "python"

    @property
    def processes(self) -> int:
        """How many take part."""
        return self.nodes * self.devices_per_node

    @property
    def recipe_path(self) -> Path | None:
        """The recipe where it is a file or a folder, not a name."""
        path = Path(self.recipe).expanduser()
        return path.resolve() if path.suffix in (".yaml", ".yml") or path.is_dir() else None

    @property
    def name(self) -> str:
        """Of the job: small letters, digits and hyphens, at most 40, as every target allows.

        What had to be left out is told apart by a few digits, so that two recipes with Korean names stay two.
        """
        wanted = self.recipe_path.stem if self.recipe_path else self.recipe
        plain = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[:30].strip("-")
        if plain != wanted:
            plain = f"{plain}-{hashlib.sha256(wanted.encode()).hexdigest()[:6]}".strip("-")
        return plain if plain[:1].isalpha() else f"malmoi-{plain}"

    def words(self, recipe: str, out: str) -> list[str]:
        """What stands behind `malmoi` on a machine that sees the recipe and the run directory at these places."""
        minutes = [] if self.minutes is None else ["--minutes", f"{self.minutes:g}"]
        return ["run", recipe, *self.overrides, *minutes, "--out", out]

    def words_here(self) -> list[str]:
        """Those words where the disk is the one that this machine sees."""
        return self.words(str(self.recipe_path or self.recipe), str(Path(self.out).expanduser().resolve()))

    def words_away(self) -> list[str]:
        """Those words where the run directory is in the storage, and the recipe was brought along.

        Raises:
            UserError: the run directory would lie outside of the storage, and be lost with the machine.
        """
        out = STORAGE / self.out
        if not out.is_relative_to(STORAGE) or ".." in out.parts:
            raise UserError(
                f"--out={self.out} is not in the storage, and would be lost with the machine.",
                f"Give a path inside it, such as --out=runs/NAME, which is {STORAGE}/runs/NAME there.",
            )
        path = self.recipe_path
        return self.words(str(RECIPES / path.name) if path else self.recipe, str(out))
