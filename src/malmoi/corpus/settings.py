"""How a corpus is built."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from malmoi.corpus.engine import Engine
from malmoi.corpus.steps import StepSettings

LONG = 100_000
"""Characters; holding out one such document or none would miss the share that is to be held out."""


class BuildSettings(StepSettings):
    """What becomes of documents.

    Attributes:
        normalize: NFC and no invisible characters; False leaves every character as it is.
        near_duplicates: least Jaccard similarity of shingles from which the later of two documents is dropped, such as
            0.8; 0 drops only equal texts.
        repeated_lines: lines and paragraphs that so many documents share stay in the first only; 0 leaves them.
        decontaminate: drop also what shares a passage of 40 characters with a text that models are evaluated on, not
            only what is equal to one.
        provenance: write the sha256 of every text into its metadata.
        held_out: share of the text that no model is trained on.
        held_out_by: whole "document"s chosen by their hash; the "tail" of each one, for a single long text; or "auto",
            which takes documents, but the tail of one that is longer than `LONG` characters.
        workers: processes; 0 for one a core, or one in all for little text. The result does not depend on it.
        engine: "processes" of this machine, or the nodes of a "ray" cluster that share the run's directory.
    """

    normalize: bool = True
    near_duplicates: float = Field(default=0.0, ge=0, le=1)
    repeated_lines: int = Field(default=0, ge=0)
    decontaminate: bool = True
    provenance: bool = False
    held_out: float = Field(default=0.05, ge=0, lt=1)
    held_out_by: Literal["auto", "document", "tail"] = "auto"
    workers: int = Field(default=0, ge=0, exclude=True)
    engine: Engine = Field(default="processes", exclude=True)
