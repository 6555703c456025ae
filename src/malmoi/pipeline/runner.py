"""Runs a recipe: does what is not done yet, skips what is, goes on where a killed run stopped."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock

import malmoi
from malmoi.core.console import console
from malmoi.core.device import machine_facts
from malmoi.core.errors import UserError, nearest
from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import hash_file, hash_path, hash_value
from malmoi.core.memory import PeakMemory
from malmoi.core.processes import is_first, process_count
from malmoi.parallel.layout import laid_out
from malmoi.pipeline.kinds import STAGES
from malmoi.pipeline.recipe import Recipe, Step

RECORD = "stage.json"
PREVIOUS = ".previous"
UNFINISHED = "checkpoints"
"""Folder of a stage from which it goes on after a kill; it goes when the stage is done."""


def run_recipe(recipe: Recipe, directory: Path) -> dict[str, Path]:
    """Run every step of `recipe` that is not done yet, each in its own folder of `directory`.

    Returns:
        the directory of each step by name.

    Raises:
        UserError: what a stage raised, or another run holds the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _held(directory):
        done: dict[str, Path] = {}
        for number, step in enumerate(recipe.steps, start=1):
            title = f"[bold]{number}/{len(recipe.steps)} {step.name}[/bold]"
            run_step(step, directory / step.name, done, title)
            done[step.name] = directory / step.name
        return done


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Inside, no other command runs in `directory`; processes that run this one together hold it together."""
    if not is_first():
        yield
        return
    lock = filelock.FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"Another malmoi is running in {directory}.", "Wait for it, or choose another --out.") from None
    with lock:
        yield


def run_step(step: Step, directory: Path, earlier: dict[str, Path], title: str) -> None:
    """Run one step in `directory`, unless it was done there with the same settings and inputs.

    Of several processes that run it together, the others are there while the first one trains.
    """
    with laid_out(step.parallel):
        if process_count() == 1:
            _run_step(step, directory, earlier, title)
            return
        from malmoi.parallel.processes import Meeting, StageDone

        meeting = Meeting()
        if is_first():
            _run_step(step, directory, earlier, title)
            meeting.tell("done")
        elif meeting.wait() == "training":
            with contextlib.suppress(StageDone):
                step.stage.run(step.with_inputs(resolve_inputs(step, earlier)), directory)


def _run_step(step: Step, directory: Path, earlier: dict[str, Path], title: str) -> None:
    inputs = resolve_inputs(step, earlier)
    fingerprint = hash_value(identity(step, inputs))
    if is_done(directory, fingerprint):
        console.print(f"{title} [dim]unchanged, skipped[/dim]")
        return
    console.print(f"{title} [dim]{STAGES[step.kind].about}[/dim]")
    previous = _record(directory)
    if previous and previous["fingerprint"] != fingerprint:
        _set_aside(directory)
        previous = None
    directory.mkdir(parents=True, exist_ok=True)
    record = {
        "stage": step.kind,
        "name": step.name,
        "status": "running",
        "fingerprint": fingerprint,
        "attempts": (previous["attempts"] if previous else 0) + 1,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **identity(step, inputs),
        "versions": versions(),
        "machine": machine_facts(),
    }
    write_json(directory / RECORD, record)
    start, memory = time.monotonic(), PeakMemory()
    record["result"] = step.stage.run(step.with_inputs(inputs), directory)
    record["seconds"] = round(time.monotonic() - start, 2)
    record["peak_memory"] = memory.bytes()
    record["outputs"] = _outputs(directory)
    record["status"] = "done"
    write_json(directory / RECORD, record)
    shutil.rmtree(directory / UNFINISHED, ignore_errors=True)
    console.print(f"  [dim]{record['seconds']:.1f} s, peak {record['peak_memory'] / 2**30:.1f} GiB[/dim]")


def resolve_inputs(step: Step, earlier: dict[str, Path]) -> dict[str, list[Path]]:
    """The directories and files behind a step's inputs.

    Raises:
        UserError: an input is neither an earlier stage nor an existing path.
    """
    resolved = {}
    for field, values in step.inputs().items():
        paths = []
        for value in values:
            path = earlier.get(str(value), Path(value).expanduser())
            if str(value) not in earlier and not path.exists():
                way_out = nearest(str(value), earlier) or "Name an earlier stage, or a path that exists."
                raise UserError(
                    f"{field}={str(value)!r} of stage {step.name!r} is no earlier stage and no path.", way_out
                )
            paths.append(path)
        resolved[field] = paths
    return resolved


def is_done(directory: Path, fingerprint: str) -> bool:
    """Whether `directory` holds a finished stage of this fingerprint with all its files."""
    record = _record(directory)
    if not record or record["status"] != "done" or record["fingerprint"] != fingerprint:
        return False
    return all(
        (directory / name).is_file() and (directory / name).stat().st_size == file["bytes"]
        for name, file in record["outputs"].items()
    )


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    packages = ("torch", "tokenizers", "safetensors", "numpy", "pyarrow")
    return {
        "malmoi": malmoi.__version__,
        "python": sys.version.split()[0],
        **{name: metadata.version(name) for name in packages},
    }


def identity(step: Step, inputs: dict[str, list[Path]]) -> dict[str, Any]:
    """What decides whether a stage has to run: its kind, its settings, the contents of its inputs."""
    settings = step.settings.model_dump(mode="json", exclude=set(inputs))
    return {
        "kind": step.kind,
        "settings": settings,
        "inputs": {
            field: [
                {"name": str(value), "sha256": _digest(path)} for value, path in zip(names, inputs[field], strict=True)
            ]
            for field, names in step.inputs().items()
        },
    }


def _digest(path: Path) -> str:
    """Content hash of an input; a finished stage has it on record."""
    record = _record(path)
    return hash_value(record["outputs"]) if record and "outputs" in record else hash_path(path)


def _record(directory: Path) -> dict[str, Any] | None:
    path = directory / RECORD
    if not path.is_file():
        return None
    record: dict[str, Any] = read_json(path)
    return record


def _outputs(directory: Path) -> dict[str, dict[str, Any]]:
    """Name, size and hash of what a stage made, without what only a killed one needs."""
    files = sorted(
        file
        for file in directory.rglob("*")
        if file.is_file() and UNFINISHED not in file.relative_to(directory).parts and file.name != RECORD
    )
    visible = [file for file in files if not any(part.startswith(".") for part in file.relative_to(directory).parts)]
    return {
        file.relative_to(directory).as_posix(): {"bytes": file.stat().st_size, "sha256": hash_file(file)}
        for file in visible
    }


def _set_aside(directory: Path) -> None:
    """Keep an older result, made with other settings, instead of writing over it."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    kept = directory.parent / PREVIOUS / f"{directory.name}-{stamp}"
    kept.parent.mkdir(exist_ok=True)
    os.replace(directory, kept)
    console.print(f"  [dim]settings or inputs changed; the earlier result is kept in {kept}[/dim]")
