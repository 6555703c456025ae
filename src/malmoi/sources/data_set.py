"""A data set of the hub: `hf:datasets/ORG/NAME[@REVISION][/FILE OR FOLDER]`, fetched at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from malmoi.core.compressed import kind_of
from malmoi.core.errors import UserError
from malmoi.sources.front_matter import licence_in, split_front_matter
from malmoi.sources.hub import Listing, parse_address
from malmoi.sources.model_files import READMES
from malmoi.sources.snapshot import fetch_files, resolve

KINDS = (".parquet", ".arrow", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt")
"""Files that are taken, perhaps compressed; parquet alone where there is any, since it holds what the others hold."""


@dataclass(frozen=True)
class DataSet:
    """What was fetched.

    Attributes:
        name: the last part of the repository's name.
        about: where it is from, and at which commit.
    """

    name: str
    about: str
    licence: str
    files: list[Path]


def fetch_data_set(words: str) -> DataSet:
    """Download the tables and texts of a data set that the cache lacks.

    Raises:
        UserError: it is no data set, holds none, or the hub is out of reach or refuses.
    """
    address = parse_address(words.removeprefix("hf:"))
    if not address.repository.startswith("datasets/"):
        raise UserError(
            f"{words} is no data set.", f"Write hf:datasets/{address.repository}, or malmoi import {words}."
        )
    listing = resolve(address, _fetch)
    tables, readmes = _fetch(listing, address.file)
    text = readmes[0].read_text(encoding="utf-8", errors="replace") if readmes else ""
    name = address.repository.rpartition("/")[2]
    about = f"{words} at {listing.commit[:12]}"
    return DataSet(name, about, licence_in(split_front_matter(text)[0]) or "unknown", tables)


def _fetch(listing: Listing, folder: str) -> tuple[list[Path], list[Path]]:
    """Download the tables and texts in a folder, or the one of this name, and what says what they are."""
    kinds = {name: kind_of(Path(name)) for name in listing.files if name == folder or _below(name, folder)}
    chosen = ".parquet" if ".parquet" in kinds.values() else ""
    names = sorted(name for name, kind in kinds.items() if kind in KINDS and kind.startswith(chosen))
    if not names:
        where = f"hf:{listing.repository}{'/' if folder else ''}{folder}"
        raise UserError(f"{where} has no tables and no texts.", f"Known kinds: {', '.join(KINDS)}.")
    readmes = [name for name in READMES if name in listing.files]
    directory = fetch_files(listing, [*names, *readmes])
    return [directory / name for name in names], [directory / name for name in readmes]


def _below(name: str, folder: str) -> bool:
    return not folder or name.startswith(f"{folder.rstrip('/')}/")
