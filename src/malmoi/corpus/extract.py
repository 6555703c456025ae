"""The text of web pages and PDFs, extracted in child processes: one that hangs is killed and the others go on."""

from __future__ import annotations

import functools
import importlib.util
import io
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

from malmoi.core.errors import MissingExtra, UserError
from malmoi.corpus.decode import decode, decode_page
from malmoi.corpus.document import UNDECODABLE, Unreadable
from malmoi.corpus.mediawiki import plain_text as wiki_text

RECYCLED = 500
"""Pages after which a child is replaced: what the libraries leak goes with it."""

MEMORY = 2 << 30
"""Bytes a child may take."""

LARGEST_PAGE, LARGEST_PDF = 32 << 20, 256 << 20
MOST_PDF_PAGES = 3_000
_PACKAGES = {"html": "trafilatura", "pdf": "pypdf", "text": "webencodings", "wiki": "mwparserfromhell"}


class NoExtraction(UserError):
    """No page at all can be extracted."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is extracted; `label` is the encoding that its server declared. The markup of a wiki is UTF-8."""

    kind: Literal["html", "pdf", "text", "wiki"]
    data: bytes
    label: str = ""


class ExtractionPool:
    """Extracts pages in `workers` children, each page in at most `seconds`."""

    def __init__(self, workers: int, seconds: float) -> None:
        self._workers, self.seconds = workers, seconds
        self._threads = ThreadPoolExecutor(workers, "extraction")
        self._local = threading.local()

    def extract(self, page: Page) -> str:
        """The text of one page.

        Raises:
            Unreadable: it has none, or took too long or too much memory.
        """
        text = next(self.map([page]))
        if isinstance(text, Unreadable):
            raise text
        return text

    def map(self, pages: Iterable[Page | Unreadable]) -> Iterator[str | Unreadable]:
        """The text of each page, or why there is none, in the order of the pages and a few at a time."""
        waiting: deque[Future[str | Unreadable]] = deque()
        for page in pages:
            waiting.append(self._threads.submit(self._in_child, page))
            if len(waiting) > 2 * self._workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _in_child(self, page: Page | Unreadable) -> str | Unreadable:
        if isinstance(page, Unreadable):
            return page
        if importlib.util.find_spec(_PACKAGES[page.kind]) is None:
            raise MissingExtra(_PACKAGES[page.kind], "corpus", f"Reading {page.kind.upper()}")
        child: _Child | None = getattr(self._local, "child", None)
        if child is None or not child.pages_left:
            child = self._local.child = _Child()
        return child.extract(page, self.seconds)


@functools.lru_cache(maxsize=4)
def shared_pool(workers: int, seconds: float, process: int) -> ExtractionPool:
    """The pool that readers share; `process` is the caller's `os.getpid()`, since threads do not survive a fork."""
    return ExtractionPool(workers, seconds)


class _Child:
    """One process that is ready: importing the libraries does not count as time of a page.

    Raises:
        NoExtraction: it does not start.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.pages_left = RECYCLED
        try:
            self._process.start()
            theirs.close()
            self._pipe.recv()
        except (EOFError, OSError, RuntimeError):
            way_out = "In a script of your own, what it does must stand below: if __name__ == '__main__'."
            raise NoExtraction("The process that takes the text out of pages does not start.", way_out) from None

    def extract(self, page: Page, seconds: float) -> str | Unreadable:
        self.pages_left -= 1
        try:
            self._pipe.send(page)
            if self._pipe.poll(seconds):
                answer: str | Unreadable = self._pipe.recv()
            else:
                self.pages_left, answer = 0, Unreadable(f"extraction timed out: more than {seconds:g} s")
        except (EOFError, OSError):
            self.pages_left, answer = 0, Unreadable("extraction crashed")
        if not self.pages_left:
            self._process.kill()
        return answer


def _plain_text(data: bytes, label: str) -> str:
    text = decode(data, [label])
    if text is None:
        raise Unreadable(UNDECODABLE)
    return text


def _html_text(data: bytes, label: str) -> str:
    import trafilatura

    page = decode_page(data, label)
    if page is None:
        raise Unreadable(UNDECODABLE)
    text = trafilatura.extract(page, include_comments=False, include_tables=True)
    if not text:
        raise Unreadable("no text in the page")
    return str(text)


def _pdf_text(data: bytes, label: str) -> str:
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        raise Unreadable("an encrypted PDF")
    if len(reader.pages) > MOST_PDF_PAGES:
        raise Unreadable(f"a PDF of more than {MOST_PDF_PAGES:,} pages")
    pages = [page.extract_text().strip() for page in reader.pages]
    if not any(pages):
        raise Unreadable(f"a PDF whose {len(pages)} pages have no text: scanned pages need character recognition")
    return "\n\n".join(filter(None, pages))


def _wiki_text(data: bytes, label: str) -> str:
    return wiki_text(data.decode())


_EXTRACTORS = {"html": _html_text, "pdf": _pdf_text, "text": _plain_text, "wiki": _wiki_text}


def _serve(pipe: Connection) -> None:
    """Answer each page with its text or with why it has none, until whoever asks is gone."""
    with suppress(ImportError, ValueError, OSError):  # Windows and some systems know no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints is nobody's
    os.dup2(silence, 2)
    for package in ("trafilatura", "mwparserfromhell"):
        with suppress(ImportError):
            importlib.import_module(package)
    pipe.send(True)
    with suppress(EOFError):
        while True:
            pipe.send(_extract(pipe.recv()))


def _extract(page: Page) -> str | Unreadable:
    try:
        return _EXTRACTORS[page.kind](page.data, page.label)
    except Unreadable as reason:
        return reason
    except MemoryError:
        return Unreadable("extraction out of memory")
    except Exception as error:  # whatever the libraries raise for what somebody else wrote
        return Unreadable(f"damaged {page.kind}: {type(error).__name__}: {error}"[:200])
