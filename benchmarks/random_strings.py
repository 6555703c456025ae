"""Strings that tokenizers are compared on."""

from __future__ import annotations

import random

LETTERS = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x600, 0x700), (0x3040, 0x3100), (0x4E00, 0x9FFF)]
LETTERS += [(0xAC00, 0xD7A4), (0x1100, 0x1200), (0x2000, 0x2070), (0x1F300, 0x1F700), (0x20, 0x3A), (0x09, 0x0E)]
"""Latin, Greek, Cyrillic, Arabic, kana, Chinese, Hangul and its parts, punctuation, emoji, digits, blanks."""


def random_strings(count: int) -> list[str]:
    """Random characters of many scripts, up to 39 in a string; the same ones every time."""
    dice = random.Random(0)
    return [
        "".join(chr(dice.randrange(*dice.choice(LETTERS))) for _ in range(dice.randrange(1, 40))) for _ in range(count)
    ]
