"""A tokenizer from the files that it is kept in."""

from __future__ import annotations

from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.tokenizers.directory import open_directory, read_settings, read_template
from malmoi.tokenizers.marian import SOURCE, marian_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer


def load_tokenizer(directory: Path, pre: str = "") -> Tokenizer:
    """The tokenizer in a directory: one saved by malmoi or `transformers`, or the vocabulary that a model came with.

    Args:
        pre: for ranks, whose file does not say it, how text is cut before them; a name of `PATTERNS`, GPT-2's or, of a
            `tokenizer.model`, Llama 3's without it.

    Raises:
        UserError: the files are missing or broken, or no end-of-text token is named.
    """
    settings = read_settings(directory)
    if (directory / SOURCE).is_file():
        return marian_tokenizer(directory, settings)
    backend, roles = open_directory(directory, settings, pre)
    try:
        return Tokenizer(backend, roles, read_template(directory, settings))
    except UserError as error:
        path = directory / "tokenizer.json"
        raise UserError(f"{path if path.is_file() else directory}: {error.what}", error.way_out) from None
