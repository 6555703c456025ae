"""Dialogues: one template, stored with the checkpoint, turns messages into tokens for training and for talking.

What a person wrote can never become a special token: the template is rendered with placeholders for the contents, cut
at its own special tokens, and only then are the contents put in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import jinja2
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

_PLACEHOLDER = re.compile("\ue000(\\d+)\ue001")


def render(tokenizer: Tokenizer, messages: list[Message], *, answer: bool) -> str:
    """The text of a dialogue, byte for byte what `transformers` makes of the same template.

    Args:
        answer: end with the opening of the assistant's next turn.

    Raises:
        UserError: the tokenizer has no template, or the template fails or refuses the messages.
    """
    if tokenizer.chat_template is None:
        raise UserError("This model has no chat template: it continues text.", "Use malmoi generate instead.")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    special = {"bos_token": "", "eos_token": tokenizer.special_text(tokenizer.end)}
    try:
        template = environment.from_string(tokenizer.chat_template)
        return template.render(messages=messages, add_generation_prompt=answer, **special)
    except jinja2.TemplateError as error:
        raise UserError(f"The chat template fails on this dialogue: {error}.") from None


def encode_prompt(tokenizer: Tokenizer, messages: list[Message]) -> list[int]:
    """Ids of a dialogue up to where the assistant's answer begins."""
    return [id for part in _parts(tokenizer, messages, answer=True) for id in part.ids]


def encode_dialogue(tokenizer: Tokenizer, messages: list[Message]) -> tuple[list[int], list[bool]]:
    """Ids of a whole dialogue, and which of them are to be learned.

    Learned is what the assistant says and the token that ends its turn; never the user's words or the template's.
    """
    ids: list[int] = []
    learned: list[bool] = []
    after_answer = False
    for part in _parts(tokenizer, messages, answer=False):
        ids += part.ids
        ends_answer = part.special and after_answer
        learned += [True] if ends_answer else part.answer
        after_answer = not part.special and bool(part.answer) and part.answer[-1]
    return ids, learned


@dataclass(frozen=True)
class _Part:
    """A special token, or the ids of the text between two; `answer` marks ids of the assistant's words."""

    ids: list[int]
    answer: list[bool]
    special: bool = False


def _parts(tokenizer: Tokenizer, messages: list[Message], *, answer: bool) -> list[_Part]:
    hidden = [{**message, "content": f"\ue000{number}\ue001"} for number, message in enumerate(messages)]
    rendered = render(tokenizer, hidden, answer=answer)
    _check_contents(tokenizer, messages, rendered, answer)
    cutter = re.compile("(" + "|".join(map(re.escape, sorted(tokenizer.special, key=len, reverse=True))) + ")")
    parts = []
    for piece in cutter.split(rendered):
        if piece in tokenizer.special:
            parts.append(_Part([tokenizer.special[piece]], [False], special=True))
        elif piece:
            parts.append(_text_part(tokenizer, piece, messages))
    return parts


def _text_part(tokenizer: Tokenizer, piece: str, messages: list[Message]) -> _Part:
    """Fill the placeholders of a piece between two special tokens, and encode it as one text."""
    text, answers = "", []
    for number, between in enumerate(_PLACEHOLDER.split(piece)):
        if number % 2 == 0:
            text += between
            continue
        message: dict[str, Any] = messages[int(between)]
        if message["role"] == "assistant":
            answers.append((len(text), len(text) + len(message["content"])))
        text += message["content"]
    encoding = tokenizer.backend.encode(text, add_special_tokens=False)
    learned = [any(end > first and start < last for first, last in answers) for start, end in encoding.offsets]
    return _Part(encoding.ids, learned)


def _check_contents(tokenizer: Tokenizer, messages: list[Message], rendered: str, answer: bool) -> None:
    """Refuse a template that changes what was said: the ids would not be those of its text."""
    filled = _PLACEHOLDER.sub(lambda match: messages[int(match[1])]["content"], rendered)
    if filled != render(tokenizer, messages, answer=answer):
        raise UserError(
            "The chat template changes the contents of messages.",
            "Remove leading and trailing spaces from the messages, or use a template that leaves contents alone.",
        )


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
