"""What a crawler reads in a page or a sitemap: its links, and what it asks of robots."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from lxml import etree
from scrapy.utils.gz import gunzip
from scrapy.utils.sitemap import Sitemap

from malmoi.corpus.crawl.urls import canonical_url
from malmoi.corpus.decode import decode_page

MOST_LINKS = 5_000
MOST_SITEMAP_LINKS, LARGEST_SITEMAP = 50_000, 50 << 20
"""What https://www.sitemaps.org/protocol.html allows."""

Link = tuple[str, Literal["page", "sitemap"]]


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Canonical addresses that a page links to, in their order, and its meta elements (name, content)."""

    links: tuple[Link, ...]
    metas: tuple[tuple[str, str], ...]


def read_page(body: bytes, label: str, url: str) -> PageFacts:
    """Links and meta elements of an HTML page; none where it is no text."""
    text = decode_page(body, label)
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False)
    root = etree.fromstring(text.encode("utf-8", "replace"), parser) if text and text.strip() else None
    if root is None:
        return PageFacts((), ())
    base = canonical_url(next(iter(root.xpath("//base/@href")), ""), url) or url
    refreshed = [meta.partition("=")[2].strip(" '\"") for meta in root.xpath("//meta[@http-equiv='refresh']/@content")]
    hrefs = [*root.xpath("//a/@href | //area/@href"), *filter(None, refreshed)][:MOST_LINKS]
    links = dict.fromkeys(canonical_url(href, base) for href in hrefs)
    metas = [(str(meta.get("name")), str(meta.get("content") or "")) for meta in root.xpath("//meta[@name]")]
    return PageFacts(tuple((link, "page") for link in links if link and link != url), tuple(metas))


def read_sitemap(body: bytes, url: str) -> tuple[Link, ...]:
    """Pages, and further sitemaps, that a sitemap lists.

    Raises:
        ValueError: it is no sitemap, or unpacks to more than `LARGEST_SITEMAP` bytes.
    """
    try:
        if body.startswith(b"\x1f\x8b"):
            body = gunzip(body, max_size=LARGEST_SITEMAP)
        sitemap = Sitemap(body)
        kind: Literal["page", "sitemap"] = "sitemap" if sitemap.type == "sitemapindex" else "page"
        found = [canonical_url(entry["loc"], url) for entry, _ in zip(sitemap, range(MOST_SITEMAP_LINKS), strict=False)]
    except (etree.LxmlError, StopIteration, OSError, EOFError, struct.error, KeyError) as error:
        raise ValueError(str(error)) from None
    return tuple((link, kind) for link in dict.fromkeys(found) if link)
