"""A low-rank difference by itself, as a directory that the `peft` library opens beside its base."""

from __future__ import annotations

from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.core.files import atomic_directory, write_json
from malmoi.core.tensor_file import write_tensors
from malmoi.formats.registry import family_of
from malmoi.layers.low_rank import LowRankLinear, adapted_layers, merged_state
from malmoi.models.model import Model

TENSORS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def save_adapter(directory: Path, model: Model, base: str) -> None:
    """Write the differences of `apply_low_rank`, without the base, whole or not at all.

    Args:
        base: what the model was before, a path or a name; `peft` looks there for it.

    Raises:
        UserError: the model has no differences, or its family stores several of the adapted layers as one.
    """
    adapted, theirs = adapted_layers(model), _module_names(model)
    if not adapted:
        raise UserError("The model has no low-rank differences to save.", "Fine-tune it with train=lora.")
    if not has_places(model):
        raise UserError(
            "`peft` has no place for these differences: this family stores several of the layers as one matrix.",
            "Take the merged model.",
        )
    tensors = {}
    for name, layer in adapted.items():
        prefix = f"base_model.model.{theirs[name]}"
        tensors[f"{prefix}.lora_A.weight"] = layer.narrow.detach()
        tensors[f"{prefix}.lora_B.weight"] = layer.widen.detach()
    first: LowRankLinear = next(iter(adapted.values()))
    rank = first.narrow.shape[0]
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": first.scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({theirs[name].rsplit(".", 1)[-1] for name in adapted}),
    }
    with atomic_directory(directory) as temporary:
        write_tensors(tensors, temporary / TENSORS)
        write_json(temporary / CONFIG, fields)


def has_places(model: Model) -> bool:
    """Whether every adapted layer is a layer of its own in the model's family."""
    return adapted_layers(model).keys() <= _module_names(model).keys()


def _module_names(model: Model) -> dict[str, str]:
    """Our layers to theirs, where one is one."""
    names = merged_state(model).keys()
    family = family_of(model.config, names)
    lines = family.lines(getattr(model.config, "layers", 0), names) if family else []
    return {
        line.ours[0].removesuffix(".weight"): line.theirs.removesuffix(".weight")
        for line in lines
        if len(line.ours) == 1 and not line.transposed and line.theirs.endswith(".weight")
    }
