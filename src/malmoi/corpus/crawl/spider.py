"""The crawl itself: one page of a host after the other, every one with a fate."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

import scrapy
from scrapy import exceptions, signals
from scrapy.crawler import Crawler
from scrapy.http import Headers, Response

from malmoi.corpus.crawl.frontier import KEPT, Entry, Fate, Frontier
from malmoi.corpus.crawl.page import LARGEST_SITEMAP, PageFacts, read_page, read_sitemap
from malmoi.corpus.crawl.robots import Robots, RobotsForbid, RobotsOutOfReach, consents, redirected
from malmoi.corpus.crawl.settings import NAME, CrawlSettings
from malmoi.corpus.crawl.urls import canonical_url
from malmoi.corpus.decode import media_type
from malmoi.corpus.warc import Answer

MOST_REDIRECTS = 10
DEEPEST_SITEMAP, MOST_SITEMAPS = 2, 100
LONGEST_WAIT = 600
"""Seconds; a host that asks to come back later than that is left alone by this crawl."""

_HTML = ("", "text/html", "application/xhtml+xml")
_LATER = (408, 429, 500, 502, 503, 504)


class PageSpider(scrapy.Spider):
    """Fetches what the frontier says, one request at a time to a host, and several hosts at once."""

    name = "malmoi"

    def __init__(self, crawl: CrawlSettings, frontier: Frontier, say: Callable[[str], None]) -> None:
        super().__init__()
        self.crawl, self.frontier, self.say = crawl, frontier, say
        self.end = time.monotonic() + 60 * crawl.minutes
        self.free_at: defaultdict[str, float] = defaultdict(float)
        self.delays: dict[str, float] = {}
        self.robots_failures: Counter[str] = Counter()

    @classmethod
    def from_crawler(cls, crawler: Crawler, *arguments: Any, **options: Any) -> Self:
        spider = super().from_crawler(crawler, *arguments, **options)
        crawler.signals.connect(spider.check_type, signals.headers_received)
        return spider

    async def start(self) -> AsyncIterator[Any]:
        """Crawl; scrapy's own queue has nothing to do."""
        assert self.crawler.engine
        self.robots = Robots(self.crawler.engine.download_async)
        while hosts := self.frontier.waiting_hosts():
            await asyncio.gather(*map(self._crawl_host, hosts))
        return
        yield

    def check_type(self, headers: Headers, request: scrapy.Request) -> None:
        """Stop a download whose content type is not wanted before its body comes."""
        types = request.meta.get("types")
        kind = media_type(_header(headers, "Content-Type"))[0]
        if types and kind and kind not in types:
            raise exceptions.StopDownload

    async def _crawl_host(self, host: str) -> None:
        while entry := self.frontier.next(host):
            if time.monotonic() > self.end:
                self.frontier.close_host(host, Fate("time limit", passing=True))
            elif self.frontier.kept_bytes() > 1e6 * self.crawl.megabytes:
                self.frontier.close_host(host, Fate("limit of megabytes"))
            elif self.frontier.requests(host) >= self.crawl.pages:
                self.frontier.close_host(host, Fate("limit of pages"))
            else:
                await self._visit(entry)
                self.say(entry.url)

    async def _visit(self, entry: Entry) -> None:
        try:
            if self.robots_failures[entry.host]:
                await self._turn(entry.host)
            await self._ask_robots(entry)
            await self._turn(entry.host)
            response = await self._download(entry)
        except RobotsOutOfReach as error:
            self._close_without_robots(entry, str(error))
            return
        except Exception as error:  # a hostile server's answer is never the end of the crawl
            self._settle(entry, self._failure(entry, error))
            return
        wait = _retry_after(response) if response.status in _LATER else 0
        if wait > LONGEST_WAIT:
            self.frontier.close_host(entry.host, Fate("come back later", f"after {wait:.0f} s", passing=True))
            return
        self._rest(entry.host, wait)
        try:
            outcome = _outcome(entry, response)
        except Exception as error:  # nor is what it sent
            outcome = Fate("failed", f"{type(error).__name__}: {error}"[:200], status=response.status), None
        self._settle(entry, *outcome)

    async def _turn(self, host: str) -> None:
        """Wait until a host may be asked again."""
        await asyncio.sleep(min(self.free_at[host], self.end) - time.monotonic())

    async def _ask_robots(self, entry: Entry) -> None:
        """Raise what forbids an entry; where a host is new, note its sitemaps and its delay."""
        rules = await self.robots.rules_for(entry.url)
        if entry.host not in self.delays and self.crawl.sitemaps:
            for link in list(rules.sitemaps)[:MOST_SITEMAPS] or ["/sitemap.xml"]:
                if sitemap := canonical_url(link, entry.url):
                    self.frontier.add_sitemap(sitemap)
        self.delays[entry.host] = max(self.crawl.delay, rules.crawl_delay(NAME) or 0)
        if not rules.can_fetch(entry.url, NAME):
            raise RobotsForbid

    async def _download(self, entry: Entry) -> Response:
        assert self.crawler.engine
        meta = {"types": self.crawl.types} if entry.kind == "page" else {"download_maxsize": LARGEST_SITEMAP}
        begun = time.monotonic()
        try:
            return await self.crawler.engine.download_async(scrapy.Request(entry.url, meta=meta))
        finally:
            self._rest(entry.host, time.monotonic() - begun)

    def _rest(self, host: str, seconds: float) -> None:
        """Leave a host alone for so long, and for its delay at least."""
        self.free_at[host] = max(self.free_at[host], time.monotonic() + max(seconds, self.delays.get(host, 0)))

    def _settle(self, entry: Entry, fate: Fate, answer: Answer | None = None) -> None:
        if fate.passing and entry.requests < self.crawl.retries:
            self._rest(entry.host, self.crawl.delay * 2 ** (entry.requests + 1))
            self.frontier.postpone(entry)
            return
        self.frontier.settle(entry, fate, answer)

    def _close_without_robots(self, entry: Entry, why: str) -> None:
        self.robots_failures[entry.host] += 1
        if address := _refused_address(entry):
            self.frontier.close_host(entry.host, Fate("private address", address))
        elif self.robots_failures[entry.host] > self.crawl.retries:
            self.frontier.close_host(entry.host, Fate("robots.txt out of reach", why, passing=True))
        else:
            self._rest(entry.host, self.crawl.delay * 2 ** self.robots_failures[entry.host])

    def _failure(self, entry: Entry, error: Exception) -> Fate:
        """The fate of an entry that could not be had."""
        said = " ".join(str(error).split())[:200] or type(error).__name__
        match error:
            case RobotsForbid():
                return Fate("robots.txt", asked=False)
            case exceptions.StopDownload():
                return Fate("content type", _header(error.response.headers, "Content-Type") if error.response else "")
            case exceptions.DownloadCancelledError() | exceptions.IgnoreRequest():
                return Fate("too large", f"more than {self.crawl.page_megabytes:g} MB")
            case exceptions.DownloadTimeoutError():
                return Fate("too slow", f"more than {self.crawl.seconds:g} s", passing=True)
            case exceptions.CannotResolveHostError():
                address = _refused_address(entry)
                return Fate("private address", address) if address else Fate("no such host", said, passing=True)
        return Fate("certificate", said) if "certificate" in said else Fate("out of reach", said, passing=True)


