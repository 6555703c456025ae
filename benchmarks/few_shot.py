"""The figures of the few-shot recipe, of other seeds beside it, and how much faster items are together than alone.

Run: python benchmarks/few_shot.py runs/few-shot/few-shot [OTHER_STAGE ...]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json
from malmoi.evaluate.few_shot import Task, ask
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.pipeline.few_shot_tasks import read_task
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.stages.few_shot import FewShotSettings
from malmoi.sources.fetch import fetch_source

ITEMS, SHOTS = 24, 16


def main() -> None:
    """Print the figures and write benchmarks/results/few_shot.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", type=Path, help="the directory of a finished few-shot stage")
    parser.add_argument("others", type=Path, nargs="*", help="the same with other seeds")
    arguments = parser.parse_args()
    record = read_json(arguments.stage / "stage.json")
    figures = {
        "machine": record["machine"],
        "versions": record["versions"],
        "seconds": record["seconds"],
        "peak_memory_gibibytes": record["peak_memory"] / 2**30,
        **record["result"],
        "other_seeds": dict(map(by_seed, arguments.others)),
        "together": {name: compare(name) for name in ("sentiment", "spelling")},
    }
    write_json(Path(__file__).parent / "results" / "few_shot.json", figures)
    for name, task in figures["tasks"].items():
        print(f"{name}: {task['figure']} {values(task)}, control {task['control']:.3f}")
    for key in ("other_seeds", "together"):
        print(f"{key}: {figures[key]}")


def by_seed(stage: Path) -> tuple[str, dict[str, Any]]:
    """The seed of a finished stage, and what each of its tasks came to."""
    record = read_json(stage / "stage.json")
    tasks = {name: values(task) for name, task in record["result"]["tasks"].items()}
    return str(record["settings"]["seed"]), tasks


def values(task: dict[str, Any]) -> dict[str, float]:
    """What counts, for each number of examples."""
    return {shots: round(scores[task["figure"]]["value"], 4) for shots, scores in task["scores"].items()}


def compare(name: str) -> dict[str, Any]:
    """One round of a task of the recipe: all items together, which share what they have in common, and each alone."""
    settings = next(step.settings for step in load_recipe("few-shot", []).steps if step.kind == "few-shot")
    assert isinstance(settings, FewShotSettings)
    own = settings.tasks[name].model_copy(update={"limit": ITEMS})
    task = read_task(own, None, None, ITEMS, SHOTS, settings.seed)
    checkpoint = load_checkpoint(fetch_source(settings.weights)[0])

    def answers(task: Task) -> list[str]:
        asked = ask(checkpoint.language_model, checkpoint.tokenizer, task, SHOTS, own.answer_tokens)
        return [one.answer for one in asked]

    answers(Task(task.asked[:1], task.shown, task.form, task.labels))
    start = time.perf_counter()
    together = answers(task)
    middle = time.perf_counter()
    alone = [answers(Task([one], task.shown, task.form, task.labels))[0] for one in task.asked]
    end = time.perf_counter()
    return {
        "items": ITEMS,
        "shots": SHOTS,
        "same_answers": sum(one == other for one, other in zip(together, alone, strict=True)),
        "times_as_fast": round((end - middle) / (middle - start), 2),
    }


if __name__ == "__main__":
    main()
