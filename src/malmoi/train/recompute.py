"""Activations that are computed again in the backward pass instead of being kept.

Chen and others 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from malmoi.core.errors import UserError

WHOLE = "blocks"
"""Stands for the blocks themselves; any other name for a part of each block."""


@contextlib.contextmanager
def recomputing(model: nn.Module, what: str) -> Iterator[None]:
    """Inside, the chosen modules keep nothing but their inputs; dropout is the same when it is computed again.

    Args:
        what: "blocks" for every block, "feed_forward" or "attention" for that part of every block, "" for nothing;
            with ":N" behind it every N-th block, or its part, only.

    Raises:
        UserError: the model has no such part.
    """
    chosen = _chosen(model, what) if what else []
    for module in chosen:
        module.forward = partial(_forward, module, module.forward)
    try:
        yield
    finally:
        for module in chosen:
            del module.forward  # the class's own is there again


def check_recompute(model: nn.Module, what: str) -> None:
    """Refuse what would change nothing but the first block.

    Args:
        model: whole.

    Raises:
        UserError: of more blocks than there are, every one is to be the next that is computed again.
    """
    every = what.partition(":")[2]
    blocks = {match[1] for path, _ in model.named_modules() if (match := re.fullmatch(r"(?:.*\.)?blocks\.(\d+)", path))}
    if every.isdecimal() and 0 < len(blocks) < int(every):
        raise UserError(
            f"recompute={what!r}: there are only {len(blocks)} blocks.",
            f"Write a number up to {len(blocks)} behind it.",
        )


def _forward(module: nn.Module, forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not (module.training and torch.is_grad_enabled()):
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def _chosen(model: nn.Module, what: str) -> list[nn.Module]:
    name, _, every = what.partition(":")
    if every and not (every.isdecimal() and int(every)):
        raise UserError(f"recompute={what!r} is not known.", "Write blocks, blocks:2, feed_forward or attention.")
    part = "" if name == WHOLE else rf"\.{re.escape(name)}"
    places = [re.fullmatch(rf"(?:.*\.)?blocks\.(\d+){part}", path) for path, _ in model.named_modules()]
    there = [match for match in places if match]  # a process of a pipeline may have none that is chosen
    if not there:
        names = [path.partition("blocks.0.")[2] for path, _ in model.named_modules()]
        parts = sorted({name for name in names if name and "." not in name})
        raise UserError(f"recompute={what!r}: no block has {name!r}.", f"There are: {', '.join([WHOLE, *parts])}.")
    return [model.get_submodule(match.string) for match in there if int(match[1]) % int(every or 1) == 0]
