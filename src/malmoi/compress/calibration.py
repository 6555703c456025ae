"""What flows into each layer when the model reads text: one statistic, gathered in one pass, for several methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from malmoi.core.accelerator import device_of
from malmoi.core.errors import UserError
from malmoi.data.batch import TextBatch
from malmoi.generate.generator import evaluating
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Backbone, Model
from malmoi.objectives.causal import Causal


@dataclass(frozen=True)
class Statistic:
    """Of the inputs x of one layer, over all tokens.

    Attributes:
        products: (inputs, inputs) float32, the mean of x xᵀ.
        tokens: how many there were.
    """

    products: torch.Tensor
    tokens: int

    @property
    def norms(self) -> torch.Tensor:
        """(inputs,) root of the mean square of each input."""
        return self.products.diagonal().sqrt()


class Calibration:
    """Text for a model to read while its layers are watched.

    Args:
        rows: token ids; each row is read by itself.
        advance: called with the tokens read since the last call.
        heads: whether the head of words is of use, as it is not beneath a head of classes; else nothing flows into it.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]] = (),
        advance: Callable[[int], None] = lambda tokens: None,
        *,
        heads: bool = True,
    ) -> None:
        self.rows, self.heads, self.advance = rows, heads, advance

    def expect_text(self, model: Model) -> None:
        """For a method that lets `model` read.

        Raises:
            UserError: there is no text, or the model reads pairs.
        """
        if not isinstance(model, Backbone):
            raise UserError(
                "This method looks at what flows through the model, and a translator reads pairs and no text.",
                "Take int8, or int4 with rounding: nearest.",
            )
        if not any(self.rows):
            raise UserError(
                "This method looks at what flows through the model, and there is no text.",
                "Name a corpus. Without one there are rounding: nearest, smoothed: false and whitened: false.",
            )

    def statistics(self, model: Model, names: Iterable[str]) -> dict[str, Statistic]:
        """Name of a linear layer, or of a head, to what flows into it; layers that read nothing are left out.

        Layers that read the same share their numbers.

        Raises:
            UserError: there is no text.
        """
        names, watch = list(names), _Watch()
        read = model.logits if self.heads and any(name.split(".")[0] == "head" for name in names) else model
        hooks = [model.get_submodule(name).register_forward_pre_hook(partial(watch, name)) for name in names]
        self._read(model, read, hooks)
        found = watch.statistics()
        return {name: found[name] for name in names if name in found}

    def frequencies(self, vocabulary: int) -> torch.Tensor:
        """(vocabulary,) float32, how often each token is read, as if each had been read half a time more."""
        read = torch.tensor([token for row in self.rows for token in row], dtype=torch.int64)
        return torch.bincount(read, minlength=vocabulary) + 0.5

    def turns(self, model: Backbone) -> list[float]:
        """For each block, by how much the state it gives points elsewhere than the one it gets: 1 - cosine, the mean.

        What ShortGPT calls the influence of a block (Men and others 2024, arXiv:2403.03853). Raises as `statistics`.
        """
        sums = [0.0] * len(model.blocks)

        def add(number: int, block: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            sums[number] += float((1 - F.cosine_similarity(inputs[0], output, dim=-1)).sum())

        self._read(model, model, [block.register_forward_hook(partial(add, n)) for n, block in enumerate(model.blocks)])
        return [total / sum(map(len, self.rows)) for total in sums]

    def gradients(self, model: LanguageModel, names: Iterable[str]) -> dict[str, float]:
        """For each layer the mean square of the gradient of its outputs, of the loss of a token: what an error costs.

        Raises as `statistics`.
        """
        sums: dict[str, float] = {}

        def add(name: str, layer: nn.Module, inputs: Any, outputs: tuple[torch.Tensor, ...]) -> None:
            sums[name] = sums.get(name, 0.0) + float(outputs[0].double().square().mean(-1).sum())

        def loss(tokens: torch.Tensor) -> None:
            with torch.inference_mode(False), torch.enable_grad():
                tokens = tokens.clone()
                batch = TextBatch(tokens[:, :-1], tokens[:, 1:])
                torch.autograd.backward(Causal().loss(model, batch).total, inputs=weights)

        layers = {name: model.get_submodule(name) for name in names}
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._read(
            model, loss, [layer.register_full_backward_hook(partial(add, name)) for name, layer in layers.items()]
        )
        model.zero_grad()
        return sums

    def _read(self, model: Model, read: Callable[[torch.Tensor], object], hooks: Sequence[RemovableHandle]) -> None:
        """Let `read` of the model see all rows while the hooks watch."""
        try:
            self.expect_text(model)
            with torch.inference_mode(), evaluating(model):
                for row in self.rows:
                    read(torch.tensor([list(row)], device=device_of(model)))
                    self.advance(len(row))
        finally:
            for hook in hooks:
                hook.remove()


class _Watch:
    """Sums up the products of what flows into layers, once for those that read the same."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._tokens: dict[str, int] = {}
        self._same: dict[str, str] = {}
        self._last: tuple[str, torch.Tensor | None] = ("", None)

    def __call__(self, name: str, layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        """What PyTorch calls before `layer` computes."""
        (hidden,) = inputs
        before, read = self._last
        if hidden is read:
            self._same[name] = before
            return
        self._last = name, hidden
        flat = hidden.reshape(-1, hidden.shape[-1]).float()
        products = flat.t() @ flat
        self._sums[name] = self._sums[name].add_(products) if name in self._sums else products
        self._tokens[name] = self._tokens.get(name, 0) + len(flat)

    def statistics(self) -> dict[str, Statistic]:
        own = {name: Statistic(total / self._tokens[name], self._tokens[name]) for name, total in self._sums.items()}
        return own | {name: own[first] for name, first in self._same.items()}
