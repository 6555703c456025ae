"""The plan of a pretraining on the screen."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from malmoi.core.console import console
from malmoi.pipeline.pretraining.plan import FREE_EPOCHS
from malmoi.train.pace import TIME_SHARE
from malmoi.train.saving import SAVED_AFTER

COLUMNS = ("layers x width", "parameters", "tokens/s", "tokens in the time", "epochs", "predicted loss")


def print_plan(plan: dict[str, Any]) -> None:
    """What was derived, and from what."""
    if plan["trials"]:
        console.print(_trials(plan["trials"]))
    console.print(f"  {_words(plan)}")
    steps, most = plan["trainer"]["steps"], plan["trainer"]["most_steps"]
    epochs = steps * plan["tokens_per_step"] / plan["text_tokens"]
    often = round(epochs) > FREE_EPOCHS
    if steps == most and not often:
        minutes = steps * plan["tokens_per_step"] / plan["tokens_per_second"] / TIME_SHARE / 60
        console.print(
            f"  About {minutes:.2g} of the {plan['minutes']:g} minutes are used: more than {epochs:.0f} readings of "
            "the text teach a model of this size little. More text would fill them; most_epochs allows more readings."
        )
    if plan["most_epochs"] is None and often:
        console.print(
            f"  [yellow]The text is read {epochs:.0f} times; after {FREE_EPOCHS} readings it teaches little more. Take "
            f"more text or fewer minutes, or set most_epochs={FREE_EPOCHS}.[/yellow]"
        )


def _trials(trials: list[dict[str, Any]]) -> Table:
    """The sizes that were measured, the chosen one bold."""
    table = Table(*COLUMNS, box=None)
    chosen = min(trials, key=lambda trial: trial["predicted_loss"])
    for trial in trials:
        row = (
            f"{trial['layers']} x {trial['width']}",
            f"{trial['parameters']:,}",
            f"{trial['tokens_per_second']:,}",
            f"{trial['tokens']:,}",
            f"{trial['epochs']:.1f}",
            "lowest" if trial is chosen else f"+{trial['predicted_loss'] / chosen['predicted_loss'] - 1:.0%}",
        )
        table.add_row(*row, style="bold" if trial is chosen else "")
    return table


def _words(plan: dict[str, Any]) -> str:
    """Every number of the training."""
    trainer = plan["trainer"]
    rates = f"learning rate {trainer['learning_rate']:g}"
    if trainer["optimizer"] == "muon":
        rates += f" (matrices {trainer['matrix_learning_rate']:g})"
    every = trainer["checkpoint_every"]
    saved = f"every {every} steps" if every else f"about every {SAVED_AFTER:.0f} s"
    return (
        f"{plan['family']}, {plan['parameters']:,} parameters, {trainer['steps']:,} steps of "
        f"{plan['tokens_per_step']:,} tokens "
        f"({trainer['slots']} x {plan['rows']} x {plan['context']}), {trainer['precision']}, {trainer['optimizer']}, "
        f"{rates}, warm-up {trainer['warm_up']}, cool-down {trainer['cool_down']:.0%}, validation every "
        f"{trainer['validate_every']}, saved {saved}, "
        f"{'the best' if trainer['keep_best'] else 'the last'} weights are taken"
    )
