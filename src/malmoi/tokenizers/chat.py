"""Dialogues: one template, stored with the checkpoint, turns messages into tokens for training and for talking.

What a person wrote can never become a special token: the template is rendered with placeholders for the contents, cut
at its own special tokens, and only then are the contents put in. The same placeholders tell whose words a token is of,
so that a template of any shape gives an exact mask.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from malmoi.core.errors import UserError
from malmoi.tokenizers.tokenizer import Tokenizer

Message = dict[str, str]
"""{"role": "system" | "user" | "assistant", "content": ...}"""

DEFAULT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML, the form that most public models of this size use."""

_PLACEHOLDER = re.compile("\ue000(\\d{1,9})\ue001")
_ROLE = re.compile(r"\w+")


def render(tokenizer: Tokenizer, messages: list[Message], *, answer: bool, now: datetime | None = None) -> str:
    """The text of a dialogue, byte for byte what `transformers` makes of the same template.

    Args:
        answer: end with the opening of the assistant's next turn.
        now: the time that a template may write down; that of the clock without it.

    Raises:
        UserError: the tokenizer has no template, the template fails or refuses the messages, or a message is not
            {"role": one word, "content": text}.
    """
    if tokenizer.chat_template is None:
        raise UserError("This model has no chat template: it continues text.", "Use malmoi generate instead.")
    _check_messages(messages)
    time = now or datetime.now()
    variables = {"bos_token": ""} | tokenizer.role_settings() | {"tools": None, "documents": None}
    try:
        return _compiled(tokenizer.chat_template).render(
            variables, messages=messages, add_generation_prompt=answer, strftime_now=lambda form: time.strftime(form)
        )
    except Exception as error:  # a template is a program: it can fail in every way that a program can
        raise UserError(f"The chat template fails on this dialogue: {error}.") from None


@functools.lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    extensions: list[str | type[Extension]] = ["jinja2.ext.loopcontrols", _Generation]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = _to_json
    return environment.from_string(template)


class _Generation(Extension):
    """`{% generation %}` marks what the assistant says; here the placeholders tell that, so it only stands there."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def encode_prompt(tokenizer: Tokenizer, messages: list[Message]) -> list[int]:
    """Ids of a dialogue up to where the assistant's answer begins."""
    return [id for part in _parts(tokenizer, messages, answer=True) for id in part.ids]


def encode_dialogue(tokenizer: Tokenizer, messages: list[Message]) -> tuple[list[int], list[bool]]:
    """Ids of a whole dialogue, and which of them are to be learned.

    Learned is what the assistant says and the special token that ends its turn; never the user's words or the
    template's. A token that reaches from the template's words into the answer counts as the answer's.
    """
    ids: list[int] = []
    learned: list[bool] = []
    answered = False
    for part in _parts(tokenizer, messages, answer=False):
        ids += part.ids
        learned += [answered] if part.special else part.learned
        answered = part.answered
    return ids, learned


@dataclass(frozen=True)
class _Part:
    """A special token, or the text between two: its ids, which are the assistant's, whether its words came last."""

    ids: list[int]
    learned: list[bool]
    answered: bool = False
    special: bool = False


def _parts(tokenizer: Tokenizer, messages: list[Message], *, answer: bool) -> list[_Part]:
    _check_messages(messages)
    now = datetime.now()  # one for both texts, which would differ if a second passed between them
    hidden = [{"role": message["role"], "content": f"\ue000{number}\ue001"} for number, message in enumerate(messages)]
    rendered = render(tokenizer, hidden, answer=answer, now=now)
    messages = _as_they_stand(messages, rendered, render(tokenizer, messages, answer=answer, now=now))
    parts = []
    for place, piece in enumerate(tokenizer.cut(rendered)):
        if isinstance(piece, int):
            parts.append(_Part([piece], [False], special=True))
        else:
            parts.append(_text_part(tokenizer, piece, messages, begins=place == 0))
    return parts


def _text_part(tokenizer: Tokenizer, piece: str, messages: list[Message], *, begins: bool) -> _Part:
    """Fill the placeholders of a piece between two special tokens, and encode it as one text."""
    text, answers, answered = "", [], False
    for number, between in enumerate(_PLACEHOLDER.split(piece)):
        if number % 2 == 0:
            text += between
            continue
        message = messages[int(between)]
        answered = message["role"] == "assistant"
        if answered:
            answers.append((len(text), len(text) + len(message["content"])))
        text += message["content"]
    ids, places = tokenizer.encode_with_places(text, begins=begins)
    learned, reached = [], 0
    for start, end in places:
        start = min(start, reached)  # some vocabularies leave the spaces of a token out of its place
        learned.append(any(end > first and start < last for first, last in answers))
        reached = end
    return _Part(ids, learned, answered)


def _as_they_stand(messages: list[Message], rendered: str, wanted: str) -> list[Message]:
    """The messages with their contents as they stand in the text: some templates strip them, on one side or both.

    Args:
        rendered: the text with placeholders for the contents.
        wanted: the text.

    Raises:
        UserError: they stand there changed in another way, so the ids would not be those of the text.
    """
    pieces = _PLACEHOLDER.split(rendered)
    stripped = [{**message, "content": message["content"].strip()} for message in messages]
    for candidates in (messages, stripped):  # nearly always one of these; the search below takes its time
        filled = [_content(candidates, piece) if place % 2 else piece for place, piece in enumerate(pieces)]
        if "".join(filled) == wanted:
            return candidates
    pattern, seen = "", set()
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            pattern += re.escape(piece)
        elif piece in seen:
            pattern += f"(?P=m{piece})"
        else:
            content = _content(messages, piece)
            ways = dict.fromkeys((content, content.strip(), content.lstrip(), content.rstrip()))
            pattern += f"(?P<m{piece}>{'|'.join(map(re.escape, ways))})"
            seen.add(piece)
    found = re.fullmatch(pattern, wanted)
    if found is None:
        raise UserError("The chat template changes the contents of messages.", "Use a template that leaves them alone.")
    stood = {int(piece): found[f"m{piece}"] for piece in seen}
    return [{**message, "content": stood.get(place, message["content"])} for place, message in enumerate(messages)]


def _content(messages: list[Message], number: str) -> str:
    """The content behind a placeholder; "" where a template has written one that stands for no message."""
    return messages[int(number)]["content"] if int(number) < len(messages) else ""


def _check_messages(messages: list[Message]) -> None:
    """A role stands in the template's own words, so it must not be able to hold a special token."""
    for number, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not _ROLE.fullmatch(role) or not isinstance(content, str):
            raise UserError(
                f"Message {number} of the dialogue is not a role and a text.",
                'Write it as {"role": "user", "content": "..."}.',
            )


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML; templates of chat models mean plain JSON."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise UserError(message)
