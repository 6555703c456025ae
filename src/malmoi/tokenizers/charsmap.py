"""SentencePiece's compiled table of normalisation: checked before a library walks it, and walked here."""

from __future__ import annotations

import struct

import numpy as np

from malmoi.core.errors import UserError

_LEAF = 1 << 31
_LABEL = _LEAF | 0xFF
_HAS_REPLACEMENT = 1 << 8


def check_charsmap(table: bytes, where: str) -> None:
    """See that no walk through the table leaves it: `tokenizers` trusts what it holds.

    The table is the size in bytes of a double array (Aoe 1989, as in darts-clone), the array of uint32 units, and the
    replacements, each ended by a zero byte. From the unit at i with an offset o, the byte b leads to the unit at
    i ^ o ^ b, and at i ^ o stands the place of a replacement.

    Raises:
        UserError: a walk could leave the table.
    """
    damaged = UserError(f"{where} holds a damaged table of characters.", "Get the file again.")
    if len(table) < 4:
        raise damaged
    (size,) = struct.unpack_from("<I", table)
    if size == 0 or size % 4 or 4 + size > len(table):
        raise damaged
    units = np.frombuffer(table, "<u4", size // 4, 4)
    replacements = np.frombuffer(table, np.uint8, offset=4 + size)
    places = np.flatnonzero(units < _LEAF)  # the others are leaves, which no walk goes through
    inner = units[places].astype(np.int64)
    bases = places ^ ((inner >> 10) << ((inner & (1 << 9)) >> 6))
    if bases.size == 0 or int((bases | 0xFF).max()) >= units.size:
        raise damaged
    values = units[bases[inner & _HAS_REPLACEMENT != 0]] & (_LEAF - 1)
    try:
        table[4 + size :].decode("utf-8")
    except UnicodeDecodeError:
        raise damaged from None
    if np.any(values >= replacements.size) or np.any(replacements[values] & 0xC0 == 0x80):
        raise damaged


class Charsmap:
    """What a compiled table makes of a text, by the longest match at every place, as the library itself does it.

    The `tokenizers` library matches grapheme by grapheme, so that what a table says of several, such as jamo that make
    a syllable, is lost on it.

    Args:
        table: checked; empty for one that changes nothing.
    """

    def __init__(self, table: bytes) -> None:
        (size,) = struct.unpack_from("<I", table) if table else (0,)
        self._units: list[int] = np.frombuffer(table, "<u4", size // 4, 4).tolist() if table else []
        self._replacements = table[4 + size :] + b"\0"

    def replacement(self, letters: list[bytes], at: int) -> tuple[str, int] | None:
        """What stands for the longest match from a place on, and where that ends; None where nothing matches.

        Args:
            letters: the characters of a text in UTF-8.
        """
        if not self._units:
            return None
        found, place = None, _base(self._units[0])
        for number in range(at, len(letters)):
            for byte in letters[number]:
                unit = self._units[place ^ byte]
                if unit & _LABEL != byte:
                    return found
                place ^= byte ^ _base(unit)
            if unit & _HAS_REPLACEMENT:
                start = self._units[place] & (_LEAF - 1)
                replacement = self._replacements[start : self._replacements.index(b"\0", start)]
                found = replacement.decode("utf-8"), number + 1
        return found


def _base(unit: int) -> int:
    """The offset of a unit."""
    return (unit >> 10) << ((unit & (1 << 9)) >> 6)
