"""A checkpoint is a directory that `transformers` opens: weights, configuration, tokenizer, card."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import torch

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, write_json
from malmoi.core.tensor_file import MadeOnDemand, write_tensors
from malmoi.formats.checkpoint_files import (
    CARD,
    CONFIG,
    GENERATION,
    checkpoint_directory,
    decoding_fields,
    read_fields,
)
from malmoi.formats.compression import describe, expect_compressed
from malmoi.formats.family import Family, Line
from malmoi.formats.fill import fill, joined, shapes_of, stated_model
from malmoi.formats.gguf import load_gguf, read_gguf_config
from malmoi.formats.head import Head
from malmoi.formats.heads import find_head, head_for, head_of
from malmoi.formats.mismatch import check_shapes
from malmoi.formats.registry import express, family_of, find_family, understand
from malmoi.formats.weights import SINGLE, open_weights
from malmoi.layers.low_rank import merged_state
from malmoi.models.encoder import NoHead
from malmoi.models.headed import Headed
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Backbone, Model, ModelConfig
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.models.shapes import shapes_alone, with_memory
from malmoi.sources.front_matter import licence_in, split_front_matter
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer

HeadedT = TypeVar("HeadedT", bound=Headed)


@dataclass(frozen=True)
class Checkpoint:
    """A model with its tokenizer.

    Attributes:
        model: in evaluation mode; as it was read, on the processor.
        card: the text of card.md, empty where there is none.
    """

    model: Model | Headed
    tokenizer: Tokenizer
    card: str = ""

    @property
    def licence(self) -> str:
        """The licence that the card states, "" where it states none."""
        return licence_in(split_front_matter(self.card)[0])

    def to(self, device: torch.device) -> Self:
        """The same, with the model on `device`."""
        self.model.to(device)
        return self

    @property
    def language_model(self) -> LanguageModel:
        """The model, where it is one that writes text.

        Raises:
            UserError: it is a classifier, an encoder or a translator.
        """
        if isinstance(self.model, EncoderDecoder):
            raise UserError("This checkpoint is a translator and goes on with no text.", "Use malmoi translate.")
        if not isinstance(self.model, LanguageModel):
            head = head_of(self.model)
            kind = head.words if head else "an encoder"
            raise UserError(f"This checkpoint is {kind} and writes no text.", "Take one of a language model.")
        return self.model

    @property
    def backbone(self) -> Backbone:
        """The model, where a head of classes can be put on it.

        Raises:
            UserError: it has another head already, or is a translator.
        """
        if not isinstance(self.model, Backbone):
            head = head_of(self.model)
            kind = head.words if head else "a translator"
            raise UserError(
                f"This checkpoint is {kind}, and no new head of classes goes on it.",
                "Take one of an encoder or of a language model.",
            )
        return self.model

    @property
    def translator(self) -> EncoderDecoder:
        """The model, where it is one that makes one text of another.

        Raises:
            UserError: it is of another kind.
        """
        if not isinstance(self.model, EncoderDecoder):
            way_out = f"{_asked(self.model)}Those of T5 and Marian are encoder-decoders."
            raise UserError("This checkpoint is no encoder-decoder and translates nothing.", way_out)
        return self.model

    def headed(self, kind: type[HeadedT]) -> HeadedT:
        """The model, where it has a head of this kind.

        Raises:
            UserError: it has none, or another one.
        """
        if not isinstance(self.model, kind):
            wanted = head_for(kind)
            made = f"Make one: malmoi {wanted.stage} --help. What transformers calls Bert{wanted.ending} is one."
            raise UserError(f"This checkpoint is not {wanted.words}.", f"{_asked(self.model)}{made}")
        return self.model


def _asked(model: Model | Headed) -> str:
    """Which command asks such a model, as a sentence; "" where none does."""
    head = head_of(model)
    verb = head.verb if head else "generate" if isinstance(model, LanguageModel) else ""
    verb = "translate" if isinstance(model, EncoderDecoder) else verb
    return f"Use malmoi {verb}. " if verb else ""


def save_checkpoint(directory: Path, model: Model | Headed, tokenizer: Tokenizer, card: str) -> None:
    """Write a checkpoint that appears whole or not at all; one that stood there before is replaced.

    Low-rank adapters are merged in the file; the model in memory stays as it is.

    Args:
        card: Markdown that says what the model is and what it was made of.

    Raises:
        UserError: the disk is full; what stood there before is untouched.
    """
    state, config, family = _published(model)
    plan = _plan(family, config, state, head_of(model))
    tensors = MadeOnDemand({line.theirs: partial(joined, line, state) for line in plan})
    fields = config_fields(model, tokenizer)
    with atomic_directory(directory) as temporary:
        write_tensors(tensors, temporary / SINGLE)
        write_json(temporary / CONFIG, fields)
        ends = {"bos_token_id": fields["bos_token_id"], "eos_token_id": sorted(tokenizer.stops)}
        write_json(temporary / GENERATION, ends | decoding_fields(fields))
        tokenizer.save(temporary)
        (temporary / CARD).write_text(_card(card, family), encoding="utf-8")


def config_fields(model: Model | Headed, tokenizer: Tokenizer) -> dict[str, Any]:
    """What config.json says of a model."""
    _, config, family = _published(model)
    return _about(family, model, tokenizer) | express(config, family) | describe(model)


def load_checkpoint(path: Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a checkpoint's directory, a stage's directory with `model/` in it, or a .gguf file.

    Raises:
        UserError: there is none, it is not whole, or it is of a family that malmoi does not know.
    """
    if path.suffix == ".gguf" or path.is_file():
        return Checkpoint(*load_gguf(path, dtype))
    directory = checkpoint_directory(path)
    card = directory / CARD
    return Checkpoint(
        load_model(directory, dtype),
        load_tokenizer(directory),
        card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
    )


