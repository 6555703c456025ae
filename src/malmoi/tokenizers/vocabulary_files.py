"""The plain files of vocabularies: JSON from token to id, merges, ranks."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from malmoi.core.errors import UserError
from malmoi.core.files import read_json

LARGEST = 2**21
"""More ids than any vocabulary has; a file that claims more is damaged."""

Merges = list[tuple[str, str]]


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        UserError: it is missing, or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text.", "Fetch it again.") from None


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token -> id from a JSON object.

    Raises:
        UserError: it is no such object, two tokens have one id, or an id is larger than any vocabulary.
    """
    vocabulary = read_json(path)
    if not isinstance(vocabulary, dict) or not all(type(id) is int for id in vocabulary.values()):
        raise UserError(f"{path} does not give every token an id.", "Get the file again.")
    if wrong := [id for id in vocabulary.values() if not 0 <= id < LARGEST]:
        raise UserError(f"{path} has an id of {wrong[0]:,}; no vocabulary is that large.", "Get the file again.")
    if len(set(vocabulary.values())) < len(vocabulary):
        raise UserError(f"{path} gives two tokens the same id.", "Get the file again.")
    return vocabulary


def read_token_lines(path: Path) -> dict[str, int]:
    """Token -> id from a file with a token a line, the first one of id 0.

    Raises:
        UserError: the file is not UTF-8, or a token stands there twice.
    """
    vocabulary: dict[str, int] = {}
    for id, line in enumerate(read_text(path).split("\n")):
        token = line.rstrip()
        if token in vocabulary:
            raise UserError(
                f"{path}, line {id + 1}: {token!r} stands in line {vocabulary[token] + 1} already.",
                "Get the file again.",
            )
        if token:
            vocabulary[token] = id
    return vocabulary


def read_merges(path: Path) -> Merges:
    """Merges from lines of `left right`, best first; a first line may name the version."""
    lines = read_text(path).split("\n")
    named = lines[0].startswith("#version")
    return [split_merge(line.rstrip("\r"), str(path)) for line in lines[named:] if line.rstrip("\r")]


def split_merge(line: str, where: str) -> tuple[str, str]:
    """The two sides of a merge.

    Raises:
        UserError: the line has not two.
    """
    left, separator, right = line.partition(" ")
    if not separator or not left or not right or " " in right:
        raise UserError(f"{where}: {line[:40]!r} is not a merge of two tokens.", "Get the file again.")
    return left, right


def read_ranks(path: Path) -> dict[bytes, int]:
    """Bytes of a token -> its rank, which is its id, from lines of `base64 rank`.

    Raises:
        UserError: a line is of another form, a rank is given twice or absurd, or a byte has no token.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            encoded, rank = line.split()
            ranks[base64.b64decode(encoded, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise UserError(f"{path}, line {number}: not 'base64 rank'.", "Fetch the file again.") from None
    if len(set(ranks.values())) < len(ranks) or not all(0 <= rank < LARGEST for rank in ranks.values()):
        raise UserError(f"{path} gives two tokens one rank, or an absurd one.", "Fetch the file again.")
    if missing := [byte for byte in range(256) if bytes((byte,)) not in ranks]:
        raise UserError(f"{path} has no token for the byte {missing[0]}.", "Fetch the file again.")
    return ranks
