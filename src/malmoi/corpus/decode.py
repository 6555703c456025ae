"""Bytes to text: byte-order mark, strict UTF-8, then what fits."""

from __future__ import annotations

import codecs
import re

from malmoi.core.errors import MissingExtra

_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_COMMON_HANGUL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b\b")


def detect_encoding(sample: bytes, *, whole: bool = True) -> str | None:
    """The encoding of some bytes, or None when they are no text.

    Args:
        whole: False when the sample is the beginning of a longer text and may end inside a character.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\0" in sample or _share_of_controls(sample) > 0.01:
        return None
    for encoding in ("utf-8", "cp949"):
        if _decodes(sample, encoding, whole) and (encoding == "utf-8" or _looks_korean(sample)):
            return encoding
    return _guess(sample)


def decode(data: bytes) -> str | None:
    """The text of a file's bytes, or None when they are no text; characters that do not fit become U+FFFD."""
    encoding = detect_encoding(data)
    return None if encoding is None else data.decode(encoding, errors="replace")


def _decodes(sample: bytes, encoding: str, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(sample, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _looks_korean(sample: bytes) -> bool:
    """Whether most bytes that are not ASCII are the syllables of KS X 1001.

    Only these tell: the syllables that CP949 adds take ASCII letters as their second byte, so that Western text with
    nothing but typographic apostrophes (0x92) is CP949 too.
    """
    high = sum(byte > 0x7F for byte in sample)
    return 2 * len(_COMMON_HANGUL.findall(sample)) > 0.5 * high


def _share_of_controls(sample: bytes) -> float:
    return sum(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in sample[:8192]) / max(1, len(sample[:8192]))


def _guess(sample: bytes) -> str | None:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise MissingExtra("charset-normalizer", "corpus", "Reading text that is neither UTF-8 nor CP949") from None
    best = from_bytes(sample[:65_536]).best()
    return best.encoding if best else None
