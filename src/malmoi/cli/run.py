"""Recipes and single stages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from malmoi.pipeline.kinds import STAGES

Watch = Annotated[
    list[str] | None,
    typer.Option(
        envvar="MALMOI_WATCH",
        metavar="NAME",
        help="Show every training to tensorboard, wandb, mlflow or trackio; may be given several times.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings; dots lead inwards, as in trainer.slots=8."),
]


def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, a YAML file, or a folder of text.")],
    overrides: Overrides = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training from scratch; as the recipe says by default.")
    ] = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="Pretrain with the largest micro-batches that fit into memory; steps keep their rows."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/RECIPE by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    watch: Watch = None,
) -> None:
    """Do every stage of a recipe that is not done yet.

    Example: malmoi run quickstart --minutes 2 --fit tokenizer.vocabulary=2048
    """
    from malmoi.pipeline.launching import wanted_processes
    from malmoi.pipeline.recipe import load_recipe
    from malmoi.pipeline.runner import run_recipe
    from malmoi.pipeline.show import print_ending, print_plan
    from malmoi.train.watch import find_watchers, watching

    plan = load_recipe(recipe, overrides or [], minutes, fit)
    directory = out or Path("runs") / plan.name
    if dry_run:
        print_plan(plan, directory)
        return
    _start_all(wanted_processes(plan))
    with _together(), watching(*find_watchers(watch or [])):
        print_ending(run_recipe(plan, directory))


def _start_all(processes: int) -> None:
    """Where a layout wants several processes and this one is alone, run the same command in so many, and end."""
    import sys

    from malmoi.core.processes import process_count

    if processes > process_count() == 1:
        from malmoi.parallel.launch.local import launch_local

        raise typer.Exit(launch_local(sys.argv[1:], processes))


def _together() -> AbstractContextManager[None]:
    """The processes that run this command together, if there are several, know each other inside."""
    from malmoi.core.processes import process_count

    if process_count() == 1:
        return nullcontext()
    from malmoi.parallel.processes import joined

    return joined()


def recipes() -> None:
    """List the shipped recipes.

    Example: malmoi recipes
    """
    from rich.table import Table

    from malmoi.core.console import console, verbatim
    from malmoi.pipeline.recipe import shipped_recipes

    table = Table.grid("", "", padding=(0, 2, 0, 0))
    table.columns[0].style, table.columns[0].no_wrap = "bold", True
    for name, about in shipped_recipes().items():
        table.add_row(name, verbatim(about))
    console.print(table)


def stage_command(kind: str) -> Callable[..., None]:
    """The command that runs one stage of `kind` alone, with a recipe's words."""

    def command(
        overrides: Overrides = None,
        out: Annotated[Path | None, typer.Option(help="Directory of the result; runs/KIND by default.")] = None,
        settings: Annotated[bool, typer.Option("--settings", help="List this stage's settings and stop.")] = False,
        watch: Watch = None,
    ) -> None:
        from malmoi.core.config import apply_override
        from malmoi.pipeline.recipe import build_step
        from malmoi.pipeline.runner import run_step
        from malmoi.pipeline.show import print_ending, print_settings
        from malmoi.train.watch import find_watchers, watching

        if settings:
            print_settings(kind)
            return
        values: dict[str, Any] = {"stage": kind}
        for assignment in overrides or []:
            apply_override(values, assignment)
        directory = out or Path("runs") / kind
        step = build_step(values, directory.name, f"malmoi {kind}")
        _start_all(step.parallel.processes)
        with _together(), watching(*find_watchers(watch or [])):
            run_step(step, directory, {}, f"[bold]{kind}[/bold]")
        print_ending({kind: directory})

    return command


def stage_example(kind: str) -> str:
    """One command line that works, for `--help`."""
    return f"Example: malmoi {kind} {STAGES[kind].example}"
