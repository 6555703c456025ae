"""Settings as people read them: what a value may be, and what the docstring of the class says of it."""

from __future__ import annotations

import inspect
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from malmoi.core.config import Settings
from malmoi.pipeline.stage import is_input

_ENTRY = re.compile(r"^    ([a-z_0-9]+(?:, [a-z_0-9]+)*): (.*)$")
_PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path", dict: "group"}


class Described(NamedTuple):
    """One setting.

    Attributes:
        values: what it may be, in words.
        default: as it is written; "?" where one has to be given.
        about: what the docstring says; empty where it says nothing.
    """

    name: str
    values: str
    default: str
    about: str


def describe_settings(kind: type[Settings]) -> list[Described]:
    """Every setting of a class, its own before those of the classes it is derived from."""
    own = [name for base in kind.__mro__ for name in getattr(base, "__annotations__", {}) if name in kind.model_fields]
    said = _said(kind)
    return [
        Described(name, _values(kind.model_fields[name]), _default(kind.model_fields[name]), said.get(name, ""))
        for name in dict.fromkeys(own)
    ]


def _said(kind: type[Settings]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in kind.__mro__:
        names: list[str] = []
        _, _, entries = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for line in entries.splitlines():
            if entry := _ENTRY.match(line):
                names = [name for name in entry[1].split(", ") if name not in found]
                found |= dict.fromkeys(names, entry[2])
            elif line.startswith("     "):
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
            elif line and not line.startswith(" "):
                break
    return found


def _values(field: FieldInfo) -> str:
    if is_input(field):
        many = typing.get_origin(field.annotation) is list
        return "stages or paths" if many else "stage or path"
    return _words(field.annotation)


def _words(annotation: Any) -> str:
    """A type in words; None, which stands for what is left open, is not said."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        kinds = [one for one in inner if one is not types.NoneType]
        groups = all(isinstance(one, type) and issubclass(one, BaseModel) for one in kinds)
        return "group" if groups else " or ".join(dict.fromkeys(map(_words, kinds)))
    if origin in (list, tuple):
        return f"list, each {_words(inner[0])}" if inner else "list"
    plain = origin or annotation
    return _PLAIN.get(plain, "group" if isinstance(plain, type) and issubclass(plain, BaseModel) else "value")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "?"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value in ("", [], {}, ()) else str(value)
