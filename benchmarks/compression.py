"""Whole numbers instead of float32, in layers and in the cache: what is left of the quality, and how fast all becomes.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch
import xllamacpp
from torch import nn
from torch.nn import functional as F

from malmoi.compress.calibration import Calibration
from malmoi.compress.corpus_text import CorpusText, read_corpus_text
from malmoi.compress.measure import bigram_bits_per_byte, bits_per_byte
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.rounding import int4_matrix, int8_matrix
from malmoi.compress.step import Step
from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.evaluate.generation import generation_costs
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from malmoi.formats.weights import SINGLE
from malmoi.layers.compressed import CompressedLinear
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.layers.matrices.int8 import Int8Settings
from malmoi.models.language_model import LanguageModel
from malmoi.sources.fetch import fetch_source

MULTIPLIED = ["blocks.*", "head"]
"""Layers whose inputs say what an error costs: all but the embedding, whose rows are only looked up."""

STEPS: dict[str, Step] = {
    "int8": Int8(),
    "int8-dynamic": Int8(activations=True),
    "int8-dynamic, not smoothed": Int8(activations=True, smoothed=False),
    "int4 rounded": Int4(rounding="nearest"),
    "int4": Int4(),
    "int4 rounded, embedding whole": Int4(rounding="nearest", layers=MULTIPLIED),
    "int4, embedding whole": Int4(layers=MULTIPLIED),
}
SHAPE, ROWS, ROUNDS = (1536, 576), (1, 8, 256), 40
LENGTH, WRITTEN = 512, 96
SMALLER = 8
"""Times as much text as SmolLM2 that the small model is scored on."""
TORCHAO = {"torchao int8": "Int8WeightOnlyConfig", "torchao int8-dynamic": "Int8DynamicActivationInt8WeightConfig"}
WAYS = (*STEPS, *TORCHAO)
PARTS = ("linear", "generation", "small", "large", "cache")
RESULT = Path(__file__).parent / "results" / "compression.json"


def main() -> None:
    """Measure the parts that are asked for, print them, write them into benchmarks/results/compression.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="of the recipe quickstart: its base model and its corpus")
    parser.add_argument("--korean", type=Path, default=Path("runs/quickstart-ko"), help="likewise of quickstart-ko")
    parser.add_argument("--kibibytes", type=int, default=32, help="held-out text that SmolLM2 is scored on")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS, help="of which quality is measured again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    gguf = fetch_source("smollm2-135m-instruct")[0]
    large = load_checkpoint(gguf)
    result: dict[str, Any] = read_json(RESULT) if RESULT.is_file() else {}
    result |= {"machine": machine_facts(), "torch": torch.__version__}

    def keep(name: str, facts: Any) -> None:
        print(name, facts, flush=True)
        write_json(RESULT, result | {name: facts})
        result[name] = facts

    if "linear" in arguments.parts:
        keep("linear", linear())
    if "generation" in arguments.parts:
        keep("generation", generation(large, gguf))
    if "small" in arguments.parts:
        small = load_checkpoint(arguments.run / "pretrain")
        text = held_out(arguments.run, small, SMALLER * arguments.kibibytes)
        keep("trained here", quality(small, text, arguments.ways, result.get("trained here")))
    if "large" in arguments.parts:
        text = held_out(arguments.run, large, arguments.kibibytes)
        keep("SmolLM2", quality(large, text, arguments.ways, result.get("SmolLM2")))
    if "cache" in arguments.parts:
        keep("cache", caches(large, arguments.run, arguments.korean, arguments.kibibytes))


def held_out(run: Path, checkpoint: Checkpoint, kibibytes: int) -> CorpusText:
    """Text of a run's corpus, as a model reads it."""
    context = checkpoint.language_model.config.context
    return read_corpus_text(run / "corpus", checkpoint.tokenizer, context, 32_768, kibibytes << 10)


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
    prompt = checkpoint.tokenizer.encode("Once upon a time")
    models["float32, int8 cache"] = copy.copy(checkpoint.language_model)
    models["float32, int8 cache"].use_int8_cache()
    models["bfloat16"] = copy.deepcopy(checkpoint.language_model).bfloat16()
    for name in ("int8", "int8-dynamic", "int4 rounded"):
        models[name] = compressed(checkpoint.language_model, STEPS[name], Calibration([prompt]))
    costs = generation_costs(models, prompt, [LENGTH])
    found = {name: cost[str(LENGTH)]["tokens_per_second"] for name, cost in costs.items()}
    others = {"transformers, bfloat16": transformers_speed(checkpoint), "llama.cpp, Q4_1": llama_speed(gguf)}
    return found | others


