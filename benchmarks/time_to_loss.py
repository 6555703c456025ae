"""How soon the recipe `shakespeare` reaches the loss with which a plain GPT-2 ends.

Both learn the characters of tiny Shakespeare's first nine tenths and are judged on the whole last tenth by the same
code. Time is that of the training steps, batches included; building, judging and saving is left out on both sides.
Each training has a process of its own, so that no setting of one reaches the other. The recipe was tuned on the last
tenth; `--held-out first` judges on the first one. Beside the recipe stands one whose model is Qwen3's, so that it opens
elsewhere; beside the control that is usually printed the same with a tuned learning rate, which needs half the steps.
Run: python benchmarks/time_to_loss.py tinyshakespeare/input.txt
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_gpt2 import CONTEXT, train_control
from torch.nn import functional as F

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.data.mixture import Mixture
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model, count_parameters
from malmoi.objectives.causal import Causal
from malmoi.pipeline.recipe import load_recipe
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

NAME = "shakespeare"

PORTABLE = [
    "model.short_convolution=0",
    "model.bigram_buckets=0",
    "model.activation=swiglu",
    "model.layers=2",
    "steps=130",
    "trainer.learning_rate=0.02",
    "trainer.matrix_learning_rate=0.04",
]
"""What makes the recipe's model one that other programs know; without convolutions it wants other rates."""


def main() -> None:
    """Measure, print, write benchmarks/results/time_to_loss.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="how many trainings of each")
    parser.add_argument("--set", action="append", default=[], help="pretrain.key=value, changes the recipe")
    parser.add_argument("--held-out", choices=("last", "first"), default="last", help="which tenth")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of every training")
    parser.add_argument("--only", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train, held_out, vocabulary = read(arguments.text, arguments.held_out == "first")
    if arguments.only:
        print(json.dumps(RUNS[arguments.only](train, held_out, vocabulary, arguments.seed, arguments.set)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    for seed in range(arguments.seeds):
        for name in RUNS:
            runs[name].append(in_process(name, seed))
            print(f"{name:13} seed {seed}: loss {runs[name][-1]['loss']:.4f}, {runs[name][-1]['seconds']:.2f} s")
    name = "time_to_loss.json" if arguments.held_out == "last" else "time_to_loss_first_tenth.json"
    write_json(Path(__file__).parent / "results" / name, summary(runs))


def in_process(name: str, seed: int) -> dict[str, Any]:
    """One training in a process of its own, with this command's other arguments."""
    command = [sys.executable, *sys.argv, "--only", name, "--seed", str(seed)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(finished.stderr)
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def read(path: Path, first: bool = False) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(n,) int64 ids of nine tenths of a text's characters, of the last or first tenth, and how many ids there are."""
    text = path.read_text(encoding="utf-8")
    ids = {character: number for number, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([ids[character] for character in text])
    if first:
        tokens = tokens.roll(-(len(tokens) // 10))
    return tokens[: int(0.9 * len(tokens))], tokens[int(0.9 * len(tokens)) :], len(ids)


def run_control(
    train: torch.Tensor, held_out: torch.Tensor, vocabulary: int, seed: int, overrides: list[str]
) -> dict[str, Any]:
    """Train the plain GPT-2 by the usual recipe."""
    model, seconds = train_control(train, vocabulary, seed)
    return result(model, model, held_out, seconds)


def run_tuned_control(
    train: torch.Tensor, held_out: torch.Tensor, vocabulary: int, seed: int, overrides: list[str]
) -> dict[str, Any]:
    """Train the plain GPT-2 with four times the learning rate in half the steps."""
    model, seconds = train_control(train, vocabulary, seed, steps=1_000, rate=4e-3)
    return result(model, model, held_out, seconds)


def run_recipe(
    train: torch.Tensor, held_out: torch.Tensor, vocabulary: int, seed: int, overrides: list[str]
) -> dict[str, Any]:
    """Train as the recipe says, by malmoi's own trainer."""
    steps = {step.name: step for step in load_recipe(NAME, overrides).steps}
    settings: Any = steps["pretrain"].settings
    fields = {**settings.trainer, "steps": settings.steps, "seed": seed}
    trainer_settings = TrainerSettings(**fields)
    model = build_model(GPTConfig(vocabulary=vocabulary, context=settings.context, **settings.model), seed)
    store = {NAME: train.numpy().astype(np.uint16)}
    source = Mixture(store, {}, {}, settings.context, settings.rows, trainer_settings.slots, seed)
    with tempfile.TemporaryDirectory() as directory:
        trained = Trainer(model, Causal(), source, trainer_settings, Path(directory)).run()
    facts = {
        "steps": trained.steps,
        "skipped": trained.skipped,
        "precision": trained.precision,
        "parameters": count_parameters(model.config),
    }
    return result(model, model.logits, held_out, trained.seconds) | facts


def run_portable(
    train: torch.Tensor, held_out: torch.Tensor, vocabulary: int, seed: int, overrides: list[str]
) -> dict[str, Any]:
    """Train Qwen3's shape."""
    portable = [f"pretrain.{change}" for change in PORTABLE]
    return run_recipe(train, held_out, vocabulary, seed, [*portable, *overrides])


CONTROLS = {"control": run_control, "tuned control": run_tuned_control}
RECIPES = {NAME: run_recipe, "portable": run_portable}
RUNS = CONTROLS | RECIPES


@torch.no_grad()
def result(
    model: torch.nn.Module, logits: Callable[[torch.Tensor], torch.Tensor], held_out: torch.Tensor, seconds: float
) -> dict[str, Any]:
    """Mean loss over the held-out text, end to end in rows of the context."""
    model.eval()
    length = (len(held_out) - 1) // CONTEXT * CONTEXT
    inputs, targets = held_out[:length].view(-1, CONTEXT), held_out[1 : length + 1].view(-1, CONTEXT)
    parts = zip(inputs.split(64), targets.split(64), strict=True)
    total = sum(float(F.cross_entropy(logits(x).flatten(0, 1), y.flatten(), reduction="sum")) for x, y in parts)
    return {"loss": total / length, "seconds": seconds}


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the runs show: how many of a recipe's reach the control's mean final loss, and how much sooner."""
    loss = statistics.mean(run["loss"] for run in runs["control"])
    seconds = {name: statistics.median(run["seconds"] for run in runs[name]) for name in runs}
    recipes = {}
    for name in RECIPES:
        reached = sum(run["loss"] <= loss for run in runs[name])
        speedups = {control: seconds[control] / seconds[name] for control in CONTROLS}
        recipes[name] = {"reached": reached, "speedup": speedups}
        print(f"{name} reaches {loss:.4f}, the control's mean, in {reached} of {len(runs[name])} runs, and is")
        print(" and ".join(f"{factor:.1f} times as fast as the {control}" for control, factor in speedups.items()))
    return {"machine": machine_facts(), "threads": torch.get_num_threads(), "recipes": recipes, "runs": runs}


if __name__ == "__main__":
    main()
