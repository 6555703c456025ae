"""Get named sources, and write down what was got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.core.hashing import hash_file
from malmoi.pipeline.stage import Estimate, Stage
from malmoi.sources.card import find_card
from malmoi.sources.data_set import fetch_data_set
from malmoi.sources.fetch import fetch_source

MANIFEST = "manifest.json"


class FetchSettings(Settings):
    """Settings of the stage.

    Attributes:
        sources: names of cards, or data sets of the hub: hf:datasets/ORG/NAME[@REVISION][/FILE OR FOLDER].
    """

    sources: list[str]


def run(settings: FetchSettings, directory: Path) -> dict[str, Any]:
    """Fetch every source and write `manifest.json`: for each its card's facts and its files with their sums."""
    for name in settings.sources:
        if not name.startswith("hf:"):
            find_card(name)  # a mistyped name is found before anything is downloaded
    entries = [_entry(name) for name in settings.sources]
    write_json(directory / MANIFEST, {"sources": entries})
    size = sum(file["bytes"] for entry in entries for file in entry["files"])
    return {"sources": len(entries), "files": sum(len(entry["files"]) for entry in entries), "bytes": size}


def manifest_files(directory: Path, source: str) -> list[Path]:
    """The files of one source of a fetch stage.

    Raises:
        UserError: the stage did not fetch it, or a file is gone.
    """
    entries = {entry["name"]: entry for entry in read_json(directory / MANIFEST)["sources"]}
    if source not in entries:
        raise UserError(
            f"{directory} did not fetch {source!r}.", f"Add it to 'sources'; there are: {', '.join(entries)}."
        )
    files = [Path(file["path"]) for file in entries[source]["files"]]
    gone = [path for path in files if not path.is_file()]
    if gone:
        raise UserError(f"{gone[0]} is gone.", f"Fetch it again: malmoi fetch sources=[{source}] --out {directory}")
    return files


def _entry(name: str) -> dict[str, Any]:
    if name.startswith("hf:"):
        data_set = fetch_data_set(name)
        facts = {"name": data_set.name, "about": data_set.about, "licence": data_set.licence, "language": ""}
        paths = data_set.files
    else:
        card, paths = find_card(name), fetch_source(name)
        facts = {"name": name, "about": card.about, "licence": card.licence, "language": card.language}
    files = [{"path": str(path.resolve()), "sha256": hash_file(path), "bytes": path.stat().st_size} for path in paths]
    return {**facts, "files": files}


def estimate(settings: FetchSettings) -> Estimate:
    """What has to be downloaded; how long that takes is the network's."""
    files = [file for name in settings.sources if not name.startswith("hf:") for file in find_card(name).files]
    size = sum(file.bytes for file in files)
    words = f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
    return Estimate(lines=(f"{words}, less what is in the cache",))


STAGE = Stage(FetchSettings, run, estimate)
