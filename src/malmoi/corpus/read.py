"""The door of the readers: a file becomes documents, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from malmoi.core.compressed import kind_of
from malmoi.core.errors import UserError
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.readers.books import read_epub, read_pdf
from malmoi.corpus.readers.file import ReadSettings, SourceFile, printable
from malmoi.corpus.readers.plain import read_markdown, read_plain, read_wiki
from malmoi.corpus.readers.tables import read_arrow, read_csv, read_json_lines, read_orange, read_parquet, read_tsv
from malmoi.corpus.readers.web import read_archive, read_html

__all__ = ["ReadSettings", "document_kind", "printable", "read_file"]

_READERS: dict[str, Callable[[SourceFile], Iterator[Document]]] = {
    **dict.fromkeys((".txt", ".rst"), read_plain),
    **dict.fromkeys((".md", ".markdown"), read_markdown),
    **dict.fromkeys((".html", ".htm", ".xhtml"), read_html),
    **dict.fromkeys((".warc", ".wet"), read_archive),
    **dict.fromkeys((".jsonl", ".ndjson"), read_json_lines),
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".tab": read_orange,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".xml": read_wiki,
    ".pdf": read_pdf,
    ".epub": read_epub,
}


def read_file(path: Path, source: str, licence: str, settings: ReadSettings, name: str = "") -> Iterator[Document]:
    """The documents of one file, whose `name` within the source, by default its last, begins their identifiers.

    Raises:
        Unreadable: no text: binary, damaged, of a kind that is not known.
        UserError: the column that the settings name does not exist.
    """
    kind = document_kind(path)
    if kind is None:
        raise Unreadable("unknown kind of file")
    if not path.stat().st_size:
        raise Unreadable("empty file")
    try:
        yield from _READERS[kind](SourceFile(path, source, licence, settings, name or path.name))
    except (UserError, Unreadable, MemoryError):
        raise
    except Exception as error:  # whatever the libraries raise for what somebody else wrote
        raise Unreadable(f"damaged file: {type(error).__name__}: {error}"[:200]) from None


def document_kind(path: Path) -> str | None:
    """The suffix that decides how a file is read, without that of its compression; None when nobody reads it."""
    kind = kind_of(path) or ".txt"
    return kind if kind in _READERS else None
