"""Byte-level BPE vocabularies that others trained: GPT-2's files, tiktoken ranks, the one inside a GGUF."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from malmoi.core.errors import UserError, nearest
from malmoi.core.files import read_json
from malmoi.tokenizers.patterns import COMPOSED, PATTERNS, WHOLE_WORDS
from malmoi.tokenizers.tokenizer import END_OF_TEXT, Tokenizer, byte_alphabet
from malmoi.tokenizers.train import byte_level

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""`tokenizer.ggml.token_type` of pieces, special tokens, words that are always one token, and ids that pad a table."""

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
        merges = _merges_of(by_suffix[".bpe"])
    else:
        raise UserError(
            f"No vocabulary in {[path.name for path in files]}.", "Give a .tiktoken, or a .json and a .bpe."
        )
    backend = _backend(vocabulary, merges, "gpt-2")
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return Tokenizer(backend)


def tokenizer_from_gguf(
    tokens: list[str],
    merges: list[str],
    token_types: list[int],
    pre: str,
    end: int,
    chat_template: str | None,
    begin: int | None = None,
) -> Tokenizer:
    """The byte-level BPE tokenizer whose parts a GGUF file holds.

    Args:
        tokens: text of every id, in the byte alphabet.
        merges: "left right", best first.
        token_types: `tokenizer.ggml.token_type` of every id.
        pre: `tokenizer.ggml.pre`, the name of the pre-tokenizer.
        end: id at which generation stops.
        begin: id that a chat template may put first.

    Raises:
        UserError: the pre-tokenizer is not known here, or the parts do not fit together.
    """
    if pre not in PATTERNS:
        way_out = nearest(pre, PATTERNS) or f"Known: {', '.join(sorted(PATTERNS))}."
        raise UserError(f"The GGUF's pre-tokenizer {pre!r} is not known.", way_out)
    if not 0 <= end < len(tokens) or len(token_types) != len(tokens):
        raise UserError(f"The GGUF's tokenizer is broken: end {end}, {len(tokens)} tokens, {len(token_types)} types.")
    special = [token for token, kind in zip(tokens, token_types, strict=True) if kind == CONTROL]
    special += [] if tokens[end] in special else [tokens[end]]
    whole = [token for token, kind in zip(tokens, token_types, strict=True) if kind == USER_DEFINED]
    pairs = [_merge(merge, "the GGUF's merges") for merge in merges]
    used = {token: id for id, token in enumerate(tokens) if token_types[id] != UNUSED}
    backend = _backend(used, pairs, pre)
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in whole])
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    first = tokens[begin] if begin is not None and 0 <= begin < len(tokens) else ""
    return Tokenizer(backend, tokens[end], chat_template, begin=first)


def _backend(vocabulary: dict[str, int], merges: Merges, pre: str) -> tokenizers.Tokenizer:
    try:
        backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in WHOLE_WORDS))
    except Exception as error:  # the library raises plain Exception for merges that the vocabulary lacks
        raise UserError(f"Vocabulary and merges do not fit together: {error}.") from None
    if pre in COMPOSED:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = byte_level(PATTERNS[pre])
    backend.decoder = decoders.ByteLevel()
    return backend


def _merges_of(path: Path) -> Merges:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text.", "Fetch it again.") from None
    return [_merge(line, str(path)) for line in lines[1:] if line]  # the first line names the version


def _merge(line: str, where: str) -> tuple[str, str]:
    left, separator, right = line.partition(" ")
    if not separator or not left or not right:
        raise UserError(f"{where}: {line[:40]!r} is not a merge of two tokens.", "Get the file again.")
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
    if len(parts) != 2 or any(ranks.get(part, limit) >= limit for part in parts):
        raise UserError(f"The rank {limit} is no merge of two lower ones.", "Fetch the vocabulary again.")
    return parts[0], parts[1]
