"""One spelling for one text: NFC, never NFKC, which would change what people wrote."""

from __future__ import annotations

import re
import unicodedata

_CONTROL_SIGNS = r"\x00-\x08\x0e-\x1f\x7f-\x9f"
_BLANK_SIGNS = "\u00a0\u202f\u3000"
_ZERO_WIDTH_SIGNS = "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\u3164\ufeff\uffa0"
_RARE = re.compile(f"[{_CONTROL_SIGNS}{_BLANK_SIGNS}{_ZERO_WIDTH_SIGNS}\r\x0b\x0c\u200c\u200d]")
"""What most texts have none of: one look for all of it spares the five below."""
_CONTROLS = re.compile(f"[{_CONTROL_SIGNS}]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c]")
_BLANKS = re.compile(f"[{_BLANK_SIGNS}]")
_ZERO_WIDTH = re.compile(f"[{_ZERO_WIDTH_SIGNS}]")
_JOINER_BESIDE_PLAIN = re.compile(
    "(?<![^\\s\u0000-\u007f\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff])[\u200c\u200d]+"
    "|[\u200c\u200d]+(?![^\\s\u0000-\u007f\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff])"
)
_BLANK_LINES = re.compile(r"\n{3,}")


def normalize(text: str) -> str:
    """The text in NFC, with line feeds, without control and zero-width characters and useless blanks.

    Joiners stay between emoji and in scripts that need them, and go beside Latin letters, Hangul and spaces.
    """
    if _RARE.search(text):
        text = _BLANKS.sub(" ", _LINE_ENDS.sub("\n", text))
        text = _JOINER_BESIDE_PLAIN.sub("", _ZERO_WIDTH.sub("", _CONTROLS.sub("", text)))
    lines = unicodedata.normalize("NFC", text).split("\n")
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip(" \t") for line in lines)).strip()
