"""The text of web pages and PDFs, extracted in child processes: one that hangs is killed and the others go on."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

from malmoi.core.errors import MissingExtra
from malmoi.corpus.decode import decode, decode_page
from malmoi.corpus.document import Unreadable

RECYCLED = 500
"""Pages after which a child is replaced: what the libraries leak goes with it."""

MEMORY = 2 << 30
"""Bytes a child may take."""

LARGEST_PAGE, LARGEST_PDF = 32 << 20, 256 << 20
MOST_PDF_PAGES = 3_000
UNDECODABLE = "undecodable"
_PACKAGES = {"html": "trafilatura", "pdf": "pypdf", "text": "webencodings"}


@dataclass(frozen=True, slots=True)
class Page:
    """What is extracted; `label` is the encoding that its server declared."""

    kind: Literal["html", "pdf", "text"]
    data: bytes
    label: str = ""


class ExtractionPool:
    """Extracts pages in `workers` children, each page in at most `seconds`."""

    def __init__(self, workers: int, seconds: float) -> None:
        self._workers, self._seconds = workers, seconds
        self._threads = ThreadPoolExecutor(workers, "extraction")
        self._local = threading.local()

    def extract(self, page: Page) -> str:
        """The text of one page.

        Raises:
            Unreadable: it has none, or took too long or too much memory.
        """
        return self._threads.submit(self._in_child, page).result()

    def map(self, pages: Iterable[Page | Unreadable]) -> Iterator[str | Unreadable]:
        """The text of each page, or why there is none, in the order of the pages and a few at a time."""
        waiting: deque[Future[str]] = deque()
        for page in pages:
            waiting.append(self._threads.submit(self._in_child, page))
            if len(waiting) > 2 * self._workers:
                yield _outcome(waiting.popleft())
        while waiting:
            yield _outcome(waiting.popleft())

    def _in_child(self, page: Page | Unreadable) -> str:
        if isinstance(page, Unreadable):
            raise page
        if importlib.util.find_spec(_PACKAGES[page.kind]) is None:
            raise MissingExtra(_PACKAGES[page.kind], "corpus", f"Reading {page.kind.upper()}")
        if getattr(self._local, "child", None) is None:
            self._local.child = _Child()
        child: _Child = self._local.child
        answer = child.ask(page, self._seconds)
        if answer is None or child.answers == RECYCLED:
            child.stop()
            self._local.child = None
        if answer is None:
            raise Unreadable(f"extraction takes more than {self._seconds:g} s, or crashes")
        if "text" not in answer:
            raise Unreadable(answer["reason"])
        return str(answer["text"])


@functools.lru_cache(maxsize=4)
def shared_pool(workers: int, seconds: float, process: int) -> ExtractionPool:
    """The pool that readers share; `process` is the caller's `os.getpid()`, since threads do not survive a fork."""
    return ExtractionPool(workers, seconds)


class _Child:
    """A process that answers a line of JSON to each page; it ends when its input does."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._input = cast(IO[bytes], self._process.stdin)
        self._output = cast(IO[bytes], self._process.stdout)
        self._output.readline()  # it is ready: importing does not count as time of a page
        self.answers = 0

    def ask(self, page: Page, seconds: float) -> dict[str, Any] | None:
        """The answer, or None when the child had to be killed or died."""
        watchdog = threading.Timer(seconds, self._process.kill)
        watchdog.start()
        try:
            head = {"kind": page.kind, "label": page.label, "bytes": len(page.data)}
            self._input.write(json.dumps(head).encode() + b"\n" + page.data)
            self._input.flush()
            self.answers += 1
            answer: dict[str, Any] = json.loads(self._output.readline())
        except (OSError, ValueError):
            return None
        finally:
            watchdog.cancel()
        return answer

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._input, self._output):
            with suppress(OSError):
                stream.close()


def _outcome(future: Future[str]) -> str | Unreadable:
    try:
        return future.result()
    except Unreadable as reason:
        return reason


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


_EXTRACTORS = {"html": _html_text, "pdf": _pdf_text, "text": _plain_text}


def _answer(head: dict[str, Any], data: bytes) -> dict[str, str]:
    try:
        return {"text": _EXTRACTORS[head["kind"]](data, head["label"])}
    except Unreadable as reason:
        return {"reason": str(reason)}
    except MemoryError:
        return {"reason": "extraction takes too much memory"}
    except Exception as error:  # whatever the libraries raise for what somebody else wrote
        return {"reason": f"damaged {head['kind']}: {type(error).__name__}: {error}"[:200]}


def _serve() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows and some systems know no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with suppress(ImportError):
        importlib.import_module("trafilatura")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    print("{}", file=answers, flush=True)
    for line in iter(sys.stdin.buffer.readline, b""):
        head = json.loads(line)
        print(json.dumps(_answer(head, sys.stdin.buffer.read(head["bytes"]))), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
