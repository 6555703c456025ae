"""What to say where the tensors of a file are not those of its configuration."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from malmoi.core.errors import UserError
from malmoi.formats.family import Line, Table
from malmoi.formats.fill import their_shape
from malmoi.formats.registry import FAMILIES

Shape = tuple[int, ...]

_SHOWN = 8
"""Lines of each kind of mismatch in a message."""
_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Mismatch:
    """How the tensors of a file differ from those that its configuration asks for.

    Attributes:
        missing, unexpected: name to shape.
        reshaped: name to the shape in the file and the one asked for.
    """

    missing: dict[str, Shape]
    unexpected: dict[str, Shape]
    reshaped: dict[str, tuple[Shape, Shape]]


def check_shapes(plan: Sequence[Line], ours: Mapping[str, torch.Size], theirs: Mapping[str, Shape], where: str) -> None:
    """Compare what a model needs with what a file has, before any memory is taken.

    Raises:
        UserError: a table of the tensors that are missing, unexpected or of another shape, with the likely reason.
    """
    expected = {line.theirs: their_shape(line, ours) for line in plan}
    found = Mismatch(
        {name: shape for name, shape in expected.items() if name not in theirs},
        {name: shape for name, shape in theirs.items() if name not in expected},
        {name: (theirs[name], shape) for name, shape in expected.items() if theirs.get(name, shape) != shape},
    )
    if found.missing or found.unexpected or found.reshaped:
        raise UserError(
            f"The tensors in {where} are not those of its configuration.\n{_table(found)}\n",
            _likely_reason(found, expected, theirs),
        )


def _table(found: Mismatch) -> str:
    sections = {
        "missing": [f"{name} {shape}" for name, shape in found.missing.items()],
        "unexpected": [f"{name} {shape}" for name, shape in found.unexpected.items()],
        "of another shape": [
            f"{name}: {theirs} in the file, {wanted} in the model" for name, (theirs, wanted) in found.reshaped.items()
        ],
    }
    return "\n".join(_section(kind, rows) for kind, rows in sections.items() if rows)


def _section(kind: str, rows: list[str]) -> str:
    more = [f"    and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    return "\n".join([f"  {kind}:", *(f"    {row}" for row in rows[:_SHOWN]), *more])


def _likely_reason(found: Mismatch, expected: Collection[str], theirs: Collection[str]) -> str:
    family = _family_of(theirs)
    if family and _share(expected, theirs) < 0.5:
        return f"Its names are those of {family}: config.json belongs to another model."
    if not found.unexpected and not found.reshaped and all("head" in name for name in found.missing):
        return (
            "The file has no head of its own; where that is the embedding, config.json says tie_word_embeddings: true."
        )
    layers, wanted = _layers(theirs), _layers(expected)
    if layers != wanted and not found.reshaped:
        return f"The file has {layers} layers and config.json asks for {wanted}: either is from another model."
    rows = {(there[0], asked[0]) for there, asked in found.reshaped.values() if there[1:] == asked[1:]}
    if len(rows) == 1 and len(found.reshaped) <= 2 and not found.missing and not found.unexpected:
        ((there, asked),) = rows
        return f"Where config.json says {asked:,} the file has {there:,} rows: correct it if the rest is right."
    return "Either file is from another model, or not whole: get the checkpoint again."


def _family_of(names: Collection[str]) -> str:
    """The families whose table knows most of the names, "" where none knows half of them."""
    known = {family.model_type: _known_share(family.table, names) for family in FAMILIES}
    best = max(known.values())
    return " or ".join(name for name, share in known.items() if share == best) if best >= 0.5 else ""


def _known_share(table: Table, names: Collection[str]) -> float:
    spelled = {theirs.replace("{}", "0") for theirs in table}
    return sum(_LAYER.sub(".0.", name) in spelled for name in names) / max(1, len(names))


def _share(expected: Collection[str], theirs: Collection[str]) -> float:
    return sum(name in theirs for name in expected) / max(1, len(expected))


def _layers(names: Collection[str]) -> int:
    return 1 + max((int(match.group(1)) for name in names if (match := _LAYER.search(name))), default=-1)
