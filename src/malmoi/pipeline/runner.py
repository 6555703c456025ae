"""Runs a recipe: does what is not done yet, skips what is, goes on where a killed run stopped."""

from __future__ import annotations

import contextlib
import datetime
import glob
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
from malmoi.core.config import keys_of
from malmoi.core.console import console, verbatim
from malmoi.core.device import machine_facts
from malmoi.core.errors import UserError, nearest
from malmoi.core.files import STAGE_RECORD, make_directory, read_json, write_json
from malmoi.core.hashing import hash_file, hash_path, hash_value
from malmoi.core.memory import PeakMemory
from malmoi.core.processes import is_first, process_count
from malmoi.parallel.layout import laid_out
from malmoi.pipeline.kinds import STAGES
from malmoi.pipeline.recipe import Recipe, Step

PREVIOUS = ".previous"
UNFINISHED = "checkpoints"
"""Folder of a stage from which it goes on after a kill; it goes when the stage is done."""


def run_recipe(recipe: Recipe, directory: Path) -> dict[str, Path]:
    """Run every step of `recipe` that is not done yet, each in its own folder of `directory`.

    Returns:
        the directory of each step by name.

    Raises:
        UserError: as `check_inputs`, what a stage raised, or another run holds the directory.
    """
    check_inputs(recipe, directory)
    make_directory(directory)
    with _held(directory / ".lock", directory):
        done: dict[str, Path] = {}
        for number, step in enumerate(recipe.steps, start=1):
            title = f"[bold]{number}/{len(recipe.steps)} {verbatim(step.name)}[/bold]"
            run_step(step, directory / step.name, done, title)
            done[step.name] = directory / step.name
        return done


@contextlib.contextmanager
def _held(lock: Path, directory: Path) -> Iterator[None]:
    """Inside, no other command runs in `directory`; processes that run this one together hold it together."""
    if not is_first():
        yield
        return
    try:
        with filelock.FileLock(lock, timeout=0):
            yield
    except filelock.Timeout:
        raise UserError(f"Another malmoi is running in {directory}.", "Wait for it, or choose another --out.") from None


def run_step(step: Step, directory: Path, earlier: dict[str, Path], title: str) -> None:
    """Run one step in `directory`, unless it was done there with the same settings and inputs.

    Of several processes that run it together, the others are there while the first one trains.
    """
    with laid_out(step.parallel), keys_of(step.prefix):
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
    _refuse_foreign(directory, [path for paths in inputs.values() for path in paths])
    facts = identity(step, inputs)
    fingerprint = hash_value(facts)
    if is_done(directory, fingerprint):
        console.print(f"{title} [dim]unchanged, skipped[/dim]")
        return
    make_directory(directory)
    with _held(directory.with_name(f".{directory.name}.lock"), directory):
        if _bring_back(directory, fingerprint):
            console.print(f"{title} [dim]as before, brought back from {PREVIOUS}[/dim]")
            if is_done(directory, fingerprint):
                return
        console.print(f"{title} [dim]{STAGES[step.kind].about}[/dim]")
        _run_here(step, directory, inputs, {"fingerprint": fingerprint, **facts})


def _run_here(step: Step, directory: Path, inputs: dict[str, list[Path]], facts: dict[str, Any]) -> None:
    previous, kept = _record(directory), None
    if previous and previous["fingerprint"] != facts["fingerprint"]:
        kept = _set_aside(directory)
        console.print(f"  [dim]settings or inputs changed; the earlier result is kept in {verbatim(kept)}[/dim]")
        previous = None
        make_directory(directory)
    record = {
        "stage": step.kind,
        "name": step.name,
        "status": "running",
        "attempts": (previous["attempts"] if previous else 0) + 1,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
        "versions": versions(),
        "machine": machine_facts(),
    }
    write_json(directory / STAGE_RECORD, record)
    start, memory = time.monotonic(), PeakMemory()
    with _put_back(kept, directory):
        record["result"] = step.stage.run(step.with_inputs(inputs), directory)
    record["seconds"] = round(time.monotonic() - start, 2)
    record["peak_memory"] = memory.bytes()
    record["outputs"] = _outputs(directory)
    record["status"] = "done"
    write_json(directory / STAGE_RECORD, record)
    shutil.rmtree(directory / UNFINISHED, ignore_errors=True)
    console.print(f"  [dim]{record['seconds']:.1f} s, peak {record['peak_memory'] / 2**30:.1f} GiB[/dim]")


