"""SentencePiece's compiled table of normalisation, checked before a library walks it."""

from __future__ import annotations

import struct

import numpy as np

from malmoi.core.errors import UserError

_LEAF = 1 << 31


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
    values = units[bases[inner & (1 << 8) != 0]] & (_LEAF - 1)
    try:
        table[4 + size :].decode("utf-8")
    except UnicodeDecodeError:
        raise damaged from None
    if np.any(values >= replacements.size) or np.any(replacements[values] & 0xC0 == 0x80):
        raise damaged
