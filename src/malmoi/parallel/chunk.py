"""A chunk of a model's layers: what it needs of the model, and how an objective runs no more than it.

The objective runs as if the model were whole. Where the chunk begins, the model's own doors (`embed`, `through`) hand
out what came from the chunk below; where it ends, the forward pass is left. So what comes behind the last layer, heads
and losses, is computed with the last chunk, and what comes before the first layer with the first one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.layers.tied_head import TiedHead
from malmoi.models.headed import Headed, body_of
from malmoi.models.model import Backbone, check_room, real_tokens
from malmoi.models.seq2seq import EncoderDecoder, Stack

Hidden = tuple[torch.Tensor, ...]
"""What goes from a chunk to the next: (rows, length, width) each."""


class Reached(Exception):
    """The forward pass has come to the end of a chunk."""

    def __init__(self, *hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden: Hidden = hidden


class BackboneLayers:
    """The layers of a model that is one stack of blocks, or stands on one."""

    def __init__(self, model: Backbone | Headed) -> None:
        self._model, self._body = model, body_of(model)
        self.layers = len(self._body.blocks)

    def parts(self, first: int, end: int) -> list[nn.Module]:
        """The modules that the layers from `first` to before `end` need, the blocks among them."""
        body, parts = self._body, list(self._body.blocks[first:end])
        entrance = body.embedding_parts
        if first == 0:
            parts += entrance
        if end == self.layers:
            others = [*self._model.children(), *body.children()]
            parts += [part for part in others if part not in (body, body.blocks, *entrance)]
            if isinstance(body.head, TiedHead):
                parts.append(body.head.embedding)
        return parts

    @contextlib.contextmanager
    def only(self, first: int, end: int, received: Hidden) -> Iterator[None]:
        """Inside, a forward pass goes through these layers alone, and raises `Reached` unless they are the last."""
        body = self._body

        def embed(*_arguments: Any, **_named: Any) -> torch.Tensor:
            return received[0]

        def through(hidden: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
            hidden = type(body).through(body, hidden, *arguments, **(named | {"first": first, "end": end}))
            if end < self.layers:
                raise Reached(hidden)
            return hidden

        with _replaced(body, {"through": through} | ({"embed": embed} if first else {})):
            yield


class EncoderDecoderLayers:
    """The layers of an encoder and then those of a decoder, between which the encoder's states pass beside its own."""

    def __init__(self, model: EncoderDecoder) -> None:
        self._model = model
        self._encoders = len(model.encoder.blocks)
        self.layers = self._encoders + len(model.decoder.blocks)

    def parts(self, first: int, end: int) -> list[nn.Module]:
        """See `BackboneLayers.parts`."""
        model, encoders = self._model, self._encoders
        parts: list[nn.Module] = [*model.encoder.blocks, *model.decoder.blocks][first:end]
        for stack, has_layers in ((model.encoder, first < encoders), (model.decoder, end > encoders)):
            if has_layers and stack.relative_positions is not None:
                parts.append(stack.relative_positions)
        if first < encoders <= end:
            parts.append(model.encoder.norm)
        if end == self.layers:
            parts += [model.decoder.norm, model.head]
        if first == 0 or first <= encoders < end or (end == self.layers and isinstance(model.head, TiedHead)):
            parts += [model.embedding, model.dropout]
        return parts

    @contextlib.contextmanager
    def only(self, first: int, end: int, received: Hidden) -> Iterator[None]:
        """See `BackboneLayers.only`; the decoder's layers give the encoder's states, and their own."""
        model, encoders = self._model, self._encoders

        def encode(source: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
            if first >= encoders:
                return received[0]
            check_room(source.shape[1], model.config.context)
            hidden = received[0] if first else model.embed(source)
            hidden = model.encoder.through(hidden, _real(lengths, source), first=first, end=min(end, encoders))
            if end < encoders:
                raise Reached(hidden)
            memory: torch.Tensor = model.encoder.norm(hidden)
            if end == encoders:
                raise Reached(memory)
            return memory

        def decode(
            target: torch.Tensor, memory: torch.Tensor, lengths: torch.Tensor | None = None, cache: None = None
        ) -> torch.Tensor:
            check_room(target.shape[1], model.config.context)
            begin, stop = max(first - encoders, 0), end - encoders
            decoder: Stack = model.decoder
            hidden = received[1] if begin else model.embed(target)
            real = _real(lengths, memory)
            hidden = decoder.through(hidden, memory=memory, source_real=real, first=begin, end=stop)
            if end < self.layers:
                raise Reached(memory.clone(), hidden)  # what came must not be what goes: gradients are kept apart
            result: torch.Tensor = decoder.norm(hidden)
            return result

        with _replaced(model, {"encode": encode, "decode": decode}):
            yield


Layers = BackboneLayers | EncoderDecoderLayers


def layers_of(model: nn.Module) -> Layers:
    """The layers of a model, to be divided.

    Raises:
        UserError: they cannot be.
    """
    if getattr(getattr(body_of(model), "config", None), "reversible", False):  # type: ignore[arg-type]
        raise UserError(
            "The layers of a reversible model cannot be divided: between two of them there is more than one state.",
            "Leave pipeline out of the layout, or set reversible=false.",
        )
    if isinstance(model, EncoderDecoder):
        return EncoderDecoderLayers(model)
    if isinstance(model, (Backbone, Headed)):
        return BackboneLayers(model)
    raise UserError(
        f"The layers of a {type(model).__name__} cannot be divided among processes.",
        "Leave pipeline out of the layout.",
    )


def keep_only(model: nn.Module, parts: list[nn.Module]) -> None:
    """Remove all modules of `model` but these, in place; the names of what stays are the same."""
    kept = {module for part in parts for module in part.modules()}
    for name, child in list(model.named_children()):
        if child in kept:
            continue
        if any(module in kept for module in child.modules()):
            keep_only(child, parts)
        elif isinstance(model, nn.ModuleList):
            model[int(name)] = nn.Identity()
        else:
            setattr(model, name, None)


@contextlib.contextmanager
def _replaced(module: nn.Module, methods: dict[str, Callable[..., Any]]) -> Iterator[None]:
    for name, method in methods.items():
        setattr(module, name, method)
    try:
        yield
    finally:
        for name in methods:
            delattr(module, name)


def _real(lengths: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor | None:
    return None if lengths is None else real_tokens(lengths, rows.shape[1])
