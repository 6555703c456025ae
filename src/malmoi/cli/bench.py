"""`malmoi bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure this machine at work.",
    epilog="Example: malmoi bench train",
)


@app.callback()
def bench() -> None:
    """Measure this machine at work."""


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe that pretrains; a model of 12M parameters by default.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings; dots lead inwards, as in pretrain.rows=16."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How many steps are timed; the median counts.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Write the figures as .json too.")] = None,
) -> None:
    """Time a training step: tokens and operations a second, their share of this machine's peak, and where time goes.

    Example: malmoi bench train shakespeare pretrain.rows=16
    """
    import dataclasses

    from rich.table import Table

    from malmoi.core.console import console
    from malmoi.core.device import machine_facts
    from malmoi.core.files import write_json
    from malmoi.pipeline.bench import measure_speed, shape_of, twelve_million

    speed = measure_speed(twelve_million() if recipe is None else shape_of(recipe, overrides or []), rounds)
    console.print(
        f"{speed.parameters:,} parameters, {speed.tokens:,} tokens a step, {speed.precision}\n"
        f"{speed.tokens / speed.seconds:,.0f} tokens/s, {speed.operations / speed.seconds / 1e9:,.1f} GFLOP/s, "
        f"{speed.share:.0%} of the {speed.peak / 1e9:,.1f} GFLOP/s of a matrix product here"
    )
    table = Table("part", "ms a step", "share", box=None)
    for name, seconds in sorted(speed.parts.items(), key=lambda part: -part[1]):
        table.add_row(name, f"{1000 * seconds:,.1f}", f"{seconds / speed.seconds:.1%}")
    console.print(table)
    if out is not None:
        facts: dict[str, Any] = {"machine": machine_facts(), "share": speed.share, **dataclasses.asdict(speed)}
        write_json(out, facts)
