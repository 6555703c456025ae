"""`malmoi verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Prove on this machine what is promised.",
    epilog="Example: malmoi verify parallel",
)


@app.callback()
def verify() -> None:
    """Prove on this machine what is promised."""


@app.command()
def parallel(
    layout: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=N,...", help="Such as data=2,tensor=2; nine usual ones by default."),
    ] = None,
    family: Annotated[str, typer.Option(help="gpt, encoder or encoder-decoder.")] = "gpt",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 20,
    optimizer: Annotated[str, typer.Option(help="muon or adamw.")] = "muon",
    out: Annotated[Path | None, typer.Option(help="Write the figures as .json too.")] = None,
) -> None:
    """Train a small model in one process and in each layout, and compare losses, gradients and weights.

    Example: malmoi verify parallel --layout shard=2,tensor=2 --family encoder
    """
    import dataclasses

    import torch
    from rich.table import Table

    from malmoi.core.config import apply_override, parse_settings
    from malmoi.core.console import console
    from malmoi.core.device import machine_facts
    from malmoi.core.errors import UserError, nearest
    from malmoi.core.files import write_json
    from malmoi.parallel.layout import Layout
    from malmoi.pipeline.verify_parallel import DEFAULT_LAYOUTS, MODELS, TOLERANCE, Comparison, another_order
    from malmoi.pipeline.verify_parallel import verify as verify_layout

    if family not in MODELS:
        raise UserError(
            f"There is no family {family!r} to verify.", nearest(family, MODELS) or f"Known: {', '.join(MODELS)}."
        )
    if optimizer not in ("muon", "adamw"):
        raise UserError(f"There is no optimizer {optimizer!r}.", "Known: muon, adamw.")
    layouts = list(DEFAULT_LAYOUTS)
    if layout:
        layouts = []
        for words in layout:
            values: dict[str, Any] = {}
            for word in words.split(","):
                apply_override(values, word)
            layouts.append(parse_settings(Layout, values, f"--layout {words}"))
    table = Table("layout", "processes", "loss", "gradient norm", "weights", "", box=None)
    parted = False
    written = []

    def show(name: str, found: Comparison) -> None:
        verdict = "equal" if found.parts is None else f"they part at step {found.parts}"
        sizes = (f"{size:.1e}" for size in (found.loss, found.norm, found.weight))
        written.append({**dataclasses.asdict(found), "layout": name})
        table.add_row(name, str(found.layout.processes), *sizes, verdict)
        console.print(f"  [dim]{name}: {verdict}[/dim]")

    show("another order", another_order(family, steps, optimizer))  # type: ignore[arg-type]
    for one in layouts:
        found = verify_layout(one, family, steps, optimizer)  # type: ignore[arg-type]
        parted = parted or found.parts is not None
        show(str(one), found)
    console.print(f"{family}, {steps} steps, {optimizer}, float32: greatest differences from one process, as shares")
    console.print(table)
    if out is not None:
        facts = {"family": family, "steps": steps, "optimizer": optimizer, "torch": torch.__version__}
        write_json(out, {**facts, "machine": machine_facts(), "compared": written})
    if parted:
        console.print(f"Losses or gradient norms differ by more than {TOLERANCE:g}.")
        raise typer.Exit(1)
