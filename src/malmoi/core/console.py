"""What is printed: one console, progress with an estimate, plain lines when nobody watches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from malmoi.core.processes import is_first

console = Console(highlight=False, emoji=False, quiet=not is_first())
error_console = Console(stderr=True, highlight=False, emoji=False)


def verbatim(text: object) -> str:
    """A text, path or reason from outside, for what is printed with markup: nothing in it is taken for that."""
    return escape(str(text))


class Advance(Protocol):
    """What `progress` hands out: call it with how much is done since the last call, a text, another total."""

    def __call__(self, amount: float = 1, text: str | None = None, total: float | None = None) -> None: ...


@contextlib.contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Advance]:
    """A progress bar with elapsed and remaining time; silent when the output is not a terminal."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=total, text="")

        def advance(amount: float = 1, text: str | None = None, total: float | None = None) -> None:
            fields = {} if text is None else {"text": text}
            bar.update(task, advance=amount, total=total, **fields)  # type: ignore[arg-type]

        yield advance
