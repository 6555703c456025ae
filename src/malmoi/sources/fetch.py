"""Fetching a named source: the mirror first, then the cache, then its places in order."""

from __future__ import annotations

import os
from pathlib import Path

from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.core.hashing import hash_file
from malmoi.sources.card import CardFile, all_cards, find_card
from malmoi.sources.download import PlaceError
from malmoi.sources.places import get


class WrongSum(UserError):
    """A file is not what its card says."""


def mirror_directory() -> Path | None:
    """MALMOI_MIRROR: a folder of files to look into before anywhere else, as SOURCE/FILE."""
    value = os.environ.get("MALMOI_MIRROR")
    return Path(value).expanduser() if value else None


def cache_directory() -> Path:
    """MALMOI_CACHE, or `malmoi` in the user's cache folder."""
    value = os.environ.get("MALMOI_CACHE") or os.environ.get("XDG_CACHE_HOME")
    base = Path(value).expanduser() if value else Path.home() / ".cache"
    return base if os.environ.get("MALMOI_CACHE") else base / "malmoi"


def fetch_source(name: str) -> list[Path]:
    """The files of a source, in the order of its card, each checked against its sha256.

    Raises:
        UserError: there is no such source, no place has a file, or a file is not what the card says.
    """
    return [_fetch_file(name, file) for file in find_card(name).files]


def fetch_weights(name: str) -> Path:
    """What `load_checkpoint` opens of a source of weights: its one file, or the folder of its files.

    Raises:
        UserError: the source is no model of text; and as `fetch_source`.
    """
    if not find_card(name).is_model:
        raise UserError(f"The source {name!r} is no model of text.", f"Get it: malmoi fetch sources=[{name}]")
    files = fetch_source(name)
    return files[0] if len(files) == 1 else files[0].parent


def fetch_image_weights(name: str) -> Path:
    """The file of a source of weights of a network for images.

    Raises:
        UserError: the source is something else; and as `fetch_source`.
    """
    if not find_card(name).is_image_model:
        known = ", ".join(other for other, card in all_cards().items() if card.is_image_model)
        raise UserError(f"The source {name!r} is no network for images.", f"Known: {known}.")
    return fetch_source(name)[0]


def _fetch_file(source: str, file: CardFile) -> Path:
    mirrored = _in_mirror(source, file)
    if mirrored:
        _check(mirrored, file, "Replace it in the mirror, or unset MALMOI_MIRROR.")
        return mirrored
    target = cache_directory() / source / file.name
    if target.is_file() and (file.sha256 is None or hash_file(target) == file.sha256):
        return target
    target.unlink(missing_ok=True)
    failures: list[PlaceError | WrongSum] = []
    for place in file.places:
        try:
            get(place, target, file.bytes)
            _check(target, file, "Run the same command again to fetch it anew.", remove=True)
        except (PlaceError, WrongSum) as error:
            failures.append(error)
            continue
        console.print(
            f"  {verbatim(f'{source}/{file.name}')} [dim]from {verbatim(place.split('#')[0])}[/dim]", soft_wrap=True
        )
        return target
    if failures and isinstance(failures[-1], WrongSum):
        raise failures[-1]
    tried = "; ".join(error.what.rstrip(".") for error in failures) or "its card names no place besides a mirror"
    raise UserError(
        f"{source}/{file.name} could not be fetched: {tried}.",
        f"Check the connection, or put the file at MALMOI_MIRROR/{file.mirror or f'{source}/{file.name}'}.",
    )


def _in_mirror(source: str, file: CardFile) -> Path | None:
    mirror = mirror_directory()
    if mirror is None:
        return None
    if not mirror.is_dir():
        raise UserError(f"MALMOI_MIRROR={mirror} is not a folder.", "Set it to one, or unset it.")
    candidates = [mirror / source / file.name, *([mirror / file.mirror] if file.mirror else [])]
    return next((path for path in candidates if path.is_file()), None)


def _check(path: Path, file: CardFile, way_out: str, *, remove: bool = False) -> None:
    if file.sha256 is None:
        return
    actual = hash_file(path)
    if actual != file.sha256:
        if remove:
            path.unlink()
        raise WrongSum(f"{path} has sha256 {actual}, its card says {file.sha256}.", way_out)
