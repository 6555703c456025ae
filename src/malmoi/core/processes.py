"""Which of the processes of a training this one is, as `torchrun` tells it. Imports no torch."""

from __future__ import annotations

import os


def process_index() -> int:
    """The number of this process, from 0; 0 when it is alone."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes run this command together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes files and prints."""
    return process_index() == 0
