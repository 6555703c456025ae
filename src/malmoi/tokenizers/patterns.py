"""How text is cut before byte-pair merging, under the names by which llama.cpp knows it (`tokenizer.ggml.pre`)."""

from __future__ import annotations

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*|\p{{N}}" + _REST
GPT4O = TEKKEN.replace(rf"[{_LOWER}]+|", rf"[{_LOWER}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|").replace(
    rf"[{_LOWER}]*|\p{{N}}", rf"[{_LOWER}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{{N}}{{1,3}}"
)

PATTERNS = {
    **dict.fromkeys(["gpt-2", "smollm"], GPT2),
    **dict.fromkeys(["qwen2", "deepseek-r1-qwen", "kormo"], QWEN2),
    **dict.fromkeys(["llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe", "falcon3", "pixtral", "midm-2.0"], LLAMA3),
    **dict.fromkeys(["gpt-4o", "llama4", "kanana2"], GPT4O),
    "tekken": TEKKEN,
}
"""Name -> regular expression.

For `smollm` llama.cpp also cuts every digit off first. `transformers`, whose ids are the referee here, does not when it
reads a GGUF. The ids differ where more than one space or line break stands before a digit.
"""

COMPOSED = frozenset({"qwen2"})
"""Names whose own tokenizer composes text (NFC) first."""

WHOLE_WORDS = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""Names by which a piece that is itself in the vocabulary is one token, whatever the merges say."""
