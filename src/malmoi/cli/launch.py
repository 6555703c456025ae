"""`malmoi launch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.run import Overrides


def launch(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, a YAML file, or a folder of text.")],
    overrides: Overrides = None,
    on: Annotated[str, typer.Option(metavar="TARGET", help="local, slurm, kubernetes, skypilot or ray.")] = "local",
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines; as the recipe's layout wants by default.")] = None,
    devices_per_node: Annotated[
        int | None, typer.Option(min=1, help="Processes on each, one a device; as the layout wants by default.")
    ] = None,
    hardware: Annotated[
        str,
        typer.Option(
            help="The accelerator, such as H100; for kubernetes LABEL=VALUE chooses machines; any by default."
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Run directory that all see; runs/RECIPE by default.")] = None,
    storage: Annotated[
        str, typer.Option(help="What outlives the machines: a volume; for skypilot a bucket too, such as s3://NAME.")
    ] = "",
    spot: Annotated[bool, typer.Option("--spot", help="Cheaper machines that may be taken away (skypilot).")] = False,
    hours: Annotated[
        float, typer.Option(min=0.1, help="Hours after which SLURM requeues the job, and it goes on.")
    ] = 24,
    restarts: Annotated[int, typer.Option(min=0, help="How often all start again after a failure, at most.")] = 3,
    install: Annotated[
        str, typer.Option(metavar="COMMAND", help="Command that brings malmoi to a new machine; '' where it is there.")
    ] = "pip install malmoi",
    image: Annotated[str, typer.Option(help="Container for kubernetes; the runtime's own by default.")] = "",
    files: Annotated[Path | None, typer.Option(help="Where the files go; launch/RECIPE by default.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training from scratch; as the recipe says by default.")
    ] = None,
) -> None:
    """Run a recipe in several processes: here, or by the files for whoever hands out the machines.

    Example: malmoi launch shakespeare --on slurm --nodes 2 --devices-per-node 8 parallel.data=16
    """
    import sys

    from malmoi.core.console import console, verbatim
    from malmoi.core.errors import UserError, nearest
    from malmoi.parallel.launch.local import launch_local
    from malmoi.parallel.launch.settings import LaunchSettings
    from malmoi.parallel.launch.targets import TARGETS, write_files
    from malmoi.pipeline.launching import machines
    from malmoi.pipeline.recipe import load_recipe

    known = ["local", *TARGETS]
    if on not in known:
        way_out = nearest(on, known) or f"Known: {', '.join(known)}."
        raise UserError(f"Nobody called {on!r} hands out machines.", way_out)
    plan = load_recipe(recipe, overrides or [], minutes)
    count, devices = machines(plan, nodes, devices_per_node)
    settings = LaunchSettings(
        recipe=recipe,
        overrides=tuple(overrides or ()),
        minutes=minutes,
        out=str(out or Path("runs") / plan.name),
        nodes=count,
        devices_per_node=devices,
        hardware=hardware,
        storage=storage,
        spot=spot,
        hours=hours,
        restarts=restarts,
        install=install,
        image=image,
        python="python" if on in ("kubernetes", "skypilot") else sys.executable,
    )
    if on == "local":
        if count > 1:
            raise UserError(f"This is one machine, and {count} nodes are asked for.", "Leave --nodes out.")
        raise typer.Exit(launch_local(settings.words_here(), settings.processes, restarts))
    path = write_files(on, settings, files or Path("launch") / settings.name)
    where = "one machine" if count == 1 else f"{count} machines"
    console.print(f"{settings.processes} processes on {where}: {path}", soft_wrap=True, markup=False)
    console.print(f"Start it with: [bold]{TARGETS[on].submit} {verbatim(path)}[/bold]", soft_wrap=True, highlight=False)
