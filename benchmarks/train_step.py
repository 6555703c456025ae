"""Tokens a second of a training step, ours beside what others train the same shape with, on a processor or a GPU.

All sides train GPT-2's depth, width, heads, context and vocabulary on the same random rows, each by the loop that its
project prints, without dropout. Ours are the trainer's own steps in the number format that the trainer chooses for this
machine: Qwen3's shape with AdamW, the same compiled, the same with Muon (the default), and GPT-2's own shape. Others
train in float32 as they do by default, and in bfloat16 and compiled where their project offers that. Every side has a
process of its own, so that no setting of one reaches another, and one runs at a time: what waits in between may lose
its memory to the system, and is several times as slow. Medians, by the clock and in processor seconds: on a busy
processor, with one thread, the latter are the ones to compare. Operations are counted as `malmoi bench train` does,
half of the pairs of a row; `share_counting_all_pairs` counts all, as published shares do.
Run: python benchmarks/train_step.py [--threads 1] [--rounds 5] [--shapes 12M,124M] [--litgpt DIRECTORY]
with the folder into which `pip install --no-deps --target` has put litgpt, lightning, lightning-utilities,
torchmetrics and jsonargparse. MALMOI_DEVICE chooses the device.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from book_gpt import BookGPT
from torch.nn import functional as F

from malmoi.core.accelerator import describe, peak_memory, pick_device, synchronize
from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.data.batch import TextBatch
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.parallel.execution import Execution
from malmoi.pipeline.bench import step_operations
from malmoi.pipeline.planning.step_time import step_operations as published_operations
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.compilation import Compilation
from malmoi.train.optimizers import build_optimizers
from malmoi.train.precision import autocast, choose_precision
from malmoi.train.settings import TrainerSettings
from malmoi.train.state import Progress
from malmoi.train.update import Updates

RESULT = Path(__file__).parent / "results" / "train_step.json"
SETTLING = 3
"""First steps of every side that are not counted; compilation is in them."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """What all sides train, `slots` micro-batches of `rows` times `context` tokens a step."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    rows: int
    slots: int = 1

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.slots * self.rows * self.context

    def batch(self) -> torch.Tensor:
        """(rows, context + 1) int64, on the device."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(self.vocabulary, (self.rows, self.context + 1), generator=generator).to(pick_device())


SHAPES = {
    "12M": Shape(6, 384, 6, 4_096, 256, 16),
    "124M": Shape(12, 768, 12, 50_257, 256, 4),
    "124M, 1,024": Shape(12, 768, 12, 50_304, 1_024, 32, 16),
    "1B, 2,048": Shape(18, 2_048, 16, 50_304, 2_048, 16, 16),
}
"""The latter two, with half a million tokens a step, are for GPUs."""


def config(shape: Shape, gpt2: bool = False) -> GPTConfig:
    """Qwen3's kind, or GPT-2's."""
    sizes = {"vocabulary": shape.vocabulary, "context": shape.context, "layers": shape.layers}
    sizes |= {"width": shape.width, "heads": shape.heads}
    others: dict[str, Any] = {"norm": "layer", "norm_epsilon": 1e-5, "positions": "learned", "activation": "gelu_tanh"}
    return GPTConfig(**sizes, **(others | {"bias": True, "query_key_norm": False} if gpt2 else {}))


def ours(shape: Shape, gpt2: bool = False, optimizer: str = "adamw", compiled: bool = False) -> Step:
    """Our trainer's step."""
    keep_freed_memory()
    device = pick_device()
    precision = choose_precision(device)
    model, rows = build_model(config(shape, gpt2), 0), shape.batch()
    settings = TrainerSettings(steps=1_000_000, optimizer=optimizer, learning_rate=1e-3, slots=shape.slots)
    execution = Execution(model, Causal())
    updates = Updates(execution, build_optimizers(model, settings), settings, Path())
    batch, done = TextBatch(rows[:, :-1], rows[:, 1:], counted=rows[:, 1:].numel()), Progress(precision=precision)
    shares = execution.shares(shape.slots)
    inside = partial(autocast, device, precision)
    directory = Path(tempfile.mkdtemp())
    compilation = Compilation("always" if compiled else "never", directory, 0, execution).__enter__()

    def step() -> None:
        updates.set_learning_rates(done.step, settings.steps)
        sums = execution.backward(shares, lambda share: batch, inside, 1.0)
        updates.apply(done.step, sums.count, done)
        done.step += 1
        compilation.after_step(done.step, 1.0, 1, inside)

    return step


