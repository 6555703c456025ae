"""The figures of finished `classify` stages, beside their controls.

Run: python benchmarks/classify.py runs/sentiment/classify runs/entailment/classify
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json
from malmoi.pipeline.stages.classify import FIGURES

SETTINGS = (
    *("source", "pooling", "longest", "limit", "test_limit", "rows", "epochs", "optimizer"),
    *("learning_rate", "depth_decay", "weight_decay", "seed"),
)
COUNTS = ("train", "train_texts", "test_texts", "layers", "steps", "control_unit")


def main() -> None:
    """Print the figures and add them to benchmarks/results/classify.json, by data set and by what was trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", type=Path, nargs="+", help="directories of finished stages")
    path = Path(__file__).parent / "results" / "classify.json"
    results = read_json(path) if path.is_file() else {}
    for record in [read_json(stage / "stage.json") for stage in parser.parse_args().stages]:
        settings, result = record["settings"], record["result"]
        base = Path(settings["base"]).name if settings["base"] else settings["weights"]
        name = f"{settings['source']}, {base}, {settings['train']}, {settings['pooling']}"
        results[name] = figures(record)
        for figure in FIGURES[result["answer"]]:
            print(f"{name}: {figure} {result[figure]:.4f}, by counting {result['control'][figure]:.4f}")
    write_json(path, dict(sorted(results.items())))


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """What a finished stage came to, and by what."""
    result = record["result"]
    names = FIGURES[result["answer"]]
    return {
        "model": {name: round(result[name], 4) for name in names},
        "control": {name: round(result["control"][name], 4) for name in names},
        **{name: result[name] for name in COUNTS},
        "settings": {name: record["settings"][name] for name in SETTINGS},
        "training_seconds": result["training_seconds"],
        "seconds": record["seconds"],
        "machine": record["machine"],
        "versions": record["versions"],
    }


if __name__ == "__main__":
    main()
