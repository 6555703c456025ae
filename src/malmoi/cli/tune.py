"""`malmoi tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from malmoi.cli.run import Overrides, Watch


def tune(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, a YAML file, or a folder of text.")],
    overrides: Overrides = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="What to try: LOW:HIGH, LOW:HIGH:log or A,B,C; may be given several times. By default learning rates, "
            "batch and weight decay of the stage that trains.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many trials, over all calls and processes.")] = 20,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes; no trial begins that would end later. No limit by default.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="The stage that is tuned; the first that trains by default.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(metavar="STAGE.RESULT", help="The figure that is to become small; the held-out loss by default."),
    ] = None,
    maximize: Annotated[bool, typer.Option("--maximize", help="The figure is to become large.")] = False,
    no_prune: Annotated[bool, typer.Option("--no-prune", help="Train every trial to its end.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of what is tried.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Directory of the search; runs/RECIPE-tune by default.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the report, en or ko; that of the recipe's own report by default.")
    ] = None,
    watch: Watch = None,
) -> None:
    """Search for the settings of a recipe with which it learns best.

    What was tried stays in the directory: the same command goes on after a kill, and in several terminals at once they
    share the trials. RECIPE-tuned.yaml is the best recipe, for malmoi run.

    Example: malmoi tune shakespeare --trials 20 --search trainer.learning_rate=0.01:0.3:log --search rows=16,32,64
    """
    from importlib.util import find_spec

    from malmoi.core.errors import MissingExtra, UserError

    for package, module in (("optuna", "optuna"), ("scikit-learn", "sklearn")):
        if find_spec(module) is None:
            raise MissingExtra(package, "tune", "Searching for settings")
    from malmoi.pipeline.recipe import load_recipe
    from malmoi.train.watch import find_watchers, watching
    from malmoi.tune.prepare import Wish, prepare
    from malmoi.tune.result import print_result, write_result
    from malmoi.tune.search import run

    languages: dict[str | None, Literal["en", "ko"] | None] = {None: None, "en": "en", "ko": "ko"}
    if language not in languages:
        raise UserError(f"The report is not written in {language!r}.", "Take --language en or ko.")
    plan = load_recipe(recipe, overrides or [])
    if any(step.parallel.processes > 1 or step.parallel.automatic for step in plan.steps):
        raise UserError(
            "A search gives every trial one process, and this recipe has a layout.",
            "Leave parallel out, and start the same command several times: the searches share their trials.",
        )
    wish = Wish(search or [], stage, measure, maximize, trials, minutes, not no_prune, seed)
    with watching(*find_watchers(watch or [])):
        prepared = prepare(plan, wish, out or Path("runs") / f"{plan.name}-tune")
        print_result(prepared, write_result(prepared, run(prepared), languages[language]))
