"""The figures of finished `classify` and `label-words` stages, beside their controls.

Run: python benchmarks/classify.py runs/sentiment/classify runs/spacing-ko/label-words
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json
from malmoi.pipeline.stages.classify import FIGURES

SETTINGS = (
    *("source", "pooling", "longest", "limit", "test_limit", "rows", "epochs", "optimizer"),
    *("learning_rate", "depth_decay", "weight_decay", "consistency", "seed", "spacing", "model"),
)
COUNTS = ("train", "train_texts", "test_texts", "test_words", "unread_words", "layers", "steps", "control_unit")


def main() -> None:
    """Print the figures and add them to benchmarks/results/classify.json, by data, what was trained and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", type=Path, nargs="+", help="directories of finished stages")
    path = Path(__file__).parent / "results" / "classify.json"
    results = read_json(path) if path.is_file() else {}
    for record in [read_json(stage / "stage.json") for stage in parser.parse_args().stages]:
        settings, result = record["settings"], record["result"]
        base = "a new encoder" if settings.get("model") else settings["weights"]
        base = Path(record["inputs"]["base"][0]["name"]).name if "base" in record["inputs"] else base
        task = settings.get("pooling", "labels of words")
        name = f"{settings['source']}, {result['train_texts']:,} texts, {base}, {settings['train']}, {task}"
        name += f", seed {settings['seed']}" if settings["seed"] else ""
        results[name] = figures(record)
        for figure in FIGURES[result.get("answer", "class")]:
            print(f"{name}: {figure} {result[figure]:.4f}, by counting {result['control'][figure]:.4f}")
    write_json(path, dict(sorted(results.items())))


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """What a finished stage came to, and by what."""
    result = record["result"]
    names = FIGURES[result.get("answer", "class")]
    return {
        "model": {name: round(result[name], 4) for name in names},
        "control": {name: round(result["control"][name], 4) for name in names},
        "f1": by_class(result),
        "control_f1": by_class(result["control"]),
        **{name: result[name] for name in COUNTS if name in result},
        "settings": {name: value for name, value in record["settings"].items() if name in SETTINGS},
        "training_seconds": result["training_seconds"],
        "seconds": record["seconds"],
        "machine": record["machine"],
        "versions": record["versions"],
    }


def by_class(score: dict[str, Any]) -> dict[str, float]:
    """F1 of each class, where there are classes."""
    return {name: round(f1, 4) for name, f1 in zip(score.get("classes", []), score.get("f1", []), strict=True)}


if __name__ == "__main__":
    main()