def read_config(path: Path) -> ModelConfig:
    """The shape of a checkpoint, without its weights. Takes and raises what `load_checkpoint` does."""
    if path.suffix == ".gguf" or path.is_file():
        return read_gguf_config(path)
    directory = checkpoint_directory(path)
    with open_weights(directory) as weights:
        return understand(read_fields(directory), weights.shapes, str(directory / CONFIG))


def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> Model | Headed:
    """The model of a checkpoint directory, without its tokenizer. Raises as `load_checkpoint`."""
    where, fields = str(directory / CONFIG), read_fields(directory)
    head, family = find_head(fields), find_family(fields, where)
    with open_weights(directory) as weights:
        config = understand(fields, weights.shapes, where)
        if head is not None:
            if family is not None and head.table(family) is None:
                words = f"{where} is {head.words}, and malmoi has none of the family {family.model_type}."
                raise UserError(words, "Take one on an encoder, as BERT.")
            config = head.body(config, where)
        stated: Model | Headed = stated_model(config, len(weights.shapes), where)
        expect_compressed(stated, fields, where)
        if head is not None and isinstance(stated, Backbone):
            with shapes_alone():
                stated = head.put_on(stated, fields, where)
        shapes = {name.removeprefix("body."): shape for name, shape in shapes_of(stated).items()}
        plan, theirs = _matched(family, _plan(family, config, shapes, head), weights.shapes)
        check_shapes(plan, shapes, theirs, str(directory))
        model = with_memory(stated.to(dtype))
        parameters = {name.removeprefix("body."): value for name, value in model.named_parameters()}
        fill(plan, parameters, weights.read, str(directory))
    return model.eval()


def _published(model: Model | Headed) -> tuple[dict[str, torch.Tensor], ModelConfig, Family | None]:
    """Parameters, configuration and family of a model in the form in which it is published."""
    state, config = merged_state(model), _body(model).config
    head = head_of(model)
    if head:
        config = head.body(config, "This model")
        names = {name: name.removeprefix("body.") for name in state}
        state = {names[name]: value for name, value in state.items() if not names[name].startswith(head.left_out)}
    return state, config, family_of(config, state, head)


def _body(model: Model | Headed) -> Model:
    return model.body if isinstance(model, Headed) else model


def _plan(family: Family | None, config: ModelConfig, names: Collection[str], head: Head | None) -> list[Line]:
    if family is None:
        return [Line(name, (name,)) for name in sorted(names)]
    return family.lines(config.depth, names, head.table(family) if head else None)


def _matched(
    family: Family | None, plan: list[Line], theirs: Mapping[str, tuple[int, ...]]
) -> tuple[list[Line], dict[str, tuple[int, ...]]]:
    """The lines in the file's own spelling, and its tensors without those that repeat others or are of no use."""
    if family is None:
        return plan, dict(theirs)
    planned = {line.theirs for line in plan}
    left_out = tuple(set(family.tied) - planned)
    theirs = {name: shape for name, shape in theirs.items() if not name.startswith((*left_out, *family.unused))}
    if not any(name.startswith(family.prefix) for name in theirs):  # files of bare bodies leave it out
        plan = [Line(line.theirs.removeprefix(family.prefix), line.ours, line.transposed) for line in plan]
    return plan, theirs


def _about(family: Family | None, model: Model | Headed, tokenizer: Tokenizer) -> dict[str, Any]:
    """Fields of config.json beside the shape."""
    dtype = str(_body(model).dtype).removeprefix("torch.")
    fields: dict[str, Any] = {
        "architectures": [_architecture(family, model)],
        "dtype": dtype,
        "bos_token_id": tokenizer.special.get(tokenizer.begin),
        "eos_token_id": tokenizer.end,
    }
    if head := head_of(model):
        fields["pad_token_id"] = tokenizer.end if tokenizer.padding is None else tokenizer.padding
        fields |= head.fields(model)
    return fields


def _architecture(family: Family | None, model: Model | Headed) -> str:
    """The name of their class for this model."""
    name = family.name if family else "Malmoi"
    if head := head_of(model):
        return f"{name}{head.ending}"
    if isinstance(_body(model).head, NoHead):
        return f"{name}Model"
    return family.words if family else f"{name}{type(model).__name__}"


def _card(card: str, family: Family | None) -> str:
    if family is not None:
        return card
    note = "This model's shape is one that `transformers` and GGUF cannot express: only malmoi opens it."
    return f"{card.rstrip()}\n\n{note}\n"
