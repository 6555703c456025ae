"""robots.txt, obeyed as RFC 9309 says: what cannot be read now forbids everything for now."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urljoin, urlsplit

from protego import Protego
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from malmoi.corpus.crawl.settings import NAME

LARGEST = 500 << 10
MOST_REDIRECTS = 5
SECONDS_KEPT = 24 * 3600
_VALUED = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
"""Rules behind whose names stands a colon, as behind the name of a robot."""


class RobotsForbid(IgnoreRequest):
    """The site does not want this page fetched."""


class RobotsOutOfReach(IgnoreRequest):
    """Nobody can say whether the site wants this page fetched."""


class Robots:
    """What sites allow. `download` asks for one address."""

    def __init__(self, download: Callable[[Request], Awaitable[Response]]) -> None:
        self._download = download
        self._rules: dict[str, tuple[float, Protego]] = {}

    async def rules_for(self, url: str) -> Protego:
        """What the site of an address allows; asked for once a day.

        Raises:
            RobotsOutOfReach: the server does not answer, or with an error of its own.
        """
        origin = urljoin(url, "/")
        since, rules = self._rules.get(origin, (0.0, None))
        if rules is None or time.monotonic() - since > SECONDS_KEPT:
            rules = await self._fetch(urljoin(origin, "robots.txt"))
            self._rules[origin] = (time.monotonic(), rules)
        return rules

    async def _fetch(self, url: str) -> Protego:
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = await self._download(Request(url))
            except Exception as error:  # whatever the way there raises, it is the same to us
                raise RobotsOutOfReach(f"{url}: {error or type(error).__name__}") from error
            target = redirected(response)
            if target is None or urlsplit(target).scheme not in ("http", "https"):
                break
            url = target
        if response.status >= 500 or response.status == 429:
            raise RobotsOutOfReach(f"{url} answers {response.status}")
        text = response.body[:LARGEST].decode("utf-8-sig", "replace") if response.status == 200 else ""
        return Protego.parse(text)


def redirected(response: Response) -> str | None:
    """Where a response sends whoever asked, or None."""
    location = response.headers.get("Location")
    if response.status not in (301, 302, 303, 307, 308) or location is None:
        return None
    return urljoin(response.url, location.decode("utf-8", "replace"))


def consents(headers: Iterable[tuple[str, str]], metas: Iterable[tuple[str, str]]) -> tuple[str, bool]:
    """Why a page does not want to be kept ("noindex", "noai", "tdm-reservation" or ""), and whether links are followed.

    Args:
        headers: of the answer, of which X-Robots-Tag may speak to one robot only: "otherbot: noindex".
        metas: name and content of the page's meta elements.
    """
    lines, reserved = [], False
    for name, value in [*headers, *metas]:
        before, colon, rest = value.partition(":")
        robot = before.strip().lower() if colon and "," not in before else ""
        if name.lower() in ("robots", NAME) or (name.lower() == "x-robots-tag" and robot in ("", *_VALUED)):
            lines.append(value)
        elif name.lower() == "x-robots-tag" and robot == NAME:
            lines.append(rest)
        reserved |= name.lower() == "tdm-reservation" and value.strip() == "1"
    asked = {word.strip().lower() for line in lines for word in line.split(",")}
    refused = next(
        (word for word in ("noindex", "none", "noai") if word in asked), "tdm-reservation" if reserved else ""
    )
    return refused, not asked & {"nofollow", "none"}
