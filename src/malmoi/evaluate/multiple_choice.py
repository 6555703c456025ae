"""How probable a model finds each of several answers to a prompt, and which one it chooses by that.

Prompts and choices become tokens as in the Language Model Evaluation Harness (lm-eval 0.4, `--model hf`): the whole is
encoded and split where the prompt's own tokens end, and blanks at the end of the prompt belong to the choice, since a
word's token begins with its blank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from malmoi.core.accelerator import device_of
from malmoi.core.console import Advance
from malmoi.core.errors import UserError
from malmoi.evaluate.bits_per_byte import target_nats
from malmoi.generate.generator import evaluating
from malmoi.generate.shared import SharedPrefix
from malmoi.models.language_model import LanguageModel
from malmoi.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Question:
    """A prompt and what may follow it. A blank between the two is the end of the prompt or the start of each choice."""

    prompt: str
    choices: Sequence[str]


@dataclass(frozen=True)
class ScoredQuestion:
    """What a model makes of a question.

    Attributes:
        logprobs: natural log-probability of each choice, the sum over its tokens.
        lengths: of each choice, in characters.
        cut: how many tokens of the prompt, from its beginning, did not fit into the context, at most of all choices.
    """

    logprobs: list[float]
    lengths: list[int]
    cut: int = 0

    @property
    def chosen(self) -> int:
        """Number of the most probable choice, lm-eval's `acc`; the first of equal ones."""
        return _largest(self.logprobs)

    @property
    def chosen_by_character(self) -> int:
        """Number of the choice with the largest log-probability a character, lm-eval's `acc_norm`."""
        return _largest([value / length for value, length in zip(self.logprobs, self.lengths, strict=True)])


def encode_choice(tokenizer: Tokenizer, prompt: str, choice: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt, at least one, and of a choice behind it.

    Raises:
        UserError: the choice has no token of its own.
    """
    bare = prompt.rstrip()
    if bare:
        context = tokenizer.opening + tokenizer.encode(bare)
        ids = (tokenizer.opening + tokenizer.encode(prompt + choice))[len(context) :]
    else:
        context = [tokenizer.special[tokenizer.begin] if tokenizer.begin else tokenizer.end]
        ids = tokenizer.encode(prompt + choice)
    if not choice.strip() or not ids:
        raise UserError(
            f"The choice {choice!r} is empty, or melts into the last token of its prompt {bare[-30:]!r}.",
            "Write a choice as a word of its own, with a blank or a line end before it.",
        )
    return context, ids


@dataclass(frozen=True)
class _Row:
    """One choice as the model reads it: `inputs`, whose last tokens predict `targets`."""

    inputs: list[int]
    targets: list[int]
    cut: int

    @property
    def prompt(self) -> list[int]:
        """The inputs up to the first that predicts a target."""
        return self.inputs[: 1 + len(self.inputs) - len(self.targets)]


def score_questions(
    model: LanguageModel, tokenizer: Tokenizer, questions: Sequence[Question], advance: Advance | None = None
) -> list[ScoredQuestion]:
    """Score every choice of every question.

    What all prompts begin with is read once, and so is what choices have in common that differ in their last token
    alone.

    Args:
        advance: told how many choices were scored since the last call.

    Raises:
        UserError: a choice is empty, or longer than the context.
    """
    rows = [
        _row(*encode_choice(tokenizer, question.prompt, choice), model.config.context)
        for question in questions
        for choice in question.choices
    ]
    read = zip(rows, _nats(model, rows, advance), strict=True)
    scored = []
    for question in questions:
        own = list(islice(read, len(question.choices)))
        lengths = [len(choice) for choice in question.choices]
        scored.append(ScoredQuestion([-nats for _, nats in own], lengths, max(row.cut for row, _ in own)))
    return scored


def _row(context: list[int], targets: list[int], room: int) -> _Row:
    if len(targets) > room:
        raise UserError(
            f"A choice of {len(targets):,} tokens does not fit into the context of {room:,}.", "Shorten it."
        )
    whole = (context + targets)[:-1]
    return _Row(whole[-room:], targets, max(0, len(whole) - room))


def _nats(model: LanguageModel, rows: Sequence[_Row], advance: Advance | None) -> list[float]:
    """Negative log-probability of each row's targets. Those that were cut begin otherwise than the others."""
    found: dict[int, float] = {}
    for is_cut in (False, True):
        numbers = [number for number, row in enumerate(rows) if bool(row.cut) == is_cut]
        shared = SharedPrefix(model, [rows[number].prompt for number in numbers])
        for batch in _batches(rows, numbers, shared):
            scored = [number for same in batch for number in same]
            found |= zip(scored, _read(model, rows, batch, shared), strict=True)
            if advance:
                advance(len(scored))
    return [found[number] for number in range(len(rows))]


def _batches(rows: Sequence[_Row], numbers: Sequence[int], shared: SharedPrefix) -> Iterator[list[list[int]]]:
    """Rows of about one length, the longest first; those with the same inputs stand together and are read once."""
    same: dict[tuple[int, ...], list[int]] = {}
    for number in numbers:
        same.setdefault(tuple(rows[number].inputs), []).append(number)
    ordered = iter(sorted(same, key=len, reverse=True))
    for longest in ordered:
        most = shared.most_rows(len(longest) - len(shared.tokens), len(longest))
        yield [same[inputs] for inputs in (longest, *islice(ordered, most - 1))]


@torch.inference_mode()
def _read(model: LanguageModel, rows: Sequence[_Row], batch: list[list[int]], shared: SharedPrefix) -> list[float]:
    """Nats of each row of a batch; short ones are padded on the right, where nobody looks."""
    device = device_of(model)
    known = len(shared.tokens)
    inputs = [rows[same[0]].inputs[known:] for same in batch]
    length = len(inputs[0])
    tokens = torch.tensor([row + [0] * (length - len(row)) for row in inputs], device=device)
    with evaluating(model):
        hidden = model(tokens, shared.rows(len(inputs), known + length))
        asked = [(place, rows[number].targets) for place, same in enumerate(batch) for number in same]
        states = torch.cat(
            [hidden[place, len(inputs[place]) - len(targets) :][: len(targets)] for place, targets in asked]
        )
        wanted = torch.tensor([token for _, targets in asked for token in targets], device=device)
        nats = target_nats(model, states, wanted)
    return [float(part.sum()) for part in torch.split(nats, [len(targets) for _, targets in asked])]


def _largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
