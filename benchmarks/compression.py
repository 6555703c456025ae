"""Whole numbers instead of float32: what is left of the quality, and how fast layers and generation become.

Everything is timed by processor time of one thread, ways taking turns in one process. `llama.cpp` is xllamacpp of the
test extra and generates from the GGUF file that the weights come from, whose matrices have four bits too; torchao
(pip install torchao==0.18.0 --no-deps) quantises the same weights, where it is installed.

Run: python benchmarks/compression.py runs/quickstart
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import torch
import xllamacpp
from torch import nn

from malmoi.compress.calibration import Calibration
from malmoi.compress.corpus_text import CorpusText, read_corpus_text
from malmoi.compress.measure import bigram_bits_per_byte, bits_per_byte
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.rounding import int4_matrix, int8_matrix
from malmoi.compress.step import Step
from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.evaluate.generation import generation_costs
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from malmoi.formats.weights import SINGLE
from malmoi.layers.compressed import CompressedLinear
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.layers.matrices.int8 import Int8Settings
from malmoi.models.language_model import LanguageModel
from malmoi.sources.fetch import fetch_source

STEPS: dict[str, Step] = {
    "int8": Int8(),
    "int8-dynamic": Int8(activations=True),
    "int4 rounded": Int4(rounding="nearest"),
    "int4": Int4(),
}
SHAPE, ROWS, ROUNDS = (1536, 576), (1, 8, 256), 40
LENGTH, WRITTEN = 512, 96
SMALLER = 8
"""Times as much text as SmolLM2 that the small model is scored on."""


def main() -> None:
    """Measure, print, write benchmarks/results/compression.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="of the recipe quickstart: its base model and its corpus")
    parser.add_argument("--kibibytes", type=int, default=32, help="held-out text that SmolLM2 is scored on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    gguf = fetch_source("smollm2-135m-instruct")[0]
    checkpoints = {"trained here": load_checkpoint(arguments.run / "pretrain"), "SmolLM2": load_checkpoint(gguf)}
    result: dict[str, Any] = {"machine": machine_facts(), "torch": torch.__version__, "linear": linear()}
    print("linear", result["linear"], flush=True)
    result["generation"] = generation(checkpoints["SmolLM2"], gguf)
    print("generation", result["generation"], flush=True)
    for (name, checkpoint), share in zip(checkpoints.items(), (SMALLER, 1), strict=True):
        context = checkpoint.language_model.config.context
        bytes_scored = share * arguments.kibibytes << 10
        text = read_corpus_text(arguments.run / "corpus", checkpoint.tokenizer, context, 32_768, bytes_scored)
        result[name] = quality(checkpoint, text)
        write_json(Path(__file__).parent / "results" / "compression.json", result)


def linear() -> dict[str, dict[int, float]]:
    """Milliseconds of one linear layer of SmolLM2, by rows that are multiplied at once."""
    layer = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    weight = layer.weight.detach()
    layers: dict[str, nn.Module] = {
        "float32": layer,
        "int8": CompressedLinear(int8_matrix(weight, Int8Settings()), None),
        "int8-dynamic": CompressedLinear(int8_matrix(weight, Int8Settings(activations=True)), None),
        "int4": CompressedLinear(int4_matrix(weight, Int4Settings()), None),
    }
    found: dict[str, dict[int, float]] = {name: {} for name in layers}
    for rows in ROWS:
        hidden = torch.randn(rows, SHAPE[1])
        for name, seconds in in_turns(layers, hidden).items():
            found[name][rows] = 1e3 * seconds
    return found


@torch.inference_mode()
def in_turns(layers: dict[str, nn.Module], hidden: torch.Tensor) -> dict[str, float]:
    """Median processor seconds of each layer; the others' weights pass through the cache in between, as in a model."""
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(ROUNDS):
        for name, layer in layers.items():
            started = time.process_time()
            layer(hidden)
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(some[1:]) for name, some in seconds.items()}


