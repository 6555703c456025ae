"""Every address that a crawl has seen and what became of it, in one SQLite file that is right at every moment.

A page's fate, its content and the links in it are one transaction. Killed at any time, the crawl goes on: what was
answered is never asked for again, what was found is never forgotten. The content is in a WARC archive by then, whose
length stands in the same transaction: what a kill leaves behind it is cut off.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from malmoi.core.errors import UserError
from malmoi.corpus.crawl.urls import host_of
from malmoi.corpus.warc import Answer, ArchiveWriter

KEPT = "kept"
APPLICATION = 0x6D616C6E
_SCHEMA = """
CREATE TABLE pages (
    number INTEGER PRIMARY KEY, url TEXT UNIQUE NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL,
    depth INTEGER NOT NULL, hops INTEGER NOT NULL, found_on INTEGER, requests INTEGER NOT NULL DEFAULT 0,
    fate TEXT, detail TEXT, passing INTEGER, status INTEGER, bytes INTEGER, digest BLOB, segment INTEGER, end INTEGER
);
CREATE INDEX waiting ON pages (host, kind DESC, depth, number) WHERE fate IS NULL;
CREATE INDEX digests ON pages (digest) WHERE digest IS NOT NULL;
CREATE INDEX asked ON pages (host, requests) WHERE requests > 0;
CREATE INDEX kept ON pages (bytes) WHERE bytes IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An address that waits.

    Attributes:
        depth: links between it and a first page.
        hops: redirects and sitemaps that led to it.
        requests: how often it has been asked for.
    """

    number: int
    url: str
    host: str
    kind: Literal["page", "sitemap"]
    depth: int
    hops: int
    requests: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an address.

    Attributes:
        name: "kept", or the reason why it is not.
        detail: what the reason alone does not say.
        passing: whether the reason may be gone later: the address is tried again when the crawl is started again.
        status: of HTTP.
        asked: whether it cost a request.
        links: addresses found, with their kind.
        hops: of those links, 0 for links of a page: one more than the entry's behind a redirect and in a sitemap.
    """

    name: str
    detail: str = ""
    passing: bool = False
    status: int | None = None
    asked: bool = True
    links: tuple[tuple[str, Literal["page", "sitemap"]], ...] = ()
    hops: int = 0


