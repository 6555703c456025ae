"""Words broken at the terminal's edge while the text is still growing."""

from __future__ import annotations

import re

from rich.cells import cell_len

_PARTS = re.compile(r"\n|[^\S\n]+|\S+")


class WordWrap:
    """Holds back the last word until it is whole, and starts a new line where it would not fit.

    Hangul and other wide characters count as two columns.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._space = ""
        self._word = ""

    def feed(self, text: str) -> str:
        """What can be printed now."""
        parts = _PARTS.findall(self._word + text)
        self._word = parts.pop() if parts and not parts[-1].isspace() else ""
        return "".join(map(self._place, parts))

    def finish(self) -> str:
        """The last word."""
        word, self._word = self._word, ""
        return self._place(word) if word else ""

    def _place(self, part: str) -> str:
        if part == "\n":
            self._column, self._space = 0, ""
            return part
        if part.isspace():
            self._space += part
            return ""
        space, self._space = self._space, ""
        width = cell_len(space) + cell_len(part)
        if self._column and self._column + width > self._width:
            self._column, space, width = 0, "\n", cell_len(part)
        self._column += width
        if self._column > self._width:  # a word longer than the line is cut by the terminal itself
            self._column %= self._width
        return space + part
