"""What a crawl may do; and scrapy with every default that is open closed."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from pydantic import Field, field_validator

import malmoi
from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.corpus.crawl.addresses import Network
from malmoi.corpus.crawl.urls import canonical_url, host_of

NAME = "malmoi"
"""What robots.txt, X-Robots-Tag and robots meta elements call this crawler."""


class CrawlSettings(Settings):
    """Which pages are fetched, and how gently. A crawl that was stopped goes on with another `delay`.

    Attributes:
        urls: where to begin.
        contact: an e-mail address or a page by which those who run a site can reach whoever crawls it.
        hosts: hosts, HOST or HOST:PORT, that may be crawled besides those of `urls`; all others are left alone.
        sitemaps: whether pages are also found by the sitemaps that robots.txt names, or /sitemap.xml.
        types: content types that are kept.
        delay: seconds between two requests to a host, more where its Crawl-delay or its slowness asks for it.
        depth: links between a first page and the last ones that are followed.
        pages: requests to one host, at most.
        megabytes: all kept pages together, at most.
        page_megabytes: one page after decompression, at most.
        minutes: all of the crawl, at most.
        seconds: one request, at most.
        retries: how often a page that could not be had for a passing reason is asked for again.
        allow_private: addresses that are not of the public internet and may be connected to nonetheless: networks such
            as [192.168.7.0/24], or true for all. For your own intranet.
        licence: of the pages, for the documents that will be made of them.
    """

    urls: list[str] = []
    contact: str = ""
    hosts: list[str] = []
    sitemaps: bool = True
    types: list[str] = ["text/html", "application/xhtml+xml", "text/plain", "text/markdown", "application/pdf"]
    delay: float = Field(default=1.0, ge=0, exclude=True)
    depth: int = Field(default=20, ge=0)
    pages: int = Field(default=10_000, ge=1)
    megabytes: float = Field(default=10_000, gt=0)
    page_megabytes: float = Field(default=10, gt=0)
    minutes: float = Field(default=24 * 60, gt=0)
    seconds: float = Field(default=30, gt=0)
    retries: int = Field(default=2, ge=0)
    allow_private: bool | list[str] = False
    licence: str = "unknown"

    @field_validator("urls", "hosts", mode="before")
    @classmethod
    def _may_be_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("allow_private")
    @classmethod
    def _are_networks(cls, value: bool | list[str]) -> bool | list[str]:
        return value if isinstance(value, bool) else [str(ipaddress.ip_network(text)) for text in value]

    @property
    def private_networks(self) -> list[Network]:
        """The networks of `allow_private`."""
        if isinstance(self.allow_private, bool):
            return [ipaddress.ip_network(every) for every in ("0.0.0.0/0", "::/0") if self.allow_private]
        return [ipaddress.ip_network(text) for text in self.allow_private]

    @property
    def user_agent(self) -> str:
        """How the crawler introduces itself."""
        return f"{NAME}/{malmoi.__version__} (+{self.contact})"

    @property
    def about(self) -> dict[str, str]:
        """What an archive of the crawl says of itself."""
        return {
            "software": f"{NAME}/{malmoi.__version__}",
            "format": "WARC File Format 1.1",
            "robots": "obey",
            "http-header-user-agent": self.user_agent,
        }

    @property
    def largest_page(self) -> int:
        """Bytes of a page after decompression, at most."""
        return int(self.page_megabytes * 1e6)

    def starts(self) -> list[str]:
        """The first pages, in their canonical form.

        Raises:
            UserError: none is given, one is no address of http or https, or nobody is named as the contact.
        """
        if not self.urls:
            raise UserError("No page is named to begin with.", "Set urls=https://example.com.")
        for url in self.urls:
            if canonical_url(url) is None:
                raise UserError(f"{url!r} is no address that can be crawled.", "Write it as https://HOST/PATH.")
        if not re.fullmatch(r"[!-~]*(@|https?://)[!-~]+", self.contact):
            raise UserError(
                "Those who run a site must be able to reach whoever crawls it: 'contact' is missing, or is no address.",
                "Set contact=you@example.com, or contact=https://example.com/about-our-crawler.",
            )
        return [url for url in map(canonical_url, self.urls) if url]

    def allowed_hosts(self) -> set[str]:
        """All hosts that may be crawled."""
        return {
            host_of(url) for url in (*self.starts(), *(canonical_url(f"http://{host}/") or "" for host in self.hosts))
        }


CLOSED: dict[str, Any] = {
    "BOT_NAME": NAME,
    "CONCURRENT_REQUESTS": 16,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
    "DOWNLOAD_DELAY_JITTER": 0,
    "DOWNLOAD_FAIL_ON_DATALOSS": True,
    "DOWNLOAD_VERIFY_CERTIFICATES": True,
    "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
    "TWISTED_DNS_RESOLVER": "malmoi.corpus.crawl.resolver.GuardedResolver",
    # Only what is named here runs: no console, cookies, cache or proxy. Redirects and retries go through the frontier,
    # where every address passes the same gates as a link, robots.txt first.
    "EXTENSIONS_BASE": {},
    "SPIDER_MIDDLEWARES_BASE": {},
    "DOWNLOADER_MIDDLEWARES_BASE": {
        "scrapy.downloadermiddlewares.downloadtimeout.DownloadTimeoutMiddleware": 350,
        "scrapy.downloadermiddlewares.defaultheaders.DefaultHeadersMiddleware": 400,
        "scrapy.downloadermiddlewares.useragent.UserAgentMiddleware": 500,
        "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": 590,
    },
    "DEFAULT_REQUEST_HEADERS": {"Accept": "text/html,application/xhtml+xml,text/*;q=0.9,*/*;q=0.1"},
    "LOG_LEVEL": "WARNING",
}
"""Scrapy's settings that no crawl may change."""


def scrapy_settings(settings: CrawlSettings) -> dict[str, Any]:
    """All of scrapy's settings for a crawl."""
    return CLOSED | {
        "USER_AGENT": settings.user_agent,
        "DOWNLOAD_DELAY": settings.delay,
        "DOWNLOAD_TIMEOUT": settings.seconds,
        "DOWNLOAD_MAXSIZE": settings.largest_page,
        "DOWNLOAD_WARNSIZE": 0,
        "DNS_TIMEOUT": settings.seconds,
        "PRIVATE_NETWORKS": settings.private_networks,
    }
