"""The files that are filled in."""

from __future__ import annotations

import shlex
from importlib import resources
from typing import Any

import jinja2

from malmoi.parallel.launch.settings import PORT, SAVING, SIGNALS, LaunchSettings


def filled(template: str, /, **values: Any) -> str:
    """The text of a template that lies beside this file; every one of its values has to be given.

    What a user wrote passes through `quote` on its way into a shell, and through `repr` into Python.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"quote": shlex.quote, "repr": repr}
    text = (resources.files(__package__) / f"{template}.jinja").read_text(encoding="utf-8")
    return environment.from_string(text).render(saving=SAVING, port=PORT, **values)


def torchrun(settings: LaunchSettings, words: list[str], endpoint: str) -> str:
    """The command that starts the processes of one machine, for a shell.

    Args:
        words: behind `malmoi`.
        endpoint: a shell expression for HOST:PORT of one machine, the same on all.
    """
    return filled(
        "torchrun.sh",
        python=settings.python,
        nodes=settings.nodes,
        devices=settings.devices_per_node,
        restarts=settings.restarts,
        signals=SIGNALS,
        endpoint=endpoint,
        name=settings.name,
        words=words,
    ).rstrip()
