"""`malmoi attention`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at an attention pattern, prove it, time it.",
    epilog='Example: malmoi attention show "window(8) | global(0)"',
)

Layer = Annotated[
    str, typer.Argument(metavar="PATTERN", help="Such as 'window(8) | global(0)', or 'hashed(rounds=4)'.")
]
BothWays = Annotated[bool, typer.Option("--both-ways", help="As in an encoder, which looks ahead too.")]


@app.command()
def show(
    pattern: Layer,
    length: Annotated[int, typer.Option(min=1, max=512, help="Tokens of the picture.")] = 32,
    both_ways: BothWays = False,
    out: Annotated[Path | None, typer.Option(help="Write the picture as .svg, instead of showing it.")] = None,
) -> None:
    """Draw who may look at whom: a row is a query, a column a key.

    Example: malmoi attention show "window(8) | global(0)"
    """
    import torch

    from malmoi.core.errors import UserError
    from malmoi.core.files import atomic_file
    from malmoi.layers.patterns import CAUSAL
    from malmoi.layers.picture import as_svg, as_text
    from malmoi.layers.schedule import parse_layer

    layer = parse_layer(pattern)
    whole = layer.pattern if both_ways else CAUSAL & layer.pattern
    # Nobody knows the documents of a pattern alone: the picture has three of them.
    mask = whole.dense(length, length, documents=torch.arange(length) * 3 // length)
    if out is None:
        typer.echo(f"{whole}, {length} tokens\n{as_text(mask)}\n{float(mask.float().mean()):.1%} of all pairs")
        return
    if out.suffix != ".svg":
        raise UserError(f"{out} is no name for a drawing.", "Take one that ends in .svg.")
    with atomic_file(out) as file:
        file.write(as_svg(mask, str(whole)))
    typer.echo(str(out))


@app.command()
def verify(pattern: Layer, both_ways: BothWays = False) -> None:
    """Compare every way to compute a pattern with the obvious one, outputs and gradients, at awkward lengths.

    Exit code 1 when one disagrees. Example: malmoi attention verify "window(8) | global(0)"
    """
    from rich.table import Table

    from malmoi.core.console import console
    from malmoi.evaluate.attention import GRADIENTS, OUTPUTS, verify
    from malmoi.layers.schedule import parse_layer

    found = list(verify(parse_layer(pattern), causal=not both_ways))
    table = Table("mix", "cases", "largest difference of outputs", "of gradients", "cannot do", box=None)
    for mix in dict.fromkeys(one.mix for one in found):
        done = [one for one in found if one.mix == mix and not one.refusal]
        refused = dict.fromkeys(one.refusal for one in found if one.mix == mix and one.refusal)
        figures = [f"{max(one.output for one in done):.1e}", f"{max(one.gradient for one in done):.1e}"] if done else []
        table.add_row(mix, str(len(done)), *(figures or ["", ""]), ", ".join(refused))
    console.print(table)
    wrong = [one for one in found if not one.good]
    for one in wrong:
        console.print(
            f"[red]{one.mix}, {one.case}: outputs differ by {one.output:.1e}, gradients by {one.gradient:.1e}[/red]"
        )
    console.print(f"Within {OUTPUTS:g} and {GRADIENTS:g}." if not wrong else "They do not agree.")
    raise typer.Exit(1 if wrong else 0)


@app.command()
def bench(
    pattern: Layer,
    lengths: Annotated[
        str, typer.Option(help="Lengths in tokens, each more than the one before.")
    ] = "512,1024,2048,4096",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is timed; the median counts.")] = 5,
) -> None:
    """Count the operations of a pattern at several lengths, and time it beside full causal attention.

    Forward and backward, of one layer with 4 heads of 64, on one thread.

    Example: malmoi attention bench "window(256)"
    """
    import torch
    from rich.table import Table

    from malmoi.core.console import console
    from malmoi.core.errors import UserError
    from malmoi.evaluate.attention import count_operations, measure
    from malmoi.layers.schedule import EVERYTHING, parse_layer

    layer = parse_layer(pattern)
    try:
        sizes = [int(length) for length in lengths.split(",")]
    except ValueError:
        raise UserError(f"{lengths!r} is no list of lengths.", "Such as: --lengths 512,1024") from None
    if sizes != sorted(set(sizes)) or sizes[0] < 1:
        raise UserError(f"The lengths {lengths} do not rise.", "Such as: --lengths 512,1024")
    torch.set_num_threads(1)
    table = Table("tokens", "operations", "times the last", "ms", "ms of full", "times as fast", box=None)
    before = None
    for length in sizes:
        operations = count_operations(layer, length)
        seconds = measure({"this": layer, "full": EVERYTHING}, length, rounds)
        grown = f"{operations / before:.2f}" if before else ""
        times = [f"{1000 * seconds[name]:.1f}" for name in ("this", "full")]
        table.add_row(f"{length:,}", f"{operations:,}", grown, *times, f"{seconds['full'] / seconds['this']:.2f}")
        before = operations
    console.print(table)
