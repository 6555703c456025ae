"""`minutes` alone beside the best of a search over size, batch and learning rates that has ten times the time.

The texts of the quickstart; the held-out loss of its pretraining, in nats a token. Every trial trains for the same
minutes, its steps from its own measured speed, so that a larger model gets fewer. The machine, or the cores it is given
(`taskset`), should do nothing else. What is trained is written down at once: a search that was cut goes on.

Run: python benchmarks/fixed_time.py [--minutes 1]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import optuna
import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.pipeline.pretraining.dial import SIZES
from malmoi.pipeline.recipe import Recipe, load_recipe
from malmoi.pipeline.runner import run_recipe

RESULTS = Path(__file__).parent / "results" / "fixed_time.json"
SHARED = ("fetch", "corpus", "tokenizer")
TRIALS = 10


def train(place: Path, minutes: float, changes: list[str]) -> dict[str, Any]:
    """Held-out loss, and what was trained."""
    asked = [f"pretrain.minutes={minutes}", "pretrain.samples=0", *changes]
    recipe = load_recipe("quickstart", asked)
    steps = [step for step in recipe.steps if step.name in (*SHARED, "pretrain")]
    done = run_recipe(Recipe(recipe.name, recipe.about, steps, recipe.entries), place)
    result = read_json(done["pretrain"] / "stage.json")["result"]
    plan = read_json(done["pretrain"] / "plan.json")
    return {
        "loss": result["validation_loss"],
        "parameters": plan["parameters"],
        "steps": plan["trainer"]["steps"],
        "rows": plan["rows"],
        "changes": changes,
    }


def drawn(trial: optuna.Trial) -> list[str]:
    """Settings of a trial."""
    layers, width = SIZES[trial.suggest_int("size", 0, 4)]
    rows = trial.suggest_categorical("rows", [8, 16, 32])
    rate = trial.suggest_float("rate", 1e-3, 1e-2, log=True)
    matrix_rate = trial.suggest_float("matrix_rate", 5e-3, 5e-2, log=True)
    return [
        f"pretrain.model.layers={layers}",
        f"pretrain.model.width={width}",
        f"pretrain.rows={rows}",
        f"pretrain.trainer.learning_rate={rate}",
        f"pretrain.trainer.matrix_learning_rate={matrix_rate}",
    ]


def summary(alone: dict[str, Any], tried: list[dict[str, Any]]) -> dict[str, Any]:
    """What is written down of a search, finished or not."""
    best = min(tried, key=lambda one: one["loss"])
    share = alone["loss"] / best["loss"] - 1
    machine = {**machine_facts(), "threads": torch.get_num_threads()}
    return {"machine": machine, "alone": alone, "best": best, "share": share, "tried": tried}


def main() -> None:
    """Train, search, print, write benchmarks/results/fixed_time.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1)
    minutes = parser.parse_args().minutes
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    found = read_json(RESULTS)["found"] if RESULTS.exists() else {}
    begun = found.get(f"{minutes:g}", {"tried": []})
    known = begun["tried"] if len(begun["tried"]) < TRIALS else []
    with tempfile.TemporaryDirectory() as folder:
        alone = begun["alone"] if known else train(Path(folder), minutes, [])
        tried: list[dict[str, Any]] = []
        for number in range(TRIALS):
            trial = study.ask()
            changes = drawn(trial)
            again = number < len(known) and known[number]["changes"] == changes
            tried.append(known[number] if again else train(Path(folder), minutes, changes))
            study.tell(trial, tried[-1]["loss"])
            print(f"{number + 1}/{TRIALS}: {tried[-1]}", flush=True)
            found[f"{minutes:g}"] = summary(alone, tried)
            write_json(RESULTS, {"found": found})
    best, share = found[f"{minutes:g}"]["best"], found[f"{minutes:g}"]["share"]
    print(
        f"{minutes:g} minutes alone {alone['loss']:.4f}, the best of {TRIALS} trials {best['loss']:.4f}: {share:+.1%}"
    )


if __name__ == "__main__":
    main()
