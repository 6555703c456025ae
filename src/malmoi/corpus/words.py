"""The lists of words that rules know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class WordLists:
    """What `words.yaml` holds.

    Attributes:
        stop_words: English function words.
        endings: syllables that end most eojeol of Korean prose.
        filler: the words of filler Latin.
        harmful: stems in base64, each with the decent words that begin like it.
    """

    stop_words: frozenset[str]
    endings: str
    filler: frozenset[str]
    harmful: dict[str, list[str]]


@lru_cache(1)
def word_lists() -> WordLists:
    """The lists, read once."""
    lists = yaml.safe_load(files("malmoi.corpus").joinpath("words.yaml").read_text(encoding="utf-8"))
    stop_words, filler = (frozenset(lists[name].split()) for name in ("stop_words", "filler"))
    return WordLists(stop_words, lists["endings"], filler, lists["harmful"])
