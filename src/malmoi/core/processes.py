"""How this process was started: by which command, and as which of a training's. Imports no torch."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def process_index() -> int:
    """The number of this process, from 0; 0 when it is alone."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes run this command together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes files and prints."""
    return process_index() == 0


def own_command() -> str:
    """How a command line here begins: malmoi, or the path of its script where the shell does not find it."""
    script = Path(sys.executable).with_name("malmoi")
    if shutil.which("malmoi") or not script.is_file():
        return "malmoi"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))
