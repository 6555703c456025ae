"""A file of a source, opened and decoded for the readers of its kind."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field

from malmoi.core.compressed import open_unpacked
from malmoi.core.config import Settings
from malmoi.corpus.decode import decode, detect_encoding
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import ExtractionPool, shared_pool

SAMPLE = 1 << 20
LARGEST_TEXT = 1 << 30


class ReadSettings(Settings):
    """How to read the files of a source.

    Attributes:
        text: column of the text in tables and jsonl: its name, or its number from 0 in a table without a header;
            by default the first of text, content, document, body, review, sentence, message.
        split: what is one document of a plain text: the file, a paragraph (blank line) or a line.
        picture_width: the rows of a csv without a header are grey pictures so many pixels wide, each followed by its
            class; they become texts of one character a pixel.
        seconds: how long the text of one web page or PDF may take to extract.
        workers: processes that extract pages; one a core, and at most 8, by default.
    """

    text: str | int | None = None
    split: Literal["file", "paragraph", "line"] = "file"
    picture_width: int | None = Field(default=None, ge=2)
    seconds: float = Field(default=30, gt=0)
    workers: int | None = Field(default=None, ge=1, exclude=True)


@dataclass(frozen=True)
class SourceFile:
    """A file, what is known of its source, and how to read it."""

    path: Path
    source: str
    licence: str
    settings: ReadSettings

    def document(self, text: str, place: object, **metadata: Any) -> Document:
        """A document that stands at `place` in the file."""
        return Document(text, self.source, self.licence, f"{self.path.name}#{place}", metadata)

    def open(self) -> IO[bytes]:
        """The bytes, decompressed where the name says that they are compressed."""
        return open_unpacked(self.path)

    def lines(self) -> io.TextIOWrapper:
        """The file as a stream of text in the encoding that its beginning shows.

        Raises:
            Unreadable: it is no text.
        """
        with self.open() as stream:
            encoding = detect_encoding(stream.read(SAMPLE), whole=False)
        if encoding is None:
            raise Unreadable("no text")
        return io.TextIOWrapper(self.open(), encoding, errors="replace", newline="")

    def whole(self, largest: int = LARGEST_TEXT) -> bytes:
        """All bytes.

        Raises:
            Unreadable: they are more than `largest`.
        """
        with self.open() as stream:
            data = stream.read(largest + 1)
        if len(data) > largest:
            raise Unreadable(f"more than {largest >> 20:,} MiB in one text; split it into several files")
        return data

    def whole_text(self) -> str:
        """The file as one text.

        Raises:
            Unreadable: it is no text, or too large.
        """
        text = decode(self.whole())
        if text is None:
            raise Unreadable("no text")
        return text

    @property
    def pool(self) -> ExtractionPool:
        """Where the pages of this file are extracted."""
        return shared_pool(self.settings.workers or min(8, _cores()), self.settings.seconds, os.getpid())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
