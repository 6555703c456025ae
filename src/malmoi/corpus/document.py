"""The first door: what every reader, crawler and filter passes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

UNDECODABLE = "undecodable"


class Unreadable(Exception):
    """A file or a page that gives no document; its message is the reason: "REASON" or "REASON: DETAIL"."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text and where it comes from.

    Attributes:
        text: the text, NFC once it has been normalised.
        source: name of the card or of the file that it was read from.
        licence: SPDX identifier or a short sentence; "unknown" when nobody said.
        identifier: unique within the source, stable between runs.
        metadata: whatever the reader knew besides (title, label, date).
    """

    text: str
    source: str
    licence: str = "unknown"
    identifier: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
