"""A checkpoint is a directory that `transformers` opens: weights, configuration, tokenizer, card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, read_json, write_json
from malmoi.core.tensor_file import write_tensors
from malmoi.formats.families import TABLES, Line, lines, plain_lines
from malmoi.formats.fill import check_shapes, fill, joined, shapes_of
from malmoi.formats.gguf import load_gguf, read_gguf_config
from malmoi.formats.published_configs import ARCHITECTURES, express, understand
from malmoi.formats.weights import SINGLE, open_weights
from malmoi.layers.low_rank import merged_state
from malmoi.models.classifier import Classifier, TextForm
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import empty_model
from malmoi.tokenizers.tokenizer import Tokenizer, load_tokenizer

CONFIG = "config.json"
GENERATION = "generation_config.json"
CARD = "card.md"
_CLASSIFIES = "ForSequenceClassification"
_FORM = "text_form"


@dataclass(frozen=True)
class Checkpoint:
    """A model with its tokenizer.

    Attributes:
        model: in evaluation mode, on the CPU.
        card: the text of card.md, empty where there is none.
    """

    model: GPT | Classifier
    tokenizer: Tokenizer
    card: str = ""

    @property
    def language_model(self) -> GPT:
        """The model, where it is one that writes text.

        Raises:
            UserError: it is a classifier.
        """
        if isinstance(self.model, Classifier):
            raise UserError("This checkpoint is a classifier and writes no text.", "Take one of a language model.")
        return self.model

    @property
    def classifier(self) -> Classifier:
        """The model, where it is one that names classes.

        Raises:
            UserError: it is a language model.
        """
        if not isinstance(self.model, Classifier):
            raise UserError("This checkpoint is no classifier.", "Make one: malmoi classify --help")
        return self.model


def save_checkpoint(directory: Path, model: GPT | Classifier, tokenizer: Tokenizer, card: str) -> None:
    """Write a checkpoint that appears whole or not at all; one that stood there before is replaced.

    Low-rank adapters are merged in the file; the model in memory stays as it is.

    Args:
        card: Markdown that says what the model is and what it was made of.

    Raises:
        UserError: the disk is full; what stood there before is untouched.
    """
    body = model.body if isinstance(model, Classifier) else model
    config = body.config.model_copy(update={"tied": True}) if isinstance(model, Classifier) else body.config
    state = merged_state(model)
    if isinstance(model, Classifier):  # transformers' classifiers have no head of words
        state = {name.removeprefix("body."): value for name, value in state.items() if name != "body.head.weight"}
    fields = express(config)
    plan = _plan(fields["model_type"], config.layers, set(state))
    tensors = {line.theirs: joined(line, state) for line in plan}
    fields |= _about(fields["model_type"], model, tokenizer)
    with atomic_directory(directory) as temporary:
        write_tensors(tensors, temporary / SINGLE)
        write_json(temporary / CONFIG, fields)
        write_json(temporary / GENERATION, {"eos_token_id": sorted(tokenizer.stops)})
        tokenizer.save(temporary)
        (temporary / CARD).write_text(_card(card, fields["model_type"]), encoding="utf-8")


def load_checkpoint(path: Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a checkpoint's directory, a stage's directory with `model/` in it, or a .gguf file.

    Raises:
        UserError: there is none, it is not whole, or it is of a family that malmoi does not know.
    """
    if path.suffix == ".gguf" or path.is_file():
        return Checkpoint(*load_gguf(path, dtype))
    directory = _directory(path)
    card = directory / CARD
    return Checkpoint(
        load_model(directory, dtype),
        load_tokenizer(directory),
        card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
    )


def read_config(path: Path) -> GPTConfig:
    """The shape of a checkpoint, without its weights. Takes and raises what `load_checkpoint` does."""
    if path.suffix == ".gguf" or path.is_file():
        return read_gguf_config(path)
    directory = _directory(path)
    return understand(_fields(directory), str(directory / CONFIG))


