"""What pre-training of the `bert` recipe is worth: Korean sentiment with 2,000 labels, from it and from scratch.

Three seeds of the head and of the order; the pre-training is the same for all. A training review that also stands in
the test file is not learned from, neither as text nor as label.
Run: malmoi run bert && python benchmarks/encoder_sentiment.py runs/bert
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.stages.classify import ClassifySettings, run

SEEDS = (0, 1, 2)
BAR = 0.05


def main(directory: Path) -> None:
    """Fine-tune six classifiers, print, write benchmarks/results/encoder-sentiment.json."""
    results = {
        name: [fine_tune(name, directory, seed) for seed in SEEDS] for name in ("sentiment", "sentiment-from-scratch")
    }
    means = {name: statistics.mean(row["accuracy"] for row in rows) for name, rows in results.items()}
    gain = means["sentiment"] - means["sentiment-from-scratch"]
    for name, rows in results.items():
        accuracies = ", ".join(f"{row['accuracy']:.2%}" for row in rows)
        print(f"{name}: {accuracies}, mean {means[name]:.2%}")
    print(f"logistic regression on characters: {results['sentiment'][0]['control']['accuracy']:.2%}")
    print(f"pre-training is worth {100 * gain:.1f} points (bar: {100 * BAR:.0f})")
    print("reached" if gain >= BAR else "NOT reached")
    result = {
        "machine": machine_facts(),
        "bar": BAR,
        "gain": gain,
        "means": means,
        "pretraining": read_json(directory / "pretrain-encoder" / "stage.json")["result"],
        **results,
    }
    write_json(Path(__file__).parent / "results" / "encoder-sentiment.json", result)


def fine_tune(name: str, directory: Path, seed: int) -> dict[str, Any]:
    """The result of one run of a stage of the recipe, on the encoder of a run of it."""
    step = next(step for step in load_recipe("bert", []).steps if step.name == name)
    assert isinstance(step.settings, ClassifySettings)
    changes = {"base": directory / "pretrain-encoder", "fetch": directory / "fetch", "seed": seed}
    with tempfile.TemporaryDirectory() as temporary:
        return run(step.settings.model_copy(update=changes), Path(temporary))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
