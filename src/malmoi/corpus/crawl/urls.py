"""One form for one address, so that a page is fetched once, whatever its links look like (RFC 3986, section 6)."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from malmoi.core.errors import MissingExtra

LONGEST = 2_000
_TRACKING = re.compile(
    "utm_.*|gclid|dclid|gbraid|wbraid|fbclid|msclkid|yclid|igshid|mc_[ce]id|_ga|_gl|napm|n_(media|query|rank|ad.*|keyword.*)"
    "|phpsessid|jsessionid|aspsessionid.*",
    re.IGNORECASE,
)
_HOST = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9._-]+")
_PORTS = {"http": 80, "https": 443}


def canonical_url(link: str, base: str = "") -> str | None:
    """The one form of a link, or None where it is no address of http or https, or is absurdly long.

    What w3lib makes of it (IDNA, no `.` and `..`, no fragment, the query sorted, %-escapes where they are needed
    only), without default port and keys that only track. A blank in a path is part of a page's name.

    Args:
        base: the page that has the link.

    Raises:
        MissingExtra: w3lib, which comes with scrapy, is not installed.
    """
    try:
        from w3lib.url import canonicalize_url
    except ImportError:
        raise MissingExtra("w3lib", "crawl", "Crawling") from None
    try:
        parts = urlsplit(canonicalize_url(urljoin(base, link.strip())))
        port = parts.port
    except ValueError:
        return None
    host = parts.netloc.removesuffix(f":{port}").rstrip(".")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
        return None
    netloc = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    path = re.sub("(?i);jsessionid=[^/;]*", "", parts.path)
    query = "&".join(pair for pair in parts.query.split("&") if pair and not _TRACKING.fullmatch(pair.split("=")[0]))
    url = f"{parts.scheme}://{netloc}{path}{'?' if query else ''}{query}"
    return url if len(url) <= LONGEST else None


def host_of(url: str) -> str:
    """Host and, where it is not the scheme's own, port of a canonical address."""
    return urlsplit(url).netloc
