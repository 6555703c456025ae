"""What a language model does with a few examples in its prompt, without training."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from malmoi.core.accelerator import pick_device
from malmoi.core.config import Settings
from malmoi.core.console import Advance, console, progress, verbatim
from malmoi.core.errors import UserError
from malmoi.core.files import append_json_line, read_json, write_json
from malmoi.evaluate.character_overlap import chrf, score_answers
from malmoi.evaluate.few_shot import Answered, Task, ask, plain
from malmoi.evaluate.interval import bootstrap, proportion
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.generate.shared import CACHE_BYTES
from malmoi.models.registry import count_parameters
from malmoi.pipeline.costs import ASSUMED_TOKENS, EFFICIENCY, PROCESS, UNKNOWN, language_model_shape
from malmoi.pipeline.few_shot_tasks import TaskSettings, read_task
from malmoi.pipeline.runner import UNFINISHED
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.sources.fetch import fetch_weights
from malmoi.train.precision import product_speed

RESULT, ITEMS = "few_shot.json", "items.jsonl"

TaskName = Annotated[str, Field(pattern=r"^[\w-]+$")]


class FewShotSettings(Settings):
    """Settings of the stage.

    Attributes:
        checkpoint: the model; a stage that makes one, a checkpoint directory or a .gguf file. By default the public
            weights named in `weights`.
        weights: a card of public weights.
        fetch: a fetch stage that has the tasks' sources.
        file: your own file of examples, for tasks that name no source.
        tasks: by their names.
        shots: numbers of examples in the prompt. Larger prompts begin with the examples of the smaller ones.
        limit: most items to ask of each task.
        seed: of the items, of the examples and of the intervals' bootstrap.
    """

    checkpoint: StageInput | None = None
    weights: str = "smollm2-135m-instruct"
    fetch: StageInput | None = None
    file: StageInput | None = None
    tasks: dict[TaskName, TaskSettings] = Field(min_length=1)
    shots: list[NonNegativeInt] = Field(default=[0, 1, 4, 16], min_length=1)
    limit: PositiveInt = 100
    seed: int = Field(0, ge=0, lt=2**32)


def run(settings: FewShotSettings, directory: Path) -> dict[str, Any]:
    """Write `few_shot.json`, and every answer into `items.jsonl`. A killed run goes on behind its last whole round.

    Raises:
        UserError: the model writes no text, a task has too few examples, or a label does not fit.
    """
    tasks = {name: _read(name, settings) for name in settings.tasks}
    path = settings.checkpoint if settings.checkpoint is not None else fetch_weights(settings.weights)
    checkpoint = load_checkpoint(path).to(pick_device())
    asking = partial(ask, checkpoint.language_model, checkpoint.tokenizer)
    rounds = sorted(set(settings.shots))
    (directory / ITEMS).unlink(missing_ok=True)
    result: dict[str, Any] = {"model": settings.weights if settings.checkpoint is None else path.name, "tasks": {}}
    with progress("few-shot", len(rounds) * sum(len(task.asked) for task in tasks.values())) as advance:
        for name, task in tasks.items():
            own, scores = settings.tasks[name], {}
            for shots in rounds:
                advance(0, f"{name}, {shots}-shot")
                with _named(name):
                    answered, seconds = _round(asking, task, shots, own, directory / UNFINISHED / name, advance)
                for one in answered:
                    append_json_line(directory / ITEMS, {"task": name, "shots": shots, **asdict(one)})
                scores[str(shots)] = {**_score(answered, settings.seed), "seconds": seconds}
                _print(name, shots, scores[str(shots)], own)
            result["tasks"][name] = {**_about(task, own), "scores": scores}
    write_json(directory / RESULT, result)
    return result


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Names the task in what is raised."""
    try:
        yield
    except UserError as error:
        raise UserError(f"Task {name!r}: {error.what}", error.way_out) from None


def _read(name: str, settings: FewShotSettings) -> Task:
    with _named(name):
        return read_task(
            settings.tasks[name], settings.fetch, settings.file, settings.limit, max(settings.shots), settings.seed
        )


