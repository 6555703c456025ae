"""Plain text, Markdown and MediaWiki dumps."""

from __future__ import annotations

import json
from collections.abc import Iterator

from malmoi.corpus.document import Document
from malmoi.corpus.mediawiki import wiki_pages
from malmoi.corpus.readers.file import SourceFile
from malmoi.sources.front_matter import split_front_matter


def read_plain(file: SourceFile) -> Iterator[Document]:
    """The file, its paragraphs or its lines."""
    if file.settings.split == "line":
        with file.lines() as lines:
            yield from (file.document(line, number) for number, line in enumerate(lines, start=1) if line.strip())
        return
    text = file.whole_text()
    pieces = text.replace("\r\n", "\n").split("\n\n") if file.settings.split == "paragraph" else [text]
    yield from (file.document(piece, number) for number, piece in enumerate(pieces, start=1) if piece.strip())


def read_markdown(file: SourceFile) -> Iterator[Document]:
    """As plain text; of a whole file, what stands between `---` at its head is metadata."""
    if file.settings.split != "file":
        yield from read_plain(file)
        return
    fields, text = split_front_matter(file.whole_text())
    if text.strip():
        metadata = {"front_matter": json.loads(json.dumps(fields, default=str))} if fields else {}
        yield file.document(text, 1, **metadata)


def read_wiki(file: SourceFile) -> Iterator[Document]:
    """The articles of a dump."""
    with file.open() as stream:
        for title, text in wiki_pages(stream):
            yield file.document(text, title, title=title)
