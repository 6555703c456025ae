"""From documents to a corpus: normalise, filter, deduplicate, split; every dropped document has a reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from malmoi.core.files import write_json
from malmoi.corpus.document import Document
from malmoi.corpus.filter import Deduplicator, FilterSettings, scrap, text_digest
from malmoi.corpus.normalize import normalize
from malmoi.corpus.store import DROPPED_SCHEMA, DocumentWriter

LONG = 100_000
"""Characters; holding out one such document or none would miss the share that is to be held out."""


class BuildSettings(FilterSettings):
    """What becomes of documents.

    Attributes:
        normalize: NFC and no invisible characters; False leaves every character as it is.
        held_out: share of the text that no model is trained on.
        held_out_by: whole "document"s chosen by their hash; the "tail" of each one, for a single long text; or "auto",
            which takes documents, but the tail of one that is longer than `LONG` characters.
    """

    normalize: bool = True
    held_out: float = Field(default=0.05, ge=0, lt=1)
    held_out_by: Literal["auto", "document", "tail"] = "auto"


@dataclass
class Counts:
    """What was read, dropped and kept. `read` is `kept` plus the sum of `dropped`, in all and in each source."""

    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    held_out_bytes: Counter[str] = field(default_factory=Counter)
    dropped: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def summary(self) -> dict[str, Any]:
        """As `counts.json` has it."""
        reasons: Counter[str] = Counter()
        for by_reason in self.dropped.values():
            reasons.update(by_reason)
        return {
            "read": self.read.total(),
            "dropped": dict(reasons.most_common()),
            "kept": self.kept.total(),
            "bytes": self.bytes.total(),
            "held_out_bytes": self.held_out_bytes.total(),
            "sources": {
                source: {
                    "read": self.read[source],
                    "dropped": dict(self.dropped[source]),
                    "kept": self.kept[source],
                    "bytes": self.bytes[source],
                    "held_out_bytes": self.held_out_bytes[source],
                }
                for source in self.read
            },
        }


def build_corpus(
    documents: Iterable[Document], directory: Path, settings: BuildSettings, excluded: Iterable[Document] = ()
) -> dict[str, Any]:
    """Write `train.parquet`, `held_out.parquet`, `dropped.parquet` and `counts.json`.

    Args:
        excluded: texts that must not get into the corpus, such as those of a test set.

    Returns:
        the content of `counts.json`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    forbidden = {text_digest(_clean(document.text, settings)) for document in excluded}
    duplicates, counts = Deduplicator(), Counts()
    with (
        DocumentWriter(directory / "train.parquet") as train,
        DocumentWriter(directory / "held_out.parquet") as held_out,
        DocumentWriter(directory / "dropped.parquet", DROPPED_SCHEMA) as dropped,
    ):
        for document in documents:
            text = _clean(document.text, settings)
            cleaned = Document(text, document.source, document.licence, document.identifier, document.metadata)
            counts.read[document.source] += 1
            reason = document.metadata.get("unreadable") or scrap(text, settings)
            if reason is None and text_digest(text) in forbidden:
                reason = "excluded"
            if reason is None and duplicates.is_duplicate(text):
                reason = "duplicate"
            if reason is not None:
                counts.dropped[document.source][reason] += 1
                dropped.write(cleaned, reason=reason)
                continue
            counts.kept[document.source] += 1
            for writer, part in zip((train, held_out), split_document(cleaned, settings), strict=True):
                if part is not None:
                    writer.write(part)
                    size = len(part.text.encode())
                    counts.bytes[document.source] += size
                    counts.held_out_bytes[document.source] += size if writer is held_out else 0
    summary = counts.summary()
    write_json(directory / "counts.json", summary)
    return summary


def split_document(document: Document, settings: BuildSettings) -> tuple[Document | None, Document | None]:
    """The part of a document to train on and the part to hold out; the same at every run."""
    if settings.held_out_by == "document" or (settings.held_out_by == "auto" and len(document.text) < LONG):
        place = int.from_bytes(text_digest(document.text)[:4], "little") / 2**32
        return (None, document) if place < settings.held_out else (document, None)
    cut = int((1 - settings.held_out) * len(document.text))
    parts = (document.text[:cut], document.text[cut:])
    made = [
        Document(text, document.source, document.licence, document.identifier, document.metadata) if text else None
        for text in parts
    ]
    return made[0], made[1]


def _clean(text: str, settings: BuildSettings) -> str:
    return normalize(text) if settings.normalize else text
