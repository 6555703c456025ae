"""Files that are either whole or absent: written to a temporary name, flushed, renamed.

Where several processes run one command together, only the first one's appear.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from malmoi.core.errors import UserError
from malmoi.core.processes import is_first

STAGE_RECORD = "stage.json"
"""What tells of the stage that made a folder, in it."""


def visible_files(folder: Path) -> list[Path]:
    """The files below a folder, without hidden ones and without what stages made there, which is no input of others."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        if STAGE_RECORD in names and Path(place) != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears at `path` only when the block ends without an error.

    Raises:
        UserError: nothing can be written there, or the disk is full; whatever stood at `path` before is untouched.
    """
    temporary = _begun(path)
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if is_first():
            with _refusing(path):
                os.replace(temporary, path)
            _sync_directory(path.parent)
    except OSError as error:
        raise disk_full(error, path) or error from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes `path` only when the block ends without an error.

    A directory that stood at `path` is replaced.

    Raises:
        UserError: nothing can be written there, or the disk is full; whatever stood at `path` before is untouched.
    """
    temporary = _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    with _refusing(path):
        temporary.mkdir(parents=True)
        if is_first():
            _put_back(path)
    try:
        yield temporary
        if not is_first():
            return
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync_file(file)
        with _refusing(path):
            try:
                if path.is_dir():
                    os.replace(path, _retired(path))
                os.replace(temporary, path)
            finally:
                _put_back(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise disk_full(error, path) or error from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, where they are not there.

    Raises:
        UserError: the system does not let it be made.
    """
    with _refusing(path):
        path.mkdir(parents=True, exist_ok=True)


def expect_writable(path: Path) -> None:
    """Refuse a place where nothing can be written, before the work that would be lost.

    Raises:
        UserError: it is one.
    """
    _begun(path).unlink()


def _begun(path: Path) -> Path:
    """An empty temporary file for `path`."""
    temporary = _temporary(path)
    with _refusing(path):
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    return temporary


def _temporary(path: Path) -> Path:
    if not path.name:
        raise UserError(f"{path} is no name to write to.", "Name a file or a folder in it.")
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What the system says against writing at `path`, as a sentence."""
    try:
        yield
    except OSError as error:
        if full := disk_full(error, path):
            raise full from None
        way_out = "Choose another place, or mend what stands in the way."
        raise UserError(f"{path} cannot be written ({error.strerror}).", way_out) from None


def _retired(path: Path) -> Path:
    """Where a directory lies while another takes its place: the same for all, so that the next writer finds it."""
    return path.with_name(f".{path.name}.old")


def _put_back(path: Path) -> None:
    """End a replacement, one of a killed process too: what was retired goes back if nothing took its place."""
    retired = _retired(path)
    if retired.is_dir() and not path.exists():
        os.replace(retired, path)
    elif retired.is_symlink():
        retired.unlink()
    else:
        shutil.rmtree(retired, ignore_errors=True)


def by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by their last names; those that have one in common by as many names before it as tell them apart."""
    parts = {path: Path(os.path.abspath(path)).parts for path in paths}
    named = {}
    for path, own in parts.items():
        others = [other for other in parts.values() if other != own]
        length = next(size for size in range(1, len(own) + 1) if all(own[-size:] != other[-size:] for other in others))
        named[Path(*own[-length:]).as_posix()] = path
    return named


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically, Hangul as itself."""
    with atomic_file(path) as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
        file.write("\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: the file is missing or is not JSON; the message names the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}).") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text, so it cannot be JSON.") from None
    except (RecursionError, ValueError):  # numbers of thousands of digits are the latter
        raise UserError(f"{path} is nested, or has numbers, beyond all reason.", "Get the file again.") from None


def append_json_line(path: Path, record: dict[str, Any]) -> None:
    """Append one record to a .jsonl file and flush it, so that a killed process loses at most one line.

    Raises:
        UserError: nothing can be written there, or the disk is full; the records before are untouched.
    """
    if not is_first():
        return
    with _refusing(path), open(path, "a+b") as file:
        _drop_torn_line(file)
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a .jsonl file; a torn last line (a killed writer) is left out.

    Raises:
        UserError: a line other than a torn last one is not JSON.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                yield json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            if number < len(lines):
                raise UserError(f"{path}, line {number}: not valid JSON ({error}).") from None


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed writer left behind the last newline of a file; nobody else may write to it now."""
    with open(path, "r+b") as file:
        _drop_torn_line(file)


def _drop_torn_line(file: IO[bytes]) -> None:
    """Cut off what stands behind the last newline, which a killed writer left."""
    end = file.seek(0, os.SEEK_END)
    position = end
    while position > 0:
        file.seek(position - 1)
        if file.read(1) == b"\n":
            break
        position -= 1
    if position < end:
        file.truncate(position)


def disk_full(error: OSError, path: Path | None = None) -> UserError | None:
    """An error as a sentence, if it says that the disk, or somebody's share of it, is full.

    Args:
        path: what was being written, where the error does not name it.
    """
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    what = path or error.filename
    return UserError(
        f"The disk is full: {what} could not be written." if what else "The disk is full.",
        "Free some space and run the same command again; everything finished before is kept.",
    )


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Make a rename durable. Windows cannot open a directory; there the rename alone has to do."""
    with contextlib.suppress(OSError, PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
