"""Low rank at 80 % of the numbers: what text makes of a matrix beside its singular values alone, for two models.

Plain and whitened factors stand for the same layers, all those of the blocks, under the same budget: once every layer
keeps the same share, so that each has one rank both ways, and once the layers share what is kept. The error of a
layer's outputs is on the text that was calibrated with, at equal ranks.

Run after `malmoi run quickstart`: python benchmarks/low_rank.py runs/quickstart
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from malmoi.compress.calibration import Calibration, Statistic
from malmoi.compress.corpus_text import read_corpus_text
from malmoi.compress.measure import bigram_bits_per_byte, bits_per_byte
from malmoi.compress.methods.lowrank import LowRank
from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.layers.compressed import compressed_layers, compressible
from malmoi.models.language_model import LanguageModel
from malmoi.models.model import Model
from malmoi.sources.fetch import fetch_source

RESULT = Path(__file__).parent / "results" / "low_rank.json"


def main() -> None:
    """Measure the models that are asked for, print them, write them into benchmarks/results/low_rank.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="of the recipe quickstart: its base model and its corpus")
    parser.add_argument("--models", nargs="*", choices=("small", "large"), default=("small", "large"))
    parser.add_argument("--keep", type=float, default=0.8, help="share of the blocks' numbers that is left")
    parser.add_argument("--tokens", type=int, default=16_384, help="that are calibrated with")
    parser.add_argument("--kibibytes", type=int, default=64, help="held-out text that is scored")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.models:
        path = arguments.run / "pretrain" if name == "small" else fetch_source("smollm2-135m-instruct")[0]
        facts = measured(path, arguments)
        result = read_json(RESULT) if RESULT.is_file() else {}
        result["machine"] = machine_facts()
        result["SmolLM2" if name == "large" else "trained here"] = facts
        write_json(RESULT, result)


class Once(Calibration):
    """Reads the text once for all ways, which begin with the same model and change the same layers."""

    def __init__(self, rows: list[list[int]]) -> None:
        super().__init__(rows)
        self._statistics: dict[str, Statistic] = {}
        self._gradients: dict[str, float] = {}

    def statistics(self, model: Model, names: Iterable[str]) -> dict[str, Statistic]:
        """See `Calibration`."""
        self._statistics = self._statistics or super().statistics(model, names)
        return self._statistics

    def gradients(self, model: LanguageModel, names: Iterable[str]) -> dict[str, float]:
        """See `Calibration`."""
        self._gradients = self._gradients or super().gradients(model, names)
        return self._gradients


def measured(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One model: bits per byte of every way beside the original, and the errors of its layers."""
    checkpoint = load_checkpoint(path)
    model = checkpoint.language_model
    text = read_corpus_text(
        arguments.run / "corpus",
        checkpoint.tokenizer,
        model.config.context,
        arguments.tokens,
        arguments.kibibytes << 10,
    )
    before, bigram = bits_per_byte(model, text), bigram_bits_per_byte(text, model.config.vocabulary)
    if before >= bigram:
        raise SystemExit(f"The model needs {before:.3f} bits for a byte and a bigram model {bigram:.3f}: train it on.")
    tokens, scored = sum(map(len, text.rows)), sum(one.bytes for one in text.held_out)
    print(f"{path}: {before:.4f} bits per byte of {scored:,} bytes (a bigram model {bigram:.4f})", flush=True)
    facts: dict[str, Any] = {"bits_per_byte": before, "bigram": bigram, "calibration_tokens": tokens, "bytes": scored}
    calibration = Once(text.rows)
    for shared in (False, True):
        ways = {}
        for way in ("plain", "whitened"):
            ways[way] = copy.deepcopy(model)
            step = LowRank(keep=arguments.keep, whitened=way == "whitened", shared=shared)
            step.apply(ways[way], calibration)
        budget = "shared by the layers" if shared else "the same share for every layer"
        found = damage(model, ways, before, {way: bits_per_byte(smaller, text) for way, smaller in ways.items()})
        facts[budget] = found
        print(f"  {budget}: {found}", flush=True)
        if not shared:
            facts["layers"] = output_errors(model, ways["plain"], ways["whitened"], calibration)
            print(f"  errors of outputs: {facts['layers']}", flush=True)
    return facts


def damage(
    model: LanguageModel, ways: dict[str, LanguageModel], before: float, after: dict[str, float]
) -> dict[str, Any]:
    """What each way keeps and costs, and what whitening leaves of the cost."""
    found: dict[str, Any] = {
        way: {
            "of_the_blocks": block_numbers(smaller) / block_numbers(model),
            "bits_per_byte": after[way],
            "damage": after[way] - before,
        }
        for way, smaller in ways.items()
    }
    return found | {"damage_whitened_of_plain": found["whitened"]["damage"] / found["plain"]["damage"]}


def block_numbers(model: LanguageModel) -> int:
    """Those of the matrices in the blocks, whole or in factors."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if name.startswith("blocks.") and parameter.ndim == 2
    )


def output_errors(
    model: LanguageModel, plain: LanguageModel, whitened: LanguageModel, calibration: Calibration
) -> dict[str, Any]:
    """The mean square error of each layer's outputs, whitened as a share of plain: for how many it is not above."""
    names = list(compressed_layers(plain))
    layers, ratios = compressible(model), {}
    for name, statistic in calibration.statistics(model, names).items():
        products = statistic.products.double()
        errors = []
        for smaller in (plain, whitened):
            lost = (layers[name].weight - compressed_layers(smaller)[name].weight).detach().double()
            errors.append(float((lost @ products * lost).sum()))
        ratios[name] = errors[1] / errors[0]
    worst = max(ratios, key=lambda name: ratios[name])
    return {
        "layers": len(ratios),
        "not_above_plain": sum(ratio <= 1 for ratio in ratios.values()),
        "largest_ratio": ratios[worst],
        "where": worst,
        "mean_ratio": sum(ratios.values()) / len(ratios),
    }


if __name__ == "__main__":
    main()