def _refuse_foreign(directory: Path, inputs: list[Path]) -> None:
    """A stage writes over its folder, or sets it aside, so the folder has to be its own.

    Raises:
        UserError: there is something in it that no stage made, or an input, or whoever gave the command.
    """
    place = directory.resolve()
    if place in (Path.cwd(), *Path.cwd().parents):
        raise UserError(f"{place} holds the folder that you are in.", "Name a folder for the result alone.")
    if directory.is_dir() and not (directory / STAGE_RECORD).is_file() and any(directory.glob("[!.]*")):
        raise UserError(f"{directory} holds files that no stage of malmoi made.", "Name a new or an empty folder.")
    for path in inputs:
        if place in (path.resolve(), *path.resolve().parents):
            raise UserError(f"The result would take the place of {path}, which is read for it.", "Name another folder.")


def check_inputs(recipe: Recipe, directory: Path) -> None:
    """Refuse an input that is not there, before the stages that stand before its own have run.

    Raises:
        UserError: an input is neither an earlier stage nor an existing path.
    """
    earlier: dict[str, Path] = {}
    for step in recipe.steps:
        resolve_inputs(step, earlier)
        earlier[step.name] = directory / step.name


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
            if str(value) not in earlier and not path.exists() and not step.prefix:
                raise UserError(f"{field}={value}: there is no such file or folder.", "Check the path.")
            if str(value) not in earlier and not path.exists():
                way_out = nearest(str(value), earlier) or "Name an earlier stage, or a path that exists."
                raise UserError(
                    f"{field}={str(value)!r} of stage {step.name!r} is no earlier stage and no path.", way_out
                )
            paths.append(path)
        resolved[field] = paths
    return resolved


def done_stages(recipe: Recipe, directory: Path) -> dict[str, Path]:
    """The directories of the stages that are done in `directory` as the recipe wants them, by name."""
    done: dict[str, Path] = {}
    for step in recipe.steps:
        with contextlib.suppress(UserError):  # an input that is not there yet
            if is_done(directory / step.name, hash_value(identity(step, resolve_inputs(step, done)))):
                done[step.name] = directory / step.name
    return done


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
    named = step.with_inputs(inputs).named_files
    return {
        "kind": step.kind,
        "settings": settings,
        "inputs": {
            field: [
                {"name": str(value), "sha256": _digest(path)} for value, path in zip(names, inputs[field], strict=True)
            ]
            for field, names in step.inputs().items()
        },
        **({"files": [{"name": path.name, "sha256": hash_file(path)} for path in named]} if named else {}),
    }


def _digest(path: Path) -> str:
    """Content hash of an input; a finished stage has it on record."""
    record = _record(path)
    return hash_value(record["outputs"]) if record and "outputs" in record else hash_path(path)


def _record(directory: Path) -> dict[str, Any] | None:
    path = directory / STAGE_RECORD
    if not path.is_file():
        return None
    record: dict[str, Any] = read_json(path)
    return record


def _outputs(directory: Path) -> dict[str, dict[str, Any]]:
    """Name, size and hash of what a stage made, without what only a killed one needs."""
    files = sorted(
        file
        for file in directory.rglob("*")
        if file.is_file() and UNFINISHED not in file.relative_to(directory).parts and file.name != STAGE_RECORD
    )
    visible = [file for file in files if not any(part.startswith(".") for part in file.relative_to(directory).parts)]
    return {
        file.relative_to(directory).as_posix(): {"bytes": file.stat().st_size, "sha256": hash_file(file)}
        for file in visible
    }


def _set_aside(directory: Path) -> Path:
    """Keep an older result, made with other settings, instead of writing over it; where it is then."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    kept = directory.with_name(PREVIOUS) / f"{directory.name}-{stamp}"
    kept.parent.mkdir(exist_ok=True)
    os.replace(directory, kept)
    return kept


@contextlib.contextmanager
def _put_back(kept: Path | None, directory: Path) -> Iterator[None]:
    """Inside, a mistake of the user's that is met before anything is written costs no result that was set aside."""
    try:
        yield
    except UserError:
        written = any(file.is_file() and file != directory / STAGE_RECORD for file in directory.rglob("*"))
        if kept is not None and not written:
            shutil.rmtree(directory)
            os.replace(kept, directory)
            console.print(f"  [dim]the earlier result is back in {verbatim(directory)}[/dim]")
        raise


def _bring_back(directory: Path, fingerprint: str) -> bool:
    """Put a result of this fingerprint that was set aside, finished or begun, into its place, if there is one."""

    def belongs(path: Path) -> bool:
        record = _record(path)
        return record is not None and record["fingerprint"] == fingerprint

    earlier = sorted(directory.with_name(PREVIOUS).glob(f"{glob.escape(directory.name)}-*"), reverse=True)
    kept = sorted(filter(belongs, earlier), key=lambda path: not is_done(path, fingerprint))
    if not kept or (belongs(directory) and not is_done(kept[0], fingerprint)):
        return False
    if any(directory.iterdir()):
        _set_aside(directory)
    else:
        directory.rmdir()
    os.replace(kept[0], directory)
    return True
