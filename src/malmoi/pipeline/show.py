"""What is printed before and after a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.padding import Padding
from rich.table import Table

from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import read_json_lines
from malmoi.core.processes import own_command
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.runner import check_inputs, done_stages, resolve_inputs
from malmoi.pipeline.settings_words import describe_settings
from malmoi.pipeline.stage import find_stage


def print_plan(recipe: Recipe, directory: Path) -> None:
    """Print each step with what it would take, without doing anything.

    Raises:
        UserError: as `check_inputs`.
    """
    check_inputs(recipe, directory)
    table = Table(title=verbatim(f"{recipe.name}: {recipe.about}"), title_justify="left")
    for column in ("stage", "state", "time", "memory", "what"):
        table.add_column(column)
    done = done_stages(recipe, directory)
    seconds, estimated, uncounted = 0.0, [], []
    for step in recipe.steps:
        state = "done" if step.name in done else "to do"
        try:
            inputs = resolve_inputs(step, done)
        except UserError:
            inputs = {}
        estimate = step.stage.estimate(step.with_inputs(inputs) if inputs else step.settings)
        if state != "done" and estimate.seconds is not None:
            seconds += estimate.seconds
            estimated.append(step.name)
        elif state != "done":
            uncounted.append(step.name)
        table.add_row(
            verbatim(step.name),
            state,
            "" if estimate.seconds is None or state == "done" else _duration(estimate.seconds),
            "" if estimate.memory is None else f"{estimate.memory / 2**30:.1f} GiB",
            verbatim("\n".join(estimate.lines)),
        )
    console.print(table)
    if estimated:
        about = "Below a minute" if seconds < 60 else f"About {round(seconds / 60)} min"
        console.print(f"{about} for {', '.join(estimated)}.", markup=False)
    if uncounted:
        console.print(f"Not counted, for it is not known yet: the time of {', '.join(uncounted)}.", markup=False)
    console.print(f"Everything goes into {directory}.", markup=False)


def _duration(seconds: float) -> str:
    return "below a minute" if seconds < 60 else f"{seconds / 60:.1f} min"


def print_ending(stages: dict[str, Path]) -> None:
    """Say where the report is and how to talk to what was made."""
    malmoi = own_command()
    console.print()
    for directory in stages.values():
        report = directory / "report.html"
        if report.is_file():
            console.print(f"Report:    {report}", soft_wrap=True, markup=False)
    for directory in stages.values():
        if (directory / "model" / "chat_template.jinja").is_file() and (directory / "answers.jsonl").is_file():
            console.print(f"Chat:      {malmoi} chat {directory}", soft_wrap=True, markup=False)
            console.print(f"Serve:     {malmoi} serve {directory}", soft_wrap=True, markup=False)
        elif (directory / "wrong.jsonl").is_file():
            console.print(f"Classify:  {malmoi} predict {directory} picture.png", soft_wrap=True, markup=False)
        elif (directory / "pictures" / "made.png").is_file():
            console.print(f"Look:      {directory / 'pictures' / 'made.png'}", soft_wrap=True, markup=False)
        elif (directory / "predictions.json").is_file():
            console.print(f"Classify:  {malmoi} predict {directory} < texts.txt", soft_wrap=True, markup=False)
        elif (directory / "translations.json").is_file():
            console.print(
                f"Translate: {malmoi} translate {directory} 'This is an example'", soft_wrap=True, markup=False
            )
        elif (directory / "metrics.jsonl").is_file() and (directory / "samples.jsonl").is_file():
            first = next(iter(read_json_lines(directory / "samples.jsonl")), {"prompt": ""})
            prompt = shlex.quote(first["prompt"])
            console.print(f"Continue:  {malmoi} generate {directory} {prompt}", soft_wrap=True, markup=False)


def print_settings(kind: str) -> None:
    """List the settings of a kind of stage: what each may be, its default and what it does."""
    for setting in describe_settings(find_stage(kind).settings):
        name = f"[bold]{setting.name}[/bold]" + (f" = {verbatim(setting.default)}" if setting.default else "")
        console.print(f"{name}  [dim]{verbatim(setting.values)}[/dim]", highlight=False)
        console.print(Padding(verbatim(setting.about), (0, 0, 0, 4)), highlight=False)
