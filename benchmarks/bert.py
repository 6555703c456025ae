"""What the pre-training of a finished `bert` run is worth: each of its tasks from it and from scratch, beside counting.

The run's own trainings are seed 0; those of further seeds differ in the head and the order, on the same pre-training.
What a task is tested on stands in no text that the run has read, neither as text nor as label.
Run: malmoi run bert && python benchmarks/bert.py runs/bert
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.pipeline.recipe import load_recipe


@dataclass(frozen=True)
class Task:
    """A task of the recipe.

    Attributes:
        figure: what it is judged by.
        bar: what pre-training should be worth more than.
    """

    figure: str
    bar: float = 0.0


TASKS = {
    "sentiment": Task("accuracy", bar=0.05),
    "entailment": Task("accuracy"),
    "similarity": Task("pearson"),
    "questions": Task("f1"),
}
FIGURES = ("accuracy", "macro_f1", "pearson", "spearman", "f1", "exact_match", "left_unanswered", "validation_loss")
PRETRAINED, FROM_SCRATCH = "pretrained", "from-scratch"


def main() -> None:
    """Fine-tune with further seeds, print, write benchmarks/results/bert.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="directory of a finished run")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each task, from it and from scratch")
    arguments = parser.parse_args()
    tasks = {name: measured(name, task, arguments.run, arguments.seeds) for name, task in TASKS.items()}
    for name, one in tasks.items():
        for kind in (PRETRAINED, FROM_SCRATCH):
            seeds = ", ".join(f"{row[one['figure']]:.3f}" for row in one[kind])
            print(f"{name} {kind}: {one['figure']} {one['means'][kind]:.3f} ({seeds})")
        reached = "reached" if one["gain"] > one["bar"] else "NOT reached"
        print(f"{name} by counting: {one['control']:.3f}; gain {one['gain']:+.3f}, more than {one['bar']} is {reached}")
    result = {"machine": machine_facts(), "pretraining": pretraining(arguments.run), "tasks": tasks}
    write_json(Path(__file__).parent / "results" / "bert.json", result)


def measured(name: str, task: Task, directory: Path, seeds: int) -> dict[str, Any]:
    """A task's figures from the encoder and from scratch, of every seed."""
    stages = {PRETRAINED: name, FROM_SCRATCH: f"{name}-from-scratch"}
    results = {
        kind: [finished(directory / stage), *(fine_tuned(stage, directory, seed) for seed in range(1, seeds))]
        for kind, stage in stages.items()
    }
    means = {kind: statistics.mean(row[task.figure] for row in rows) for kind, rows in results.items()}
    rows = {
        kind: [{key: row[key] for key in FIGURES if isinstance(row.get(key), float)} for row in each]
        for kind, each in results.items()
    }
    first = results[PRETRAINED][0]
    return {
        "figure": task.figure,
        "bar": task.bar,
        "gain": means[PRETRAINED] - means[FROM_SCRATCH],
        "means": means,
        "control": first["control"][task.figure],
        **{key: value for key, value in first.items() if key.endswith(("_texts", "_questions"))},
        **rows,
    }


def finished(stage: Path) -> dict[str, Any]:
    """The result of a stage of the run."""
    result: dict[str, Any] = read_json(stage / "stage.json")["result"]
    return result


def fine_tuned(name: str, directory: Path, seed: int) -> dict[str, Any]:
    """The result of one run of a stage of the recipe, on the encoder of a run of it."""
    step = next(step for step in load_recipe("bert", []).steps if step.name == name)
    changes = {"base": directory / "pretrain-encoder", "fetch": directory / "fetch", "seed": seed}
    with tempfile.TemporaryDirectory() as temporary:
        return step.stage.run(step.settings.model_copy(update=changes), Path(temporary))


def pretraining(directory: Path) -> dict[str, Any]:
    """What the encoder has read, and how much of held-out text it guesses."""
    record = read_json(directory / "pretrain-encoder" / "stage.json")
    return {**record["result"], "machine": record["machine"], "versions": record["versions"]}


if __name__ == "__main__":
    main()
