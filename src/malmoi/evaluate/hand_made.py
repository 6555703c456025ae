"""Features of a text that somebody thought of, as spam filters had them before they learned words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_LINK = re.compile(r"https?://\S+|www\.\S+|\b[\w-]+\.(?:com|net|org|co|kr)\b", re.IGNORECASE)
_CURRENCY = re.compile(r"[£$€₩]|\b\d+\s*원|만원")


def _share(count: int, text: str) -> float:
    return count / max(1, len(text))


FEATURES: dict[str, Callable[[str], float]] = {
    "characters": lambda text: float(len(text)),
    "words": lambda text: float(len(text.split())),
    "capitals": lambda text: _share(sum(character.isupper() for character in text), text),
    "digits": lambda text: _share(sum(character.isdigit() for character in text), text),
    "exclamation marks": lambda text: float(text.count("!")),
    "links": lambda text: float(len(_LINK.findall(text))),
    "money": lambda text: float(len(_CURRENCY.findall(text))),
}
"""Name -> what is measured: counts, and for capitals and digits their share of the characters."""


def hand_made_features(texts: Sequence[str]) -> NDArray[np.float64]:
    """(texts, features) float64, in the order of `FEATURES`."""
    rows = [[measure(text) for measure in FEATURES.values()] for text in texts]
    return np.array(rows).reshape(len(texts), len(FEATURES))
