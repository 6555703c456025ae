"""Encoders and classifiers as ONNX, which many other programs run without PyTorch."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, expect_writable, write_json
from malmoi.formats.checkpoint import config_fields
from malmoi.formats.checkpoint_files import CONFIG
from malmoi.layers.attention import Attention
from malmoi.layers.compressed import plain
from malmoi.layers.mixes.dense import Plain
from malmoi.models.classifier import Classifier
from malmoi.models.encoder import Encoder
from malmoi.models.headed import Headed
from malmoi.models.model import Model
from malmoi.models.registry import family_name
from malmoi.models.stateful import StatefulModel
from malmoi.tokenizers.tokenizer import Tokenizer

FILE = "model.onnx"
_BESIDE = {f"{FILE}.data", CONFIG, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
"""What may lie beside it in a folder that `export_onnx` wrote."""
OPSET = 20


def export_onnx(model: Model | Headed, tokenizer: Tokenizer, directory: Path) -> None:
    """Write `model.onnx`, config.json and the tokenizer, whole or not at all; an earlier export is replaced.

    Inputs are `input_ids` and `attention_mask`, (rows, length) int64, padded on the right, rows and length free; for
    pairs of texts `token_type_ids` too. The output is `logits`, (rows, classes), of a classifier, else
    `last_hidden_state`, (rows, length, width), float32.

    Raises:
        UserError: as `check_folder`; it is a model that writes text, the packages are missing, nothing can be written
            there, or the disk is full.
    """
    check_folder(directory)
    model = plain(model)
    body = model.body if isinstance(model, Headed) else model
    if isinstance(body, StatefulModel):
        raise UserError(
            f"A model of the family {family_name(body.config)} does not go to ONNX, nor to GGUF.",
            "malmoi itself runs it; a GPT goes to GGUF, an encoder to ONNX.",
        )
    if not isinstance(model, Classifier | Encoder):
        raise UserError("Only encoders and classifiers go to ONNX.", "A language model goes to GGUF: --to gguf")
    if isinstance(model, Classifier) and model.apart:
        raise UserError("A classifier with pooling=matches does not go to ONNX.", "malmoi itself runs it.")
    if getattr(body.config, "global_projections", False):
        raise UserError("A Longformer does not go to ONNX.", "Take it as it is: transformers opens the checkpoint.")
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}.", "Install it: pip install 'malmoi[onnx]'")
    output = "logits" if isinstance(model, Classifier) else "last_hidden_state"
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if _reads_pairs(model) else [])]
    inputs = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in names)
    free = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length", max=_context(model))}
    with atomic_directory(directory) as temporary:
        with console.status("ONNX"), _quiet(), _traceable(model):
            program = torch.onnx.export(
                _Padded(model).eval(),
                inputs,
                input_names=names,
                output_names=[output],
                dynamic_shapes=tuple(free for _ in names),
                opset_version=OPSET,
                dynamo=True,
            )
            assert program is not None
            program.save(temporary / FILE)
        write_json(temporary / CONFIG, config_fields(model, tokenizer))
        tokenizer.save(temporary)


def check_folder(directory: Path) -> None:
    """Refuse a folder whose files would be lost, before any weight is read.

    Raises:
        UserError: a file stands there, or a folder with anything that is no earlier export, or nothing can be written.
    """
    names = {file.name for file in directory.iterdir()} if directory.is_dir() else set()
    if (names and FILE not in names) or names - {FILE} - _BESIDE or directory.is_file():
        raise UserError(
            f"{directory} is there already, and is no earlier export to ONNX.", "Name a new folder with --out."
        )
    expect_writable(directory)


class _Padded(nn.Module):
    """The model as other programs call it, with a mask instead of lengths."""

    def __init__(self, model: Encoder | Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        result: torch.Tensor = self.model(input_ids, attention_mask.sum(1), token_type_ids)
        return result


def _reads_pairs(model: Encoder | Classifier) -> bool:
    return isinstance(model, Classifier) and model.form.pair


def _context(model: Encoder | Classifier) -> int:
    return (model.body if isinstance(model, Classifier) else model).config.context


@contextlib.contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """One way to attend whatever the length: which one is faster would be asked once and baked in."""
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    before = [layer.mix for layer in layers]
    for layer in layers:
        layer.mix = Plain()
    try:
        yield
    finally:
        for layer, mix in zip(layers, before, strict=True):
            layer.mix = mix


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its steps and warns of its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
