"""The Modelfile by which Ollama takes a GGUF file in."""

from __future__ import annotations

from pathlib import Path

from malmoi.core.files import atomic_file
from malmoi.tokenizers.chat import DEFAULT_TEMPLATE
from malmoi.tokenizers.tokenizer import Tokenizer

_CHATML = '''TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
'''
"""`DEFAULT_TEMPLATE` in the language of Go's templates, which Ollama uses."""


def write_modelfile(path: Path, gguf: Path, tokenizer: Tokenizer, context: int) -> bool:
    """Write a Modelfile for a GGUF file in the same folder: its stop tokens, its context, and ChatML where it is that.

    Any other chat template is left to Ollama, which looks into the GGUF file for it; only ChatML can be said in both
    languages with the same result.

    Args:
        context: tokens; without it Ollama cuts a text at a length of its own.

    Returns:
        False where another one stands there, which somebody may have written or changed: it is left alone.

    Raises:
        UserError: nothing can be written there, or the disk is full.
    """
    content = _content(gguf, tokenizer, context)
    if path.exists() and path.read_bytes() != content.encode():
        return False
    with atomic_file(path) as file:
        file.write(content)
    return True


def _content(gguf: Path, tokenizer: Tokenizer, context: int) -> str:
    template = _CHATML if tokenizer.chat_template == DEFAULT_TEMPLATE else ""
    texts = sorted(tokenizer.special_text(token) for token in tokenizer.stops)
    stops = "".join(
        f'PARAMETER stop "{text}"\n'
        for text in texts
        if text.isprintable() and '"' not in text  # the file knows no escapes; the GGUF names the token anyway
    )
    return f"FROM ./{gguf.name}\n{template}PARAMETER num_ctx {context}\n{stops}"
