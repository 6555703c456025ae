"""Harmful words, by their stems: Korean inflects and glues particles on, so a list of whole words would miss most.

A stem counts where a word begins, which leaves Scunthorpe alone, and not where one of its exceptions stands, which
leaves a starting point (시발점) and "cannot see" (보지 못하다) alone. One word decides nothing: what is judged is the
density of the others. Novels, news and dictionaries quote such words; a page that is made of them has many.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from malmoi.corpus.document import Document
from malmoi.corpus.step import Filter, Verdict
from malmoi.corpus.words import word_lists

MOST = 0.01


class HarmfulFilter(Filter):
    """Drops texts in which more than a share `MOST` of the words, not counting the first, are harmful."""

    def judge(self, document: Document) -> Iterator[Verdict]:
        """One verdict: how dense the text is with harmful words."""
        found = len(harmful_words(document.text))
        density = round(max(0, found - 1) / max(1, len(document.text.split())), 4)
        yield Verdict("harmful words", density, f"<= {MOST:g}", density <= MOST)


def harmful_words(text: str) -> list[str]:
    """The stems that are found in a text, in lower case and in their order."""
    return [match[0] for match in _pattern().finditer(text.lower())]


@lru_cache(1)
def _pattern() -> re.Pattern[str]:
    """Stems by their first signs, each with a look behind it: so the search jumps from one such sign to the next."""
    rests: defaultdict[str, list[str]] = defaultdict(list)
    for hidden, exceptions in word_lists().harmful.items():
        stem = base64.b64decode(hidden).decode()
        decent = "|".join(re.escape(word.removeprefix(stem)).replace(r"\ ", r"\s+") for word in exceptions)
        rests[stem[0]].append(re.escape(stem[1:]) + (f"(?!{decent})" if decent else ""))
    return re.compile("|".join(rf"{first}(?<!\w{first})(?:{'|'.join(stems)})" for first, stems in rests.items()))
