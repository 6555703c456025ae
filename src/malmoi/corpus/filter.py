"""Filters answer why a document is to be dropped, or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from malmoi.core.config import Settings


class FilterSettings(Settings):
    """What is a scrap.

    Attributes:
        minimum_characters: shorter texts are dropped.
        letters: least share of letters and digits among the characters that are not blank.
        replaced: largest share of U+FFFD, left by bytes that fit no encoding.
    """

    minimum_characters: int = 16
    letters: float = 0.5
    replaced: float = 0.01


def scrap(text: str, settings: FilterSettings) -> str | None:
    """Why a text is worth nothing, or None."""
    if not text:
        return "empty"
    if len(text) < settings.minimum_characters:
        return "too short"
    if text.count("\ufffd") > settings.replaced * len(text):
        return "undecodable"
    visible = [character for character in text if not character.isspace()]
    if sum(map(str.isalnum, visible)) < settings.letters * len(visible):
        return "few letters"
    return None


@dataclass
class Deduplicator:
    """Remembers texts by 16 bytes of their hash; the first of equal texts stays."""

    seen: set[bytes] = field(default_factory=set)

    def is_duplicate(self, text: str) -> bool:
        """Whether an equal text was asked about before."""
        digest = text_digest(text)
        if digest in self.seen:
            return True
        self.seen.add(digest)
        return False


def text_digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
