"""`malmoi plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malmoi.core.errors import UserError


def plan(
    model: Annotated[str, typer.Argument(help="A published shape such as gpt3-175b, a checkpoint, or a recipe.")],
    hardware: Annotated[str, typer.Option(help="How many of which device, such as 64xH100, or 2xcpu for this one.")],
    tokens: Annotated[
        str | None, typer.Option(help="Tokens to train on, such as 300B; 20 a parameter by default.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Such as data=2,tensor=8; the best are searched by default.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Rows of a step; as GPT-3's by default.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(min=1, help="Rows that a process computes at once; the best are searched by default.")
    ] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens of a row; the model's own by default.")] = None,
    precision: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    optimizer: Annotated[str, typer.Option(help="adamw or muon.")] = "adamw",
    recompute: Annotated[
        str | None, typer.Option(help="blocks, feed_forward, attention or none; none and blocks are tried by default.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Dollars a device and hour; those of the hardware table by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan as .html with pictures, or as .json.")] = None,
) -> None:
    """Say what a training takes before money is spent: memory, time, share of peak, dollars; and how to divide it.

    Example: malmoi plan gpt3-175b --hardware 1024xH100 --tokens 300B --out plan.html
    """
    from malmoi.core.console import console
    from malmoi.pipeline.planning.page import write_plans
    from malmoi.pipeline.planning.plan import best_plans
    from malmoi.pipeline.planning.show import print_plans
    from malmoi.pipeline.planning.wishes import parse_wishes

    if out is not None and out.suffix not in (".html", ".json"):
        raise UserError(f"{out} is no name for a plan.", "Take one that ends in .html or .json.")
    wishes = parse_wishes(
        model,
        hardware,
        tokens=tokens,
        layout=layout,
        rows=batch,
        micro_rows=micro_batch,
        length=context,
        precision=precision,
        optimizer=optimizer,
        recompute=recompute,
        price=price,
    )
    with console.status("Counting"):
        plans = best_plans(wishes)
    print_plans(plans)
    if out is not None:
        write_plans(plans, out)
        console.print(str(out), markup=False)
