"""Train a tokenizer on a corpus, or take GPT-2's vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from malmoi.core.console import Advance, console, progress
from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.corpus.store import count_documents, read_documents
from malmoi.pipeline.stage import Stage, StageInput
from malmoi.sources.fetch import fetch_source
from malmoi.tokenizers.public import gpt2_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

MEASURED = 2_000
"""Held-out documents on which the tokenizer is measured."""


class TokenizerStageSettings(TokenizerSettings):
    """Settings of the stage.

    Attributes:
        corpus: the corpus whose training split is learned from.
        source: "train", or "gpt2" for GPT-2's public vocabulary.
        documents: train on this many documents at most; 0 for all.
    """

    corpus: StageInput
    source: Literal["train", "gpt2"] = "train"
    documents: int = Field(0, ge=0)


def run(settings: TokenizerStageSettings, directory: Path) -> dict[str, Any]:
    """Write the tokenizer into `directory` and measure it on held-out text."""
    tokenizer = _make(settings)
    tokenizer.save(directory)
    held_out = list(islice(read_documents(settings.corpus, "held_out"), MEASURED))
    measured = measure(tokenizer, held_out or list(islice(read_documents(settings.corpus, "train"), MEASURED)))
    console.print(
        f"  {tokenizer.size:,} tokens; on {'held-out' if held_out else 'training'} text "
        f"{measured['bytes_per_token']:.2f} bytes and {measured['characters_per_token']:.2f} characters a token"
    )
    return {"kind": settings.kind, "vocabulary": tokenizer.size, "special": tokenizer.special, **measured}


def _make(settings: TokenizerStageSettings) -> Tokenizer:
    if settings.source == "gpt2":
        return gpt2_tokenizer(fetch_source("gpt2-vocabulary"))
    total = count_documents(settings.corpus, "train")
    documents = min(total, settings.documents or total)
    if not documents:
        raise UserError(f"The corpus {settings.corpus} has no training text.", "Add text, or filter less.")
    texts = (document.text for document in islice(read_documents(settings.corpus, "train"), documents))
    at_most = "vocabulary" not in settings.model_fields_set
    if settings.kind == "byte":  # its training, which takes longer than the reading, shows its own progress
        return train_tokenizer(texts, settings, at_most)
    with progress("tokenizer", documents) as advance:
        return train_tokenizer(_counted(texts, advance), settings, at_most)


def _counted(texts: Iterable[str], advance: Advance) -> Iterator[str]:
    for text in texts:
        yield text
        advance()


def measure(tokenizer: Tokenizer, documents: list[Document]) -> dict[str, Any]:
    """Bytes and characters a token on some documents, and how a first sentence is cut."""
    texts = [document.text for document in documents]
    ids = tokenizer.encode_batch(texts)
    tokens = max(1, sum(map(len, ids)))
    unknown = sum(token == tokenizer.unknown for row in ids for token in row)
    example = tokenizer.encode(texts[0][:80]) if texts else []
    return {
        "bytes_per_token": sum(len(text.encode()) for text in texts) / tokens,
        "characters_per_token": sum(map(len, texts)) / tokens,
        "unknown_share": unknown / tokens,
        "example": [_shown(tokenizer.token_bytes(token)) for token in example],
    }


def _shown(spelled: bytes) -> str:
    """The text of a token; of one that holds only a part of a character, its bytes."""
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return f"<{spelled.hex(' ').upper()}>"


STAGE = Stage(
    TokenizerStageSettings,
    run,
    figures=("bytes_per_token", "characters_per_token", "unknown_share", "vocabulary"),
)
