"""The table of limits, a column a language, and the step that applies it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf

from malmoi.core.errors import UserError, nearest
from malmoi.corpus import measures
from malmoi.corpus.document import Document
from malmoi.corpus.language import identify
from malmoi.corpus.measures import Text
from malmoi.corpus.step import Filter, Verdict

LANGUAGES = ("en", "ko", "other")
"""Columns of the table; `other` presumes neither the words of a language nor blanks between them."""

RULES: tuple[tuple[str, Callable[[Text], float], str, tuple[float, float, float]], ...] = (
    # rule, what is measured, limit:                          en    ko   other
    ("words", measures.words, ">=", (50, 30, 0)),
    ("mean_word_least", measures.mean_word, ">=", (3, 2, 0)),
    ("mean_word_most", measures.mean_word, "<=", (10, 8, inf)),
    ("replaced", measures.replaced, "<=", (0.001, 0.001, 0.001)),
    ("long_runs", measures.long_runs, "<=", (0.2, 0.2, 0.2)),
    ("short_lines", measures.short_lines, "<=", (0.85, 0.85, 0.85)),
    ("bullet_lines", measures.bullet_lines, "<=", (0.95, 0.95, 0.95)),
    ("ellipsis_lines", measures.ellipsis_lines, "<=", (0.3, 0.4, 0.3)),
    ("duplicate_lines", measures.duplicate_lines, "<=", (0.2, 0.2, 0.2)),
    ("symbols", measures.symbols, "<=", (0.3, 0.3, inf)),
    ("letters", measures.letters, ">=", (0.5, 0.5, 0.5)),
    ("sentence_ends", measures.sentence_ends, ">=", (0.005, 0, 0)),
    ("lorem_ipsum", measures.lorem_ipsum, "<=", (0.1, 0.1, 0.1)),
    ("stop_words", measures.stop_words, ">=", (0.12, 0, 0)),
    ("particles", measures.particles, ">=", (0, 0.335, 0)),
    ("distinct_words", measures.distinct_words, ">=", (3.5, 4, 0)),
    ("top_2_gram", measures.top_gram(2), "<=", (0.2, 0.2, 0.2)),
    ("top_4_gram", measures.top_gram(4), "<=", (0.25, 0.2, 0.25)),
    ("duplicate_5_grams", measures.duplicate_grams(5), "<=", (0.5, 0.45, 0.5)),
)
NAMES = tuple(name for name, *_ in RULES)


class RuleFilter(Filter):
    """Drops what nobody wrote to be read, by the limits of the document's language.

    Args:
        changes: for "en", "ko" or "other", other limits by the rule's name.

    Raises:
        UserError: there is no such language or rule.
    """

    def __init__(self, changes: Mapping[str, Mapping[str, float]] | None = None) -> None:
        changes = changes or {}
        for language, limits in changes.items():
            if language not in LANGUAGES:
                raise UserError(f"The table of rules has no language {language!r}.", f"It has {', '.join(LANGUAGES)}.")
            for name in set(limits) - set(NAMES):
                raise UserError(f"There is no rule {name!r}.", nearest(name, NAMES) or f"There are {', '.join(NAMES)}.")
        self._limits = {
            language: {name: changes.get(language, {}).get(name, limits[column]) for name, _, _, limits in RULES}
            for column, language in enumerate(LANGUAGES)
        }

    def judge(self, document: Document) -> Iterator[Verdict]:
        """Every rule of the table that limits anything in this language."""
        language = document.metadata.get("language") or identify(document.text)["language"]
        limits = self._limits[language if language in LANGUAGES else "other"]
        text = Text(document.text)
        for name, measure, sign, _ in RULES:
            limit = limits[name]
            if limit == (0 if sign == ">=" else inf):
                continue
            value = round(float(measure(text)), 4)
            yield Verdict(name, value, f"{sign} {limit:g}", value >= limit if sign == ">=" else value <= limit)
