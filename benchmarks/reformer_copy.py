"""The copy task of the Reformer paper: a model reads 0w0 and has to write w again, with hashed attention and with full.

Each model is trained alike and asked for the second w, every token given those before it. Hashed attention is also
evaluated with other numbers of rounds than it was trained with.
Run: python benchmarks/reformer_copy.py [--length 1024 --device cuda]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.layers.mixes.hashed import Hashed
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.train.optimizers import OptimizerSettings, build_optimizers

SYMBOLS = 128
ROUNDS = (1, 2, 4, 8)
"""With which the trained model is evaluated."""


def main() -> None:
    """Train, print, write benchmarks/results/reformer_copy.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=256, help="of 0w0w")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hashed = Hashed(reach=arguments.length // 8, rounds=arguments.rounds, buckets=16)
    result: dict[str, Any] = {"machine": machine_facts(), **vars(arguments), "models": {}}
    for name, attention in {"hashed": str(hashed), "full": "full"}.items():
        model, facts = train(attention, arguments)
        accuracy = {"as trained": evaluate(model, arguments)}
        if name == "hashed":
            for rounds in ROUNDS:
                model.blocks[0].attention.mix = replace(hashed, rounds=rounds)
                accuracy[f"{rounds} rounds"] = evaluate(model, arguments)
        result["models"][name] = {"attention": attention, "accuracy": accuracy, **facts}
        print(name, accuracy, facts, flush=True)
        write_json(Path(__file__).parent / "results" / f"reformer_copy_{arguments.length}.json", result)


def rows_of(count: int, length: int, generator: torch.Generator) -> torch.Tensor:
    """(count, length) int64, each 0w0w with w of symbols from 1 on."""
    words = torch.randint(1, SYMBOLS, (count, length // 2 - 1), generator=generator)
    half = F.pad(words, (1, 0))
    return torch.cat([half, half], 1)


def train(attention: str, arguments: argparse.Namespace) -> tuple[GPT, dict[str, float]]:
    """A model of one layer, and what its training took."""
    length = arguments.length
    config = GPTConfig(
        vocabulary=SYMBOLS,
        context=length,
        width=arguments.width,
        layers=1,
        heads=4,
        positions="learned",
        tied=False,
        attention=attention,
    )
    model: GPT = build_model(config, arguments.seed).to(arguments.device).train()
    settings = OptimizerSettings(optimizer="adamw", learning_rate=3e-3)
    optimizers = build_optimizers(model, settings)
    generator = torch.Generator().manual_seed(arguments.seed + 1)
    torch.manual_seed(arguments.seed)
    started = time.process_time()
    for step in range(arguments.steps):
        tokens = rows_of(arguments.rows, length, generator).to(arguments.device)
        hidden = model(tokens[:, :-1])[:, length // 2 :]
        loss = F.cross_entropy(model.head(hidden).flatten(0, 1), tokens[:, length // 2 + 1 :].flatten())
        loss.backward()
        rate = min(1.0, (step + 1) / 100, 2 * (1 - step / arguments.steps))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate
            optimizer.step()
            optimizer.zero_grad()
        if step % 100 == 0 or step == arguments.steps - 1:
            seconds = time.process_time() - started
            print(f"{attention}: step {step}, loss {float(loss.detach()):.3f}, {seconds:.0f} s", flush=True)
    return model, {"loss": float(loss.detach()), "processor_seconds": time.process_time() - started}


@torch.no_grad()
def evaluate(model: GPT, arguments: argparse.Namespace) -> float:
    """The share of the second w's tokens that get the highest score, over 64 new rows."""
    model.eval()
    tokens = rows_of(64, arguments.length, torch.Generator().manual_seed(10_000)).to(arguments.device)
    half = arguments.length // 2
    return float((model.logits(tokens[:, :-1])[:, half:].argmax(-1) == tokens[:, half + 1 :]).float().mean())


if __name__ == "__main__":
    main()
