"""Patterns and mixes as people write them: `window(256) | global(0)`, `hashed(64, rounds=4)`, `full by dense`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

from malmoi.core.errors import UserError, nearest
from malmoi.layers.pattern import Full, Pattern
from malmoi.layers.patterns import Blocks, Causal, Documents, Fixed, Global, Stride, Window

PATTERNS: dict[str, type[Any]] = {
    "full": Full,
    "causal": Causal,
    "window": Window,
    "stride": Stride,
    "fixed": Fixed,
    "global": Global,
    "blocks": Blocks,
    "documents": Documents,
}
"""Name to class, one line each."""

_WORD = re.compile(r"\s*(?:([a-z_]+)|(\d+)|([()&|,=]))")
_LONGEST = 200
"""Characters of a pattern; a longer text is none, and is not read."""

Made = TypeVar("Made")


class Call(NamedTuple):
    """A name with its arguments."""

    name: str
    numbers: list[int]
    named: dict[str, int]


def parse_pattern(text: str) -> Pattern:
    """The pattern that `str(pattern)` writes; & binds closer than |, and parentheses group.

    Raises:
        UserError: it is none; says where reading stopped, and names the nearest pattern.
    """
    words = Words(text)
    pattern = read_pattern(words)
    words.end()
    return pattern


class Words:
    """The words of a text, one after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._words: list[str] = []
        place = 0
        if len(text) > _LONGEST:
            raise UserError(f"A pattern of {len(text):,} characters is none.", "Write something like window(256).")
        while text[place:].strip():
            found = _WORD.match(text, place)
            if found is None:
                raise self.error(f"{text[place:].strip()[0]!r} at character {place + 1} has no meaning")
            self._words.append(found[0].strip())
            place = found.end()
        self._place = 0

    def peek(self) -> str:
        """The next word, "" at the end."""
        return self._words[self._place] if self._place < len(self._words) else ""

    def take(self, wanted: str = "") -> str:
        """The next word, which must be `wanted` if that is given."""
        word = self.peek()
        if not word or (wanted and word != wanted):
            raise self.error(f"{wanted or 'a pattern'} is missing " + (f"before {word!r}" if word else "at the end"))
        self._place += 1
        return word

    def end(self) -> None:
        """Nothing may be left."""
        if self.peek():
            raise self.error(f"{self.peek()!r} is too much")

    def error(self, what: str) -> UserError:
        """A sentence about this text."""
        return UserError(f"{self.text!r} is no attention pattern: {what}.", "Such as: window(256) | global(0).")


def read_pattern(words: Words) -> Pattern:
    """The pattern with which the words go on."""
    pattern = _read_both(words)
    while words.peek() == "|":
        words.take()
        pattern = pattern | _read_both(words)
    return pattern


def _read_both(words: Words) -> Pattern:
    pattern = _read_one(words)
    while words.peek() == "&":
        words.take()
        pattern = pattern & _read_one(words)
    return pattern


def _read_one(words: Words) -> Pattern:
    if words.peek() == "(":
        words.take()
        pattern = read_pattern(words)
        words.take(")")
        return pattern
    call = read_call(words)
    if call.name == "global":
        return Global(tuple(call.numbers)) if not call.named else _refuse_names(words, call)
    made: Pattern = make(call, PATTERNS, words)
    return made


def _refuse_names(words: Words, call: Call) -> Global:
    raise words.error(f"{call.name} knows no {next(iter(call.named))!r}")


def read_call(words: Words) -> Call:
    """`name`, `name(1, 2)` or `name(1, other=2)`."""
    call = Call(words.take(), [], {})
    if words.peek() != "(":
        return call
    words.take()
    while words.peek() != ")":
        if call.numbers or call.named:
            words.take(",")
        word = words.take()
        if words.peek() == "=":
            words.take()
            call.named[word] = _number(words, words.take())
        else:
            call.numbers.append(_number(words, word))
    words.take(")")
    return call


def _number(words: Words, word: str) -> int:
    if not word.isdigit():
        raise words.error(f"{word!r} stands where a number should")
    return int(word)


def make(call: Call, known: Mapping[str, Callable[..., Made]], words: Words) -> Made:
    """An instance of the dataclass of this name."""
    if call.name not in known:
        raise UserError(
            f"{words.text!r} is no attention pattern: there is no {call.name!r}.",
            nearest(call.name, known) or f"Known: {', '.join(known)}.",
        )
    kind: Any = known[call.name]
    names = [field.name for field in fields(kind)]
    unknown = [name for name in call.named if name not in names]
    if unknown:
        raise words.error(f"{call.name} knows no {unknown[0]!r}, but {', '.join(names) or 'nothing at all'}")
    if len(call.numbers) > len(names):
        raise words.error(f"{call.name} takes {len(names)} numbers, not {len(call.numbers)}")
    given = dict(zip(names, call.numbers, strict=False)) | call.named
    required = [field.name for field in fields(kind) if field.default is field.default_factory]  # neither is given
    missing = [name for name in required if name not in given]
    if missing:
        raise words.error(f"{call.name} needs its {missing[0]}, as in {call.name}(8)")
    made: Made = kind(**given)
    return made
