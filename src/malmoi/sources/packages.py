"""Files inside packages, which are downloaded but never installed or imported."""

from __future__ import annotations

import io
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from malmoi.core.console import console, verbatim
from malmoi.sources.archives import ARCHIVES
from malmoi.sources.download import PlaceError

LARGEST_MEMBER = 1 << 30
_ANY_WHEEL = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"]
_ANY_WHEEL += ["--platform", "manylinux_2_28_x86_64"]
"""Nothing in it is run, so that any machine takes the same wheel."""

_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError
)  # fmt: skip
"""What the libraries raise for archives that are cut short or damaged."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", re.ASCII)
_PACKAGES: dict[str, Path] = {}
_FOLDER = tempfile.TemporaryDirectory(prefix="malmoi-")


def fetch_package(requirement: str, *, source: bool = False) -> Path:
    """The archive of a package, downloaded once a process; pip checks its sum before it opens it.

    Args:
        requirement: NAME==VERSION. A package of a card has the card's sum, another one the index's.
        source: take the source archive, of which pip runs a part; of cards only.

    Raises:
        PlaceError: there is no such package, or it is another one.
    """
    if requirement in _PACKAGES:
        return _PACKAGES[requirement]
    if not _REQUIREMENT.fullmatch(requirement):
        raise PlaceError(f"{requirement!r} names no package.", "Write pypi:NAME==VERSION#MEMBER.")
    folder = Path(_FOLDER.name) / requirement
    kind = ["--no-binary", requirement.partition("==")[0]] if source else _ANY_WHEEL
    known = ARCHIVES.get(requirement)
    folder.mkdir(exist_ok=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{known}\n" if known else f"{requirement}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind]
    command += ["--dest", str(folder / "archive"), "--requirement", str(wanted)]
    with console.status(f"downloading {verbatim(requirement)}"):
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        other = "DO NOT MATCH THE HASHES" in finished.stderr
        reason = "the archive is another one" if other else (finished.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise PlaceError(f"pypi:{requirement}: {reason}.", "Check the name and the connection.")
    _PACKAGES[requirement] = next((folder / "archive").iterdir())
    return _PACKAGES[requirement]


def members(archive: Path) -> list[str]:
    """The names of the files in a wheel.

    Raises:
        PlaceError: it is broken.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            return file.namelist()
    except _DAMAGE as error:
        raise _broken(error) from None


def read_member(archive: Path | BinaryIO, member: str, largest: int) -> bytes:
    """The content of one member of a zip or tar archive; a `#` leads into an archive inside it.

    Raises:
        PlaceError: the archive is broken or lacks the member, or the member is larger than `largest` bytes.
    """
    outer, _, inner = member.partition("#")
    limit = LARGEST_MEMBER if inner else largest
    try:
        is_zip = zipfile.is_zipfile(archive)
        if not isinstance(archive, Path):
            archive.seek(0)
        data = _read_zip(archive, outer, limit) if is_zip else _read_tar(archive, outer, limit)
    except KeyError:
        raise PlaceError(f"The archive has no member {outer!r}.", "Check the name.") from None
    except _DAMAGE as error:
        raise _broken(error) from None
    return read_member(io.BytesIO(data), inner, largest) if inner else data


def _read_zip(archive: Path | BinaryIO, member: str, limit: int) -> bytes:
    with zipfile.ZipFile(archive) as file, file.open(member) as content:
        return _read_at_most(content, member, file.getinfo(member).file_size, limit)


def _read_tar(archive: Path | BinaryIO, member: str, limit: int) -> bytes:
    where = {"name": str(archive)} if isinstance(archive, Path) else {"fileobj": archive}
    with tarfile.open(mode="r:*", **where) as file:
        content = file.extractfile(member)
        if content is None:
            raise KeyError(member)
        return _read_at_most(content, member, file.getmember(member).size, limit)


def _read_at_most(content: object, member: str, size: int, limit: int) -> bytes:
    """Read a member whose header says `size`; neither the header nor the content may pass the limit."""
    data: bytes = b"" if size > limit else content.read(limit + 1)  # type: ignore[attr-defined]
    if size > limit or len(data) > limit:
        raise PlaceError(f"Member {member!r} is larger than the {limit:,} bytes it may have.", "Do not trust it.")
    return data


def _broken(error: Exception) -> PlaceError:
    return PlaceError(f"The archive is broken: {error}.", "Get it again.")
