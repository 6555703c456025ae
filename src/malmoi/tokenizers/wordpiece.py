"""WordPiece (Schuster and Nakajima 2012) as BERT has it: `vocab.txt`, or the vocabulary inside a GGUF."""

from __future__ import annotations

from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from malmoi.core.errors import UserError
from malmoi.tokenizers.wrapping import BERT, UNNAMED

FAMILIES = dict.fromkeys([*UNNAMED, "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"], BERT)
"""`tokenizer_class` of the settings -> what it says beside the vocabulary."""
CONTINUES = "##"


def wordpiece(vocabulary: dict[str, int], unknown: str, settings: dict[str, Any], where: str) -> tokenizers.Tokenizer:
    """A WordPiece tokenizer.

    Args:
        unknown: the token for a word that cannot be spelled.
        settings: `do_lower_case` (true without it), `strip_accents` (as `do_lower_case` without it) and
            `tokenize_chinese_chars` (true without it).

    Raises:
        UserError: the vocabulary lacks the unknown token.
    """
    if unknown not in vocabulary:
        raise UserError(f"{where} has no unknown token {unknown!r}.", "Get the file again.")
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    accents = settings.get("strip_accents")
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=accents if isinstance(accents, bool) else None,
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix=CONTINUES)
    return backend
