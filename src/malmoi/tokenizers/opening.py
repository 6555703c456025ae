"""A vocabulary for a model whose texts all begin behind the token that ends the one before."""

from __future__ import annotations

from dataclasses import replace

import tokenizers

from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.wrapping import wrap_as_asked


def opened_with_end(tokenizer: Tokenizer) -> Tokenizer:
    """The same, but the end-of-text token stands before every text too, by the rules of its file."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    roles = replace(tokenizer.roles, begin=tokenizer.special_text(tokenizer.end))
    wrap_as_asked(backend, roles, {"add_bos_token": True})
    return Tokenizer(backend, roles, tokenizer.chat_template)
