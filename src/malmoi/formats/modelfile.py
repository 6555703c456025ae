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


def write_modelfile(path: Path, gguf: Path, tokenizer: Tokenizer, context: int) -> None:
    """Write a Modelfile for a GGUF file in the same folder: its stop tokens, its context, and ChatML where it is that.

    Any other chat template is left to Ollama, which looks into the GGUF file for it; only ChatML can be said in both
    languages with the same result.

    Args:
        context: tokens; without it Ollama cuts a text at a length of its own.

    Raises:
        UserError: the disk is full.
    """
    stops = sorted(tokenizer.special_text(token) for token in tokenizer.stops)
    with atomic_file(path) as file:
        file.write(f"FROM ./{gguf.name}\n")
        if tokenizer.chat_template == DEFAULT_TEMPLATE:
            file.write(_CHATML)
        file.write(f"PARAMETER num_ctx {context}\n")
        for stop in stops:
            if stop.isprintable() and '"' not in stop:  # the file knows no escapes; the GGUF names the token anyway
                file.write(f'PARAMETER stop "{stop}"\n')
