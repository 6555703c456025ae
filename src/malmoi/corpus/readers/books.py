"""PDF and EPUB."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from malmoi.core.errors import MissingExtra
from malmoi.corpus.document import Document, Unreadable
from malmoi.corpus.extract import LARGEST_PAGE, LARGEST_PDF, Page
from malmoi.corpus.readers.file import SourceFile

LARGEST_BOOK = 256 << 20
MOST_CHAPTERS = 5_000
_FONTS = re.compile(rb'Algorithm="http://(www\.idpf\.org/2008/embedding|ns\.adobe\.com/pdf/enc#RC)"')


def read_pdf(file: SourceFile) -> Iterator[Document]:
    """The text of all pages."""
    yield file.document(file.pool.extract(Page("pdf", file.whole(LARGEST_PDF))), 1)


def read_epub(file: SourceFile) -> Iterator[Document]:
    """The book as one text, its chapters in the order of reading (https://www.w3.org/TR/epub-33/#sec-package-doc)."""
    with zipfile.ZipFile(file.path) as book:
        chapters = _chapters(book)
    texts = [text for text in file.pool.map(Page("html", data) for data in chapters) if isinstance(text, str)]
    if not texts:
        raise Unreadable(f"no text in the {len(chapters)} chapters of the EPUB")
    yield file.document("\n\n".join(texts), 1)


def _chapters(book: zipfile.ZipFile) -> list[bytes]:
    """The pages of the spine.

    Raises:
        Unreadable: the book is encrypted, or unpacks to more than any book.
    """
    if "META-INF/encryption.xml" in book.namelist():
        listed = _read(book, "META-INF/encryption.xml", LARGEST_PAGE)
        if listed.count(b"<EncryptedData") + listed.count(b":EncryptedData ") > len(_FONTS.findall(listed)):
            raise Unreadable("an encrypted EPUB")
    container = _xml(_read(book, "META-INF/container.xml", LARGEST_PAGE))
    package = next((file.get("full-path") for file in container.iter("{*}rootfile")), None) or "its package document"
    root = _xml(_read(book, package, LARGEST_PAGE))
    pages = {item.get("id"): item.get("href") for item in root.iter("{*}item")}
    order = [pages[item.get("idref")] for item in root.iter("{*}itemref")]
    if len(order) > MOST_CHAPTERS:
        raise Unreadable(f"an EPUB of more than {MOST_CHAPTERS:,} chapters")
    chapters, left = [], LARGEST_BOOK
    for page in order:
        chapters.append(_read(book, posixpath.join(posixpath.dirname(package), unquote(page)), min(left, LARGEST_PAGE)))
        left -= len(chapters[-1])
    return chapters


def _read(book: zipfile.ZipFile, name: str, largest: int) -> bytes:
    with book.open(name) as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise Unreadable(f"{name} in the EPUB unpacks to more than {largest >> 20} MiB")
    return data


def _xml(data: bytes) -> Any:
    try:
        from lxml import etree
    except ImportError:
        raise MissingExtra("lxml", "corpus", "Reading EPUB") from None
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
