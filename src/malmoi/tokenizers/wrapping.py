"""What stands around a text and around a pair: the special tokens that a family was trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tokenizers
from tokenizers import processors

from malmoi.core.errors import UserError
from malmoi.tokenizers.roles import Roles

Wrap = Callable[[tokenizers.Tokenizer, Roles, dict[str, Any]], None]
"""Sets what stands around a text, from the roles and the settings."""


def wrap_as_asked(backend: tokenizers.Tokenizer, roles: Roles, settings: dict[str, Any]) -> None:
    """The begin token before each text where `add_bos_token` asks for it, the end behind it with `add_eos_token`."""
    begin = [roles.begin] if settings.get("add_bos_token") and roles.begin else []
    end = [roles.end] if settings.get("add_eos_token") and roles.end else []
    first, second = ([(text, segment) for text in [*begin, name, *end]] for segment, name in enumerate(("$A", "$B")))
    _wrap(backend, first, [*first, *second])


def wrap_bert(backend: tokenizers.Tokenizer, roles: Roles, settings: dict[str, Any]) -> None:
    """`[CLS] a [SEP] b [SEP]`; the second text is the second segment."""
    first = [(roles.classification, 0), ("$A", 0), (roles.separator, 0)]
    _wrap(backend, first, [*first, ("$B", 1), (roles.separator, 1)])


def wrap_roberta(backend: tokenizers.Tokenizer, roles: Roles, settings: dict[str, Any]) -> None:
    """`<s> a </s></s> b </s>`, all one segment."""
    first = [(roles.classification, 0), ("$A", 0), (roles.separator, 0)]
    _wrap(backend, first, [*first, (roles.separator, 0), ("$B", 0), (roles.separator, 0)])


def wrap_t5(backend: tokenizers.Tokenizer, roles: Roles, settings: dict[str, Any]) -> None:
    """`a </s> b </s>`, all one segment."""
    first = [("$A", 0), (roles.end, 0)]
    _wrap(backend, first, [*first, ("$B", 0), (roles.end, 0)])


def _wrap(backend: tokenizers.Tokenizer, single: list[tuple[str, int]], pair: list[tuple[str, int]]) -> None:
    special = {text: backend.token_to_id(text) for text, _ in pair if not text.startswith("$")}
    if missing := [text for text, id in special.items() if id is None]:
        raise UserError(f"The vocabulary has no {missing[0]!r}, which is to stand around a text.", "Get it again.")
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{text}:{segment}" for text, segment in single],
        pair=[f"{text}:{segment}" for text, segment in pair],
        special_tokens=list(special.items()),
    )


@dataclass(frozen=True)
class Family:
    """What a `tokenizer_class` says beside the vocabulary.

    Attributes:
        roles: where the settings name none.
        wrap: sets what stands around a text.
    """

    roles: Roles = field(default_factory=Roles)
    wrap: Wrap = wrap_as_asked


UNNAMED = ("", "PreTrainedTokenizer", "TokenizersBackend")
"""What `tokenizer_class` holds where it says nothing of the family."""
BERT = Family(
    Roles(unknown="[UNK]", separator="[SEP]", padding="[PAD]", classification="[CLS]", mask="[MASK]"), wrap_bert
)
ROBERTA = Family(
    Roles(
        begin="<s>",
        end="</s>",
        unknown="<unk>",
        separator="</s>",
        padding="<pad>",
        classification="<s>",
        mask="<mask>",
    ),
    wrap_roberta,
)
T5 = Family(Roles(end="</s>", unknown="<unk>", padding="<pad>"), wrap_t5)
