"""The model that the settings of a pretraining describe."""

from __future__ import annotations

from typing import Any

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.models.language_model import LanguageModelConfig
from malmoi.models.presets import preset
from malmoi.models.registry import family_name, language_models
from malmoi.pipeline.costs import ASSUMED_VOCABULARY
from malmoi.pipeline.pretraining.dial import SIZES
from malmoi.pipeline.pretraining.settings import PretrainSettings


def given_config(settings: PretrainSettings, vocabulary: int | None) -> LanguageModelConfig | None:
    """The model's configuration when the settings fix its size, else None.

    Args:
        vocabulary: None as long as there is no tokenizer.

    Raises:
        UserError: the model has no such field, or it cannot have such a value.
    """
    fields = dict(settings.model)
    name = fields.pop("preset", None)
    kind = _kind(settings)
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    if name is None and not required <= {*fields, "vocabulary", "context"}:
        return None
    base = _language_preset(name, kind).model_dump() if name else {}
    vocabulary = base.get("vocabulary", ASSUMED_VOCABULARY) if vocabulary is None else vocabulary
    return _config(settings, {**base, **_fixed(settings, vocabulary), **fields, "vocabulary": vocabulary})


def sized_config(settings: PretrainSettings, vocabulary: int, layers: int, width: int) -> LanguageModelConfig:
    """The configuration of a candidate: the size is a proposal, and what the settings say of it is kept.

    Raises:
        UserError: as `given_config`.
    """
    numbers = {"layers": layers, "width": width}
    numbers |= {name: settings.model[name] for name in numbers if type(settings.model.get(name)) is int}
    sized = _kind(settings).sized(**numbers)
    return _config(settings, _fixed(settings, vocabulary) | sized | settings.model)


def likely_config(settings: PretrainSettings, vocabulary: int) -> LanguageModelConfig:
    """The configuration of a new model, or where its size follows from the plan, of the smallest that it may be.

    Raises:
        UserError: as `given_config`.
    """
    return given_config(settings, vocabulary) or sized_config(settings, vocabulary, *SIZES[0])


def _kind(settings: PretrainSettings) -> type[LanguageModelConfig]:
    """The kind of configuration that the family has."""
    return language_models()[settings.family or "gpt"]


def _fixed(settings: PretrainSettings, vocabulary: int) -> dict[str, Any]:
    """What is not a question of size. Where a family has a longest text of its own, rows do not shorten it."""
    limited = _kind(settings).model_fields["context"].is_required()
    return {"vocabulary": vocabulary, **({"context": settings.context} if limited else {})}


def _language_preset(name: str, kind: type[LanguageModelConfig]) -> LanguageModelConfig:
    config = preset(name)
    if not isinstance(config, LanguageModelConfig):
        raise UserError(f"The preset {name!r} is no language model.", "Take the shape of one that writes text.")
    if not isinstance(config, kind):
        raise UserError(
            f"The preset {name!r} is of the family {family_name(config)}.", "Set family to that, or give layers, width."
        )
    return config


def _config(settings: PretrainSettings, fields: dict[str, Any]) -> LanguageModelConfig:
    """The configuration of these fields.

    Raises:
        UserError: a field is wrong; one that another family has is named as that family's.
    """
    kind, where = _kind(settings), "'model' of the stage 'pretrain'"
    for field in fields:
        others = [name for name, other in language_models().items() if field in other.model_fields]
        if field not in kind.model_fields and others:
            raise UserError(
                f"A model of the family {settings.family or 'gpt'} has no {field!r}: that is a setting of "
                f"{', '.join(others)}.",
                f"Leave it out of 'model', or set family={others[0]}.",
            )
    return parse_settings(kind, fields, where)
