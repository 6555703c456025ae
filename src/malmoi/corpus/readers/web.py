"""Web pages, alone and in WARC and WET archives."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import Literal

from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import LARGEST_PAGE, Page
from malmoi.corpus.readers.file import SourceFile
from malmoi.corpus.warc import Record, read_records

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
    found: deque[Record] = deque()
    damage: list[Exception] = []

    def pages() -> Iterator[Page | Unreadable]:
        try:
            with file.open() as stream:
                for record in read_records(stream, LARGEST_PAGE):
                    if record.type in PAGE_TYPES:
                        found.append(record)
                        data = record.data
                        yield Page(PAGE_TYPES[record.type], data, record.label) if isinstance(data, bytes) else data
        except (Unreadable, EOFError, OSError, zlib.error) as error:
            damage.append(error)  # what came before it is read nonetheless

    for text in file.pool.map(pages()):
        record = found.popleft()
        reason = {"unreadable": str(text)} if isinstance(text, Unreadable) else {}
        content = "" if isinstance(text, Unreadable) else text
        yield file.document(content, record.url, url=record.url, date=record.date, **reason)
    if damage:
        raise Unreadable(f"damaged: {damage[0]}")
