"""Operations of each kind of attention as the text grows fourfold from 1,024 to 16,384 tokens, forward and backward.

Counted, not timed: the same everywhere. Strided and axial attention and the hashes grow with the length as their
papers have it: rows of the square root of the length, buckets of 64 tokens.
Run: python benchmarks/attention_growth.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.evaluate.attention import count_operations, growth
from malmoi.layers.schedule import parse_layer

LENGTHS = (1_024, 4_096, 16_384)
KINDS = {
    "dense": ("full", 16, 0.01),
    "window": ("window(64)", 4, 0.05),
    "window and global": ("window(64) | global(0)", 4, 0.05),
    "strided": ("stride({root})", 8, 0.01),
    "axial rows": ("blocks({root})", 8, 0.01),
    "linear": ("linear", 4, 0.01),
    "hashed": ("hashed(reach=64, rounds=2, buckets={buckets})", 5, None),
}
"""Name to pattern, expected growth, and how far from it is allowed as a share; None where it is a limit."""


def main() -> None:
    """Count, print, write benchmarks/results/attention_growth.json."""
    result: dict[str, Any] = {"machine": machine_facts(), "lengths": LENGTHS, "kinds": {}}
    for name, (pattern, expected, slack) in KINDS.items():
        texts = [pattern.format(root=math.isqrt(length), buckets=length // 64) for length in LENGTHS]
        counts = [count_operations(parse_layer(text), length) for text, length in zip(texts, LENGTHS, strict=True)]
        grown = growth(counts)
        good = all(one < expected if slack is None else abs(one / expected - 1) <= slack for one in grown)
        result["kinds"][name] = {
            "patterns": texts,
            "operations": counts,
            "growth": grown,
            "expected": expected,
            "good": good,
        }
        print(
            f"{name:18} {' '.join(f'{one:6.2f}' for one in grown)}   expected {expected}  {'good' if good else 'NOT'}"
        )
    write_json(Path(__file__).parent / "results" / "attention_growth.json", result)


if __name__ == "__main__":
    main()
