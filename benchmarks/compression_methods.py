"""Pruning, smaller shapes, tensor trains and a teacher, each beside its control, on a model trained here.

Run after `malmoi run quickstart`: python benchmarks/compression_methods.py --run runs/quickstart
Tensor trains are for large vocabularies: after `malmoi run benchmarks/vocabulary.yaml` give
`--run runs/vocabulary --parts tensor --steps 300 --held-out 160`.

Bits per byte are of text that was held out. A recovery is some steps of training on the corpus afterwards; its control
is the original after the same steps on the same rows. Times are ratios of medians, taken in turns in this one run.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from malmoi.compress.calibration import Calibration
from malmoi.compress.corpus_text import read_corpus_text
from malmoi.compress.measure import bigram_bits_per_byte, bits_per_byte
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.tensor import Tensor
from malmoi.compress.registry import CompressionRecipe
from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.language_model import LanguageModel
from malmoi.models.registry import build_model
from malmoi.pipeline.recovery import RecoverySettings, recover
from malmoi.pipeline.stages import distil

PRUNED = {
    f"{pattern} by {importance}": [{"method": "prune", "pattern": pattern, "importance": importance}]
    for pattern in ("rows", "2:4")
    for importance in ("magnitude", "inputs")
}
WIDER: dict[str, dict[str, Any]] = {
    "8 layers x 512": {"vocabulary": 4096, "context": 256, "width": 512, "layers": 8, "heads": 8},
    "SmolLM2's shape": {
        "vocabulary": 49_152,
        "context": 256,
        "width": 576,
        "layers": 30,
        "heads": 9,
        "key_value_heads": 3,
        "feed_forward": 1536,
        "query_key_norm": False,
        "tied": True,
    },
}
RESULT = Path(__file__).parent / "results" / "compression_methods.json"


class Bench:
    """A model with its text; what is measured is written after every row, so that nothing is lost."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.corpus, self.steps, self.checkpoint = arguments.corpus, arguments.steps, arguments.checkpoint
        self.original = load_checkpoint(self.checkpoint)
        context = self.original.language_model.config.context
        self.text = read_corpus_text(self.corpus, self.original.tokenizer, context, 16_384, arguments.held_out * 1024)
        self.calibration = Calibration(self.text.rows)
        self.result: dict[str, Any] = read_json(RESULT) if RESULT.is_file() else {}
        self.recovered: float | None = None

    def compressed(self, steps: list[dict[str, Any]]) -> LanguageModel:
        """A copy of the original after these steps."""
        model = copy.deepcopy(self.original.language_model)
        for step in CompressionRecipe.model_validate({"steps": steps}).steps:
            step.apply(model, self.calibration)
        return model

    def bits(self, model: LanguageModel) -> float:
        """Bits per byte of the held-out text."""
        return bits_per_byte(model, self.text)

    def after_training(self, model: LanguageModel, rate: float, *, codes: bool = False) -> float:
        """Bits per byte after the recovery's steps."""
        settings = RecoverySettings(
            recover_steps=self.steps, recover_learning_rate=rate, recover_rows=8, recover_codes=codes
        )
        with tempfile.TemporaryDirectory() as directory:
            recover(model, self.original.tokenizer, self.corpus, settings, Path(directory))
        return self.bits(model)

    def keep(self, part: str, name: str, facts: Any) -> None:
        """Print a row and write it."""
        print(f"{part:12}{name:34}{facts}", flush=True)
        self.result.setdefault(part, {})[name] = facts
        write_json(RESULT, self.result)


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="a finished run of quickstart")
    parser.add_argument("--checkpoint", type=Path, help="of another base model, instead of the run's")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=60, help="of every training after a compression")
    parser.add_argument("--held-out", type=int, default=64, help="KiB of held-out text that are scored")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.corpus = arguments.run / "corpus"
    arguments.checkpoint = arguments.checkpoint or arguments.run / "pretrain"
    bench = Bench(arguments)
    model = bench.original.language_model
    vocabulary = model.config.vocabulary
    bigram, bits = bigram_bits_per_byte(bench.text, vocabulary), bench.bits(model)
    if bits >= bigram:
        raise SystemExit(f"The model needs {bits:.3f} bits for a byte and a bigram model {bigram:.3f}: train it on.")
    for part in arguments.parts:
        bench.result.pop(part, None)
        bench.keep(part, "machine", machine_facts())
        facts = {"bits_per_byte": bits, "bigram": bigram, "parameters": size(model), "vocabulary": vocabulary}
        bench.keep(part, "original", facts)
        PARTS[part](bench)


def prune(bench: Bench) -> None:
    """Half of the numbers zero; two of four also after a recovery."""
    for name, steps in PRUNED.items():
        bench.keep("prune", name, measured(bench, steps))
    model = bench.compressed(PRUNED["2:4 by inputs"])
    facts = {"bits_per_byte": bench.after_training(model, 1e-3), "control": control(bench), "steps": bench.steps}
    bench.keep("prune", "2:4 by inputs, recovered", facts)


