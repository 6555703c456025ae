"""One form for one address, so that a page is fetched once, whatever its links look like (RFC 3986, section 6)."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urljoin, urlsplit

LONGEST = 2_000
_TRACKING = re.compile(
    "utm_.*|gclid|dclid|gbraid|wbraid|fbclid|msclkid|yclid|igshid|mc_[ce]id|_ga|_gl|napm|n_(media|query|rank|ad.*|keyword.*)"
    "|phpsessid|jsessionid|aspsessionid.*",
    re.IGNORECASE,
)
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_PORTS = {"http": 80, "https": 443}


def canonical_url(link: str, base: str = "") -> str | None:
    """The one form of a link, or None where it is no address of http or https, or is absurdly long.

    Host in lower case and as IDNA, no default port, no `.` and `..`, no fragment, no keys that only track, the query
    in the order of its keys, and %-escapes where they are needed only. A blank in a path is part of a page's name.

    Args:
        base: the page that has the link.
    """
    try:
        parts = urlsplit(urljoin(base, link.strip()))
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or parts.username is not None:
        return None
    netloc = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    path = _without_dots(_escaped(re.sub("(?i);jsessionid=[^/;]*", "", parts.path)))
    pairs = [pair for pair in _escaped(parts.query).split("&") if pair and not _TRACKING.fullmatch(pair.split("=")[0])]
    query = "&".join(sorted(pairs, key=lambda pair: pair.split("=")[0]))
    url = f"{parts.scheme}://{netloc}{path}{'?' if query else ''}{query}"
    return url if len(url) <= LONGEST else None


def host_of(url: str) -> str:
    """Host and, where it is not the scheme's own, port of a canonical address."""
    return urlsplit(url).netloc


def _host(name: str) -> str:
    import idna

    name = name.rstrip(".").lower()
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name)}]"
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:  # underscores, which names of hosts have in spite of the rules
        return name if re.fullmatch("[a-z0-9._-]+", name) else ""


def _escaped(text: str) -> str:
    """Escapes in one form: none for characters that need none, capital digits in the others."""

    def plain(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if re.fullmatch("[A-Za-z0-9._~-]", character) else match[0].upper()

    return quote(_ESCAPE.sub(plain, text), safe="%/:@!$&'()*+,;=?~")


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join([*kept, ""] if segments and segments[-1] in (".", "..") else kept)