def generation(checkpoint: Checkpoint, gguf: Path) -> dict[str, float]:
    """Tokens a second of processor time, one row, behind so many tokens."""
    models: dict[str, LanguageModel] = {"float32": checkpoint.language_model}
    models["bfloat16"] = copy.deepcopy(checkpoint.language_model).bfloat16()
    for name in ("int8", "int8-dynamic", "int4 rounded"):
        models[name] = compressed(checkpoint.language_model, STEPS[name], Calibration())
    costs = generation_costs(models, checkpoint.tokenizer.encode("Once upon a time"), [LENGTH])
    found = {name: cost[str(LENGTH)]["tokens_per_second"] for name, cost in costs.items()}
    return found | {"llama.cpp, Q4_1": llama_speed(gguf)}


def llama_speed(path: Path) -> float:
    """The same of llama.cpp, from its own process time between a short answer and a long one."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.port, settings.verbosity = LENGTH, 1, 0, -1
    settings.warmup = settings.fit_params = False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    prompt = [1] * (LENGTH - 2 * WRITTEN)

    def seconds(count: int) -> float:
        body = {"prompt": prompt, "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": True}
        started = time.process_time()
        httpx.post(f"{server.listening_address}/completion", json=body, timeout=600).raise_for_status()
        return time.process_time() - started

    seconds(4)
    return WRITTEN / statistics.median(seconds(WRITTEN + 4) - seconds(4) for _ in range(3))


def quality(checkpoint: Checkpoint, text: CorpusText) -> dict[str, Any]:
    """Bits per byte of every way beside the original, and the share of its bytes on disk."""
    model = checkpoint.language_model
    before = bits_per_byte(model, text)
    found: dict[str, Any] = {
        "bits_per_byte": before,
        "bigram": bigram_bits_per_byte(text, model.config.vocabulary),
        "bytes": sum(one.bytes for one in text.held_out),
        "ways": {},
    }
    size = file_bytes(checkpoint, model)
    ways: dict[str, Callable[[], LanguageModel]] = {
        name: lambda step=step: compressed(model, step, Calibration(text.rows)) for name, step in STEPS.items()
    }
    if importlib.util.find_spec("torchao"):
        ways["torchao int8"] = lambda: by_torchao(model)
    for name, make in ways.items():
        smaller = make()
        after = bits_per_byte(smaller, text)
        found["ways"][name] = {
            "bits_per_byte": after,
            "more_bits": after / before - 1,
            "more_perplexity": math.exp((after - before) * math.log(2) * bytes_a_token(text)) - 1,
        }
        if name in STEPS:
            found["ways"][name]["file"] = file_bytes(checkpoint, smaller) / size
        print(name, found["ways"][name], flush=True)
    return found


def bytes_a_token(text: CorpusText) -> float:
    """Bytes of held-out text that a token stands for."""
    return sum(one.bytes for one in text.held_out) / sum(len(one.tokens) for one in text.held_out)


def compressed(model: LanguageModel, step: Step, calibration: Calibration) -> LanguageModel:
    """A compressed copy."""
    smaller = copy.deepcopy(model)
    step.apply(smaller, calibration)
    return smaller


def by_torchao(model: LanguageModel) -> LanguageModel:
    """A copy whose linear layers torchao has quantised, eight bits a weight; it leaves embeddings alone."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    smaller = copy.deepcopy(model)
    quantize_(smaller, Int8WeightOnlyConfig())
    return smaller


def file_bytes(checkpoint: Checkpoint, model: LanguageModel) -> int:
    """Bytes of the weights on disk."""
    with tempfile.TemporaryDirectory() as directory:
        save_checkpoint(Path(directory) / "model", model, checkpoint.tokenizer, "")
        return (Path(directory) / "model" / SINGLE).stat().st_size


if __name__ == "__main__":
    main()
