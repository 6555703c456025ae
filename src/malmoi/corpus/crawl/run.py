"""A crawl from the outside: started, watched, reported."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from malmoi.core.console import progress
from malmoi.core.errors import MissingExtra, UserError
from malmoi.core.files import atomic_file
from malmoi.corpus.crawl.frontier import KEPT, Frontier
from malmoi.corpus.crawl.settings import CrawlSettings, scrapy_settings
from malmoi.corpus.engine import end_with_parent

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
    """Crawl in a process of its own, since scrapy's reactor runs once in a process."""
    context = multiprocessing.get_context("spawn")
    heard, said = context.Pipe(duplex=False)
    process = context.Process(target=_crawl_here, args=(settings, archives, work, said), daemon=True)
    with progress("crawl") as advance:
        process.start()
        said.close()
        try:
            with suppress(EOFError):
                while True:
                    message = heard.recv()
                    if isinstance(message, tuple):
                        raise UserError(*message)
                    advance(1, message)
            process.join()
        finally:
            process.kill()
            process.join()
    if process.exitcode:
        log = work.with_suffix(".log")
        raise UserError(
            f"The crawl broke off (code {process.exitcode}); {log} says why.", "The same command goes on from there."
        )


def _crawl_here(settings: CrawlSettings, archives: Path, work: Path, said: Connection) -> None:
    """Crawl until nothing waits, and say each address; exit code 1 where something still waits."""
    from scrapy.crawler import CrawlerProcess

    from malmoi.corpus.crawl.spider import PageSpider

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process decides
    end_with_parent()  # the queue is right at every moment
    work.parent.mkdir(parents=True, exist_ok=True)
    with work.with_suffix(".log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    try:
        frontier = Frontier(work, settings.allowed_hosts(), settings.depth)
        frontier.open_archives(archives, settings.about)
    except UserError as error:
        said.send((error.what, error.way_out))
        return
    frontier.begin(settings.starts())
    process = CrawlerProcess(scrapy_settings(settings))
    process.crawl(PageSpider, crawl=settings, frontier=frontier, say=said.send)
    process.start(install_signal_handlers=False)
    waiting = frontier.waiting_hosts()
    frontier.close()
    sys.exit(1 if waiting else 0)


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
