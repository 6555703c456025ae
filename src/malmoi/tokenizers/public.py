"""Byte-level BPE vocabularies that others trained: GPT-2's files, tiktoken ranks, the one inside a GGUF."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from malmoi.core.errors import UserError, nearest
from malmoi.core.files import read_json
from malmoi.tokenizers.patterns import DIGITS_APART, PATTERNS
from malmoi.tokenizers.tokenizer import END_OF_TEXT, Tokenizer, byte_alphabet
from malmoi.tokenizers.train import byte_level

CONTROL = 3
"""`tokenizer.ggml.token_type` of special tokens."""

Merges = list[tuple[str, str]]


def gpt2_tokenizer(files: Sequence[Path]) -> Tokenizer:
    """GPT-2's tokenizer from `encoder.json` and `vocab.bpe`, or from one file of tiktoken ranks.

    Raises:
        UserError: the files are none of these, or broken.
    """
    by_suffix = {path.suffix: path for path in files}
    if ".tiktoken" in by_suffix:
        vocabulary, merges = _from_ranks(by_suffix[".tiktoken"])
        vocabulary.setdefault(END_OF_TEXT, len(vocabulary))
    elif {".json", ".bpe"} <= set(by_suffix):
        vocabulary = read_json(by_suffix[".json"])
        lines = by_suffix[".bpe"].read_text(encoding="utf-8").splitlines()[1:]
        merges = [_merge(line, by_suffix[".bpe"]) for line in lines if line]
    else:
        raise UserError(
            f"No vocabulary in {[path.name for path in files]}.", "Give a .tiktoken, or a .json and a .bpe."
        )
    return _build(vocabulary, merges, "gpt-2", [END_OF_TEXT], END_OF_TEXT, None)


def tokenizer_from_gguf(
    tokens: list[str], merges: list[str], token_types: list[int], pre: str, end: int, chat_template: str | None
) -> Tokenizer:
    """The byte-level BPE tokenizer whose parts a GGUF file holds.

    Args:
        tokens: text of every id, in the byte alphabet.
        merges: "left right", best first.
        token_types: `tokenizer.ggml.token_type` of every id.
        pre: `tokenizer.ggml.pre`, the name of the pre-tokenizer.
        end: id at which generation stops.

    Raises:
        UserError: the pre-tokenizer is not known here, or the parts do not fit together.
    """
    if pre not in PATTERNS:
        way_out = nearest(pre, PATTERNS) or f"Known: {', '.join(sorted(PATTERNS))}."
        raise UserError(f"The GGUF's pre-tokenizer {pre!r} is not known.", way_out)
    if not 0 <= end < len(tokens) or len(token_types) != len(tokens):
        raise UserError(f"The GGUF's tokenizer is broken: end {end}, {len(tokens)} tokens, {len(token_types)} types.")
    vocabulary = {token: id for id, token in enumerate(tokens)}
    special = [token for token, kind in zip(tokens, token_types, strict=True) if kind == CONTROL]
    if tokens[end] not in special:
        special.append(tokens[end])
    pairs = [_merge(merge, Path("the GGUF's merges")) for merge in merges]
    return _build(vocabulary, pairs, pre, special, tokens[end], chat_template)


def _build(
    vocabulary: dict[str, int], merges: Merges, pre: str, special: list[str], end: str, template: str | None
) -> Tokenizer:
    try:
        backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as error:  # the library raises plain Exception for merges that the vocabulary lacks
        raise UserError(f"Vocabulary and merges do not fit together: {error}.") from None
    split = byte_level(PATTERNS[pre])
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, split]) if pre in DIGITS_APART else split
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return Tokenizer(backend, end, template)


def _merge(line: str, path: Path) -> tuple[str, str]:
    left, separator, right = line.partition(" ")
    if not separator or not left or not right:
        raise UserError(f"{path}: {line[:40]!r} is not a merge of two tokens.")
    return left, right


def _from_ranks(path: Path) -> tuple[dict[str, int], Merges]:
    """Vocabulary and merges from lines of `base64 rank`.

    A token's merge is the pair that is left when its bytes are merged by all lower ranks.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            encoded, order = line.split()
            ranks[base64.b64decode(encoded, validate=True)] = int(order)
        except (ValueError, binascii.Error):
            raise UserError(f"{path}, line {number}: not 'base64 rank'.", "Fetch the file again.") from None
    spelling = {byte: character for character, byte in byte_alphabet().items()}
    spell = {token: "".join(spelling[byte] for byte in token) for token in ranks}
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = _last_pair(token, rank, ranks)
            merges.append((spell[left], spell[right]))
    return {spell[token]: rank for token, rank in ranks.items()}, merges


def _last_pair(token: bytes, limit: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 2:
        candidates = [ranks.get(left + right, limit) for left, right in itertools.pairwise(parts)]
        best = min(candidates)
        if best >= limit:
            break
        place = candidates.index(best)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    if len(parts) != 2:
        raise UserError(f"The rank {limit} is no merge of two lower ones.", "Fetch the vocabulary again.")
    return parts[0], parts[1]
