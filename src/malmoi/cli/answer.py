"""`malmoi answer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import options
from malmoi.core.errors import UserError

NO_ANSWER = "no answer"


def answer(
    checkpoint: Annotated[Path, typer.Argument(help="What `malmoi questions` made, or a BertForQuestionAnswering.")],
    questions: Annotated[list[str], typer.Argument(help="Questions about the passage.")],
    passage: Annotated[str, typer.Option(help="Where to look; without it, --file or standard input.")] = "",
    file: Annotated[Path | None, typer.Option(help="A file of text to look in, of any length.")] = None,
) -> None:
    """Find answers in a passage: a line each with the answer, how sure it is, and the question, between tabs.

    Where the passage seems not to answer it, the line says "no answer", and how sure that is.

    Example: malmoi answer runs/questions/questions 'Who lived in the wood?' --passage 'A fox lived in the wood.'
    """
    from malmoi.data.questions import Question
    from malmoi.evaluate.question_answers import certainty, find_answers
    from malmoi.models.span_finder import SpanFinder

    if passage and file:
        raise UserError("There are a passage and a file.", "Give one of them.")
    text = passage or _read(file)
    opened = options.open_checkpoint(checkpoint)
    model = opened.headed(SpanFinder)
    asked = [Question(one, text) for one in questions]
    for question, found in zip(questions, find_answers(model, opened.tokenizer, asked), strict=True):
        given = found.given(model.form.threshold)
        sure = certainty(found.score, model.form.threshold)
        print(f"{given or NO_ANSWER}\t{sure if given else 1 - sure:.3f}\t{question}")


def _read(file: Path | None) -> str:
    from malmoi.corpus.normalize import normalize
    from malmoi.data.table import read_text

    text = normalize(read_text(file) if file is not None else options.read_standard_input())
    if not text:
        raise UserError("There is no passage to look in.", "Give one with --passage, --file or standard input.")
    return text
