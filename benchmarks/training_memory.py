"""What accumulation, recomputing and a small memory cost a training, and that they change nothing.

- A step of 32 rows with unequal masks in one piece, in four and in eight: loss and norm of the gradient.
- Every block computed again: bytes that a forward pass keeps (counted), gradients, seconds of a step in turns.
- GPT-2's shape of 124M, 8 x 256 tokens a step: peak memory of a process that makes two steps.

Run: python benchmarks/training_memory.py [--only accumulation,recompute,gpt2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, read_json_lines, write_json
from malmoi.core.memory import PeakMemory
from malmoi.data.batch import IGNORED, TextBatch
from malmoi.evaluate.kept_bytes import kept_bytes
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.language_model import LanguageModel
from malmoi.models.presets import preset
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.train.recompute import recomputing
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

SHAPE = GPTConfig(vocabulary=4096, context=256, width=384, layers=6, heads=6)
"""The 12M shape."""

ROUNDS = 5
RESULT = Path(__file__).parent / "results" / "training_memory.json"


class Rows:
    """The same random rows in so many micro-batches; `masked` hides a different share of each row."""

    def __init__(self, rows: int, length: int, vocabulary: int, slots: int, masked: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(vocabulary, (rows, length), generator=generator)
        self.targets, self.size = self.tokens.roll(-1, 1), rows // slots
        if masked:
            shares = torch.rand(rows, 1, generator=generator) ** 3
            hidden = torch.rand(rows, length, generator=generator) > shares
            self.targets = self.targets.masked_fill(hidden, IGNORED)

    def batch(self, step: int, slot: int) -> TextBatch:
        """Rows of a slot."""
        part = slice(slot * self.size, (slot + 1) * self.size)
        return TextBatch(self.tokens[part], self.targets[part])

    def validation(self) -> Iterator[TextBatch]:
        """None."""
        yield from ()


def main() -> None:
    """Measure, print, write benchmarks/results/training_memory.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(inside()))
        return
    found: dict[str, Any] = read_json(RESULT) if RESULT.exists() else {}
    for name in arguments.only.split(","):
        found[name] = {**PARTS[name](), "threads": torch.get_num_threads(), "machine": machine_facts()}
        print(f"{name}: { {key: value for key, value in found[name].items() if key != 'machine'} }", flush=True)
        write_json(RESULT, found)


def accumulation() -> dict[str, Any]:
    """Loss and norm of one step in 1, 4 and 8 pieces, float32."""
    found = {}
    for slots in (1, 4, 8):
        with tempfile.TemporaryDirectory() as directory:
            source = Rows(32, 128, SHAPE.vocabulary, slots, masked=True)
            settings = TrainerSettings(steps=1, slots=slots, precision="float32", clip=0)
            Trainer(build_model(SHAPE, 0), Causal(), source, settings, Path(directory)).run()
            record = next(read_json_lines(Path(directory) / "metrics.jsonl"))
        found[f"{slots} x {32 // slots}"] = {key: record[key] for key in ("loss", "gradient_norm")}
    one = found["1 x 32"]
    off = max(abs(other[key] / one[key] - 1) for other in found.values() for key in one)
    return {"steps": found, "largest_relative_difference": off}


def recompute() -> dict[str, Any]:
    """Kept bytes, gradients and seconds with every block computed again."""
    model = build_model(SHAPE, 0).train()
    batch = Rows(8, 256, SHAPE.vocabulary, 1).batch(0, 0)
    seconds: dict[str, list[float]] = {"": [], "blocks": []}
    gradients, kept = {}, {}
    for _ in range(ROUNDS + 1):
        for what, times in seconds.items():
            with recomputing(model, what):
                started = time.process_time()
                Causal().loss(model, batch).total.backward()  # type: ignore[no-untyped-call]
                times.append(time.process_time() - started)
                gradients[what] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
                model.zero_grad()
                kept[what] = kept_bytes(partial(model, batch.tokens), model.parameters())
    medians = {what: statistics.median(times[1:]) for what, times in seconds.items()}
    difference = (gradients["blocks"] - gradients[""]).norm() / gradients[""].norm()
    return {
        "kept_bytes": {what or "everything kept": value for what, value in kept.items()},
        "saved": 1 - kept["blocks"] / kept[""],
        "relative_difference_of_gradients": float(difference),
        "seconds": {what or "everything kept": value for what, value in medians.items()},
        "times_as_long": medians["blocks"] / medians[""],
    }


def gpt2() -> dict[str, Any]:
    """Two steps of GPT-2's shape in a process of its own."""
    finished = subprocess.run(
        [sys.executable, __file__, "--inside"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    result: dict[str, Any] = json.loads(finished[-1])
    return result


def inside() -> dict[str, Any]:
    """What that process does: rows of 256, eight a step, blocks computed again, states saved as always."""
    memory = PeakMemory()
    config = preset("gpt2").model_copy(update={"context": 256})
    model = build_model(config, 0)
    assert isinstance(model, LanguageModel)
    settings = TrainerSettings(steps=2, optimizer="adamw", precision="float32", recompute="blocks")
    with tempfile.TemporaryDirectory() as directory:
        source = Rows(8, 256, config.vocabulary, settings.slots)
        result = Trainer(model, Causal(), source, settings, Path(directory)).run()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    peak = memory.bytes()
    return {
        "parameters": parameters,
        "tokens_a_step": 8 * 256,
        "steps": result.steps,
        "peak_bytes": peak,
        "peak_gibibytes": peak / 2**30,
        "tokens_per_second": result.items / result.seconds,
    }


PARTS = {"accumulation": accumulation, "recompute": recompute, "gpt2": gpt2}


if __name__ == "__main__":
    main()
