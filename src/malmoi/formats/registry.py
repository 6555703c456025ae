"""The families of public weights, one line each, and which of them a configuration belongs to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.formats.families.bert import BERT, DISTILBERT, ROBERTA
from malmoi.formats.families.gpt2 import GPT2
from malmoi.formats.families.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from malmoi.formats.families.longformer import LONGFORMER
from malmoi.formats.families.marian import MARIAN
from malmoi.formats.families.t5 import T5
from malmoi.formats.family import Family, Fields
from malmoi.formats.head import Head
from malmoi.models.model import BackboneConfig, ModelConfig
from malmoi.models.registry import FAMILIES as OURS
from malmoi.models.registry import family_name

FAMILIES = (QWEN3, QWEN2, MISTRAL, LLAMA, GPT2, BERT, ROBERTA, DISTILBERT, LONGFORMER, T5, MARIAN)

OWN = "malmoi"
"""`model_type` of what no family can express; the fields are those of our configuration."""


def family_of(config: ModelConfig, names: Collection[str], head: Head | None = None) -> Family | None:
    """The family that can express a model, None where none can.

    Args:
        names: of its parameters, those of its own head among them.
        head: how that is held, where it has one.
    """
    if isinstance(config, BackboneConfig) and config.pooling != "token":
        return None
    for family in FAMILIES:
        if type(config) is family.config and family.express(config) is not None:
            return family if _holds(family, config, names, head) else None
    return None


def _holds(family: Family, config: ModelConfig, names: Collection[str], head: Head | None) -> bool:
    """Whether the family has a place for every parameter, and the model all that the family's head reads."""
    table = head.table(family) if head else {}
    if table is None or not set(table.values()) <= set(names):
        return False
    lines = family.lines(config.depth, names, table)
    return {name for line in lines for name in line.ours} == set(names)


def express(config: ModelConfig, family: Family | None) -> dict[str, Any]:
    """Fields of config.json; our own ones where there is no family."""
    if family is None:
        return {"model_type": OWN, "family": family_name(config), **config.model_dump()}
    return {"model_type": family.model_type, **(family.express(config) or {})}


def find_family(fields: Fields, where: str) -> Family | None:
    """The family that a config.json is of; None for our own.

    Raises:
        UserError: it is none that malmoi knows.
    """
    model_type = fields.get("model_type")
    family = next((family for family in FAMILIES if family.model_type == model_type), None)
    if family is None and model_type != OWN:
        known = ", ".join([*(family.model_type for family in FAMILIES), OWN])
        raise UserError(f"{where} is of model_type {model_type!r}, which malmoi does not know.", f"Known: {known}.")
    return family


def understand(fields: Fields, names: Collection[str], where: str) -> ModelConfig:
    """The configuration that a config.json describes.

    Args:
        names: of the tensors that lie beside it; some families tell only by them which parts there are.
        where: the file, for messages.

    Raises:
        UserError: a family or a feature that is not supported, or a field that is missing or wrong.
    """
    family = find_family(fields, where)
    if family is None:
        kind = str(fields.get("family", "gpt"))
        if kind not in OURS:
            raise UserError(f"{where} is of the family {kind!r}, which is no model of text.", "Is it one of images?")
        ours = OURS[kind][0]
        return parse_settings(ours, {name: fields[name] for name in ours.model_fields if name in fields}, where)
    try:
        unsupported = {**_everywhere(fields), **family.unsupported(fields)}
        values = {} if any(unsupported.values()) else family.understand(fields, names)
    except KeyError as error:
        raise UserError(f"{where} has no field {error.args[0]!r}.", "The file is not whole: get it again.") from None
    except (TypeError, AttributeError):
        raise UserError(f"{where} has a field of a wrong type.", "The file is damaged: get it again.") from None
    for feature in (feature for feature, present in unsupported.items() if present):
        raise UserError(f"{where} asks for {feature}, which malmoi does not have.", "Take another checkpoint.")
    return parse_settings(family.config, values, where)


def _everywhere(fields: Fields) -> dict[str, object]:
    return {"quantised weights": fields.get("quantization_config")}