def transformers_gpt2(shape: Shape, short: bool = False) -> Step:
    """`GPT2LMHeadModel` in the plain loop of its documentation, clipped as its Trainer does."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": shape.vocabulary, "n_positions": shape.context, "n_layer": shape.layers}
    dropout = {"embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
    model = GPT2LMHeadModel(GPT2Config(**sizes, n_embd=shape.width, n_head=shape.heads, **dropout))
    tokens = shape.batch()[:, :-1]
    return plain_step(model, lambda model: model(input_ids=tokens, labels=tokens).loss, shape, clip=1.0, short=short)


def book(shape: Shape) -> Step:
    """The textbook's model and loop."""
    model = BookGPT(shape.vocabulary, shape.context, shape.width, shape.layers, shape.heads)
    rows = shape.batch()
    tokens, targets = rows[:, :-1], rows[:, 1:].flatten()
    return plain_step(model, lambda model: F.cross_entropy(model(tokens).flatten(0, 1), targets), shape, clip=None)


def litgpt(shape: Shape, short: bool = False) -> Step:
    """litgpt's model and loss in the loop of its `pretrain`."""
    from litgpt.model import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    sizes = {"n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.width, "block_size": shape.context}
    model = GPT(Config(**sizes, vocab_size=shape.vocabulary, padded_vocab_size=shape.vocabulary, rotary_percentage=1.0))
    rows = shape.batch()
    tokens, targets = rows[:, :-1], rows[:, 1:].contiguous()
    return plain_step(model, lambda model: chunked_cross_entropy(model(tokens), targets), shape, clip=1.0, short=short)


def plain_step(
    model: torch.nn.Module,
    loss: Callable[[torch.nn.Module], torch.Tensor],
    shape: Shape,
    clip: float | None,
    short: bool = False,
) -> Step:
    """Forward, backward, AdamW with PyTorch's defaults; in bfloat16 (autocast) and compiled if `short`."""
    device = pick_device()
    model.train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    compiled = torch.compile(model) if short else model

    def step() -> float:
        optimizer.zero_grad()
        for _ in range(shape.slots):
            with autocast(device, "bfloat16" if short else "float32"):
                value = loss(compiled) / shape.slots
            value.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return value.item()

    return step


def product(shape: Shape, short: bool = False) -> Step:
    """Matrix products of `PRODUCT` operations: what this machine can do."""
    size = 1_024 if pick_device().type == "cpu" else 8_192
    left, right = (
        torch.randn(2, size, size, device=pick_device()).bfloat16()
        if short
        else torch.randn(2, size, size, device=pick_device())
    )
    return lambda: [left @ right for _ in range(8)]


def product_operations() -> float:
    """Of a step of `product`."""
    return 8 * 2.0 * (1_024 if pick_device().type == "cpu" else 8_192) ** 3


SIDES: dict[str, Callable[[Shape], Step]] = {
    "matrix product": partial(product, short=True),
    "malmoi": ours,
    "malmoi, compiled": partial(ours, compiled=True),
    "malmoi, Muon": partial(ours, optimizer="muon"),
    "malmoi, Muon, compiled": partial(ours, optimizer="muon", compiled=True),
    "malmoi, GPT-2's shape": partial(ours, gpt2=True),
    "malmoi, GPT-2's shape, compiled": partial(ours, gpt2=True, compiled=True),
    "transformers": transformers_gpt2,
    "transformers, bfloat16, compiled": partial(transformers_gpt2, short=True),
    "book": book,
    "litgpt": litgpt,
    "litgpt, bfloat16, compiled": partial(litgpt, short=True),
}


def main() -> None:
    """Measure, print, write benchmarks/results/train_step.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of every side")
    parser.add_argument("--rounds", type=int, default=5, help="steps that are counted")
    parser.add_argument("--shapes", default="12M", help="of " + ", ".join(SHAPES))
    parser.add_argument("--litgpt", type=Path, help="folder with litgpt; without it that side is left out")
    parser.add_argument("--sides", default=";".join(SIDES), help="to be measured, with semicolons between")
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "SHAPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.litgpt:
        sys.path.append(str(arguments.litgpt.resolve()))
    if arguments.serve:
        torch.set_num_threads(arguments.threads)
        serve(*arguments.serve)
        return
    sides = [side for side in arguments.sides.split(";") if not side.startswith("litgpt") or arguments.litgpt]
    found = read_json(RESULT) if RESULT.exists() else {}
    for name in arguments.shapes.split(","):
        found[name] = {
            "machine": {**machine_facts(), "device": describe(pick_device())},
            "precision": choose_precision(pick_device()),
            "threads": arguments.threads,
            "versions": versions(),
            "shape": vars(SHAPES[name]),
            "sides": measured(name, sides, arguments.rounds),
        }
        write_json(RESULT, found)


def serve(side: str, shape: str) -> None:
    """A step for each line that comes in, and a line with its seconds."""
    step = SIDES[side](SHAPES[shape])
    for _ in sys.stdin:
        began = time.perf_counter(), time.process_time()
        step()
        synchronize(pick_device())
        seconds = [time.perf_counter() - began[0], time.process_time() - began[1]]
        print(json.dumps([*seconds, peak_memory(pick_device()) or 0]), flush=True)


def measured(name: str, sides: list[str], rounds: int) -> dict[str, Any]:
    """All sides, one after the other; each ends before the next begins."""
    return summary(SHAPES[name], {side: times_of(side, name, rounds) for side in sides})


def times_of(side: str, name: str, rounds: int) -> list[list[float]]:
    """Seconds by the clock and of the processor, and bytes, of the steps of a side."""
    command = [sys.executable, *sys.argv, "--serve", side, name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate("\n" * (SETTLING + rounds))
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("[")]
    if len(lines) < SETTLING + rounds:
        sys.exit(f"{side} ended")
    return lines[SETTLING:]


def summary(shape: Shape, times: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Rates of all sides; of ours also the share of what the matrix product reached, by the clock on a GPU."""
    sides: dict[str, Any] = {}
    column = 1 if pick_device().type == "cpu" else 0
    peak = product_operations() / statistics.median(row[column] for row in times["matrix product"])
    for side, rows in times.items():
        *seconds, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        if side == "matrix product":
            sides[side] = {"operations_per_second": peak, "seconds": ("clock", "processor")[column]}
            continue
        clock, processor = seconds
        sides[side] = {
            "tokens_per_second": shape.tokens / clock,
            "tokens_per_processor_second": shape.tokens / processor,
        }
        shaped = config(shape, not side.startswith("malmoi") or "GPT-2" in side)
        for name, counted in COUNTS.items():
            operations = counted(shaped, shape.slots * shape.rows, shape.context)
            sides[side][name] = operations / seconds[column] / peak
        if memory:
            sides[side]["peak_memory"] = memory
        print(side, {key: round(value, 3) for key, value in sides[side].items()}, flush=True)
    return sides


COUNTS: dict[str, Callable[[GPTConfig, int, int], float]] = {
    "share_of_matrix_product": step_operations,
    "share_counting_all_pairs": published_operations,
}


def versions() -> dict[str, str]:
    """Of what is compared, as far as it is here."""
    found = {}
    for package in ("torch", "transformers", "litgpt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


if __name__ == "__main__":
    main()
