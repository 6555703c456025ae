"""A repository of the hub in the cache: MALMOI_CACHE/hub/ORG/NAME/COMMIT/FILE, and beside it what the commit holds.

Every file is taken at the commit that was resolved first, so that a push in between cannot mix two versions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from malmoi.core.console import console
from malmoi.core.errors import UserError, nearest
from malmoi.core.files import read_json, write_json
from malmoi.sources.download import PlaceError, check_space
from malmoi.sources.fetch import cache_directory
from malmoi.sources.hub import Address, HubFile, Listing, described_by_head, get_file, is_offline, list_repository
from malmoi.sources.model_files import READMES, files_beside, shards_of, weights_file


def resolve(address: Address, fetch: Callable[[Listing, str], object]) -> Listing:
    """What the repository holds; offline, at the newest commit of this revision that is whole in the cache.

    Args:
        fetch: gets what is wanted of a listing, as `fetch_model` does; offline it tells whether that is whole.

    Raises:
        UserError: the hub is out of reach or refuses, or the cache has no such commit.
    """
    if not is_offline():
        listing = list_repository(address)
        _remember(address, listing)
        return listing
    for listing in _remembered(address):
        try:
            fetch(listing, address.file)
        except PlaceError:
            continue
        return listing
    raise UserError(
        f"HF_HUB_OFFLINE is set, and {address} is not whole in {_folder(address.repository)}.",
        "Unset it, and ask once with a connection.",
    )


def fetch_model(listing: Listing, file: str = "") -> Path:
    """Download what a model needs and the cache lacks.

    Args:
        file: a GGUF file of the repository, which holds all of a model; "" for a whole model.

    Returns:
        The directory of the model, or the path of the GGUF file.

    Raises:
        UserError: the repository holds no such model, or the hub is out of reach or refuses.
    """
    where = f"hf:{listing.repository}"
    if file:
        if file not in listing.files:
            raise UserError(f"{where} has no file {file!r}.", nearest(file, listing.files))
        if not file.endswith(".gguf"):
            raise UserError(f"{file} is no GGUF file, which alone is a whole model.", f"Take {where} instead.")
        return fetch_files(listing, [file, *(name for name in READMES if name in listing.files)]) / file
    weights = weights_file(listing.files, where)
    directory = fetch_files(listing, [*files_beside(listing.files), weights])
    if weights.endswith(".json"):
        shards = shards_of(directory / weights)
        absent = [name for name in shards if name not in listing.files]
        if absent:
            raise UserError(f"{where} lacks {absent[0]}, which its {weights} names.", "Take another revision.")
        fetch_files(listing, shards)
    return directory


def fetch_files(listing: Listing, names: list[str]) -> Path:
    """Download the named files that the cache lacks; gives the folder they lie in.

    Raises:
        UserError: the hub is out of reach or refuses, or the disk is full.
    """
    directory = _folder(listing.repository) / listing.commit
    missing = [listing.files[name] for name in names if not _is_whole(directory / name, listing.files[name])]
    if not missing:
        return directory
    if is_offline():
        raise PlaceError(f"{directory / missing[0].name} is not in the cache.", "Unset HF_HUB_OFFLINE.")
    size = sum(file.size or 0 for file in missing)
    console.print(
        f"  {len(missing)} files, {size / 1e6:,.1f} MB, from hf:{listing.repository}", soft_wrap=True, markup=False
    )
    directory.mkdir(parents=True, exist_ok=True)
    check_space(directory, size)
    for file in missing:
        address = Address(listing.repository, listing.commit, file.name)
        described = file if file.sha256 or file.blob else described_by_head(address)
        get_file(address, directory / file.name, described.size or 0, described.check)
    return directory


def _is_whole(path: Path, file: HubFile) -> bool:
    try:
        file.check(path)
    except (FileNotFoundError, PlaceError):
        return False
    return True


def _folder(repository: str) -> Path:
    return cache_directory() / "hub" / repository


def _remember(address: Address, listing: Listing) -> None:
    """Keep for times without a connection what a revision meant."""
    path = _folder(listing.repository) / f"{listing.commit}.json"
    revisions = _read(path)[0] | {address.revision: time.time()}
    files = [asdict(file) for file in listing.files.values()]
    write_json(path, {"revisions": revisions, "files": files})


def _remembered(address: Address) -> list[Listing]:
    """What the commits that a revision meant hold, the one that it meant last first."""
    known = [(path.stem, *_read(path)) for path in _folder(address.repository).glob("*.json")]
    meant = [
        (revisions.get(address.revision, 0.0), commit, files)
        for commit, revisions, files in known
        if address.revision in (commit, *revisions)
    ]
    meant.sort(key=lambda one: one[0], reverse=True)
    return [Listing(address.repository, commit, files) for _, commit, files in meant]


def _read(path: Path) -> tuple[dict[str, float], dict[str, HubFile]]:
    """Revisions that meant a commit, with the time when they last did, and its files; none where it is not ours."""
    try:
        content = read_json(path)
        times = content["revisions"]
        if isinstance(times, list):  # as files of earlier versions have it
            times = dict.fromkeys(times, path.stat().st_mtime)
        revisions = {name: float(when) for name, when in times.items()}
        return revisions, {file["name"]: HubFile(**file) for file in content["files"]}
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return {}, {}
