"""The tokenizer that lies in a directory, in whichever of the published forms."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tokenizers

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.tokenizers import byte_level, sentencepiece, wordpiece
from malmoi.tokenizers.backend_errors import refusing
from malmoi.tokenizers.charsmap import check_charsmap
from malmoi.tokenizers.roles import Roles, add_declared, add_roles, read_roles
from malmoi.tokenizers.sentencepiece_file import read_sentencepiece
from malmoi.tokenizers.vocabulary_files import read_merges, read_ranks, read_text, read_token_lines, read_vocabulary
from malmoi.tokenizers.wrapping import UNNAMED, Family

Built = tuple[tokenizers.Tokenizer, Roles]
"""A tokenizer of the library, and which of its tokens play a part."""
CLASSES = {
    "llama": "LlamaTokenizer",
    **dict.fromkeys(["t5", "mt5"], "T5Tokenizer"),
    "xlm-roberta": "XLMRobertaTokenizer",
    **dict.fromkeys(["roberta", "bart", "longformer"], "RobertaTokenizer"),
    **dict.fromkeys(["qwen2", "qwen3"], "Qwen2Tokenizer"),
}
"""`model_type` of config.json -> the `tokenizer_class` where tokenizer_config.json names none."""
PIECES = {
    "tokenizer.model": "",
    "spiece.model": "T5Tokenizer",
    "sentencepiece.bpe.model": "XLMRobertaTokenizer",
}
"""File of a SentencePiece model -> the `tokenizer_class` where nothing names one."""
MERGED = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}
"""File of a byte-level vocabulary -> file of its merges."""

_RANKS = re.compile(rb"[A-Za-z0-9+/]+=* [0-9]+\r?\n")
_CHARSMAP = re.compile(rb'"precompiled_charsmap"\s*:\s*"([^"]*)"')
_Entry = TypeVar("_Entry")


def read_settings(directory: Path) -> dict[str, Any]:
    """What tokenizer_config.json says and, where it is silent, the smaller files beside it.

    Raises:
        UserError: one of them is no JSON object.
    """
    settings = _read_object(directory / "special_tokens_map.json")
    settings |= {
        key: value for key, value in _read_object(directory / "tokenizer_config.json").items() if value is not None
    }
    shape = _read_object(directory / "config.json").get("model_type")
    name = settings.get("tokenizer_class") or CLASSES.get(str(shape), "")
    settings["tokenizer_class"] = str(name).removesuffix("Fast")
    if added := _read_object(directory / "added_tokens.json"):
        settings.setdefault("added_tokens_decoder", {id: {"content": token} for token, id in added.items()})
    return settings


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings.", "Make it again, or fetch it again.")
    return content


def read_template(directory: Path, settings: dict[str, Any]) -> str | None:
    """The chat template: a file of its own, a setting, or the default one of several."""
    path = directory / "chat_template.jinja"
    if path.is_file():
        return read_text(path)
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def open_directory(directory: Path, settings: dict[str, Any], pre: str = "") -> Built:
    """The tokenizer of a directory, and its roles.

    Args:
        settings: as `read_settings` gives them.
        pre: how text is cut before ranks are applied, which their file does not say: a name of llama.cpp's.

    Raises:
        UserError: there is none, it is broken, or of a kind that is not known.
    """
    if (path := directory / "tokenizer.json").is_file():
        return _from_json(path, settings)
    if (path := directory / "vocab.txt").is_file():
        return _from_lines(path, settings)
    for vocabulary, merges in MERGED.items():
        if (path := directory / vocabulary).is_file() and (directory / merges).is_file():
            return _from_merges(path, directory / merges, settings)
    for name in PIECES:
        if (path := directory / name).is_file():
            ranked = _RANKS.match(path.read_bytes()) is not None
            return from_ranks(path, settings, pre or "llama-bpe") if ranked else _from_pieces(path, settings)
    if ranks := sorted(directory.glob("*.tiktoken")):
        return from_ranks(ranks[0], settings, pre or "gpt-2")
    raise UserError(
        f"There is no tokenizer in {directory}: no tokenizer.json, and no vocabulary of a known name.",
        "Name a tokenizer's or a checkpoint's folder.",
    )


def finish(backend: tokenizers.Tokenizer, family: Family, settings: dict[str, Any], where: str) -> Built:
    """Add the special tokens that settings or the family name, and set what stands around a text."""
    roles = read_roles(settings).over(family.roles)
    add_declared(backend, settings.get("added_tokens_decoder", {}), where)
    add_roles(backend, roles, settings)
    family.wrap(backend, roles, settings)
    return backend, roles


def from_ranks(path: Path, settings: dict[str, Any], pre: str) -> Built:
    """The byte-level BPE of tiktoken's ranks; where settings name no special tokens, GPT-2's or Llama 3's are added."""
    vocabulary, merges = byte_level.vocabulary_of_ranks(read_ranks(path))
    backend = byte_level.byte_level(vocabulary, merges, pre, whole_words=True)
    family = byte_level.LLAMA3 if path.suffix == ".model" else byte_level.GPT2
    if not settings.get("added_tokens_decoder"):
        special = byte_level.llama3_specials() if family is byte_level.LLAMA3 else [byte_level.END_OF_TEXT]
        backend.add_special_tokens(special)
    return finish(backend, family, settings, str(path))


def _from_json(path: Path, settings: dict[str, Any]) -> Built:
    content = path.read_bytes()
    for table in _CHARSMAP.findall(content):  # before the library allocates what the table says it needs
        try:
            check_charsmap(base64.b64decode(table, validate=True), str(path))
        except binascii.Error:
            check_charsmap(b"", str(path))
    with refusing(f"{path} is not a tokenizer"):
        backend = tokenizers.Tokenizer.from_buffer(content)
    roles = read_roles(settings)
    add_roles(backend, roles, settings)
    return backend, roles


def _from_lines(path: Path, settings: dict[str, Any]) -> Built:
    family = _known(wordpiece.FAMILIES, settings["tokenizer_class"], path)
    unknown = read_roles(settings).over(family.roles).unknown
    backend = wordpiece.wordpiece(read_token_lines(path), unknown, settings, str(path))
    return finish(backend, family, settings, str(path))


def _from_merges(path: Path, merges: Path, settings: dict[str, Any]) -> Built:
    vocabulary, name = read_vocabulary(path), settings["tokenizer_class"]
    if name in UNNAMED:
        name = "RobertaTokenizer" if {"<s>", "</s>"} <= vocabulary.keys() else "GPT2Tokenizer"
    family = _known(byte_level.FAMILIES, name, path)
    pre = "qwen2" if family is byte_level.QWEN2 else "gpt-2"
    spaced = family is not byte_level.QWEN2 and bool(settings.get("add_prefix_space"))
    backend = byte_level.byte_level(vocabulary, read_merges(merges), pre, space_first=spaced)
    return finish(backend, family, settings, str(path))


def _from_pieces(path: Path, settings: dict[str, Any]) -> Built:
    read, family = _known(sentencepiece.FAMILIES, settings["tokenizer_class"] or PIECES[path.name], path)
    model = read_sentencepiece(path)
    family = Family(family.roles.over(sentencepiece.model_roles(model)), family.wrap)
    return finish(read(model, settings), family, settings, str(path))


def _known(families: Mapping[str, _Entry], name: str, path: Path) -> _Entry:
    if name not in families:
        raise UserError(
            f"{path}: how {name!r} uses this vocabulary is not known here.",
            "Save it with `transformers`, which writes a tokenizer.json.",
        )
    return families[name]
