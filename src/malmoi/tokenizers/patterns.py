"""How text is cut before byte-pair merging, under the names by which llama.cpp knows it (`tokenizer.ggml.pre`)."""

from __future__ import annotations

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

PATTERNS = {"gpt-2": GPT2, "smollm": GPT2, "qwen2": QWEN2, "llama-bpe": LLAMA3, "llama3": LLAMA3, "llama-v3": LLAMA3}
"""Name -> regular expression.

For `smollm` llama.cpp also cuts every digit off first. `transformers`, whose ids are the referee here, does not when it
reads a GGUF. The ids differ where more than one space or line break stands before a digit.
"""

COMPOSED = frozenset({"qwen2"})
"""Names whose own tokenizer composes text (NFC) first."""

WHOLE_WORDS = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""Names by which a piece that is itself in the vocabulary is one token, whatever the merges say."""
