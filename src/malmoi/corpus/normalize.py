"""One spelling for one text: NFC, never NFKC, which would change what people wrote."""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ZERO_WIDTH = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
_JOINER_BESIDE_PLAIN = re.compile(
    "(?<![^\\s\u0000-\u007f\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff])[\u200c\u200d]+"
    "|[\u200c\u200d]+(?![^\\s\u0000-\u007f\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff])"
)
_LINE_END_SPACES = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def normalize(text: str) -> str:
    """The text in NFC, with line feeds, without control and zero-width characters and useless blanks.

    Joiners stay between emoji and in scripts that need them, and go beside Latin letters, Hangul and spaces.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    text = _ZERO_WIDTH.sub("", _CONTROLS.sub("", text))
    text = _JOINER_BESIDE_PLAIN.sub("", text)
    return _BLANK_LINES.sub("\n\n", _LINE_END_SPACES.sub("", text)).strip()
