"""The recipe `shakespeare` in float32, bfloat16 and float16: the loss that each ends with, and the steps left out.

float16 begins with the loss scale of every training; a second one begins so high that it overflows and has to be found.
A processor without these formats computes them dozens of times slower, but to the same end.
Run: python benchmarks/precision.py tinyshakespeare/input.txt
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from time_to_loss import read, run_recipe

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.train import trainer
from malmoi.train.state import Progress

TOO_HIGH = 2.0**24
RUNS = {
    "float32": ("float32", Progress().scale),
    "float16": ("float16", Progress().scale),
    "float16 that overflows": ("float16", TOO_HIGH),
    "bfloat16": ("bfloat16", Progress().scale),
}
RESULT = Path(__file__).parent / "results" / "precision.json"


def main() -> None:
    """Measure, print, write benchmarks/results/precision.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--set", action="append", default=[], help="pretrain.key=value, changes the recipe")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train, held_out, vocabulary = read(arguments.text)
    runs: dict[str, dict[str, Any]] = {}
    for name, (precision, scale) in RUNS.items():
        trainer.Progress = partial(Progress, scale=scale)  # type: ignore[misc, assignment]
        runs[name] = run_recipe(
            train, held_out, vocabulary, 0, [f"pretrain.trainer.precision={precision}", *arguments.set]
        )
        runs[name] |= {"first_scale": scale, "difference": runs[name]["loss"] / runs["float32"]["loss"] - 1}
        print(name, {key: runs[name][key] for key in ("loss", "difference", "skipped", "seconds")}, flush=True)
        write_json(
            RESULT, {"machine": machine_facts(), "threads": arguments.threads, "set": arguments.set, "runs": runs}
        )


if __name__ == "__main__":
    main()
