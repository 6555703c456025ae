"""A reversible model of 32 layers beside the same computed with every activation kept: gradients, memory, time.

Run: python benchmarks/reversible.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.evaluate.kept_bytes import kept_bytes
from malmoi.layers.reversible import Half, through_ordinarily
from malmoi.models import gpt
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize

Through = Callable[[Sequence[Half], Sequence[nn.Module], torch.Tensor], torch.Tensor]


def main() -> None:
    """Measure, print, write benchmarks/results/reversible.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ways: dict[str, Through] = {"reversible": gpt.through_reversibly, "ordinary": ordinarily}
    tokens = torch.randint(512, (4, 128), generator=torch.Generator().manual_seed(0))
    result: dict[str, Any] = {"machine": machine_facts(), "layers": arguments.layers}
    for dropout in (0.0, 0.1):
        model = model_of(arguments.layers, dropout)
        gradients, kept = {}, {}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):
            for name, way in ways.items():
                gpt.through_reversibly = way  # type: ignore[assignment]
                torch.manual_seed(1)
                started = time.process_time()
                gradients[name] = step(model, tokens)
                if number:
                    seconds[name].append(time.process_time() - started)
        for name, way in ways.items():
            gpt.through_reversibly = way  # type: ignore[assignment]
            kept[name] = kept_bytes(partial(states, model, tokens), model.parameters())
        gpt.through_reversibly = ways["reversible"]
        times = {name: statistics.median(some) for name, some in seconds.items()}
        difference = (gradients["reversible"] - gradients["ordinary"]).norm() / gradients["ordinary"].norm()
        facts = {
            "relative_difference_of_gradients": float(difference),
            "kept_bytes": kept,
            "kept_share": kept["reversible"] / kept["ordinary"],
            "seconds": times,
            "times_as_long": times["reversible"] / times["ordinary"],
        }
        result[f"dropout {dropout}"] = facts
        print(f"dropout {dropout}: {facts}", flush=True)
    write_json(Path(__file__).parent / "results" / "reversible.json", result)


def model_of(layers: int, dropout: float) -> GPT:
    """A model of width 128 whose layers all do something."""
    config = GPTConfig(vocabulary=512, context=128, width=128, layers=layers, heads=2, reversible=True, dropout=dropout)
    model = GPT(config)
    initialize(model, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.empty_like(parameter).normal_(0, 0.02, generator=generator)
    return model.train()


def ordinarily(halves: Sequence[Half], modules: Sequence[nn.Module], hidden: torch.Tensor) -> torch.Tensor:
    """Every activation kept, the same random numbers."""
    return through_ordinarily(halves, torch.randint(1 << 62, (len(halves),)).tolist(), hidden)


def states(model: GPT, tokens: torch.Tensor) -> torch.Tensor:
    """What comes out of the blocks."""
    return model.through(model.embed(tokens))


def step(model: GPT, tokens: torch.Tensor) -> torch.Tensor:
    """All gradients of one step, end to end."""
    model.logits(tokens).float().square().mean().backward()  # type: ignore[no-untyped-call]
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    model.zero_grad()
    return gradients


if __name__ == "__main__":
    main()
