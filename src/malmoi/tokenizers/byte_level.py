"""Byte-level BPE (Radford and others 2019): GPT-2's files, RoBERTa's, tiktoken's ranks, the one inside a GGUF."""

from __future__ import annotations

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from malmoi.core.errors import UserError, nearest
from malmoi.tokenizers.backend_errors import refusing
from malmoi.tokenizers.patterns import COMPOSED, PATTERNS, WHOLE_WORDS
from malmoi.tokenizers.roles import Roles
from malmoi.tokenizers.spelling import byte_alphabet
from malmoi.tokenizers.vocabulary_files import Merges
from malmoi.tokenizers.wrapping import ROBERTA, Family

END_OF_TEXT = "<|endoftext|>"
GPT2 = Family(Roles(begin=END_OF_TEXT, end=END_OF_TEXT, unknown=END_OF_TEXT))
LLAMA3 = Family(Roles(begin="<|begin_of_text|>", end="<|end_of_text|>"))
QWEN2 = Family(Roles(end=END_OF_TEXT, padding=END_OF_TEXT))
FAMILIES = {
    **dict.fromkeys(["GPT2Tokenizer", "CodeGenTokenizer"], GPT2),
    **dict.fromkeys(["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer"], ROBERTA),
    "Qwen2Tokenizer": QWEN2,
}
"""`tokenizer_class` of the settings -> what it says beside the vocabulary."""


def split_and_spell(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Split by a regular expression, then spell the pieces in bytes."""
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(
    vocabulary: dict[str, int], merges: Merges, pre: str, *, whole_words: bool = False, space_first: bool = False
) -> tokenizers.Tokenizer:
    """A byte-level BPE tokenizer.

    Args:
        vocabulary: token in the byte alphabet -> id.
        merges: best first.
        pre: the name by which llama.cpp knows how text is cut.
        whole_words: a piece that is itself in the vocabulary is one token, whatever the merges say.
        space_first: a text is read as if a space stood before it; only with `gpt-2`.

    Raises:
        UserError: the name is not known, or vocabulary and merges do not fit together.
    """
    if pre not in PATTERNS:
        way_out = nearest(pre, PATTERNS) or f"Known: {', '.join(sorted(PATTERNS))}."
        raise UserError(f"The pre-tokenizer {pre!r} is not known.", way_out)
    with refusing("Vocabulary and merges do not fit together", "Get the files again."):
        whole_words = whole_words or pre in WHOLE_WORDS
        backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=whole_words))
    if pre in COMPOSED:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel() if space_first else split_and_spell(PATTERNS[pre])
    backend.decoder = decoders.ByteLevel()
    return backend


def vocabulary_of_ranks(ranks: dict[bytes, int]) -> tuple[dict[str, int], Merges]:
    """The vocabulary and merges that give the ids of tiktoken: any two neighbours that make a token may merge."""
    spelling = {byte: character for character, byte in byte_alphabet().items()}
    spelled = {token: "".join(spelling[byte] for byte in token) for token in ranks}
    merges = []
    for token, rank in ranks.items():
        for place in range(1, len(token)):
            left, right = token[:place], token[place:]
            if left in ranks and right in ranks:
                merges.append((rank, ranks[left], ranks[right], (spelled[left], spelled[right])))
    return {spelled[token]: rank for token, rank in ranks.items()}, [merge for *_, merge in sorted(merges)]


def llama3_specials() -> list[str]:
    """The 256 special tokens that stand behind Llama 3's ranks, which name none."""
    named = {0: "begin_of_text", 1: "end_of_text", 6: "start_header_id", 7: "end_header_id", 9: "eot_id"}
    reserved = (f"reserved_special_token_{number}" for number in range(256))
    return [f"<|{named.get(place) or next(reserved)}|>" for place in range(256)]