def caches(large: Checkpoint, english: Path, korean: Path, kibibytes: int) -> dict[str, Any]:
    """What an int8 cache takes and changes, for SmolLM2 and for each run's own model, on text of both runs."""
    found: dict[str, Any] = {}
    for language, run in (("English", english), ("Korean", korean)):
        small = load_checkpoint(run / "pretrain")
        for name, checkpoint, share in (("SmolLM2", large, 1), ("trained here", small, SMALLER)):
            model, text = checkpoint.language_model, held_out(run, checkpoint, share * kibibytes)
            length = min(LENGTH, model.config.context)
            stream = [token for one in text.held_out for token in (text.start, *one.tokens)]
            rows = torch.tensor(stream[: len(stream) // length * length]).view(-1, length)
            facts = found[f"{name}, {language}"] = int8_cache(model, rows)
            print(name, language, facts, flush=True)
    return found


@torch.inference_mode()
def int8_cache(model: LanguageModel, rows: torch.Tensor) -> dict[str, Any]:
    """Rows are read through an exact cache and through one of eight bits."""
    rounded = copy.copy(model)
    rounded.use_int8_cache()
    nats, same = {"exact": 0.0, "int8": 0.0}, 0
    for row in rows:
        best = []
        for name, one in (("exact", model), ("int8", rounded)):
            logits = one.logits(row[None], one.cache(1, len(row)))[0]
            nats[name] += float(F.cross_entropy(logits[:-1], row[1:], reduction="sum"))
            best.append(logits.argmax(-1))
        same += int((best[0] == best[1]).sum())
    length = rows.shape[1]
    return {
        "bytes_a_token": {
            name: one.cache(1, length).bytes / length for name, one in (("exact", model), ("int8", rounded))
        },
        "tokens": rows.numel(),
        "nats": {name: total / (rows.numel() - len(rows)) for name, total in nats.items()},
        "more_nats": nats["int8"] / nats["exact"] - 1,
        "same_greedy_token": same / rows.numel(),
    }


def llama_speed(path: Path) -> float:
    """The same of llama.cpp, from its own process time between a short answer and a long one."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.port, settings.verbosity = 2 * LENGTH, 1, 0, -1
    settings.warmup = settings.fit_params = False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    prompt = [1] * (LENGTH - WRITTEN - 4)  # so that both write the same places of a text

    def seconds(count: int) -> float:
        body = {"prompt": prompt, "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": True}
        started = time.process_time()
        httpx.post(f"{server.listening_address}/completion", json=body, timeout=600).raise_for_status()
        return time.process_time() - started

    return speed(seconds)


def transformers_speed(checkpoint: Checkpoint) -> float:
    """The same of `generate` of transformers with the same weights."""
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as directory:
        save_checkpoint(Path(directory) / "model", checkpoint.language_model, checkpoint.tokenizer, "")
        model = AutoModelForCausalLM.from_pretrained(Path(directory) / "model", dtype=torch.bfloat16).eval()
    prompt = torch.ones(1, LENGTH - WRITTEN - 4, dtype=torch.int64)

    def seconds(count: int) -> float:
        started = time.process_time()
        model.generate(prompt, attention_mask=prompt, min_new_tokens=count, max_new_tokens=count, do_sample=False)
        return time.process_time() - started

    return speed(seconds)


def speed(seconds: Callable[[int], float]) -> float:
    """Tokens a second, from what so many tokens take behind a prompt."""
    seconds(4)
    return WRITTEN / statistics.median(seconds(WRITTEN + 4) - seconds(4) for _ in range(3))


def quality(
    checkpoint: Checkpoint, text: CorpusText, names: Sequence[str], known: dict[str, Any] | None
) -> dict[str, Any]:
    """Bits per byte of these ways beside the original, and the share of its bytes on disk.

    Args:
        known: what was measured before; of the same model and text it is kept for the other ways.
    """
    model = checkpoint.language_model
    before = bits_per_byte(model, text)
    found: dict[str, Any] = {
        "bits_per_byte": before,
        "bigram": bigram_bits_per_byte(text, model.config.vocabulary),
        "bytes": sum(one.bytes for one in text.held_out),
        "ways": {},
    }
    if known is not None and math.isclose(known["bits_per_byte"], before, rel_tol=1e-6):
        found["ways"] |= known["ways"]
    size = file_bytes(checkpoint, model)
    for name in names:
        if name in TORCHAO and not importlib.util.find_spec("torchao"):
            continue
        smaller = by_torchao(model, name) if name in TORCHAO else compressed(model, STEPS[name], Calibration(text.rows))
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


def by_torchao(model: LanguageModel, name: str) -> LanguageModel:
    """A copy whose linear layers torchao has quantised, eight bits a weight; it leaves embeddings alone."""
    from torchao import quantization

    smaller = copy.deepcopy(model)
    quantization.quantize_(smaller, getattr(quantization, TORCHAO[name])())
    return smaller


def file_bytes(checkpoint: Checkpoint, model: LanguageModel) -> int:
    """Bytes of the weights on disk."""
    with tempfile.TemporaryDirectory() as directory:
        save_checkpoint(Path(directory) / "model", model, checkpoint.tokenizer, "")
        return (Path(directory) / "model" / SINGLE).stat().st_size


if __name__ == "__main__":
    main()
