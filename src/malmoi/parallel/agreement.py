"""What all processes must see alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from malmoi.core.errors import UserError

Value = TypeVar("Value")


def of_the_first(find: Callable[[], Value]) -> Value:
    """What the first process finds, on every process."""
    found: list[Any] = [find() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(found, src=0)
    value: Value = found[0]
    return value


def of_the_least(number: int) -> int:
    """The smallest of all processes' numbers, on every process."""
    of_all = [0] * dist.get_world_size()
    dist.all_gather_object(of_all, number)
    return min(of_all)


def check_same(facts: Mapping[str, str]) -> None:
    """Refuse to train different things.

    Args:
        facts: a hash of everything that must be alike, by what it is.

    Raises:
        UserError: on every process; says what differs.
    """
    of_all: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(of_all, dict(facts))
    for index, others in enumerate(of_all):
        differ = [name for name in of_all[0] if others[name] != of_all[0][name]]
        if differ:
            raise UserError(
                f"Process {index} has not the same {' and '.join(differ)} as process 0.",
                "Give every process the same recipe, the same files and the same version.",
            )


def anywhere(here: Sequence[bool], device: torch.device) -> list[bool]:
    """Whether each of some things holds in any process."""
    found = torch.tensor(here, dtype=torch.int32, device=device)
    dist.all_reduce(found)
    return [count > 0 for count in found.tolist()]
