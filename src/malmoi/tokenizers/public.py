"""GPT-2's vocabulary from its files, under whatever names they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.tokenizers.byte_level import END_OF_TEXT, GPT2, byte_level
from malmoi.tokenizers.directory import finish, from_ranks
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.vocabulary_files import read_merges, read_vocabulary


def gpt2_tokenizer(files: Sequence[Path]) -> Tokenizer:
    """GPT-2's tokenizer from `encoder.json` and `vocab.bpe`, or from one file of tiktoken ranks.

    Raises:
        UserError: the files are none of these, or broken.
    """
    by_suffix = {path.suffix: path for path in files}
    if ".tiktoken" in by_suffix:
        return Tokenizer(*from_ranks(by_suffix[".tiktoken"], {}, "gpt-2"))
    if not {".json", ".bpe"} <= set(by_suffix):
        raise UserError(
            f"No vocabulary in {[path.name for path in files]}.", "Give a .tiktoken, or a .json and a .bpe."
        )
    backend = byte_level(read_vocabulary(by_suffix[".json"]), read_merges(by_suffix[".bpe"]), "gpt-2")
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(*finish(backend, GPT2, {}, str(by_suffix[".json"])))
