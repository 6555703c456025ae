"""A text of 65,536 tokens: peak memory of a forward pass and a generation with a window; the cache beside a full one.

Run: python benchmarks/attention_memory.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import psutil
import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.core.memory import PeakMemory
from malmoi.generate.prefix import PrefixCache
from malmoi.layers.cache import cache_bytes
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model, count_parameters


def main() -> None:
    """Measure, print, write benchmarks/results/attention_memory.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=65_536)
    parser.add_argument("--generated", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = GPTConfig(
        vocabulary=8_192,
        context=arguments.length + arguments.generated,
        width=256,
        layers=4,
        heads=4,
        tied=False,
        attention="window(256) | global(0)",
    )
    model: GPT = build_model(config, 0).eval()
    tokens = torch.randint(config.vocabulary, (arguments.length,), generator=torch.Generator().manual_seed(0)).tolist()
    memory, started = PeakMemory(), time.process_time()
    cache = PrefixCache(model)
    for _ in range(arguments.generated):
        tokens.append(int(cache.logits(tokens).argmax()))
    result = {
        "machine": machine_facts(),
        "length": arguments.length,
        "parameters": count_parameters(config),
        "attention": [str(layer) for layer in config.attention],
        "peak_bytes": memory.bytes(),
        "processor_seconds": time.process_time() - started,
        "cache_bytes": cache_bytes(config, config.context, torch.float32),
        "cache_bytes_of_full_attention": cache_bytes(
            config.model_copy(update={"attention": GPTConfig.model_fields["attention"].default}),
            config.context,
            torch.float32,
        ),
        "bytes_now": psutil.Process().memory_info().rss,
    }
    write_json(Path(__file__).parent / "results" / "attention_memory.json", result)
    print({name: value for name, value in result.items() if name != "machine"})
    print(f"{result['peak_bytes'] / 2**30:.2f} GiB at most, of which the process began with its libraries")


if __name__ == "__main__":
    main()
