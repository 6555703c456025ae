"""The figures of finished image recipes, gathered from their stages.

Run: python benchmarks/images.py runs/digits runs/transfer runs/gan
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json

KEPT = (
    "accuracy", "network", "train", "size", "frozen_unchanged", "parameters", "trained_parameters", "train_images",
    "test_images", "steps", "least_share", "samples", "sure", "scores", "training_seconds",
)  # fmt: skip
"""Results that are written down as they are."""


def main() -> None:
    """Print the figures and write benchmarks/results/NAME.json for each run, NAME being its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    for run in parser.parse_args().runs:
        records = [read_json(path) for path in sorted(run.glob("*/stage.json"))]
        trained = [record for record in records if record["kind"] in ("classify-images", "generate-images")]
        figures: dict[str, Any] = {"machine": trained[0]["machine"], "versions": trained[0]["versions"]}
        figures |= {record["name"]: _figures(record) for record in trained}
        write_json(Path(__file__).parent / "results" / f"{run.resolve().name}.json", figures)
        for name, value in figures.items():
            print(f"{run.name}, {name}: {value}")


def _figures(record: dict[str, Any]) -> dict[str, Any]:
    result = record["result"]
    figures = {name: result[name] for name in KEPT if result.get(name) is not None}
    controls = {name: score["accuracy"] for name, score in result.get("controls", {}).items()}
    peak = round(record["peak_memory"] / 2**30, 2)
    return figures | {"controls": controls, "seconds": record["seconds"], "peak_memory_gibibytes": peak}


if __name__ == "__main__":
    main()
