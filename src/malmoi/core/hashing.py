"""Content hashes of files, directories and settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from malmoi.core.files import visible_files


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_value(value: Any) -> str:
    """sha256 of a JSON-like value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # names of files may be no UTF-8


def hash_path(path: Path) -> str:
    """sha256 of a file, or of the relative names and contents of a directory's `visible_files`."""
    if path.is_file():
        return hash_file(path)
    return hash_value({file.relative_to(path).as_posix(): hash_file(file) for file in visible_files(path)})


def text_digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
