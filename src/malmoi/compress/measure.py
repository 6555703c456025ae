"""What a model costs whoever uses it, and what is left of its quality: the rows of the card."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from malmoi.compress.corpus_text import CorpusText
from malmoi.core.accelerator import device_of
from malmoi.core.memory import PeakMemory
from malmoi.data.labelled import LabelledText
from malmoi.evaluate.answers import answering
from malmoi.evaluate.bits_per_byte import CodeLength, document_nats
from malmoi.evaluate.ngram import NGram
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.formats.weights import SINGLE
from malmoi.generate.generator import evaluating
from malmoi.models.classifier import Classifier
from malmoi.models.headed import Headed
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Model
from malmoi.tokenizers.tokenizer import Tokenizer

ROUNDS = 9
"""Passes of each model over each length, taking turns; the first warms up, the median of the others counts."""

LENGTHS = (1, 256)
"""Tokens in a pass: one, as in writing, and many, as in reading."""


@dataclass(frozen=True)
class Costs:
    """What a checkpoint takes.

    Attributes:
        parameters: numbers in the file, codes counted as numbers.
        file_bytes: of its weights on disk.
        peak_memory: bytes that a process takes, beside what the program takes itself, to open it and to read a row of
            text; 0 where the system does not tell.
    """

    parameters: int
    file_bytes: int
    peak_memory: int


def costs(path: Path) -> Costs:
    """What the checkpoint directory `path` takes, its memory in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        parameters, peak = pool.apply(_open_and_read, (path,))
    return Costs(parameters, (path / SINGLE).stat().st_size, peak)


def _open_and_read(path: Path) -> tuple[int, int]:
    peak = PeakMemory()
    program = peak.bytes()
    model = load_checkpoint(path).model
    with torch.inference_mode():
        _body(model)(torch.zeros((1, min(LENGTHS[-1], _body(model).config.context)), dtype=torch.int64))
    return sum(parameter.numel() for parameter in model.parameters()), peak.bytes() - program


@torch.inference_mode()
def milliseconds(models: Mapping[str, Model | Headed]) -> dict[str, dict[int, float]]:
    """Name of a model to length to the wall-clock time of one pass over so many tokens, its head included."""
    found: dict[str, dict[int, float]] = {name: {} for name in models}
    for length in LENGTHS:
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(ROUNDS):
            for name, model in models.items():
                seconds[name].append(_pass(model, length))
        for name, some in seconds.items():
            found[name][length] = 1e3 * statistics.median(some[1:])
    return found


def _pass(model: Model | Headed, length: int) -> float:
    tokens = torch.zeros((1, min(length, _body(model).config.context)), dtype=torch.int64, device=device_of(model))
    with evaluating(_body(model)):
        started = time.perf_counter()
        if isinstance(model, Headed):
            model(tokens, torch.tensor([tokens.shape[1]], device=tokens.device))
        elif isinstance(model, LanguageModel):
            model.logits(tokens)
        else:
            model(tokens)
        return time.perf_counter() - started


def bits_per_byte(model: LanguageModel, text: CorpusText) -> float:
    """Of held-out text, as the stage `evaluate` counts it."""
    return _bits(text, document_nats(model, [one.tokens for one in text.held_out], text.start))


def bigram_bits_per_byte(text: CorpusText, vocabulary: int) -> float:
    """The same of a bigram model that is counted on the training text."""
    bigram = NGram(text.train, vocabulary, 2, text.start[-1])
    arrays = [np.array(one.tokens, dtype=np.int64) for one in text.held_out]
    return _bits(text, bigram.document_nats(arrays))


def _bits(text: CorpusText, nats: Sequence[float]) -> float:
    lengths = [one.code_length(cost) for one, cost in zip(text.held_out, nats, strict=True)]
    return sum(lengths, CodeLength(0.0, 0, 0)).bits_per_byte


def score(model: Classifier, tokenizer: Tokenizer, texts: Sequence[LabelledText], figure: str) -> float:
    """A figure of a classifier's answers to labelled texts, such as accuracy."""
    answers = answering(model.answer, model.classes)
    predicted = answers.decide(predict(model, encode_texts(tokenizer, texts, model)))
    return float(answers.score(answers.truth(texts), predicted)[figure])


def _body(model: Model | Headed) -> Model:
    return model.body if isinstance(model, Headed) else model
