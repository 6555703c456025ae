"""Tokens at rest: one memory-mapped file a source, in one directory or in several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from malmoi.core.console import progress
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.core.hashing import hash_value
from malmoi.corpus.document import Document
from malmoi.tokenizers.tokenizer import Tokenizer

DOCUMENTS = 512
"""Documents encoded at a time."""

Tokens = np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]


class TokenSequence(Protocol):
    """Tokens that may lie on a disk: what is asked for is read, and nothing else."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> Tokens: ...


class JoinedTokens:
    """The tokens of a source from several files, one behind the other.

    Args:
        parts: at least one.
    """

    def __init__(self, parts: Sequence[Tokens]) -> None:
        self._parts = parts
        self._ends = np.array(list(accumulate(map(len, parts))), dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, places: slice, /) -> Tokens:
        start, stop, step = places.indices(len(self))
        if step != 1:
            raise ValueError("tokens are read in a row")
        pieces = []
        for index in range(int(np.searchsorted(self._ends, start, "right")), len(self._parts)):
            before = int(self._ends[index]) - len(self._parts[index])
            if before >= stop:
                break
            pieces.append(self._parts[index][max(0, start - before) : stop - before])
        return pieces[0] if len(pieces) == 1 else np.concatenate([self._parts[0][:0], *pieces])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate(self._parts).astype(dtype or self._parts[0].dtype)


def token_dtype(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    """uint16 where every id fits, else uint32."""
    return np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)


def build_token_store(documents: Iterable[Document], total: int, tokenizer: Tokenizer, directory: Path) -> None:
    """Encode documents into `directory`, unless it is there already; a directory that is there is whole.

    Every document is followed by the tokenizer's end-of-text token.

    Args:
        total: number of documents, for the progress bar.
    """
    if directory.is_dir():
        return
    dtype = token_dtype(tokenizer.size)
    counts: dict[str, int] = {}  # its order is that of the files' numbers: names may not be file names
    with atomic_directory(directory) as temporary, progress("tokens", total) as advance:
        for group in _groups(documents):
            for document, ids in zip(group, tokenizer.encode_batch(d.text for d in group), strict=True):
                name = document.source
                counts[name] = counts.get(name, 0) + len(ids) + 1
                with open(temporary / f"{list(counts).index(name)}.bin", "ab") as file:
                    file.write(np.array([*ids, tokenizer.end], dtype=dtype).data)  # tofile() hides that a disk is full
            advance(len(group))
        write_json(temporary / "index.json", {"dtype": dtype.name, "tokenizer": _identity(tokenizer), "tokens": counts})


def join_token_stores(stores: Iterable[dict[str, Tokens]]) -> dict[str, TokenSequence]:
    """The sources of several stores; one that is in several has the tokens of the first store first."""
    parts: dict[str, list[Tokens]] = {}
    for store in stores:
        for name, tokens in store.items():
            parts.setdefault(name, []).append(tokens)
    return {name: mine[0] if len(mine) == 1 else JoinedTokens(mine) for name, mine in parts.items()}


def open_token_store(directory: Path, tokenizer: Tokenizer | None = None) -> dict[str, Tokens]:
    """Source -> (tokens,) memory-mapped ids; none is read.

    Args:
        tokenizer: that the tokens have to be from, where somebody else made the store.

    Raises:
        UserError: there is no token store, it is another tokenizer's, or a file has not the size that its index says.
    """
    index = read_json(directory / "index.json")
    try:
        dtype, counts = np.dtype(index["dtype"]), dict(index["tokens"])
        known = dtype in (np.uint16, np.uint32) and all(isinstance(count, int) for count in counts.values())
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise UserError(f"{directory / 'index.json'} is not the index of a token store.", "Delete the directory.")
    if tokenizer is not None and index.get("tokenizer") != _identity(tokenizer):
        raise UserError(
            f"The tokens in {directory} were made by another tokenizer, and their numbers mean other texts.",
            "Make them again with this one.",
        )
    mapped: dict[str, Tokens] = {}
    for number, (name, count) in enumerate(counts.items()):
        path = directory / f"{number}.bin"
        found = path.stat().st_size if path.is_file() else 0
        if found != count * dtype.itemsize:
            raise UserError(
                f"{path} with the tokens of {name!r} has {found:,} bytes where its index says "
                f"{count * dtype.itemsize:,}: it is torn, or is still being copied.",
                f"Copy it again, or delete {directory}: then it is made from the text again.",
            )
        mapped[name] = np.memmap(path, dtype=dtype, mode="r", shape=(count,))
    return mapped


def _identity(tokenizer: Tokenizer) -> str:
    """What two tokenizers share that give the same numbers the same meaning."""
    return hash_value(tokenizer.backend.get_vocab())


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while group := list(islice(remaining, DOCUMENTS)):
        yield group
