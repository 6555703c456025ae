"""Tokens at rest: one memory-mapped file a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from malmoi.core.console import progress
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.corpus.document import Document
from malmoi.tokenizers.tokenizer import Tokenizer

DOCUMENTS = 512
"""Documents encoded at a time."""

Tokens = np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]


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
                    np.array([*ids, tokenizer.end], dtype=dtype).tofile(file)
            advance(len(group))
        write_json(temporary / "index.json", {"dtype": dtype.name, "tokens": counts})


def open_token_store(directory: Path) -> dict[str, Tokens]:
    """Source -> (tokens,) memory-mapped ids."""
    index = read_json(directory / "index.json")
    return {
        name: np.memmap(directory / f"{number}.bin", dtype=index["dtype"], mode="r", shape=(count,))
        for number, (name, count) in enumerate(index["tokens"].items())
    }


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    remaining = iter(documents)
    while group := list(islice(remaining, DOCUMENTS)):
        yield group
