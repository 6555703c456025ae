"""Errors of the `tokenizers` library, which are plain exceptions and panics, as sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from malmoi.core.errors import UserError


@contextlib.contextmanager
def refusing(what: str, way_out: str = "Get the file again.") -> Iterator[None]:
    """Turn whatever the library raises in the block into a `UserError` that says `what`, and why."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # Rust's is no Exception
            raise
        raise UserError(f"{what}: {error}.", way_out) from None
