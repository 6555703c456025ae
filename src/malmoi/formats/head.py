"""How checkpoints hold a head of its own: the door between them and the kinds of heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from malmoi.core.errors import UserError
from malmoi.formats.family import Family, Fields, Table
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.headed import Headed
from malmoi.models.model import Backbone, BackboneConfig, ModelConfig

FormT = TypeVar("FormT")


@dataclass(frozen=True)
class Head:
    """One kind of head. What takes `where`, the file for messages, raises UserError for what is damaged or cannot be.

    Attributes:
        model: the class of the models that have it.
        words: what such a model is.
        verb: the command that asks it.
        stage: the stage that makes one.
        ending: of the names of their classes for such models.
        table: a family to its names for the parts that such a model has beside a bare body, on the left, and ours; None
            where malmoi has no such models of the family.
        left_out: how the names of the body's parts begin that such checkpoints do not have.
        body: (configuration, where) to that of a body beneath this head, as it is published.
        put_on: (body, fields of config.json, where) to the model; on the meta device.
        fields: what config.json says of a model beside its body.
    """

    model: type[Headed]
    words: str
    verb: str
    stage: str
    ending: str
    table: Callable[[Family], Table | None]
    left_out: tuple[str, ...]
    body: Callable[[ModelConfig, str], BackboneConfig]
    put_on: Callable[[Backbone, Fields, str], Headed]
    fields: Callable[[Any], dict[str, Any]]


BESIDE_TOKENS = ("head.", "pooler.")
"""`Head.left_out` of heads that score every token."""


def encoder_beneath(config: ModelConfig, where: str) -> EncoderConfig:
    """The configuration of a body beneath a head that scores every token.

    Raises:
        UserError: it is no encoder.
    """
    if not isinstance(config, EncoderConfig):
        raise UserError(f"{where} scores every token by a model that is no encoder.", "Take one on an encoder.")
    return config.model_copy(update={"masked_head": False, "pooler": "none"})


def of_tokens(table: Table) -> Callable[[Family], Table | None]:
    """`Head.table` of a head that scores every token, with the names that all families have for its parts."""
    return lambda family: table if family.token_heads else None


def read_form(usual: FormT, name: str, fields: Fields, where: str) -> FormT:
    """How a model wants what it is asked: the dataclass that the field `name` holds, `usual` where it says nothing.

    Raises:
        UserError: a value is not of the usual one's type, or not finite.
    """
    values, given = asdict(usual), fields.get(name, {})  # type: ignore[call-overload]
    taken = {key: given[key] for key in values if key in given} if isinstance(given, dict) else None
    if taken is None or not all(_alike(value, values[key]) for key, value in taken.items()):
        raise UserError(f"{where} has no {name} that can be read.", "Get the checkpoint again.")
    return type(usual)(**values | taken)


def _alike(value: Any, usual: Any) -> bool:
    """Whether a value is of the usual one's type; for a fraction a whole number may stand."""
    if type(usual) is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is type(usual)