def _round(
    asking: Callable[..., list[Answered]], task: Task, shots: int, own: TaskSettings, kept: Path, advance: Advance
) -> tuple[list[Answered], float]:
    """All items of a task behind one number of examples; what a killed run had finished is read back."""
    path = kept.with_name(f"{kept.name}-{shots}.json")
    if path.is_file():
        found = read_json(path)
        advance(len(task.asked))
        return [Answered(**one) for one in found["answered"]], found["seconds"]
    start = time.monotonic()
    answered = asking(task, shots, own.answer_tokens, advance)
    seconds = round(time.monotonic() - start, 1)
    write_json(path, {"answered": [asdict(one) for one in answered], "seconds": seconds})
    return answered, seconds


def _score(answered: Sequence[Answered], seed: int) -> dict[str, Any]:
    """Figures of one round with their intervals, and how many prompts were cut."""
    right = proportion(sum(one.right for one in answered), len(answered)).as_json()
    cut = {"cut": sum(one.cut > 0 for one in answered)}
    if answered[0].right_by_character is None:
        counts = score_answers([one.answer for one in answered], [one.wanted for one in answered])
        return {"exact": right, "chrf": bootstrap(counts, chrf, seed).as_json(), **cut}
    by_character = proportion(sum(bool(one.right_by_character) for one in answered), len(answered))
    return {"accuracy": right, "accuracy_by_character": by_character.as_json(), **cut}


def _control(task: Task, own: TaskSettings) -> float:
    """What needs no model: always the most frequent label, or the input given back as the answer."""
    inputs, wanted = [one.input for one in task.asked], [one.output for one in task.asked]
    if own.figure == "accuracy":
        return Counter(wanted).most_common(1)[0][1] / len(wanted)
    if own.figure == "exact":
        return sum(plain(one.input) == plain(one.output) for one in task.asked) / len(wanted)
    return float(chrf(score_answers(inputs, wanted).sum(axis=0, keepdims=True))[0])


def _about(task: Task, own: TaskSettings) -> dict[str, Any]:
    return {
        "kind": own.kind,
        "source": own.make or own.source or "file",
        "figure": own.figure,
        "items": len(task.asked),
        "labels": task.labels,
        "control": _control(task, own),
        "prompt": task.form.prompt(task.shown[:1], task.asked[0].input),
    }


def _print(name: str, shots: int, scores: dict[str, Any], own: TaskSettings) -> None:
    figure = scores[own.figure]
    cut = f", [yellow]{scores['cut']} prompts cut to the context[/yellow]" if scores["cut"] else ""
    console.print(
        f"  {verbatim(name)}, {shots}-shot: {own.figure} {figure['value']:.1%} "
        f"({figure['low']:.1%} to {figure['high']:.1%}){cut}"
    )


def estimate(settings: FewShotSettings) -> Estimate:
    """Time and memory, as if texts were of an assumed length; a generated token counts as one that is read."""
    config = language_model_shape(settings.checkpoint, settings.weights)
    if config is None:
        return UNKNOWN
    items = sum(task.limit or settings.limit for task in settings.tasks.values())
    asked = sum((task.limit or settings.limit) * _item_tokens(task) for task in settings.tasks.values())
    tokens = len(settings.shots) * asked + len(settings.tasks) * sum(settings.shots) * ASSUMED_TOKENS
    parameters = count_parameters(config)
    seconds = 2 * parameters * tokens / (EFFICIENCY * product_speed(pick_device(), "float32"))
    words = f"{items:,} items, each {len(settings.shots)} times, if the texts are short"
    return Estimate(seconds, PROCESS + 4 * parameters + CACHE_BYTES, (words,))


def _item_tokens(task: TaskSettings) -> int:
    return ASSUMED_TOKENS + (task.answer_tokens if task.kind == "answer" else 0)


STAGE = Stage(FewShotSettings, run, estimate)
