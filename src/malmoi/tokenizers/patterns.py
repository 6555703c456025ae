"""How text is cut before byte-pair merging, under the names by which llama.cpp knows it (`tokenizer.ggml.pre`)."""

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

PATTERNS = {
    "gpt-2": GPT2,
    "gpt2": GPT2,
    "default": GPT2,
    "smollm": GPT2,
    "qwen2": QWEN2,
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
}
"""Name -> regular expression. SmolLM cuts every digit off first, see `DIGITS_APART`."""

DIGITS_APART = frozenset({"smollm"})
"""Names whose text is first cut at every digit, then by the expression."""
