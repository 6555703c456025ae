"""A crawl from the outside: started, watched, reported."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any, cast

from malmoi.core.console import progress
from malmoi.core.errors import MissingExtra, UserError
from malmoi.core.files import atomic_file
from malmoi.corpus.crawl.frontier import KEPT, Frontier
from malmoi.corpus.crawl.settings import CrawlSettings

ARCHIVES, REPORT = "warc", "pages.jsonl"


def crawl(settings: CrawlSettings, directory: Path, work: Path) -> dict[str, Any]:
    """Crawl, or go on where a crawl was stopped, and write WARC archives and `pages.jsonl` into `directory`.

    Args:
        work: the file of the queue; who keeps it can go on.

    Returns:
        counts: addresses seen, requests, pages kept, their bytes, and the others by reason.

    Raises:
        UserError: no way to begin, or the crawler came to grief.
    """
    if importlib.util.find_spec("scrapy") is None or importlib.util.find_spec("warcio") is None:
        raise MissingExtra("scrapy", "crawl", "Crawling")
    settings.starts()
    _run(settings, directory / ARCHIVES, work)
    frontier = Frontier(work, settings.allowed_hosts(), settings.depth)
    try:
        return _report(frontier, directory / REPORT)
    finally:
        frontier.close()


def _run(settings: CrawlSettings, archives: Path, work: Path) -> None:
    wanted = {"crawl": settings.model_dump(mode="json"), "work": str(work), "archives": str(archives)}
    work.parent.mkdir(parents=True, exist_ok=True)
    log = work.with_suffix(".log")
    with log.open("ab") as errors, progress("crawl") as advance:
        process = subprocess.Popen(
            [sys.executable, "-m", __package__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        try:
            stdin.write(json.dumps(wanted).encode() + b"\n")
            stdin.flush()
            for line in stdout:
                said = json.loads(line)
                if "error" in said:
                    raise UserError(*said["error"])
                advance(1, said["url"])
            code = process.wait()
        finally:
            process.kill()
            process.wait()
    if code:
        raise UserError(f"The crawl broke off (code {code}); {log} says why.", "The same command goes on from there.")


def _report(frontier: Frontier, path: Path) -> dict[str, Any]:
    fates: Counter[str] = Counter()
    requests = size = 0
    with atomic_file(path) as file:
        for row in frontier.report():
            fates[row["fate"]] += 1
            requests += row["requests"]
            size += row.get("bytes", 0)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    kept = fates.pop(KEPT, 0)
    seen = kept + fates.total()
    return {"seen": seen, "requests": requests, "kept": kept, "bytes": size, "others": dict(fates.most_common())}
