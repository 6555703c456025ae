"""Plain text, Markdown and MediaWiki dumps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from malmoi.corpus.decode import json_text
from malmoi.corpus.document import Document
from malmoi.corpus.extract import Page
from malmoi.corpus.mediawiki import wiki_pages
from malmoi.corpus.readers.file import SourceFile
from malmoi.sources.front_matter import split_front_matter

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


def read_plain(file: SourceFile) -> Iterator[Document]:
    """The file, its paragraphs or its lines."""
    if file.settings.split == "line":
        with file.lines() as lines:
            yield from (file.document(line, number) for number, line in enumerate(lines, start=1) if line.strip())
        return
    pieces = file.texts()
    if file.settings.split == "paragraph":
        pieces = (piece for text in pieces for piece in _BLANK_LINE.split(text.replace("\r\n", "\n")))
    yield from (file.document(piece, number) for number, piece in enumerate(pieces, start=1) if piece.strip())


def read_markdown(file: SourceFile) -> Iterator[Document]:
    """As plain text; of a whole file, what stands between `---` at its head is metadata."""
    if file.settings.split != "file":
        yield from read_plain(file)
        return
    for number, text in enumerate(file.texts(), start=1):
        fields, text = split_front_matter(text) if number == 1 else ({}, text)
        known = json.loads(json_text(json.dumps(fields, ensure_ascii=False, default=str, skipkeys=True)))
        if text.strip():
            yield file.document(text, number, **({"front_matter": known} if known else {}))


def read_wiki(file: SourceFile) -> Iterator[Document]:
    """The articles of a dump."""
    with file.open() as stream:
        pages = wiki_pages(stream)
        yield from file.documents((Page("wiki", markup.encode()), title, {"title": title}) for title, markup in pages)
