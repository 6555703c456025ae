"""A file of a source, opened and decoded for the readers of its kind."""

from __future__ import annotations

import io
import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from pydantic import Field

from malmoi.core.compressed import open_unpacked
from malmoi.core.config import Settings
from malmoi.corpus.decode import decode, detect_encoding
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import ExtractionPool, Page, shared_pool

SAMPLE = 1 << 20
LARGEST_TEXT = 1 << 23
"""Bytes of a plain text that is one document; the steps take many times as much memory."""


class ReadSettings(Settings):
    """How to read the files of a source.

    Attributes:
        text: column of the text in tables and jsonl: its name, or its number from 0 in a table without a header;
            by default the first of text, content, document, body, review, sentence, message.
        split: what is one document of a plain text: the file, a paragraph (blank line) or a line.
        picture_width: the rows of a csv without a header are grey pictures so many pixels wide, each followed by its
            class; they become texts of one character a pixel.
        seconds: how long the text of one web page, wiki page or PDF may take to extract.
        workers: processes that extract pages; one a core, and at most 8, by default.
    """

    text: str | int | None = None
    split: Literal["file", "paragraph", "line"] = "file"
    picture_width: int | None = Field(default=None, ge=2)
    seconds: float = Field(default=30, gt=0)
    workers: int | None = Field(default=None, ge=1, exclude=True)


@dataclass(frozen=True)
class SourceFile:
    """A file, what is known of its source, and how to read it.

    Attributes:
        name: of the file within its source.
    """

    path: Path
    source: str
    licence: str
    settings: ReadSettings
    name: str

    def document(self, text: str, place: object, **metadata: Any) -> Document:
        """A document that stands at `place` in the file."""
        return Document(text, self.source, self.licence, f"{printable(self.name)}#{place}", metadata)

    def documents(self, pages: Iterable[tuple[Page | Unreadable, str, dict[str, Any]]]) -> Iterator[Document]:
        """The texts of pages, each with its place and metadata; one without text is empty and says why.

        Raises:
            Exception: that with which the pages broke off, after the texts of those before it.
        """
        found: deque[tuple[str, dict[str, Any]]] = deque()
        broken: list[Exception] = []

        def noted() -> Iterator[Page | Unreadable]:
            try:
                for page, place, metadata in pages:
                    found.append((place, metadata))
                    yield page
            except Exception as error:
                broken.append(error)

        for text in self.pool.map(noted()):
            place, metadata = found.popleft()
            if isinstance(text, Unreadable):
                yield self.document("", place, **metadata, unreadable=str(text))
            else:
                yield self.document(text, place, **metadata)
        if broken:
            raise broken[0]

    def open(self) -> IO[bytes]:
        """The bytes, decompressed where the name says that they are compressed."""
        return open_unpacked(self.path)

    def lines(self) -> io.TextIOWrapper:
        """The file as a stream of text in the encoding that its beginning shows.

        Raises:
            Unreadable: it is no text.
        """
        stream, sample = cast(io.BufferedReader, self.open()), b""
        with stream, suppress(EOFError, OSError, zlib.error):  # damage is for whoever reads so far
            while len(sample) < SAMPLE and (more := stream.read1(SAMPLE - len(sample))):
                sample += more
        encoding = detect_encoding(sample, whole=False)
        if encoding is None:
            raise Unreadable("no text")
        return io.TextIOWrapper(self.open(), encoding, errors="replace", newline="")

    def whole(self, largest: int) -> bytes:
        """All bytes.

        Raises:
            Unreadable: they are more than `largest`.
        """
        with self.open() as stream:
            data = stream.read(largest + 1)
        if len(data) > largest:
            raise Unreadable(f"more than {largest >> 20:,} MiB in one page")
        return data

    def texts(self) -> Iterator[str]:
        """The file as one text, or as several of some `LARGEST_TEXT` characters that end where a paragraph does.

        Raises:
            Unreadable: it is no text.
        """
        with self.open() as stream:
            data = stream.read(LARGEST_TEXT + 1)
        if len(data) <= LARGEST_TEXT:
            text = decode(data)
            if text is None:
                raise Unreadable("no text")
            yield text
            return
        with self.lines() as lines:
            text = lines.read(LARGEST_TEXT)
            while more := lines.read(LARGEST_TEXT):
                end = _end_of_paragraph(text)
                yield text[:end]
                text = text[end:] + more
            yield text

    @property
    def pool(self) -> ExtractionPool:
        """Where the pages of this file are extracted."""
        return shared_pool(self.settings.workers or min(8, _cores()), self.settings.seconds, os.getpid())


def printable(path: Path | str) -> str:
    """A path in which bytes that are no UTF-8, such as of a name in CP949, stand as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _end_of_paragraph(text: str) -> int:
    """Where the last paragraph that ends in a text does, or the last line, or else the text."""
    ends = (text.rfind(mark) + len(mark) for mark in ("\n\n", "\r\n\r\n", "\n") if mark in text)
    return next(ends, len(text))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
