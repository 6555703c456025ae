"""The one exception for what a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a condition that the user can mend; shown without a traceback, exit code 2.

    Args:
        what: one sentence that says what is wrong and where (file, line, key).
        way_out: one sentence that says what to do about it.
    """

    def __init__(self, what: str, way_out: str = "") -> None:
        super().__init__(f"{what} {way_out}".strip())
        self.what = what
        self.way_out = way_out


class MissingExtra(UserError):
    """An optional dependency that this command needs is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed.",
            f"Install it with: pip install 'malmoi[{extra}]'",
        )


def nearest(name: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """A 'Did you mean X?' sentence for a mistyped name, or an empty string when nothing is close.

    Args:
        likeness: the least that is close, from 0 to 1; long names share half of their letters by chance.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return f"Did you mean {close[0]!r}?" if close else ""