def structure(bench: Bench) -> None:
    """A quarter of width and heads, and what time it takes beside the original."""
    step = {"method": "structure", "feed_forward": 0.25, "heads": 0.25}
    for importance in ("magnitude", "inputs"):
        bench.keep("structure", f"by {importance}", measured(bench, [step | {"importance": importance}]))
    model = bench.compressed([step])
    facts = {"bits_per_byte": bench.after_training(model, 1e-3), "control": control(bench), "steps": bench.steps}
    bench.keep("structure", "by inputs, recovered", facts | {"faster": faster(bench.original.language_model, model)})


def speed(bench: Bench) -> None:
    """What a quarter of width and heads gives in wider models of random numbers: time asks for shapes alone."""
    step = {"method": "structure", "feed_forward": 0.25, "heads": 0.25, "importance": "magnitude"}
    for name, shape in WIDER.items():
        wide = build_model(GPTConfig(**shape), seed=0)
        assert isinstance(wide, LanguageModel)
        narrow = copy.deepcopy(wide)
        for one in CompressionRecipe.model_validate({"steps": [step]}).steps:
            one.apply(narrow, Calibration())
        sizes = {
            "parameters": size(wide),
            "smaller": size(narrow),
        }
        bench.keep("speed", name, sizes | {"faster": faster(wide, narrow, rounds=15)})


def aware(bench: Bench) -> None:
    """Four bits after a training in float32, and with the rounding in the training."""
    steps = [{"method": "int4", "rounding": "nearest"}]
    bench.keep("aware", "rounded", measured(bench, steps))
    trained = copy.deepcopy(bench.original.language_model)
    facts = {"control": bench.after_training(trained, 2e-4), "steps": bench.steps}
    Int4(rounding="nearest").apply(trained, Calibration())
    bench.keep("aware", "trained, then rounded", facts | {"bits_per_byte": bench.bits(trained)})
    for codes in (False, True):
        after = bench.after_training(bench.compressed(steps), 2e-4, codes=codes)
        bench.keep("aware", f"rounded, then trained{', codes too' if codes else ''}", facts | {"bits_per_byte": after})


def tensor(bench: Bench) -> None:
    """The embedding ten times smaller, by what is in it and by what is read; then after a recovery, for two lengths."""
    for length in (2, 3):
        step = Tensor(length=length)
        for way, calibration in (("", bench.calibration), (", without text", Calibration())):
            model = copy.deepcopy(bench.original.language_model)
            step.apply(model, calibration)
            facts: dict[str, Any] = {"bits_per_byte": bench.bits(model), "embedding": train_numbers(bench, model)}
            bench.keep("tensor", f"{length} tensors{way}", facts)
            if calibration.rows:
                facts = {"bits_per_byte": bench.after_training(model, 1e-3), "steps": bench.steps}
                bench.keep("tensor", f"{length} tensors, recovered", facts | {"control": control(bench)})


def train_numbers(bench: Bench, model: LanguageModel) -> dict[str, int]:
    """Those of the embedding before, and those of its train."""
    before, after = (one.get_submodule("embedding") for one in (bench.original.language_model, model))
    return {"before": before.get_parameter("weight").numel(), "after": sum(one.numel() for one in after.parameters())}


def teacher(bench: Bench) -> None:
    """Half of the layers, with and without a teacher."""
    for hidden in (0.0, 1.0):
        settings = distil.DistilSettings(
            teacher=bench.checkpoint, corpus=bench.corpus, steps=2 * bench.steps, rows=8, hidden=hidden
        )
        with tempfile.TemporaryDirectory() as directory:
            facts = distil.run(settings, Path(directory))
        bench.keep("distil", f"hidden {hidden:g}", facts)


PARTS: dict[str, Callable[[Bench], None]] = {
    "prune": prune,
    "structure": structure,
    "speed": speed,
    "aware": aware,
    "tensor": tensor,
    "distil": teacher,
}


def measured(bench: Bench, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What is left without any training."""
    model = bench.compressed(steps)
    return {"bits_per_byte": bench.bits(model), "parameters": size(model)}


def control(bench: Bench) -> float:
    """The original after the recovery's steps, trained once."""
    if bench.recovered is None:
        bench.recovered = bench.after_training(copy.deepcopy(bench.original.language_model), 1e-3)
    return bench.recovered


def size(model: LanguageModel) -> int:
    """Its numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.inference_mode()
def faster(before: LanguageModel, after: LanguageModel, rounds: int = 30) -> dict[str, float]:
    """How many times as fast `after` is: at reading rows of 256 tokens, and at one token."""
    found = {}
    for length in (1, 256):
        tokens = torch.zeros((1, length), dtype=torch.int64)
        seconds: dict[int, list[float]] = {0: [], 1: []}
        for _ in range(rounds + 1):
            for number, model in enumerate((before, after)):
                started = time.process_time()
                model.logits(tokens)
                seconds[number].append(time.process_time() - started)
        found[f"{length} tokens"] = statistics.median(seconds[0][1:]) / statistics.median(seconds[1][1:])
    return found


if __name__ == "__main__":
    main()
