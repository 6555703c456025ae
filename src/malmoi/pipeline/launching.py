"""How many processes a recipe wants, and what is launched for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from malmoi.core.errors import UserError
from malmoi.parallel.layout import Layout
from malmoi.pipeline.recipe import Recipe

A_MACHINE = 8
"""Devices of a usual machine."""


def layouts(recipe: Recipe) -> Iterator[tuple[str, Layout]]:
    """The key by which an override sets a stage's layout, and the layout, of every stage that has one."""
    for step in recipe.steps:
        if step.parallel.processes > 1:
            yield f"{step.name}.parallel", step.parallel


def wanted_processes(recipe: Recipe) -> int:
    """Processes of the recipe's layouts; 1 where no stage has one.

    Raises:
        UserError: two stages want different numbers.
    """
    found = list(layouts(recipe))
    for (first, one), (second, other) in itertools.pairwise(found):
        if one.processes != other.processes:
            raise UserError(
                f"{first} ({one}) takes {one.processes} processes, and {second} ({other}) {other.processes}.",
                "All stages of a run share the same processes: give both layouts the same product.",
            )
    return found[0][1].processes if found else 1


def machines(recipe: Recipe, nodes: int | None, devices: int | None) -> tuple[int, int]:
    """Nodes and devices on each, as asked for or as the recipe's layout wants them.

    Raises:
        UserError: they are not the layout's number of processes.
    """
    wanted = wanted_processes(recipe)
    if nodes is None and devices is None:
        devices = min(wanted, A_MACHINE)
    if devices is None:
        devices = max(1, wanted // (nodes or 1))
    if nodes is None:
        nodes = max(1, wanted // devices)
    if nodes * devices == wanted:
        return nodes, devices
    if any(step.parallel.automatic for step in recipe.steps):
        return nodes, devices
    found = next(layouts(recipe), None)
    if found is None:
        raise UserError(
            f"No stage of {recipe.name} has a layout, so {nodes * devices} processes would have nothing to share.",
            f"Set one, for example parallel.data={nodes * devices}, or parallel=auto.",
        )
    key, layout = found
    raise UserError(
        f"{key} ({layout}) takes {wanted} processes, and {nodes} nodes with {devices} devices each are "
        f"{nodes * devices}.",
        f"Change --nodes and --devices-per-node, or the layout, for example {key}.data=N.",
    )
