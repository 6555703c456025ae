"""Which part of a classifier learns: its head, its upper layers, low-rank differences, or all of it."""

from __future__ import annotations

from malmoi.core.config import key_of
from malmoi.core.errors import UserError
from malmoi.layers.low_rank import apply_low_rank
from malmoi.models.model import Backbone


def freeze(body: Backbone, train: str, seed: int) -> int:
    """Leave trainable what `train` says; the pooler or the final norm learns in any case, as the head does.

    Args:
        train: "head" for nothing else, "last:N" for the last N layers, "lora:R" for differences of rank R in all
            layers, "all" for everything.
        seed: of the first low-rank weights.

    Returns:
        The number of the lowest block whose output changes: what the blocks below it give need be computed but once.

    Raises:
        UserError: `train` is none of these, or there are fewer layers.
    """
    first = lowest_trained(train, len(body.blocks))
    kind, _, number = train.partition(":")
    if kind == "all":
        return first
    if kind == "lora":
        apply_low_rank(body, int(number), 2.0 * int(number), seed=seed)
    else:
        body.requires_grad_(False)
        body.blocks[first:].requires_grad_(True)
    for part in body.pooler_parts:
        part.requires_grad_(True)
    return first


def lowest_trained(train: str, layers: int) -> int:
    """Number of the lowest of so many blocks that `train` changes. Takes and raises what `freeze` does."""
    kind, _, number = train.partition(":")
    if train == "all" or (kind == "lora" and number.isdecimal() and int(number)):
        return 0
    if train == "head" or (kind == "last" and number.isdecimal() and 0 < int(number) <= layers):
        return layers - int(number or 0)
    if kind == "last" and number.isdecimal() and int(number):
        has = "1 layer" if layers == 1 else f"{layers} layers"
        raise UserError(
            f"The base has {has}, fewer than {key_of('train')}={train} trains.",
            f"Set {key_of('train')}=last:{layers} or {key_of('train')}=all.",
        )
    raise UserError(f"train={train!r} is not known.", f"Write head, last:N with N up to {layers}, lora:R or all.")