class Frontier:
    """The queue of a crawl.

    Raises:
        UserError: the file is not one of ours, or another crawl is using it.
    """

    def __init__(self, path: Path, hosts: set[str], depth: int) -> None:
        self._hosts, self._depth = hosts, depth
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._base = sqlite3.connect(path, timeout=5)
            self._base.executescript(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA trusted_schema=OFF; PRAGMA journal_mode=WAL;"
                "PRAGMA synchronous=NORMAL;"
            )
            if not self._value("SELECT count(*) FROM sqlite_master"):
                self._base.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id={APPLICATION}; COMMIT;")
            ours = self._value("PRAGMA application_id") == APPLICATION
        except sqlite3.OperationalError as error:
            reason = "another crawl is using it" if "locked" in str(error) else str(error)
            raise UserError(f"{path} cannot be opened: {reason}.", "Wait for it, or choose another --out.") from None
        except sqlite3.DatabaseError:
            ours = False
        if not ours:
            raise UserError(f"{path} is no queue of a crawl.", "Remove it, or choose another --out.")

    def begin(self, urls: Iterable[str]) -> None:
        """Add the first pages; what could not be had for a passing reason waits again."""
        with self._base:
            self._base.execute("UPDATE pages SET fate = NULL, passing = 0, requests = 0 WHERE passing")
            for url in urls:
                self._add(url, "page", depth=0, hops=0, found_on=None)

    def add_sitemap(self, url: str) -> None:
        """Add a sitemap that a site names, unless it is known."""
        with self._base:
            self._add(url, "sitemap", depth=0, hops=0, found_on=None)

    def next(self, host: str) -> Entry | None:
        """The waiting entry of a host that is next: sitemaps first, then by depth."""
        row = self._base.execute(
            "SELECT number, url, host, kind, depth, hops, requests FROM pages WHERE fate IS NULL AND host = ?"
            " ORDER BY kind DESC, depth, number LIMIT 1",
            (host,),
        ).fetchone()
        return row and Entry(*row)

    def open_archives(self, directory: Path, about: dict[str, str]) -> None:
        """Let what is kept go into archives of `directory`, behind what is known to be there."""
        ends = dict(self._base.execute("SELECT segment, max(end) FROM pages WHERE segment NOT NULL GROUP BY segment"))
        self._archives = ArchiveWriter(directory, about, ends)

    def settle(self, entry: Entry, fate: Fate, answer: Answer | None = None) -> None:
        """Write down what became of an entry, its content where it is kept, and all links found in it."""
        digest = hashlib.blake2b(answer.body, digest_size=16).digest() if answer else None
        with self._base:
            same = digest and self._base.execute("SELECT url FROM pages WHERE digest = ?", (digest,)).fetchone()
            if same:  # mirrors and session numbers in paths: their links would only lead to the same again
                fate, digest, answer = Fate("same content", same[0], status=fate.status), None, None
            size = len(answer.body) if answer else None
            segment, end = self._archives.write(answer) if answer else (None, None)
            found = (fate.name, fate.detail, fate.passing, fate.status, fate.asked, digest, size, segment, end)
            self._base.execute(
                "UPDATE pages SET fate = ?, detail = ?, passing = ?, status = ?, requests = requests + ?, digest = ?,"
                " bytes = ?, segment = ?, end = ? WHERE number = ?",
                (*found, entry.number),
            )
            depth = entry.depth if fate.hops else entry.depth + 1
            for url, kind in fate.links:
                self._add(url, kind, depth, fate.hops, entry.number)

    def postpone(self, entry: Entry) -> None:
        """Let an entry that was asked for wait for another attempt, behind the others."""
        with self._base:
            last = self._value("SELECT max(number) FROM pages")
            self._base.execute(
                "UPDATE pages SET requests = requests + 1, number = ? WHERE number = ?", (last + 1, entry.number)
            )

    def close_host(self, host: str, fate: Fate) -> None:
        """Give all waiting entries of a host one fate."""
        with self._base:
            self._base.execute(
                "UPDATE pages SET fate = ?, detail = ?, passing = ? WHERE fate IS NULL AND host = ?",
                (fate.name, fate.detail, fate.passing, host),
            )

    def waiting_hosts(self) -> list[str]:
        """Hosts that have entries waiting."""
        rows = self._base.execute("SELECT DISTINCT host FROM pages WHERE fate IS NULL ORDER BY host")
        return [host for (host,) in rows]

    def requests(self, host: str) -> int:
        """How many requests a host has had."""
        return int(self._value("SELECT coalesce(sum(requests), 0) FROM pages WHERE host = ? AND requests > 0", host))

    def kept_bytes(self) -> int:
        """Bytes of all kept pages."""
        return int(self._value("SELECT coalesce(sum(bytes), 0) FROM pages WHERE bytes IS NOT NULL"))

    def report(self) -> Iterator[dict[str, Any]]:
        """Every address that was seen, in the order of finding, and what became of it."""
        rows = self._base.execute(
            "SELECT pages.url, pages.fate, pages.detail, pages.status, pages.kind, pages.depth, pages.requests,"
            " pages.bytes, pages.segment, finder.url AS found_on FROM pages"
            " LEFT JOIN pages AS finder ON finder.number = pages.found_on ORDER BY pages.number"
        )
        names = [column[0] for column in rows.description]
        for row in rows:
            yield {name: value for name, value in zip(names, row, strict=True) if value not in (None, "")}

    def close(self) -> None:
        self._base.close()

    def _add(self, url: str, kind: str, depth: int, hops: int, found_on: int | None) -> None:
        host, fate = host_of(url), None
        if host not in self._hosts:
            fate = "other host"
        elif depth > self._depth:
            fate = "too deep"
        self._base.execute(
            "INSERT OR IGNORE INTO pages (url, host, kind, depth, hops, found_on, fate) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (url, host, kind, depth, hops, found_on, fate),
        )

    def _value(self, query: str, *arguments: Any) -> Any:
        return self._base.execute(query, arguments).fetchone()[0]
