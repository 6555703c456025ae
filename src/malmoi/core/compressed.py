"""Files that may be compressed, which their names tell."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import IO, Any


def _open_zstd(path: Path) -> Any:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")  # all frames; an OSError where it is cut short


_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".zst": _open_zstd}


def is_compressed(path: PurePath) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() in _OPENERS


def open_unpacked(path: Path) -> IO[bytes]:
    """The bytes of a file as a stream, decompressed where it is compressed."""
    stream: IO[bytes] = _OPENERS[path.suffix.lower()](path) if is_compressed(path) else path.open("rb")
    return stream


def unpacked_name(path: PurePath) -> PurePath:
    """The path without the suffix of its compression."""
    return path.with_suffix("") if is_compressed(path) else path


def kind_of(path: PurePath) -> str:
    """The suffix of what is in a file, in lower case: `.jsonl` of `X.JSONL.gz`."""
    return unpacked_name(path).suffix.lower()
