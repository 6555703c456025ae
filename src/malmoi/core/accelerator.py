"""The device that models run on, whoever made it: what differs between makers is said here and nowhere else."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from malmoi.core.errors import UserError, nearest

CHOICE = "MALMOI_DEVICE"
"""Environment variable that names the device, such as cpu or cuda:1."""

LANES = 128
"""Sizes that are multiples of it fill the matrix units of a TPU (jax-ml.github.io/scaling-book/tpus)."""


@dataclass(frozen=True)
class Kind:
    """What differs between devices of one kind and others.

    Attributes:
        title: for people.
        package: that brings it into torch; empty where torch has it.
        static: whether a new shape costs a new compilation.
        tried: whether malmoi was run on a real one.
    """

    title: str
    package: str = ""
    static: bool = False
    tried: bool = False


KINDS: Mapping[str, Kind] = {
    "cuda": Kind("NVIDIA or AMD GPU"),
    "xpu": Kind("Intel GPU"),
    "mps": Kind("Apple GPU"),
    "tpu": Kind("TPU", package="torch_tpu", static=True),
    "xla": Kind("XLA device", package="torch_xla", static=True),
    "cpu": Kind("processor", tried=True),
}
"""In the order in which they are taken; see `torch.device.type`."""


def pick_device() -> torch.device:
    """The device of this process: the best one there is, or the one that MALMOI_DEVICE names.

    Of several alike, the process takes the one of its LOCAL_RANK, and from then on it is the one that "cuda" means.

    Raises:
        UserError: MALMOI_DEVICE names none, or one that is not here.
    """
    wanted = os.environ.get(CHOICE, "")
    kind, _, number = wanted.partition(":")
    if wanted and (kind not in KINDS or not (number or "0").isdigit()):
        raise UserError(f"{CHOICE}={wanted} is no device.", nearest(kind, KINDS) or f"Known: {', '.join(KINDS)}.")
    if wanted and not _present(kind):
        raise UserError(f"{CHOICE}={wanted}, and there is no {KINDS[kind].title} that this torch can use.", "Unset it.")
    chosen = kind or next(one for one in KINDS if _present(one))
    return _numbered(chosen, int(number) if number else int(os.environ.get("LOCAL_RANK", "0")))


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters lie, and what it is given has to lie."""
    return next(model.parameters()).device


def product_dtype(value: torch.Tensor) -> torch.dtype:
    """In which a matrix product of the value is computed: that of autocast where there is one, else its own."""
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype


def process_group_backend(device: torch.device) -> str:
    """The name of what carries messages between processes: the device's own, and gloo for what is on processors."""
    own = torch.distributed.get_default_backend_for_device(device)
    return own if device.type == "cpu" or own == "gloo" else f"cpu:gloo,{device.type}:{own}"


def synchronize(device: torch.device) -> None:
    """Wait until everything that was asked of the device is done."""
    if device.type == "xla":
        _module("torch_xla").sync(wait=True)
    elif device.type != "cpu":
        torch.get_device_module(device).synchronize()


def end_step(device: torch.device) -> None:
    """Say that a step is whole. A device that collects work until it is asked for begins with it now."""
    if device.type == "xla":
        _module("torch_xla").sync()


def copies_alongside(device: torch.device) -> bool:
    """Whether the device copies from pinned memory while it computes."""
    return device.type == "cuda"


def total_memory(device: torch.device) -> int | None:
    """Bytes of the device's own memory; None for a processor, and where it does not tell."""
    return _told(device, lambda module: module.get_device_properties(device).total_memory)


def free_memory(device: torch.device) -> int | None:
    """Bytes of the device's own memory that nobody has yet; None likewise."""
    return _told(device, lambda module: module.mem_get_info(device)[0])


def peak_memory(device: torch.device) -> int | None:
    """Most bytes of tensors at a time since the process began; None likewise."""
    return _told(device, lambda module: module.max_memory_allocated(device))


def describe(device: torch.device) -> str:
    """The device in words: its own name where it tells it, and its memory."""
    name = KINDS[device.type].title
    if device.type != "cpu":
        module = torch.get_device_module(device)
        name = module.get_device_name(device) if hasattr(module, "get_device_name") else name
    memory = total_memory(device)
    return f"{name} ({device.type})" + (f", {memory / 2**30:.0f} GiB" if memory else "")


def wants_static_shapes(device: torch.device) -> bool:
    """Whether a shape that depends on the data costs a compilation there, and waiting for the device besides."""
    return device.type not in KINDS or KINDS[device.type].static


def awkward_sizes(device: torch.device, sizes: Mapping[str, int]) -> list[str]:
    """A sentence about every size that leaves a part of the device's matrix units empty.

    Args:
        sizes: name, such as width or vocabulary, to size.
    """
    if not wants_static_shapes(device):
        return []
    return [
        f"{name}={size} is no multiple of {LANES}: the {KINDS[device.type].title} computes as if it were "
        f"{-(-size // LANES) * LANES}"
        for name, size in sizes.items()
        if size % LANES
    ]


@cache
def _present(kind: str) -> bool:
    """Whether there is a device of the kind, and a torch that can use it."""
    package = KINDS[kind].package
    if kind == "xla" and "PJRT_DEVICE" not in os.environ:  # it would look for a TPU in the network
        return False
    if package:
        if importlib.util.find_spec(package) is None:
            return False
        _module(package)
    if kind in ("cpu", "xla"):
        return True
    found = torch.accelerator.current_accelerator(check_available=True)
    return found is not None and found.type == kind


def _numbered(kind: str, number: int) -> torch.device:
    if kind in ("cpu", "mps"):
        return torch.device(kind)
    if kind == "xla":
        device: torch.device = _module("torch_xla").device()
        return device
    number %= torch.accelerator.device_count()
    torch.accelerator.set_device_index(number)
    return torch.device(kind, number)


def _told(device: torch.device, ask: Callable[[Any], int]) -> int | None:
    if device.type == "cpu":
        return None
    try:
        return int(ask(torch.get_device_module(device)))
    except (AttributeError, RuntimeError):
        return None


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)
