"""The door through which public weights pass: how `transformers` writes one family of models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from malmoi.models.model import ModelConfig

Fields = Mapping[str, Any]
"""The content of a config.json."""

Table = Mapping[str, str]
"""Their name on the left, ours on the right.

{} is the number of the block. Several of ours are joined along their rows into one of theirs; "T" means that theirs is
stored transposed. A line counts where the model has all of its parameters: pooler, biases and heads are optional, and
two stacks may differ in depth.
"""


@dataclass(frozen=True)
class Family:
    """One `model_type`.

    Attributes:
        model_type: its word in config.json.
        config: our configuration.
        table: names of the model with its head of words.
        understand: their fields and the names of their tensors to the values of our configuration; a field that is
            missing raises KeyError.
        express: our configuration to their fields, None where this family cannot say it.
        unsupported: features by name, and whether the fields ask for them; they would change the result silently.
        name: what the names of their classes begin with.
        words: name of their class with a head of words.
        prefix: first part of the names of the body, which files of a bare body leave out.
        classes_table: names that a classifier needs, instead of and beside those of `table`; None where malmoi has no
            classifier of this family.
        token_heads: whether their heads that score every token read the last states as they are.
        gated_table: the same of a model whose feed-forward layers are gated.
        tied: tensors of theirs that repeat the embedding where the head is tied to it.
        unused: parts of theirs that malmoi has no use for, such as a head for the next sentence.
    """

    model_type: str
    config: type[ModelConfig]
    table: Table
    understand: Callable[[Fields, Collection[str]], dict[str, Any]]
    express: Callable[[Any], dict[str, Any] | None]
    name: str
    words: str
    prefix: str
    unsupported: Callable[[Fields], dict[str, object]] = field(default=lambda fields: {})
    classes_table: Table | None = field(default_factory=lambda: {"score.weight": "score.weight"})
    token_heads: bool = False
    gated_table: Table = field(default_factory=dict)
    tied: tuple[str, ...] = ("lm_head.weight",)
    unused: tuple[str, ...] = ()

    def lines(self, layers: int, names: Collection[str], head: Table | None = None) -> list[Line]:
        """The table written out for a model whose parameters have these names, with those of its own head."""
        table = self.table
        if any(name.endswith(".feed_forward.gate.weight") for name in names):
            table = _replaced(table, self.gated_table)
        return lines(_replaced(table, head or {}), layers, names)


@dataclass(frozen=True)
class Line:
    """One tensor of theirs.

    Attributes:
        theirs: its name.
        ours: the names of the parameters it holds, joined along their rows.
        transposed: whether theirs is stored transposed.
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False


def lines(table: Table, layers: int, names: Collection[str]) -> list[Line]:
    """A table written out for a model of so many layers whose parameters have these names."""
    result = []
    for theirs, right in table.items():
        transposed = right.startswith("T ")
        for layer in range(layers) if "{}" in theirs else [0]:
            ours = tuple(right.removeprefix("T ").replace("{}", str(layer)).split())
            if all(name in names for name in ours):
                result.append(Line(theirs.replace("{}", str(layer)), ours, transposed))
    return result


def _replaced(table: Table, other: Table) -> Table:
    """A table with the lines of another one, instead of those for the same parameters and beside the rest."""
    elsewhere = set(other.values())
    return {**{theirs: ours for theirs, ours in table.items() if ours not in elsewhere}, **other}
