"""Time of window attention beside PyTorch's causal kernel, forward and backward, and the memory both keep.

Ratios of processor seconds of one thread: medians of rounds that take turns, in one process.
Run: python benchmarks/attention_speed.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.evaluate.attention import kept_by, measure
from malmoi.layers.schedule import EVERYTHING, parse_layer

LENGTHS = (512, 768, 1_024, 2_048, 4_096)
PATTERNS = ("window(256)", "window(64)", "window(256) | global(0)", "stride(64)", "blocks(64)", "linear",
            "hashed(reach=64, rounds=2, buckets=64)")  # fmt: skip


def main() -> None:
    """Measure, print, write benchmarks/results/attention_speed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    layers = {"full": EVERYTHING} | {text: parse_layer(text) for text in PATTERNS}
    result: dict[str, Any] = {"machine": machine_facts(), "rounds": rounds, "heads": 4, "head_width": 64, "lengths": {}}
    for length in LENGTHS:
        seconds = measure(layers, length, rounds)
        facts = {
            name: {
                "seconds": seconds[name],
                "times_as_fast_as_full": seconds["full"] / seconds[name],
                "kept_bytes": kept_by(layers[name], length),
            }
            for name in layers
        }
        result["lengths"][length] = facts
        print(
            f"{length:5} " + ", ".join(f"{name} {one['times_as_fast_as_full']:.2f}" for name, one in facts.items()),
            flush=True,
        )
        write_json(Path(__file__).parent / "results" / "attention_speed.json", result)
    kept = {name: [result["lengths"][length][name]["kept_bytes"] for length in LENGTHS[-2:]] for name in layers}
    print("kept bytes at 4,096 by those at 2,048: " + ", ".join(f"{name} {b / a:.2f}" for name, (a, b) in kept.items()))


if __name__ == "__main__":
    main()
