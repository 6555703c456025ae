"""Pages of a MediaWiki dump as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any
from xml.etree import ElementTree

from malmoi.corpus.document import Unreadable

_REFERENCES = re.compile(r"<ref\b[^>]*/>|<ref\b[^>]*>.*?</ref>|<!--.*?-->", re.DOTALL)
_TABLES = re.compile(r"^\{\|.*?^\|\}", re.DOTALL | re.MULTILINE)
_BLOCKS = re.compile(r"<(math|gallery|timeline|code|pre|syntaxhighlight|imagemap)\b.*?</\1>", re.DOTALL)
_MEDIA = re.compile(r"\[\[(?:File|Image|Category|파일|그림|분류):(?:[^\[\]]|\[\[[^\[\]]*\]\])*\]\]", re.IGNORECASE)
_LAST_SECTIONS = re.compile(
    r"^==\s*(?:References|External links|See also|Further reading|Notes|각주|같이 보기|외부 링크|참고 문헌)\s*==.*",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_EMPTY_BRACKETS = re.compile(r"\(\s*[;,]?\s*\)")


def wiki_pages(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Title and markup of every article of a dump; redirects and pages of other name spaces are left out.

    Raises:
        Unreadable: the XML is not that of a dump.
        xml.etree.ElementTree.ParseError: it breaks off or is damaged; names the line.
    """
    pages = 0
    events = ElementTree.iterparse(stream, ("start", "end"))
    _, root = next(events)
    for event, element in events:
        if event == "start" or element.tag.rsplit("}", 1)[-1] != "page":
            continue
        fields = {child.tag.rsplit("}", 1)[-1]: child for child in element.iter()}
        if "redirect" not in fields and _text(fields, "ns") in ("", "0"):
            yield _text(fields, "title"), _text(fields, "text")
        pages += 1
        root.clear()  # the whole tree of a dump does not fit into memory
    if not pages:
        raise Unreadable("XML, but no MediaWiki dump")


def plain_text(markup: str) -> str:
    """Prose of a page's markup: no templates, tables, references, media or lists of links."""
    import mwparserfromhell

    for pattern in (_REFERENCES, _BLOCKS, _TABLES, _MEDIA, _LAST_SECTIONS):
        markup = pattern.sub("", markup)
    text: str = mwparserfromhell.parse(markup).strip_code(normalize=True, collapse=True)
    return _EMPTY_BRACKETS.sub("", text).replace(" ,", ",").strip()


def _text(fields: dict[str, Any], name: str) -> str:
    return (fields[name].text or "") if name in fields else ""
