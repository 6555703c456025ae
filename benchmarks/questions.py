"""The figures of finished `questions` stages, beside their controls; with --again their models answer anew.

Run: python benchmarks/questions.py runs/questions/questions runs/questions-ko/questions
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from malmoi.core.files import read_json, write_json
from malmoi.evaluate.question_answers import answer_figures, best_threshold, find_answers
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.span_finder import SpanFinder
from malmoi.pipeline.asked_questions import read_splits
from malmoi.pipeline.stages.questions import QuestionsSettings

FIGURES = ("f1", "exact_match", "f1_given", "left_unanswered", "wrongly_unanswered")
SETTINGS = ("source", "weights", "model", "counted", "marks", "made", "longest", "epochs", "learning_rate", "seed")
COUNTS = ("unit", "train_questions", "made_questions", "test_questions", "unanswerable", "parameters", "steps")


def main() -> None:
    """Print the figures and write benchmarks/results/questions.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", type=Path, nargs="+", help="directories of finished stages")
    parser.add_argument("--again", action="store_true", help="let the models answer anew, by the code as it is now")
    arguments = parser.parse_args()
    path = Path(__file__).parent / "results" / "questions.json"
    results = read_json(path) if path.is_file() else {}
    for stage in arguments.stages:
        record = read_json(stage / "stage.json")
        if arguments.again:
            record["result"] |= answer_again(stage, record) | {"answered_again": True}
        results[record["settings"]["source"]] = figures(record)
    write_json(path, results)
    for name, each in results.items():
        for figure in FIGURES:
            print(f"{name}: {figure} {each['model'][figure]:.3f}, counting words {each['control'][figure]:.3f}")


def answer_again(stage: Path, record: dict[str, Any]) -> dict[str, float]:
    """The figures of the stage's model on the stage's test questions; the threshold is chosen as the stage does."""
    settings = QuestionsSettings(**record["settings"])
    splits, _ = read_splits(settings, settings.seed)
    checkpoint = load_checkpoint(stage)
    answer = partial(find_answers, checkpoint.headed(SpanFinder), checkpoint.tokenizer)
    threshold = best_threshold(splits.validation, answer(splits.validation), settings.unit)
    return answer_figures(splits.test, answer(splits.test), threshold, settings.unit)


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """What a finished stage came to, and by what."""
    result = record["result"]
    return {
        "model": {name: round(result[name], 4) for name in FIGURES if name in result},
        "control": {name: round(result["control"][name], 4) for name in FIGURES if name in result["control"]},
        **{name: result[name] for name in COUNTS},
        "answered_again": result.get("answered_again", False),
        "settings": {name: record["settings"][name] for name in SETTINGS},
        "training_seconds": result["training_seconds"],
        "seconds": record["seconds"],
        "peak_memory_gibibytes": round(record["peak_memory"] / 2**30, 2),
        "machine": record["machine"],
        "versions": record["versions"],
    }


if __name__ == "__main__":
    main()
