"""The devices that a plan knows, and this machine."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from malmoi.core.config import Settings, read_yaml
from malmoi.core.device import machine_facts
from malmoi.core.errors import UserError, nearest
from malmoi.train.precision import choose_precision, product_speed

_WRITTEN = re.compile(r"(?:(\d+)\s*[x×*]\s*)?([a-z][\w-]*)", re.IGNORECASE)


class _Card(Settings):
    """A device as it stands in hardware.yaml, see there for the units."""

    name: str
    peak: float
    memory: float
    bandwidth: float
    inside: float
    outside: float
    node: int
    watts: float | None
    full_watts: float | None = None
    price: float
    tried: bool = False
    source: str


@dataclass(frozen=True)
class Device:
    """One accelerator, and what connects it.

    Attributes:
        peak: floating-point operations a second of dense matrix products in bfloat16.
        memory: bytes.
        bandwidth: bytes a second of its memory.
        inside, outside: bytes a second that it sends to devices of its node, and to others.
        node: devices of a node.
        watts: its power limit; None where the maker does not say.
        clock: share of its full clock that the power limit leaves.
        price: dollars an hour.
        tried: whether the plan was held against a published run on such a device.
        source: where the figures are from.
    """

    name: str
    peak: float
    memory: float
    bandwidth: float
    inside: float
    outside: float
    node: int
    watts: float | None
    clock: float
    price: float
    tried: bool
    source: str


@dataclass(frozen=True)
class Cluster:
    """So many devices of a kind."""

    count: int
    device: Device


def parse_hardware(text: str, price: float | None = None) -> Cluster:
    """What "64xH100" stands for; "2xcpu" is two processes on this machine, whose speed is measured.

    Args:
        price: dollars a device and hour, instead of the table's.

    Raises:
        UserError: it cannot be read, or there is no such device in the table; nothing is guessed of it.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None or not int(found[1] or 1):
        raise UserError(f"{text!r} is no hardware.", "Write a number and a device, such as: --hardware 64xH100")
    count, name = int(found[1] or 1), found[2].lower()
    device = _this_machine(count) if name == "cpu" else _known().get(name)
    if device is None:
        raise UserError(
            f"There is no device {found[2]!r} in the table, so nothing can be said of it.",
            nearest(name, _known()) or f"Known: {', '.join([*_known(), 'cpu'])}.",
        )
    if price is not None:
        device = Device(**{**device.__dict__, "price": price})
    return Cluster(count, device)


@cache
def _known() -> dict[str, Device]:
    table = read_yaml(Path(__file__).with_name("hardware.yaml"))
    return {name: _device(_Card.model_validate(values)) for name, values in table.items()}


def _device(card: _Card) -> Device:
    """With dynamic power as the cube of the clock (it goes with voltage squared, and voltage with the clock)."""
    limited = card.watts is not None and card.full_watts is not None
    clock = (card.watts / card.full_watts) ** (1 / 3) if limited else 1.0  # type: ignore[operator]
    return Device(
        card.name,
        card.peak * 1e12,
        card.memory * 1e9,
        card.bandwidth * 1e9,
        card.inside * 1e9,
        card.outside * 1e9,
        card.node,
        card.watts,
        clock,
        card.price,
        card.tried,
        card.source,
    )


@cache
def _this_machine(processes: int) -> Device:
    """A share of this machine: products and copies are timed, which takes a fifth of a second."""
    facts, cpu = machine_facts(), torch.device("cpu")
    peak = product_speed(cpu, choose_precision(cpu)) / processes
    copied = _copy_speed() / processes
    name, memory = f"{facts['processor']}, 1/{processes} of it", facts["memory"] / processes
    source = "measured here: a plain matrix product, a copy; links as fast as a copy"
    return Device(name, peak, memory, 2 * copied, copied, copied, processes, None, 1.0, 0.0, False, source)


def _copy_speed() -> float:
    """Bytes a second that a copy of 64 MiB gives."""
    source = torch.zeros(1 << 24)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - began)
    return source.nbytes / best
