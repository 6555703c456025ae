"""Tasks done from examples in the prompt, without training (Brown and others 2020, arXiv:2005.14165)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from malmoi.core.console import Advance
from malmoi.core.errors import UserError, nearest
from malmoi.data.examples import Example
from malmoi.evaluate.multiple_choice import Question, score_questions
from malmoi.generate.greedy import answer_greedily
from malmoi.models.language_model import LanguageModel
from malmoi.tokenizers.tokenizer import Tokenizer

TEMPLATE = "Input: {input}\nOutput: {output}\n\n"

STOP = "\n"
"""Examples have no line breaks, so an answer ends with its line."""


MOST_LABELS = 64
"""Every one of them is scored for every item."""


@dataclass(frozen=True)
class Form:
    """How examples and the item asked become a prompt.

    Attributes:
        template: an example, with {input} and, behind it, {output}. The asked item is written up to {output}.
        instruction: stands before everything, with an empty line behind it.
    """

    template: str = TEMPLATE
    instruction: str = ""

    def prompt(self, examples: Sequence[Example], asked: str) -> str:
        """The text that the answer to `asked` continues; a blank at its end belongs to the answer."""
        before, after = self.template.split("{output}")
        shown = [before.replace("{input}", one.input) + one.output + after for one in examples]
        opening = f"{self.instruction}\n\n" if self.instruction else ""
        return opening + "".join(shown) + before.replace("{input}", asked)


@dataclass(frozen=True)
class Task:
    """Items to ask and examples to show, which have no input in common.

    Attributes:
        asked: in the order in which they are asked.
        shown: the prompt with n examples shows the first n.
        form: how they become prompts.
        labels: for a choice, what is written for each label; empty for free answers.
    """

    asked: list[Example]
    shown: list[Example]
    form: Form
    labels: dict[str, str]


@dataclass(frozen=True)
class Answered:
    """One item with what the model made of it.

    Attributes:
        wanted: the right answer, or label.
        answer: the model's.
        right: whether it is the right one; of free answers blanks and case do not count.
        right_by_character: whether the label with the largest log-probability a character is; None for free answers.
        logprobs: natural log-probability of each label's words; empty for free answers.
        cut: tokens of the prompt that did not fit into the context.
    """

    input: str
    wanted: str
    answer: str
    right: bool
    right_by_character: bool | None
    logprobs: list[float]
    cut: int


def make_task(
    examples: Sequence[Example], form: Form, limit: int, shots: int, seed: int, labels: dict[str, str] | None = None
) -> Task:
    """Draw what is asked and what is shown, without replacement.

    Of labels, the examples show all in turn, in an order drawn anew every turn, so that none stands in asked items
    alone once there are as many examples as labels.

    Args:
        examples: each input once.
        limit: most items to ask.
        shots: how many examples to show at most.
        labels: for a choice, what is written for each label; a label that is not named stands for itself. None for
            free answers.

    Raises:
        UserError: there are too few examples, or no 2 to 64 labels, or a name in `labels` is none of them.
    """
    if len(examples) <= shots:
        raise UserError(
            f"{len(examples):,} examples are too few to show {shots:,} and ask others.", "Add some, or lower shots."
        )
    generator = np.random.default_rng(seed)
    shuffled = [examples[place] for place in generator.permutation(len(examples))]
    pool = shuffled[::-1] if labels is None else _in_turn(shuffled[::-1], generator)
    shown = pool[:shots]
    inputs = {example.input for example in shown}
    asked = [example for example in shuffled if example.input not in inputs][:limit]
    return Task(asked, shown, form, {} if labels is None else _written(labels, examples))


def ask(
    model: LanguageModel,
    tokenizer: Tokenizer,
    task: Task,
    shots: int,
    answer_tokens: int,
    advance: Advance | None = None,
) -> list[Answered]:
    """Ask every item behind the first `shots` examples.

    Args:
        answer_tokens: longest free answer.
        advance: told how many items were done since the last call, in parts.

    Raises:
        UserError: a label or the longest answer does not fit into the context.
    """
    prompts = [task.form.prompt(task.shown[:shots], example.input) for example in task.asked]
    if task.labels:
        return _choose(model, tokenizer, task, prompts, advance)
    return _answer(model, tokenizer, task, prompts, answer_tokens, advance)


def plain(text: str) -> str:
    """A text in NFC without the differences that do not count: case and blanks."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _in_turn(pool: Sequence[Example], generator: np.random.Generator) -> list[Example]:
    by_label: dict[str, list[Example]] = {}
    for example in pool:
        by_label.setdefault(example.output, []).append(example)
    turns = zip_longest(*(by_label[label] for label in sorted(by_label)))
    return [turn[place] for turn in turns for place in generator.permutation(len(turn)) if turn[place] is not None]


def _written(named: dict[str, str], examples: Sequence[Example]) -> dict[str, str]:
    """What is written for each label, in the order of the labels."""
    known = sorted({example.output for example in examples})
    if not 2 <= len(known) <= MOST_LABELS:
        raise UserError(
            f"The examples have {len(known):,} labels ({', '.join(known[:3])}, ...); a choice has 2 to {MOST_LABELS}.",
            "Check the column of the output, or let the model answer freely.",
        )
    for label in named:
        if label not in known:
            raise UserError(
                f"'labels' names {label!r}, which no example has.",
                nearest(label, known) or f"Known: {', '.join(known)}.",
            )
    return {label: named.get(label, label) for label in known}


def _choose(
    model: LanguageModel, tokenizer: Tokenizer, task: Task, prompts: Sequence[str], advance: Advance | None
) -> list[Answered]:
    names = list(task.labels)
    questions = [Question(prompt, list(task.labels.values())) for prompt in prompts]

    def advance_items(amount: float = 1, text: str | None = None, total: float | None = None) -> None:
        if advance:
            advance(amount / len(names), text, total and total / len(names))

    answered = []
    for one, score in zip(task.asked, score_questions(model, tokenizer, questions, advance_items), strict=True):
        chosen, by_character = names[score.chosen], names[score.chosen_by_character]
        right = (chosen == one.output, by_character == one.output)
        answered.append(Answered(one.input, one.output, chosen, *right, score.logprobs, score.cut))
    return answered


def _answer(
    model: LanguageModel,
    tokenizer: Tokenizer,
    task: Task,
    prompts: Sequence[str],
    answer_tokens: int,
    advance: Advance | None,
) -> list[Answered]:
    room = model.config.context - answer_tokens
    if room < 1:
        raise UserError(
            f"Answers of {answer_tokens:,} tokens leave no room in a context of {model.config.context:,}.",
            "Lower answer_tokens.",
        )
    whole = [tokenizer.opening + tokenizer.encode(prompt.rstrip()) or tokenizer.start for prompt in prompts]
    answers = answer_greedily(model, tokenizer, [ids[-room:] for ids in whole], answer_tokens, [STOP], advance)
    answered = []
    for one, answer, ids in zip(task.asked, map(str.strip, answers), whole, strict=True):
        right = plain(answer) == plain(one.output)
        answered.append(Answered(one.input, one.output, answer, right, None, [], max(0, len(ids) - room)))
    return answered
