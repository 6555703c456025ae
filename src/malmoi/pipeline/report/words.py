"""The report's own words in English and Korean."""

from __future__ import annotations

from importlib import resources
from typing import Literal, TypeAlias

import yaml

Language: TypeAlias = Literal["en", "ko"]

WORDS: dict[str, tuple[str, str]] = {
    key: (english, korean)
    for key, (english, korean) in yaml.safe_load(
        (resources.files("malmoi.pipeline.report") / "words.yaml").read_text(encoding="utf-8")
    ).items()
}
"""Key -> (English, Korean)."""


class Words:
    """Looks words up in one language: `say("at.step", step=100)`."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._place = 0 if language == "en" else 1

    def __call__(self, key: str, **values: object) -> str:
        """The words behind `key`; a key that the table does not have stands for itself."""
        words = WORDS.get(key)
        return words[self._place].format(**values) if words else key

    def duration(self, seconds: float) -> str:
        """Seconds as people say them: 42 s, 13 min 20 s, 2 h 5 min."""
        units = ("h", "min", "s") if self.language == "en" else ("시간", "분", "초")
        space = " " if self.language == "en" else ""
        if 0 < seconds < 10:
            return f"{seconds:.1f}{space}{units[2]}"
        whole = round(seconds)
        parts = [whole // 3600, whole % 3600 // 60, whole % 60]
        shown = [(amount, unit) for amount, unit in zip(parts, units, strict=True) if amount][:2]
        return " ".join(f"{amount}{space}{unit}" for amount, unit in shown) or f"0{space}{units[2]}"


def size(amount: float) -> str:
    """Bytes as people say them: 812 B, 1.2 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage."""
    return f"{100 * share:.{decimals}f} %"
