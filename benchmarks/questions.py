"""The figures of finished `questions` stages, beside their controls.

Run: python benchmarks/questions.py runs/questions/questions runs/questions-ko/questions
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json

FIGURES = ("f1", "exact_match", "f1_given", "left_unanswered", "wrongly_unanswered")
SETTINGS = ("source", "weights", "model", "marks", "made", "longest", "epochs", "learning_rate", "seed")
COUNTS = ("unit", "train_questions", "made_questions", "test_questions", "unanswerable", "parameters", "steps")


def main() -> None:
    """Print the figures and write benchmarks/results/questions.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", type=Path, nargs="+", help="directories of finished stages")
    records = [read_json(stage / "stage.json") for stage in parser.parse_args().stages]
    results = {record["settings"]["source"]: figures(record) for record in records}
    write_json(Path(__file__).parent / "results" / "questions.json", results)
    for name, each in results.items():
        for figure in FIGURES:
            print(f"{name}: {figure} {each['model'][figure]:.3f}, counting words {each['control'][figure]:.3f}")


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """What a finished stage came to, and by what."""
    result = record["result"]
    return {
        "model": {name: round(result[name], 4) for name in FIGURES if name in result},
        "control": {name: round(result["control"][name], 4) for name in FIGURES if name in result["control"]},
        **{name: result[name] for name in COUNTS},
        "settings": {name: record["settings"][name] for name in SETTINGS},
        "training_seconds": result["training_seconds"],
        "seconds": record["seconds"],
        "peak_memory_gibibytes": round(record["peak_memory"] / 2**30, 2),
        "machine": record["machine"],
        "versions": record["versions"],
    }


if __name__ == "__main__":
    main()
