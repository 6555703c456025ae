"""The same multiple-choice file by our evaluator and by `lm_eval --model hf` on our checkpoint directories.

Beside the test extra it needs lm-eval: pip install 'lm-eval[hf]'. Nothing is fetched from a hub.
Run: python benchmarks/lm_eval_agreement.py [--gguf SmolLM2-135M-Instruct.Q4_1.gguf]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.data.examples import Example, read_examples
from malmoi.data.label_tables import TableSettings
from malmoi.evaluate.made_tasks import additions
from malmoi.evaluate.multiple_choice import Question, ScoredQuestion, score_questions
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.pipeline.recipe import build_step
from malmoi.pipeline.runner import run_step
from malmoi.sources.fetch import fetch_source

TASK = "malmoi_agreement"
BAR = 1e-4
KIND = 40
"""Items of each kind."""

Item = dict[str, Any]


def main() -> None:
    """Compare, print, write benchmarks/results/lm_eval_agreement.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, help="public weights, saved as our directory first; fetched by default")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["HF_HOME"] = str(folder / "hub")
        items = make_items()
        public = arguments.gguf or fetch_source("smollm2-135m-instruct")[0]
        directories = {"a tiny model of ours": tiny_model(folder), "SmolLM2-135M-Instruct": saved(public, folder)}
        models = {}
        for name, directory in directories.items():
            models[name] = compare(directory, items, folder)
            print(f"{name}: {json.dumps(models[name], indent=2)}")
    result = {
        "machine": machine_facts(),
        "versions": {name: metadata.version(name) for name in ("lm_eval", "transformers", "torch")},
        "items": len(items),
        "choices": sum(len(item["choices"]) for item in items),
        "bar": BAR,
        "models": models,
    }
    write_json(Path(__file__).parent / "results" / "lm_eval_agreement.json", result)


def make_items() -> list[Item]:
    """Sentiment, additions, and Korean translations among others; some prompts end in a blank, some are long."""
    reviews = read_examples(fetch_source("movie-snippets")[0], TableSettings(text=2, label=1, threshold=0))[:KIND]
    catalogue = read_examples(fetch_source("jupyterlab-korean")[0], TableSettings(text="message", label="translation"))
    texts = [one for one in catalogue if len(one.input) + len(one.output) <= 40]
    chance = random.Random(0)
    items = [item(f"Review: {one.input}\nSentiment:", ["positive", "negative"], one.output) for one in reviews]
    sums = additions(KIND, seed=0)
    items += [item(f"{one.input} = ", near(one, chance), one.output) for one in sums]
    for one in chance.sample(texts, KIND):
        others = [other.output for other in chance.sample(texts, 3) if other.output != one.output]
        items.append(item(f"English: {one.input}\n한국어:", [one.output, *others], one.output))
    long = "\n".join(f"{one.input} -> {one.output}" for one in texts[:20])
    items += [item(f"{long}\n{one.input} ->", [one.output, one.input], one.output) for one in texts[20:24]]
    return items


def item(prompt: str, choices: list[str], right: str) -> Item:
    """One line of the file, the choices in an order that says nothing."""
    ordered = sorted(choices)
    return {"prompt": prompt, "choices": ordered, "label": ordered.index(right)}


def near(one: Example, chance: random.Random) -> list[str]:
    """The sum and three numbers beside it."""
    right = int(one.output)
    return [str(right + step) for step in (0, *chance.sample([-20, -10, -9, -1, 1, 9, 10, 20], 3))]


def tiny_model(folder: Path) -> Path:
    """A model of two languages, trained for seconds by the stages themselves; its context is too short for the long."""
    texts = folder / "texts"
    texts.mkdir()
    for source in ("movie-snippets", "jupyterlab-korean"):
        path = fetch_source(source)[0]
        (texts / f"{source}.txt").write_bytes(path.read_bytes()[:200_000])
    stages: list[Item] = [
        {"stage": "corpus", "folder": str(texts)},
        {"stage": "tokenizer", "corpus": "corpus", "vocabulary": 1024},
        {
            "stage": "pretrain", "corpus": "corpus", "tokenizer": "tokenizer", "steps": 40, "context": 128, "rows": 16,
            "model": {"layers": 2, "width": 64, "heads": 4},
        },
    ]  # fmt: skip
    done: dict[str, Path] = {}
    for values in stages:
        kind = values["stage"]
        run_step(build_step(values, kind, kind), folder / kind, done, kind)
        done[kind] = folder / kind
    return done["pretrain"] / "model"


def saved(gguf: Path, folder: Path) -> Path:
    """The public weights as our directory."""
    checkpoint = load_checkpoint(gguf)
    save_checkpoint(folder / "public", checkpoint.model, checkpoint.tokenizer, checkpoint.card)
    return folder / "public"


def compare(directory: Path, items: list[Item], folder: Path) -> Item:
    """Both evaluators' accuracies, and the largest difference of any log-likelihood."""
    theirs = by_lm_eval(directory, items, folder)
    ours = by_malmoi(directory, items)
    differences = [
        abs(left - right)
        for own, sample in zip(ours, theirs["samples"], strict=True)
        for left, right in zip(own.logprobs, sample, strict=True)
    ]
    labels = [one["label"] for one in items]
    figures = {
        "acc": mean([own.chosen == label for own, label in zip(ours, labels, strict=True)]),
        "acc_norm": mean([own.chosen_by_character == label for own, label in zip(ours, labels, strict=True)]),
    }
    return {
        "ours": figures,
        "lm_eval": theirs["figures"],
        "largest_difference_of_accuracies": max(abs(figures[key] - theirs["figures"][key]) for key in figures),
        "largest_difference_of_log_likelihoods": max(differences),
        "largest_log_likelihood": max(abs(value) for own in ours for value in own.logprobs),
        "prompts_cut": sum(own.cut > 0 for own in ours),
    }


def by_malmoi(directory: Path, items: list[Item]) -> list[ScoredQuestion]:
    """Our own evaluator."""
    checkpoint = load_checkpoint(directory)
    questions = [Question(f"{one['prompt']} ", one["choices"]) for one in items]
    return score_questions(checkpoint.language_model, checkpoint.tokenizer, questions)


def by_lm_eval(directory: Path, items: list[Item], folder: Path) -> Item:
    """What `lm_eval --model hf` does, asked through its own entry point."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in items)
    (tasks / "items.jsonl").write_text(lines, encoding="utf-8")
    task = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tasks / "items.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{label}}",
        "metric_list": [{"metric": name, "aggregation": "mean"} for name in ("acc", "acc_norm")],
    }
    (tasks / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(directory), "dtype": "float32"},
        tasks=[TASK],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
    )
    samples = sorted(found["samples"][TASK], key=lambda sample: sample["doc_id"])
    figures = {name: float(found["results"][TASK][f"{name},none"]) for name in ("acc", "acc_norm")}
    return {"figures": figures, "samples": [[value for value, _ in sample["filtered_resps"]] for sample in samples]}


def mean(values: list[bool]) -> float:
    """Share of what is true."""
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
