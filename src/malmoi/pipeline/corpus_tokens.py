"""A corpus as tokens to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.corpus.store import Split, count_documents, read_documents
from malmoi.data.mixture import Mixture
from malmoi.data.store import Tokens, TokenSequence, build_token_store, join_token_stores, open_token_store
from malmoi.tokenizers.tokenizer import Tokenizer

MIXTURE = "mixture.json"


def corpus_tokens(corpus: Path, tokenizer: Tokenizer, directory: Path, split: Split) -> dict[str, Tokens]:
    """Source -> (tokens,) ids of a corpus stage's text, kept in `directory/tokens`."""
    store = directory / "tokens" / split
    build_token_store(read_documents(corpus, split), count_documents(corpus, split), tokenizer, store)
    return open_token_store(store)


def all_tokens(
    corpus: Path, tokenizer: Tokenizer, directory: Path, split: Split, stores: Sequence[Path]
) -> dict[str, TokenSequence]:
    """Those, and behind them the tokens of other directories, each with a store of the split; none of them is read.

    Raises:
        UserError: a directory has no such store, or one of another tokenizer.
    """
    own = corpus_tokens(corpus, tokenizer, directory, split)
    return join_token_stores([own, *(open_token_store(store.expanduser() / split, tokenizer) for store in stores)])


def mixed_for(corpus: Path) -> dict[str, float]:
    """Source -> share of the tokens that a corpus was mixed for; empty where it was not."""
    if not (corpus / MIXTURE).is_file():
        return {}
    return {name: row["share"] for name, row in read_json(corpus / MIXTURE).items()}


def corpus_rows(corpus: Path, tokenizer: Tokenizer, directory: Path, context: int, rows: int, seed: int = 0) -> Mixture:
    """Batches of rows of a corpus stage's text, for a training that goes on from another.

    Raises:
        UserError: the corpus holds nothing out, or has too little text.
    """
    train, held_out = (corpus_tokens(corpus, tokenizer, directory, split) for split in ("train", "held_out"))
    if not any(len(tokens) > 1 for tokens in held_out.values()):
        raise UserError(
            f"{corpus} holds no text out, and a training without a measure proves nothing.",
            "Give the corpus stage a larger held_out, or more text.",
        )
    return Mixture(train, held_out, mixed_for(corpus), context, rows, seed=seed)