def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> GPT | Classifier:
    """The model of a checkpoint directory, without its tokenizer. Raises as `load_checkpoint`."""
    where, fields = str(directory / CONFIG), _fields(directory)
    classes = _classes(fields, where)
    config = understand(fields, where)
    if classes is not None:
        config = config.model_copy(update={"tied": True})
    with open_weights(directory) as weights:
        shapes = shapes_of(config, len(weights.shapes), where)
        if classes is not None:
            shapes["score.weight"] = torch.Size((len(classes), config.width))
        plan = _plan(fields["model_type"], config.layers, set(shapes))
        theirs = dict(weights.shapes)
        plan = _without_prefix(plan, theirs)
        if config.tied:
            theirs.pop("lm_head.weight", None)
        check_shapes(plan, shapes, theirs, str(directory))
        body = empty_model(config).to(dtype)
        assert isinstance(body, GPT)
        parameters: dict[str, torch.Tensor] = dict(body.named_parameters())
        model: GPT | Classifier = body
        if classes is not None:
            model = Classifier(body, classes, form=_form(fields, where)).to(dtype)
            parameters["score.weight"] = model.score.weight
        fill(plan, parameters, weights.read, str(directory))
    return model.eval()


def _directory(path: Path) -> Path:
    """Where the files of a checkpoint lie: `path` itself, or `model/` of a stage."""
    directory = path if (path / CONFIG).is_file() else path / "model"
    if not (directory / CONFIG).is_file():
        raise UserError(f"There is no checkpoint in {path}: it holds no {CONFIG}.", "Check the path.")
    return directory


def _fields(directory: Path) -> dict[str, Any]:
    fields = read_json(directory / CONFIG)
    if not isinstance(fields, dict):
        raise UserError(f"{directory / CONFIG} does not hold a JSON object.", "Get the checkpoint again.")
    return fields


def _plan(model_type: str, layers: int, names: set[str]) -> list[Line]:
    return plain_lines(sorted(names)) if model_type == "malmoi" else lines(TABLES[model_type], layers, names)


def _without_prefix(plan: list[Line], theirs: dict[str, tuple[int, ...]]) -> list[Line]:
    """Bare bodies, GPT-2's own file among them, are stored without the first part of the names."""
    prefixes = {line.theirs.split(".")[0] + "." for line in plan} & {"model.", "transformer."}
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in theirs):
            return [Line(line.theirs.removeprefix(prefix), line.ours, line.transposed) for line in plan]
    return plan


def _about(model_type: str, model: GPT | Classifier, tokenizer: Tokenizer) -> dict[str, Any]:
    """Fields of config.json beside the shape."""
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    kind = _CLASSIFIES if isinstance(model, Classifier) else {"gpt2": "LMHeadModel"}.get(model_type, "ForCausalLM")
    fields: dict[str, Any] = {
        "architectures": [ARCHITECTURES.get(model_type, "Malmoi") + kind],
        "dtype": dtype,
        "bos_token_id": None,
        "eos_token_id": tokenizer.end,
    }
    if isinstance(model, Classifier):
        fields["pad_token_id"] = tokenizer.end
        fields["id2label"] = {str(index): name for index, name in enumerate(model.classes)}
        fields["label2id"] = {name: index for index, name in enumerate(model.classes)}
        fields[_FORM] = asdict(model.form)
    return fields


def _classes(fields: dict[str, Any], where: str) -> list[str] | None:
    """The classes of a classifier; None for a language model."""
    architectures = fields.get("architectures") or []
    if not any(str(name).endswith(_CLASSIFIES) for name in architectures):
        return None
    names = fields.get("id2label")
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise UserError(f"{where} does not number the classes in id2label from 0.", "Get the checkpoint again.")
    return [str(names[str(index)]) for index in range(len(names))]


def _form(fields: dict[str, Any], where: str) -> TextForm:
    """How a classifier wants its texts; plain where another program saved it."""
    form = fields.get(_FORM) or {}
    longest, suffix = (form.get("longest", 0), form.get("suffix", "")) if isinstance(form, dict) else (None, None)
    if not (isinstance(longest, int) and longest >= 0 and isinstance(suffix, str)):
        raise UserError(f"{where} has no {_FORM} that can be read.", "Get the checkpoint again.")
    return TextForm(longest, suffix)


def _card(card: str, model_type: str) -> str:
    if model_type != "malmoi":
        return card
    note = "This model's shape is one that `transformers` and GGUF cannot express: only malmoi opens it."
    return f"{card.rstrip()}\n\n{note}\n"
