"""Documents at rest: one parquet file a split, beside what was dropped and the counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_file
from malmoi.corpus.document import Document

Split = Literal["train", "held_out"]

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("text", "source", "licence", "identifier", "metadata")], {"made_by": "malmoi"}
)
DROPPED_SCHEMA = pa.schema([*SCHEMA, *((name, pa.string()) for name in ("rule", "value", "limit"))], SCHEMA.metadata)
ROWS, CHARACTERS = 4_096, 1 << 26
"""Of a row group: so many documents, or fewer long ones, are in memory at a time."""


class DocumentWriter:
    """Writes documents to a parquet file that appears at `path` when it is closed without an error."""

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA) -> None:
        self._schema, self._whole = schema, ExitStack()
        self._writer = pq.ParquetWriter(self._whole.enter_context(atomic_file(path, "wb")), schema, compression="zstd")
        self._rows: list[dict[str, str]] = []
        self._characters = 0

    def write(self, document: Document, **more: str) -> None:
        """Add one document; `more` are columns of the schema that a document lacks."""
        self._rows.append(document_row(document) | more)
        self._characters += len(document.text)
        if len(self._rows) >= ROWS or self._characters >= CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows, self._characters = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._whole:
            try:
                if error is not None:
                    raise error
                self._flush()
                self._writer.close()
            except BaseException:
                with suppress(OSError, pa.ArrowException):
                    self._writer.close()
                raise


def read_documents(directory: Path, split: Split) -> Iterator[Document]:
    """The documents of one split of a corpus, in their order, a few thousand in memory at a time.

    Raises:
        UserError: the directory is no corpus, or its file is broken, which may show after some documents.
    """
    file = _open(directory, split)
    try:
        for batch in file.iter_batches(ROWS):
            yield from map(row_document, batch.to_pylist())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _broken(directory / f"{split}.parquet", error) from None


def count_documents(directory: Path, split: Split) -> int:
    """How many documents a split has, read from the file's footer."""
    return int(_open(directory, split).metadata.num_rows)


def _open(directory: Path, split: Split) -> pq.ParquetFile:
    path = directory / f"{split}.parquet"
    way_out = "Name a corpus stage's directory."
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(f"{directory} is no corpus: it has no {path.name}.", way_out) from None
    except pa.ArrowException as error:
        raise _broken(path, error) from None
    if not set(SCHEMA.names) <= set(file.schema_arrow.names):
        raise UserError(f"{directory} is no corpus: {path.name} has other columns.", way_out)
    return file


def _broken(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is broken: {error}.", "Make the corpus again.")


def document_row(document: Document) -> dict[str, str]:
    """The columns of a document."""
    return {
        "text": document.text,
        "source": document.source,
        "licence": document.licence,
        "identifier": document.identifier,
        "metadata": json.dumps(document.metadata, ensure_ascii=False),
    }


def row_document(row: dict[str, Any]) -> Document:
    """The document of some columns."""
    return Document(row["text"], row["source"], row["licence"], row["identifier"], json.loads(row["metadata"]))
