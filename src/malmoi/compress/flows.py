"""Layers in the order in which text reaches them, with what flows into them now and did before anything was changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.core.accelerator import device_of
from malmoi.core.errors import UserError
from malmoi.generate.generator import evaluating
from malmoi.models.model import Model
from malmoi.parallel.chunk import Hidden, Layers, Reached, layers_of


class Flow(NamedTuple):
    """Of the inputs x of layers that read the same, and of what they were, y, while the model was whole.

    Attributes:
        statistic: of x.
        crossed: (inputs, inputs) float32, the mean of y xᵀ over all tokens.
    """

    statistic: Statistic
    crossed: torch.Tensor


def flows(model: Model, names: Iterable[str], calibration: Calibration) -> Iterator[tuple[list[str], Flow | None]]:
    """Layers of these names that read the same, in the order of the model; None where they read ids of tokens.

    The caller changes the layers he is given, and the next are read behind them. A model that can be divided is read
    block by block, about six times in all, and what flows into the layers of one block is held. Another is read anew
    for every group of layers, and what flows into all is held. Layers that nothing flows into are left out.

    Raises:
        UserError: there is no text.
    """
    calibration.expect_text(model)
    names, chunks = list(names), _chunks(model)
    left = set(names)
    read = model.logits if calibration.heads else model
    now: list[Hidden] = [()] * len(calibration.rows)
    before = now
    for number, layers in enumerate(chunks):
        chunk = _Chunk(model, read, layers, number, len(chunks), calibration.rows)
        inputs, before = chunk.run(before, names)
        for together in _groups(inputs):
            whole = inputs[together[0]]
            left.difference_update(together)
            if not whole[0].is_floating_point():
                yield together, None
                continue
            changed, _ = chunk.run(now, together[:1])
            yield together, _flow(whole, changed[together[0]])
            for name in together:
                del inputs[name]
        if not left:
            return
        _, now = chunk.run(now, [])
        calibration.advance(sum(map(len, calibration.rows)) // len(chunks))


class _Chunk:
    """Some layers of a model, through which rows go by themselves."""

    def __init__(
        self,
        model: Model,
        read: Callable[[torch.Tensor], object],
        layers: Layers | None,
        first: int,
        count: int,
        rows: Sequence[Sequence[int]],
    ) -> None:
        self._model, self._read, self._layers, self._rows = model, read, layers, rows
        self._first, self._last = first, first + 1 == count

    def run(
        self, received: Sequence[Hidden], names: Iterable[str]
    ) -> tuple[dict[str, list[torch.Tensor]], list[Hidden]]:
        """What flows into the layers of these names, for every row; and what the chunk gives, if others come behind."""
        inputs: dict[str, list[torch.Tensor]] = {}

        def keep(name: str, layer: nn.Module, arguments: tuple[torch.Tensor]) -> None:
            inputs.setdefault(name, []).append(arguments[0])

        hooks = [self._model.get_submodule(name).register_forward_pre_hook(partial(keep, name)) for name in names]
        try:
            with torch.inference_mode(), evaluating(self._model):
                given = [self._through(row, hidden) for row, hidden in zip(self._rows, received, strict=True)]
        finally:
            for hook in hooks:
                hook.remove()
        return inputs, given

    def _through(self, row: Sequence[int], received: Hidden) -> Hidden:
        only = (
            contextlib.nullcontext()
            if self._layers is None
            else self._layers.only(self._first, self._first + 1, received)
        )
        try:
            with only:
                self._read(torch.tensor([list(row)], device=device_of(self._model)))
        except Reached as reached:
            return reached.hidden
        return ()


def _chunks(model: Model) -> list[Layers | None]:
    """One for each layer; a single None for a model that cannot be divided."""
    try:
        layers = layers_of(model)
    except UserError:
        return [None]
    return [layers] * layers.layers


def _groups(inputs: dict[str, list[torch.Tensor]]) -> list[list[str]]:
    """Names of layers that read the same tensor, in the order in which they read."""
    groups: list[list[str]] = []
    for name, read in inputs.items():
        if groups and inputs[groups[-1][0]][0] is read[0]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _flow(before: Sequence[torch.Tensor], now: Sequence[torch.Tensor]) -> Flow:
    products, crossed, tokens = torch.zeros(()), torch.zeros(()), 0
    for old, new in zip(before, now, strict=True):
        flat = new.reshape(-1, new.shape[-1]).float()
        products = products + flat.t() @ flat
        crossed = crossed + old.reshape(flat.shape).float().t() @ flat
        tokens += len(flat)
    return Flow(Statistic(products / tokens, tokens), crossed / tokens)
