"""Generation with the key/value cache beside generation without it, and beside `transformers`.

All three continue the same prompts greedily with the same weights in float32, one after the other in one process.
Run: python benchmarks/generation.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.generate.generator import collect, generate, generate_without_cache
from malmoi.generate.sampling import SamplingSettings
from malmoi.models.model import Model
from malmoi.sources.fetch import fetch_source

PROMPTS = ("The capital of France is", "대한민국의 수도는")
Run = Callable[[list[int]], list[int]]


def main() -> None:
    """Measure, print, write benchmarks/results/generation.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="SmolLM2-135M-Instruct by its card when left out")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    checkpoint = load_checkpoint(arguments.checkpoint or fetch_source("smollm2-135m-instruct")[0])
    model, tokenizer = checkpoint.language_model, checkpoint.tokenizer
    tokenizer.stops = set()  # every run is to be as long as every other
    settings = SamplingSettings(temperature=0, maximum_tokens=arguments.tokens)
    with tempfile.TemporaryDirectory() as directory:
        save_checkpoint(Path(directory) / "model", model, tokenizer, "")
        peer = AutoModelForCausalLM.from_pretrained(Path(directory) / "model", dtype=torch.float32).eval()
        peer.generation_config.eos_token_id = None

    ways: dict[str, Run] = {
        "with the cache": lambda prompt: collect(generate(model, tokenizer, prompt, settings)).tokens,
        "without it": lambda prompt: collect(generate_without_cache(model, tokenizer, prompt, settings)).tokens,
        "transformers": lambda prompt: transformers_tokens(peer, prompt, arguments.tokens),
    }
    rows: list[dict[str, Any]] = []
    result = {"machine": machine_facts(), "tokens": arguments.tokens, "parameters": size(model), "prompts": rows}
    for prompt in PROMPTS:
        rows.append({"prompt": prompt} | measure(ways, tokenizer.encode(prompt), arguments.rounds))
        print(row_text(rows[-1]), flush=True)
        write_json(Path(__file__).parent / "results" / "generation.json", result)


def measure(ways: dict[str, Run], prompt: list[int], rounds: int) -> dict[str, Any]:
    """The best of several rounds of each way, in turn (the slow one runs once), and whether the tokens are the same."""
    seconds: dict[str, float] = {}
    tokens: dict[str, list[int]] = {}
    for turn in range(rounds):
        for name, run in ways.items():
            if name == "without it" and turn:
                continue
            start = time.perf_counter()
            tokens[name] = run(prompt)
            seconds[name] = min(time.perf_counter() - start, seconds.get(name, float("inf")))
    fast = tokens["with the cache"]
    return {
        "seconds": seconds,
        "times_as_fast_as_without": seconds["without it"] / seconds["with the cache"],
        "times_as_fast_as_transformers": seconds["transformers"] / seconds["with the cache"],
        "equal_without": fast == tokens["without it"],
        "equal_transformers": fast == tokens["transformers"],
    }


def transformers_tokens(peer: Any, prompt: list[int], tokens: int) -> list[int]:
    """What `generate` of transformers gives, greedily, with its own cache."""
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        found = peer.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens, pad_token_id=0)
    return list(map(int, found[0, len(prompt) :]))


def row_text(row: dict[str, Any]) -> str:
    """One prompt's line."""
    times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in row["seconds"].items())
    same = "equal" if row["equal_without"] and row["equal_transformers"] else "NOT EQUAL"
    return (
        f"{row['prompt']!r}: {times}; {row['times_as_fast_as_without']:.1f} times as fast as without the cache, "
        f"{row['times_as_fast_as_transformers']:.2f} times as fast as transformers; tokens {same}"
    )


def size(model: Model) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
