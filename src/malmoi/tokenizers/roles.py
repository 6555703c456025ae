"""Which special token plays which part, under the names that `tokenizer_config.json` has for them."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import AddedToken, models

from malmoi.core.errors import UserError

NAMES = {
    "begin": "bos_token",
    "end": "eos_token",
    "unknown": "unk_token",
    "separator": "sep_token",
    "padding": "pad_token",
    "classification": "cls_token",
    "mask": "mask_token",
}
"""Role -> its name in the settings of `transformers`."""


@dataclass(frozen=True)
class Roles:
    """The text of the token that plays a part, "" where none does.

    Attributes:
        begin: stands before a text.
        end: stands behind a text, where generation stops.
        unknown: stands for what the vocabulary cannot spell.
        separator: stands behind each text of a pair.
        padding: fills the shorter rows of a batch.
        classification: stands before the texts; a class is read from its state.
        mask: stands for a token that is to be guessed.
    """

    begin: str = ""
    end: str = ""
    unknown: str = ""
    separator: str = ""
    padding: str = ""
    classification: str = ""
    mask: str = ""

    def over(self, defaults: Roles) -> Roles:
        """These roles, and the defaults where they name none."""
        return Roles(**{role: getattr(self, role) or getattr(defaults, role) for role in NAMES})

    def among(self, tokens: Container[str]) -> Roles:
        """Those of the roles whose tokens are among some."""
        kept = {role: getattr(self, role) for role in NAMES if getattr(self, role) in tokens}
        return Roles(**kept)

    def settings(self) -> dict[str, str]:
        """As `tokenizer_config.json` holds them."""
        return {name: getattr(self, role) for role, name in NAMES.items() if getattr(self, role)}


def read_roles(settings: dict[str, Any]) -> Roles:
    """The roles that settings name; some files write a token as a string, others as an object."""
    return Roles(**{role: token_text(settings.get(name)) for role, name in NAMES.items()})


def token_text(token: Any) -> str:
    """The text of a token as a file holds it; "" for what is none."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else ""


def add_roles(backend: tokenizers.Tokenizer, roles: Roles, settings: dict[str, Any]) -> None:
    """Make the tokens that play a part special, and those that settings name beside them, as far as there are any.

    Flags that the settings give a token take the place of its own.
    """
    more = settings.get("additional_special_tokens")
    named = [settings.get(name) for name in NAMES.values()] + (more if isinstance(more, list) else [])
    texts = [getattr(roles, role) for role in NAMES] + [token_text(token) for token in named]
    flags = {token_text(token): token for token in named if isinstance(token, dict)}
    special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    for text in dict.fromkeys(texts):
        if backend.token_to_id(text) is not None and (text in flags or text not in special):
            written = {flag: bool(flags.get(text, {}).get(flag)) for flag in ("lstrip", "rstrip", "single_word")}
            backend.add_special_tokens([AddedToken(text, special=True, normalized=False, **written)])


def add_declared(backend: tokenizers.Tokenizer, declared: Any, where: str) -> None:
    """Add the tokens of `added_tokens_decoder`, {id: token with its flags}.

    Raises:
        UserError: it is none, or a token would get another id than the one it is said to have.
    """
    try:
        rows = sorted((int(id), token) for id, token in declared.items())
        flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
        added = [(id, AddedToken(row["content"], **{flag: bool(row.get(flag)) for flag in flags})) for id, row in rows]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{where}: 'added_tokens_decoder' holds no tokens.", "Get the file again.") from None
    for id, token in added:
        backend.add_tokens([token])
        if backend.token_to_id(token.content) != id:
            raise UserError(f"{where} has no room for {token.content!r} at the id {id}.", "Get the files again.")


def unknown_id(backend: tokenizers.Tokenizer) -> int | None:
    """The id for what the model cannot spell; None for BPE that needs none.

    Raises:
        UserError: the model needs one and the vocabulary has none.
    """
    model, id = backend.model, None
    if isinstance(model, models.Unigram):
        id = json.loads(model.__getstate__())["unk_id"]
    elif model.unk_token is not None:
        id = model.token_to_id(model.unk_token)  # not an added one, of which the model does not know
    if id is None and not (isinstance(model, models.BPE) and model.unk_token is None):
        raise UserError("The tokenizer has no unknown token for what its vocabulary cannot spell.")
    return id
