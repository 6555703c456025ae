"""The `spam` recipe beside TF-IDF with logistic regression: on a book's balanced split, and on all messages.

The split of "Build a Large Language Model (From Scratch)", chapter 6: 747 + 747 messages drawn with random_state 123,
70/10/20, 300 messages to test on, which contain messages equal to training ones. The full set is therefore also split
by the hash of the text, where equal messages are on one side.
Run: MALMOI_MIRROR=../shared/data python benchmarks/spam.py
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.stages.classify import ClassifySettings, run

SEEDS = (0, 1, 2)
BAR = 0.983


def main() -> None:
    """Train four classifiers, print, write benchmarks/results/spam.json."""
    settings = spam_settings()
    balanced = [fine_tune(settings, seed=seed) for seed in SEEDS]
    full = fine_tune(settings, balance=False, split="hashed")
    accuracies = [row["accuracy"] for row in balanced]
    mean = statistics.mean(accuracies)
    print(f"book's split, {balanced[0]['test_texts']} messages: accuracy {', '.join(f'{a:.2%}' for a in accuracies)}")
    print(f"  mean {mean:.2%} (bar: >= {BAR:.1%}); logistic regression {balanced[0]['control']['accuracy']:.2%}")
    print(
        f"all messages, {full['test_texts']:,} to test on: F1 of spam {spam_f1(full):.4f}; "
        f"logistic regression {spam_f1(full['control']):.4f}"
    )
    print("reached" if mean >= BAR else "NOT reached")
    result = {
        "machine": machine_facts(),
        "bar": BAR,
        "mean_accuracy": mean,
        "book_split": balanced,
        "all_messages": {"f1_spam": spam_f1(full), "control_f1_spam": spam_f1(full["control"]), **full},
    }
    write_json(Path(__file__).parent / "results" / "spam.json", result)


def spam_settings() -> ClassifySettings:
    """What the shipped recipe says; its texts come by their card."""
    step = next(step for step in load_recipe("spam", []).steps if step.kind == "classify")
    assert isinstance(step.settings, ClassifySettings)
    return step.settings.model_copy(update={"fetch": None})


def fine_tune(settings: ClassifySettings, **changes: Any) -> dict[str, Any]:
    """The result of one run of the stage."""
    with tempfile.TemporaryDirectory() as directory:
        return run(settings.model_copy(update=changes), Path(directory))


def spam_f1(score: dict[str, Any]) -> float:
    """F1 of the class of spam."""
    names = [name.casefold() for name in score["classes"]]
    return float(score["f1"][names.index("spam")])


if __name__ == "__main__":
    main()
