"""A language model teaches half of its layers: the share of the gap that closes, each side at its own best rate.

The control is the same student after the same steps without a teacher. Each side is trained by the stage `distil` at
rates a factor of two apart until its best one has a worse one on both sides. Half of the held-out text chooses the
rates; the other half is looked at once, by the best student, the best control and the teacher, and gives the share.
A second control stops after a third of the steps, before its text is known by heart.

Run after `malmoi run benchmarks/teacher.yaml`: python benchmarks/distil_language.py runs/teacher
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.corpus.document import Document
from malmoi.corpus.store import DocumentWriter, read_documents
from malmoi.evaluate.bits_per_byte import document_nats, encode_texts
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.pipeline.stages.distil import DistilSettings, run

RESULT = Path(__file__).parent / "results" / "distil-language.json"

SIDES: dict[str, dict[str, Any]] = {
    "student": {"learning_rate": 4e-3},
    "control": {"learning_rate": 1e-3, "alpha": 0},
    "shorter_control": {"learning_rate": 2e-3, "alpha": 0, "steps": 100},
}
"""Their settings, beside the defaults of the stage, with the rate that each tries first."""

STRETCH = 2_000
"""Characters of held-out text; stretches take turns in choosing and reporting."""


def main() -> None:
    """Train both sides, print the share of the gap that closes, write it into benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="of benchmarks/teacher.yaml: its corpus and its model")
    parser.add_argument("--seeds", type=int, default=3, help="orders of the text at the best rates")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = arguments.run / "pretrain"
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus"
        reporting = divide(arguments.run / "corpus", corpus)
        result: dict[str, Any] = {"machine": machine_facts(), "figure": "nats a token of held-out text"}
        result["teacher"] = nats_a_token(teacher, reporting)
        for side, own in SIDES.items():
            settings = DistilSettings(teacher=teacher, corpus=corpus, control=False, **own)
            found = one_side(settings, own["learning_rate"], range(arguments.seeds), Path(directory) / side, reporting)
            result[side] = {"settings": own} | found
            print(f"{side}: {result[side]}", flush=True)
    for control in ("control", "shorter_control"):
        pairs = zip(result["student"]["losses"], result[control]["losses"], strict=True)
        result[control]["share_of_gap_closed"] = [
            (without - taught) / (without - result["teacher"]) for taught, without in pairs
        ]
    write_json(RESULT, result)
    print(result, flush=True)


def one_side(
    settings: DistilSettings, first: float, seeds: Sequence[int], directory: Path, texts: list[str]
) -> dict[str, Any]:
    """Its best rate, found from `first` on with the first seed, and its losses on `texts` at that rate, one a seed."""
    choosing: dict[str, float] = {}

    def trained(rate: float, seed: int) -> Path:
        path = directory / f"{rate:g} {seed}"
        facts = run(settings.model_copy(update={"learning_rate": rate, "seed": seed}), path)
        choosing[path.name] = facts["figures"]["student"]
        print(f"  at a rate of {rate:g}: {choosing[path.name]:.4f}", flush=True)
        return path

    rate = bracketed(lambda one: choosing[trained(one, seeds[0]).name], first)
    paths = [directory / f"{rate:g} {seeds[0]}", *(trained(rate, seed) for seed in seeds[1:])]
    return {"rate": rate, "losses": [nats_a_token(path, texts) for path in paths], "choosing": choosing}


def bracketed(measure: Callable[[float], float], rate: float) -> float:
    """The best of some rates, a factor of two apart, of which a smaller and a larger one are worse."""
    found = {rate: measure(rate)}
    while (best := min(found, key=lambda one: found[one])) in (min(found), max(found)):
        found |= {one: measure(one) for one in (best / 2, best * 2) if one not in found}
    return best


def divide(corpus: Path, directory: Path) -> list[str]:
    """Write `corpus` with every second stretch of its held-out text into `directory`; returns the other stretches."""
    directory.mkdir()
    (directory / "train.parquet").symlink_to((corpus / "train.parquet").resolve())
    stretches = [
        (document, document.text[start : start + STRETCH])
        for document in read_documents(corpus, "held_out")
        for start in range(0, len(document.text), STRETCH)
    ]
    with DocumentWriter(directory / "held_out.parquet") as writer:
        for number, (document, text) in enumerate(stretches[::2]):
            writer.write(Document(text, document.source, document.licence, f"{number}"))
    return [text for _, text in stretches[1::2]]


def nats_a_token(path: Path, texts: list[str]) -> float:
    """The loss of a checkpoint."""
    checkpoint = load_checkpoint(path)
    tokens = [one.tokens for one in encode_texts(checkpoint.tokenizer, texts)]
    return sum(document_nats(checkpoint.language_model, tokens, checkpoint.tokenizer.start)) / sum(map(len, tokens))


if __name__ == "__main__":
    main()