def _outcome(entry: Entry, response: Response) -> tuple[Fate, Answer | None]:
    """The fate of an entry that was answered, and what is kept of the answer."""
    status = response.status
    location = redirected(response)
    if location is not None:
        target, hops = canonical_url(location), entry.hops + 1
        if hops > MOST_REDIRECTS or target == entry.url:
            return Fate("redirects without end", location, status=status), None
        links = ((target, entry.kind),) if target else ()
        return Fate("redirect", location, status=status, links=links, hops=hops), None
    if status not in (200, 203):
        return Fate(f"status {status}", passing=status in _LATER, status=status), None
    if not response.body:
        return Fate("empty", status=status), None
    return (_sitemap_fate(entry, response), None) if entry.kind == "sitemap" else _page_fate(entry, response)


def _sitemap_fate(entry: Entry, response: Response) -> Fate:
    if entry.hops > DEEPEST_SITEMAP:
        return Fate("sitemap too deep", status=response.status)
    try:
        links = read_sitemap(response.body, entry.url)
    except ValueError as error:
        return Fate("no sitemap", str(error)[:200], status=response.status)
    return Fate("sitemap", f"{len(links)} addresses", status=response.status, links=links, hops=entry.hops + 1)


def _page_fate(entry: Entry, response: Response) -> tuple[Fate, Answer | None]:
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, values in response.headers.items()
        for value in values or ()
    ]
    kind, label = media_type(_header(response.headers, "Content-Type"))
    facts = read_page(response.body, label, entry.url) if kind in _HTML else PageFacts((), ())
    refused, follow = consents(headers, facts.metas)
    links = facts.links if follow else ()
    if refused:
        return Fate(refused, "asked by the page", status=response.status, links=links), None
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = Answer(entry.url, response.status, headers, response.body, now, str(response.ip_address or ""))
    return Fate(KEPT, status=response.status, links=links), answer


def _retry_after(response: Response) -> float:
    """Seconds that a server asks to wait: a number, or a date."""
    asked = _header(response.headers, "Retry-After").strip()
    if asked.isdecimal():
        return float(asked[:9])
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _refused_address(entry: Entry) -> str:
    """The address of an entry's host that the guard refused, or ""."""
    from twisted.internet import reactor

    address: str = reactor.nameResolver.refused.get(urlsplit(entry.url).hostname, "")
    return address


def _header(headers: Headers, name: str) -> str:
    return (headers.get(name) or b"").decode("latin-1")
