"""A byte-level BPE tokenizer in the metadata of a GGUF file, from which llama.cpp makes the same ids."""

from __future__ import annotations

import json
from typing import Any

from gguf.gguf_writer import GGUFWriter

from malmoi.core.errors import UserError
from malmoi.tokenizers.patterns import GPT2, PATTERNS, WHOLE_WORDS
from malmoi.tokenizers.sentencepiece_file import CONTROL, NORMAL, UNUSED, USER_DEFINED
from malmoi.tokenizers.tokenizer import TURN_ENDS, Tokenizer

_DIGITS = r"\p{N}"
_NAMES = {(PATTERNS[name],): name for name in ("gpt-2", "qwen2", "llama-bpe")} | {(_DIGITS, GPT2): "smollm"}
"""Expressions by which text is cut one after the other, to `tokenizer.ggml.pre`."""


def add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, vocabulary: int) -> None:
    """Put a tokenizer and its chat template into the metadata of `writer`.

    Special tokens are of type control, other added tokens user-defined; ids that no token has, up to the model's
    vocabulary, are filled with unused ones. llama.cpp does not compose text (NFC) before it cuts it, as some tokenizers
    do; everything else is the same there.

    Args:
        vocabulary: rows of the model's embedding.

    Raises:
        UserError: llama.cpp would make other ids of a text; names the setting of the tokenizer that it does not have.
    """
    backend = tokenizer.backend
    described = json.loads(backend.to_str())
    pre = _pre_tokenizer_name(described)
    if tokenizer.size > vocabulary:
        raise UserError(f"The tokenizer has {tokenizer.size:,} ids, but the model only {vocabulary:,}.")
    begin = tokenizer.special.get(tokenizer.begin, tokenizer.end)
    before, behind = tokenizer.around
    tokens, types = _table(tokenizer, vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in described["model"]["merges"]])
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(tokenizer.end)
    turn_end = next((tokenizer.special[token] for token in TURN_ENDS if token in tokenizer.special), None)
    if turn_end is not None:
        writer.add_eot_token_id(turn_end)
    writer.add_add_bos_token(before[:1] == [begin])
    writer.add_add_eos_token(behind[-1:] == [tokenizer.end])
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)


def _table(tokenizer: Tokenizer, vocabulary: int) -> tuple[list[str], list[int]]:
    """Text and type of every id."""
    tokens, types = [f"[PAD{id}]" for id in range(vocabulary)], [UNUSED] * vocabulary
    for token, id in tokenizer.backend.get_vocab().items():
        tokens[id], types[id] = token, NORMAL
    for id, added in tokenizer.backend.get_added_tokens_decoder().items():
        types[id] = CONTROL if added.special else USER_DEFINED
        if not added.special and (added.lstrip or added.rstrip or added.single_word):
            raise _other_ids(f"its token {added.content!r} takes the space around it, or stands alone only")
    return tokens, types


def _pre_tokenizer_name(described: dict[str, Any]) -> str:
    """`tokenizer.ggml.pre`, where everything that bears upon ids is as llama.cpp does it under that name."""
    model = described["model"]
    if model["type"] != "BPE":
        raise UserError(
            f"llama.cpp has no tokenizer of kind {model['type']} (whole characters or words).",
            "Train with a tokenizer of kind=byte.",
        )
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model[setting]:
            raise _other_ids(f"{setting}={model[setting]!r} in its model")
    normalizer = described["normalizer"]
    if normalizer not in (None, {"type": "NFC"}):
        raise _other_ids(f"the normalizer {normalizer['type']}")
    cuts = _cuts(described["pre_tokenizer"])
    if cuts not in _NAMES:
        raise _other_ids(f"a pre_tokenizer that cuts by {' and then '.join(cuts) or 'nothing'}")
    name = _NAMES[cuts]
    if bool(model["ignore_merges"]) != (name in WHOLE_WORDS):
        raise _other_ids(f"ignore_merges={model['ignore_merges']} beside the pre_tokenizer {name!r}")
    return name


def _cuts(stage: dict[str, Any] | None) -> tuple[str, ...]:
    """The expressions by which a pre-tokenizer cuts, or the name of what is none."""
    match stage:
        case {"type": "Sequence", "pretokenizers": stages}:
            return tuple(cut for inner in stages for cut in _cuts(inner))
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return (pattern,)
        case {"type": "Digits", "individual_digits": True}:
            return (_DIGITS,)
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": use_regex}:
            return (GPT2,) if use_regex else ()
        case None:
            return ()
        case _:
            return (json.dumps(stage),)


def _other_ids(setting: str) -> UserError:
    return UserError(
        f"llama.cpp would make other ids of a text than this tokenizer, which has {setting}.",
        f"It knows tokenizers that cut as {', '.join(_NAMES.values())} do.",
    )
