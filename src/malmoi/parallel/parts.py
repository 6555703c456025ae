"""Which part of a parameter a process has, by the parameter's name and shape."""

from __future__ import annotations

import re

_LAYER = r"(attention\.(global_)?(query|key|value)|feed_forward\.(gate|up))"
_COLUMNS = re.compile(_LAYER + r"(\.base)?\.(weight|bias)$|" + _LAYER + r"\.widen$")
"""Layers whose outputs are divided: the first dimension of weight and bias."""

_ROWS = re.compile(r"(attention\.output|feed_forward\.down)((\.base)?\.weight|\.narrow)$")
"""Layers whose inputs are divided: the second dimension; every process has the bias."""

_VOCABULARY = re.compile(r"(^|\.)(embedding|head)\.weight$")


def divided(name: str, shape: tuple[int, ...], tensor: int) -> tuple[int, ...]:
    """Its shape where the process computes, as `malmoi.parallel.tensor` divides it."""
    if _COLUMNS.search(name) or _VOCABULARY.search(name):
        return (-(-shape[0] // tensor), *shape[1:])
    if _ROWS.search(name):
        return (shape[0], -(-shape[1] // tensor))
    return shape


def sharded(shape: tuple[int, ...], shards: int) -> tuple[int, ...]:
    """Its shape where nothing is computed: the first dimension is dealt out as by torch.chunk, the first has most."""
    return (-(-shape[0] // shards), *shape[1:]) if shape else shape
