"""Web pages, alone and in WARC and WET archives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Literal

from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import LARGEST_PAGE, Page
from malmoi.corpus.readers.file import SourceFile
from malmoi.corpus.warc import read_records

PAGE_TYPES: dict[str, Literal["html", "pdf", "text"]] = {
    "": "html",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "text/plain": "text",
    "text/markdown": "text",
}
"""Content types whose text is read, "" being a server's that said nothing; records of others are passed over."""


def read_html(file: SourceFile) -> Iterator[Document]:
    """The main text of a page, without its menus and markup."""
    yield file.document(file.pool.extract(Page("html", file.whole(LARGEST_PAGE))), 1)


def read_archive(file: SourceFile) -> Iterator[Document]:
    """The text of every page; one without text is an empty document with the reason, so that the counts show it."""
    with file.open() as stream:
        yield from file.documents(_pages(stream))


def _pages(stream: IO[bytes]) -> Iterator[tuple[Page | Unreadable, str, dict[str, Any]]]:
    for record in read_records(stream, LARGEST_PAGE):
        if record.type in PAGE_TYPES:
            data = record.data
            page = Page(PAGE_TYPES[record.type], data, record.label) if isinstance(data, bytes) else data
            yield page, record.url, {"url": record.url, "date": record.date}
