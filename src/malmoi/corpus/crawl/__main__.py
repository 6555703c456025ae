"""The process of a crawl, since scrapy's reactor runs once in a process. It ends when whoever started it does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from scrapy.crawler import CrawlerProcess

from malmoi.core.errors import UserError
from malmoi.corpus.crawl.frontier import Frontier
from malmoi.corpus.crawl.settings import CrawlSettings, scrapy_settings
from malmoi.corpus.crawl.spider import PageSpider


def main() -> int:
    """Read what is wanted, as one line of JSON, and crawl until nothing waits; 1 where something still does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process decides
    wanted = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    crawl, work = CrawlSettings.model_validate(wanted["crawl"]), Path(wanted["work"])
    try:
        frontier = Frontier(work, crawl.allowed_hosts(), crawl.depth)
    except UserError as error:
        print(json.dumps({"error": [error.what, error.way_out]}), flush=True)
        return 2
    frontier.begin(crawl.starts())
    process = CrawlerProcess(scrapy_settings(crawl))
    process.crawl(PageSpider, crawl=crawl, frontier=frontier, archives=Path(wanted["archives"]))
    process.start(install_signal_handlers=False)
    done = frontier.is_done()
    frontier.close()
    return int(not done)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)  # the frontier is right at every moment


if __name__ == "__main__":
    sys.exit(main())
