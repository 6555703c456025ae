"""Prompts that a model completes while it is trained, so that one sees it learn."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from malmoi.core.files import append_json_line, read_json_lines
from malmoi.corpus.store import read_documents
from malmoi.generate.generator import complete
from malmoi.generate.sampling import SamplingSettings
from malmoi.models.language_model import LanguageModel
from malmoi.tokenizers.tokenizer import Tokenizer

SAMPLES = "samples.jsonl"


def write_samples(
    model: LanguageModel, tokenizer: Tokenizer, prompts: list[str], most: int, step: int, directory: Path
) -> None:
    """Complete every prompt once a step, also when a killed run comes by the same step again."""
    path = directory / SAMPLES
    written = {(line["step"], line["prompt"]) for line in read_json_lines(path)} if path.exists() else set()
    sampling = SamplingSettings(temperature=0.7, top_k=40, seed=0, maximum_tokens=most)
    for prompt in prompts:
        if (step, prompt) not in written:
            text = complete(model, tokenizer, prompt, sampling).text
            append_json_line(path, {"step": step, "prompt": prompt, "text": text})


def first_words(corpus: Path) -> list[str]:
    """Prompts for somebody who gave none: how three held-out or training documents begin."""
    documents = [*islice(read_documents(corpus, "held_out"), 3), *islice(read_documents(corpus, "train"), 3)]
    return [" ".join(document.text.split()[:4]) for document in documents[:3]]
