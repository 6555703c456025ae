"""Bytes to text: byte-order mark, strict UTF-8, the declared label, and only then what the bytes look like."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from email.message import Message
from typing import Any

from malmoi.core.errors import MissingExtra

TOLERATED = 0.02
"""Share of U+FFFD, among characters that are not ASCII, up to which bytes are taken for an encoding: one damaged
character does not change a page's."""

_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_SUPERSETS = {"euc-kr": "cp949", "shift_jis": "cp932", "gbk": "gb18030", "big5": "big5hkscs"}
"""What browsers read under these names, as Python's codecs are called; https://encoding.spec.whatwg.org/#indexes."""

_DECLARED = re.compile(rb"""(?i)<(?:meta|\?xml)\b[^>]{0,500}?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""")
_PAIRS = re.compile(rb"(?:[\x81-\xfe][\xa1-\xfe]|[\x81-\xc6][A-Za-z\x81-\xa0])+")
_COMMON_HANGUL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")
_KANA = re.compile("[\u3075-\u3093\u30a1-\u30f6]")
"""Where EUC-JP has these, KS X 1001 has Roman numbers, Greek and letters that nobody has used for centuries."""
_HALVES = re.compile("[\ud800-\udfff]")
_SEEN = 1 << 16
"""Bytes in which UTF-16 is looked for."""
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b\b")


def decode(data: bytes, labels: Sequence[str] = ()) -> str | None:
    """The text of some bytes, or None when they are no text; characters that do not fit become U+FFFD.

    Args:
        labels: encodings that somebody declared, by any name, the most trusted first.
    """
    encoding = detect_encoding(data, labels=labels)
    return None if encoding is None else data.decode(encoding, errors="replace")


def json_text(value: Any) -> str:
    """The text of a value of JSON: nothing for null, U+FFFD for half of a surrogate pair."""
    return "" if value is None else _HALVES.sub("\ufffd", str(value))


def decode_page(data: bytes, label: str = "") -> str | None:
    """The text of a web page, `label` being what the server declared; what the page declares itself comes second."""
    declared = _DECLARED.search(data[:4096])
    return decode(data, [label, declared[1].decode("ascii", "replace") if declared else ""])


def media_type(header: str) -> tuple[str, str]:
    """Type and declared encoding of a Content-Type header: ("text/html", "euc-kr")."""
    if not header.strip():
        return "", ""
    message = Message()
    message["Content-Type"] = header.splitlines()[0]
    charset = message.get_param("charset")
    return message.get_content_type(), charset if isinstance(charset, str) else ""


def detect_encoding(sample: bytes, *, whole: bool = True, labels: Sequence[str] = ()) -> str | None:
    """The encoding of some bytes, or None when they are no text.

    Args:
        whole: False when the sample is the beginning of a longer text and may end inside a character.
        labels: encodings that somebody declared. One that does not fit is passed over, and so is one of another
            language where the bytes are Korean words beyond doubt.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\0" in sample:
        return _unmarked_utf16(sample)
    if _share_of_controls(sample) > 0.01:
        return None
    if b"\x1b$" in sample and _unfit(sample, "iso2022_jp", whole) == 0:
        return "iso2022_jp"
    if _unfit(sample, "utf-8", whole) == 0:
        return "utf-8"
    korean = _looks_korean(sample) and _unfit(sample, "cp949", whole) <= TOLERATED
    for encoding in [] if korean else filter(None, map(_codec, labels)):
        if _unfit(sample, encoding, whole) <= TOLERATED:
            return encoding
    if korean:
        return "cp949"
    if _looks_japanese(sample, whole):
        return "euc_jp"
    return "utf-8" if _unfit(sample, "utf-8", whole) <= TOLERATED else _guess(sample)


def _codec(label: str) -> str | None:
    """Python's name of the encoding that browsers read under a label."""
    try:
        import webencodings
    except ImportError:
        raise MissingExtra("webencodings", "corpus", "Reading pages that declare their encoding") from None
    known = webencodings.lookup(label)
    if known is None or known.name in ("x-user-defined", "utf-16le", "utf-16be"):  # those stand above, by their zeros
        return None
    return _SUPERSETS.get(known.name, str(known.codec_info.name))


def _unfit(sample: bytes, encoding: str, whole: bool) -> float:
    """The share of characters, of those that are not ASCII, that an encoding cannot give."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample, final=whole)
    return text.count("\ufffd") / max(1, len(text) - len(text.encode("ascii", "ignore")))


def _looks_korean(sample: bytes) -> bool:
    """Whether most bytes that are not ASCII are syllables of KS X 1001, in words as short as Korean ones.

    Only these tell: the syllables that CP949 adds take ASCII letters as their second byte, so that Western text with
    nothing but typographic apostrophes (0x92) is CP949 too. The commonest Chinese characters stand in the same rows of
    GB 2312, but Chinese is written without blanks.
    """
    high = sum(byte > 0x7F for byte in sample)
    words = _PAIRS.findall(sample)
    return 2 * len(_COMMON_HANGUL.findall(sample)) > 0.5 * high and sum(map(len, words)) <= 12 * len(words)


def _looks_japanese(sample: bytes, whole: bool) -> bool:
    """Whether bytes are EUC-JP, with some kana among what is not ASCII that no Korean text has."""
    text = sample.decode("euc_jp", "replace")
    others = len(text) - len(text.encode("ascii", "ignore"))
    return 30 * len(_KANA.findall(text)) > others and _unfit(sample, "euc_jp", whole) == 0


def _unmarked_utf16(sample: bytes) -> str | None:
    """UTF-16 shows by the zeros beside its markup and blanks, nearly all in the high or nearly all in the low bytes.

    A zero beside another byte is none of these: the commonest Korean particle is U+AC00. A few zeros in what is UTF-8
    are no sign either: a short text may hold one by mistake.
    """
    pairs = list(zip(sample[0:_SEEN:2], sample[1:_SEEN:2], strict=False))
    even = sum(first == 0 and second < 0x80 for first, second in pairs)
    odd = sum(second == 0 and first < 0x80 for first, second in pairs)
    if min(even, odd) > 0.2 * max(even, odd) or max(even, odd) < 0.04 * len(pairs):
        return None
    if sample.count(0) <= len(sample) / 3 and _unfit(sample, "utf-8", whole=False) == 0:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    return encoding if _unfit(sample, encoding, whole=False) == 0 else None


def _share_of_controls(sample: bytes) -> float:
    return sum(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in sample[:8192]) / max(1, len(sample[:8192]))


def _guess(sample: bytes) -> str | None:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise MissingExtra("charset-normalizer", "corpus", "Reading text that is neither UTF-8 nor CP949") from None
    best = from_bytes(sample[:65_536]).best()
    return best.encoding if best else None
