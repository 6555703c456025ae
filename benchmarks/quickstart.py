"""The figures of a finished quickstart, gathered from its stages.

Run: python benchmarks/quickstart.py runs/quickstart
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json

STAGES = ("fetch", "corpus", "tokenizer", "pretrain", "evaluate", "classify", "instruct", "report")


def main() -> None:
    """Print the figures and write benchmarks/results/NAME.json, NAME being that of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run.resolve()
    records: dict[str, Any] = {stage: read_json(run / stage / "stage.json") for stage in STAGES}
    classify, instruct = records["classify"]["result"], records["instruct"]["result"]
    figures = {
        "machine": records["pretrain"]["machine"],
        "versions": records["pretrain"]["versions"],
        "seconds": {stage: record["seconds"] for stage, record in records.items()},
        "minutes": sum(record["seconds"] for record in records.values()) / 60,
        "peak_memory_gibibytes": max(record["peak_memory"] for record in records.values()) / 2**30,
        "parameters": records["pretrain"]["result"]["parameters"],
        "tokens": records["pretrain"]["result"]["tokens"],
        "bits_per_byte": records["evaluate"]["result"],
        "accuracy": classify["accuracy"],
        "control_accuracy": classify["control"]["accuracy"],
        "test_texts": classify["test_texts"],
        "answer_loss": {"before": instruct["loss_before"], "after": instruct["loss_after"]},
    }
    write_json(Path(__file__).parent / "results" / f"{run.name}.json", figures)
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
