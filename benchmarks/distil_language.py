"""A language model teaches half of its layers: the share of the gap that closes, each side at its own best rate.

The control is the same student after the same steps without a teacher. Each side is trained by the stage `distil` at
rates a factor of two apart until its best one has a worse one on both sides. Half of the held-out text chooses the
rates; the other half is looked at once, by the best student, the best control and the teacher, and gives the share.
Two teach: the model of `benchmarks/teacher.yaml` its tales, where a second control stops after a third of the steps,
before its text is known by heart; and SmolLM2 the first 20,000 characters of them, four times.

Run after `malmoi run benchmarks/teacher.yaml`: python benchmarks/distil_language.py language runs/teacher
python benchmarks/distil_language.py smollm2 runs/teacher --seeds 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from malmoi.sources.fetch import fetch_weights


@dataclass(frozen=True)
class Trial:
    """Who is taught, and how.

    Attributes:
        teacher: says where it is, from the run whose corpus it teaches with.
        sides: settings beside the defaults of the stage, with the rate that each tries first.
        characters: how much of the text is taught, from its beginning; None for all.
        every: one of so many stretches of held-out text is looked at.
    """

    teacher: Callable[[Path], Path]
    sides: dict[str, dict[str, Any]]
    characters: int | None = None
    every: int = 1


SHORT = {"steps": 40, "rows": 2}
TRIALS = {
    "language": Trial(
        lambda run: run / "pretrain",
        {
            "student": {"learning_rate": 4e-3},
            "control": {"learning_rate": 1e-3, "alpha": 0},
            "shorter_control": {"learning_rate": 2e-3, "alpha": 0, "steps": 100},
        },
    ),
    "smollm2": Trial(
        lambda run: fetch_weights("smollm2-135m-instruct"),
        {
            "control": {"learning_rate": 6.8e-4, "alpha": 0} | SHORT,
            "student": {"learning_rate": 6.8e-4, "alpha": 1, "hidden": 40} | SHORT,
        },
        characters=20_000,
        every=4,
    ),
}

STRETCH = 2_000
"""Characters of held-out text; stretches take turns in choosing and reporting."""


def main() -> None:
    """Train both sides, print the share of the gap that closes, write it into benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trial", choices=TRIALS, help="who is taught")
    parser.add_argument("run", type=Path, help="whose corpus teaches, and for `language` its model")
    parser.add_argument("--seeds", type=int, default=3, help="orders of the text at the best rates")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trial = TRIALS[arguments.trial]
    teacher = trial.teacher(arguments.run)
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus"
        reporting = divide(arguments.run / "corpus", corpus, trial)
        result: dict[str, Any] = {"machine": machine_facts(), "figure": "nats a token of held-out text"}
        result["teacher"] = nats_a_token(teacher, reporting)
        for side, own in trial.sides.items():
            settings = DistilSettings(teacher=teacher, corpus=corpus, control=False, **own)
            found = one_side(settings, own["learning_rate"], range(arguments.seeds), Path(directory) / side, reporting)
            result[side] = {"settings": own} | found
            print(f"{side}: {result[side]}", flush=True)
    for control in [side for side in trial.sides if side != "student"]:
        pairs = zip(result["student"]["losses"], result[control]["losses"], strict=True)
        result[control]["share_of_gap_closed"] = [
            (without - taught) / (without - result["teacher"]) for taught, without in pairs
        ]
    write_json(Path(__file__).parent / "results" / f"distil-{arguments.trial}.json", result)
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


def divide(corpus: Path, directory: Path, trial: Trial) -> list[str]:
    """Write `corpus` with every second stretch of its held-out text into `directory`; returns the other stretches."""
    directory.mkdir()
    left = sys.maxsize if trial.characters is None else trial.characters
    with DocumentWriter(directory / "train.parquet") as writer:
        for document in read_documents(corpus, "train"):
            writer.write(replace(document, text=document.text[:left]))
            left -= len(document.text)
            if left <= 0:
                break
    stretches = [
        (document, document.text[start : start + STRETCH])
        for document in read_documents(corpus, "held_out")
        for start in range(0, len(document.text), STRETCH)
    ][:: trial.every]
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
