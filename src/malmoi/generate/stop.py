"""Stop strings in a stream of text, wherever the tokens happen to cut it."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets text through until one of the strings occurs; holds back what may be the beginning of one.

    Attributes:
        found: whether one occurred. It and everything after it is never let through.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.found = False
        self._strings = tuple(strings)
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of what was held and `text` that is certain to belong to the answer."""
        if self.found:
            return ""
        text = self._held + text
        places = [place for string in self._strings if (place := text.find(string)) >= 0]
        if places:
            self.found, self._held = True, ""
            return text[: min(places)]
        keep = self._beginning_at_the_end(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What is still held, once no more text will come."""
        held, self._held = self._held, ""
        return held

    def _beginning_at_the_end(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        longest = max((len(string) - 1 for string in self._strings), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(string.startswith(text[-length:]) for string in self._strings):
                return length
        return 0
