"""Cleaned documents on their way: Arrow files of a few thousand, written whole, read by columns or one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from malmoi.core.files import atomic_file
from malmoi.corpus.document import Document
from malmoi.corpus.duplicates import BANDS
from malmoi.corpus.shingles import Hashes
from malmoi.corpus.step import Verdict
from malmoi.corpus.store import DROPPED_SCHEMA, document_row, row_document

SCHEMA = pa.schema(
    [
        *DROPPED_SCHEMA,
        ("read_bytes", pa.int64()),
        ("digest", pa.binary(16)),
        ("bands", pa.list_(pa.uint64(), BANDS)),
        ("pieces", pa.list_(pa.uint64())),
    ]
)


@dataclass(frozen=True)
class Cleaned:
    """A document after the steps.

    Attributes:
        document: with its changed text.
        read_bytes: UTF-8 bytes of the text as it was read.
        digest: `text_digest` of the text.
        dropped: why it leaves; None while it stays.
        bands: `band_keys`, where near duplicates are looked for.
        pieces: `piece_hashes`, where repeated lines are.
    """

    document: Document
    read_bytes: int
    digest: bytes
    dropped: Verdict | None = None
    bands: Hashes | None = None
    pieces: Hashes | None = None


def write_part(path: Path, rows: Sequence[Cleaned]) -> None:
    """Write one part; the file is whole or absent."""
    batch = pa.RecordBatch.from_pylist([_row(row) for row in rows], schema=SCHEMA)
    with atomic_file(path, "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        writer.write_batch(batch)


class Parts:
    """All parts of a build as one table whose rows have numbers from 0, in the order of their files' names."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = sorted(paths)
        self._open = lru_cache(maxsize=8)(lambda place: _open(self._paths[place]))
        self._starts = np.cumsum([0, *(self._open(place).num_rows for place in range(len(self._paths)))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def kept(self) -> NDArray[np.bool_]:
        """(n,) whether each document was dropped by no step."""
        parts = [batch["rule"].is_null().to_numpy(zero_copy_only=False) for batch in self.batches("rule")]
        return np.concatenate([np.empty(0, bool), *parts])

    def digests(self, chosen: NDArray[np.bool_] | None = None) -> NDArray[np.bytes_]:
        """(m,) digests of the m chosen documents, or of all."""
        columns = (batch["digest"] for batch in self.batches("digest", chosen=chosen))
        parts = [np.frombuffer(column.buffers()[1], "S16", len(column)) for column in columns]
        return np.concatenate([np.empty(0, "S16"), *parts])

    def bands(self, band: int, chosen: NDArray[np.bool_]) -> Hashes:
        """(m,) keys of one band of the m chosen documents."""
        columns = (batch["bands"].flatten().to_numpy() for batch in self.batches("bands", chosen=chosen))
        return np.concatenate([np.empty(0, np.uint64), *(column[band::BANDS].copy() for column in columns)])

    def pieces(self, chosen: NDArray[np.bool_]) -> Iterator[Hashes]:
        """The hashes of lines and paragraphs of the chosen documents, part by part."""
        for batch in self.batches("pieces", chosen=chosen):
            yield batch["pieces"].flatten().to_numpy()

    def sources(self) -> tuple[list[str], NDArray[np.int32]]:
        """The sources' names, and (n,) which of them each document is of."""
        column = self._column("source")
        names = column.unique()
        return names.to_pylist(), pc.index_in(column, names).to_numpy()

    def sizes(self) -> NDArray[np.int64]:
        """(n,) UTF-8 bytes of each document."""
        return np.asarray(pc.binary_length(self._column("text")), np.int64)

    def _column(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([batch[name] for batch in self.batches(name)], pa.string())

    def batches(self, *names: str, chosen: NDArray[np.bool_] | None = None) -> Iterator[pa.RecordBatch]:
        """Some columns of all documents or of the chosen ones, part by part."""
        for place, start in enumerate(self._starts[:-1]):
            batch = self._open(place).select(names)
            yield batch if chosen is None else batch.filter(chosen[start : start + batch.num_rows])

    def row(self, number: int) -> Cleaned:
        """One document."""
        place = int(np.searchsorted(self._starts, number, side="right")) - 1
        batch = self._open(place).slice(number - int(self._starts[place]), 1)
        return _cleaned(batch.drop_columns("bands").to_pylist()[0])

    def rows(self) -> Iterator[Cleaned]:
        """All documents in their order."""
        for place in range(len(self._paths)):
            batch = self._open(place).drop_columns("bands")
            for start in range(0, batch.num_rows, 64):
                yield from map(_cleaned, batch.slice(start, 64).to_pylist())


def _open(path: Path) -> pa.RecordBatch:
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)


def _row(row: Cleaned) -> dict[str, Any]:
    verdict = row.dropped
    return document_row(row.document) | {
        "rule": verdict and verdict.rule,
        "value": verdict and str(verdict.value),
        "limit": verdict and str(verdict.limit),
        "read_bytes": row.read_bytes,
        "digest": row.digest,
        "bands": row.bands,
        "pieces": row.pieces,
    }


def _cleaned(row: dict[str, Any]) -> Cleaned:
    dropped = Verdict(row["rule"], row["value"], row["limit"]) if row["rule"] else None
    pieces = None if row["pieces"] is None else np.array(row["pieces"], np.uint64)
    return Cleaned(row_document(row), row["read_bytes"], row["digest"], dropped, None, pieces)
