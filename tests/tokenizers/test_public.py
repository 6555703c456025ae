"""Vocabularies that others trained: GPT-2's, ranks, the one inside a GGUF."""

import base64
import json
import random

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from malmoi.core.errors import UserError
from malmoi.tokenizers.patterns import PATTERNS
from malmoi.tokenizers.public import gpt2_tokenizer, tokenizer_from_gguf
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

BOOK = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
BOOK_IDS = [15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250, 8812, 2114, 1659, 617, 34680, 27271]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    texts = ["말은 모으고 글은 나눕니다. 12345 말모이는 사전입니다.\n\n" * 4, "It's gathered, IT'S shared.  \n" * 4]
    return train_tokenizer(texts, TokenizerSettings(vocabulary=320))


def parts(tokenizer):
    """Tokens, merges and token types, as a GGUF holds them."""
    content = json.loads(tokenizer.backend.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].get)
    types = [3 if token in tokenizer.special else 1 for token in tokens]
    return tokens, [" ".join(merge) for merge in content["merges"]], types


def strings(count):
    """Random texts of everything that pre-tokenizers treat in their own way, and of all Unicode."""
    dice = random.Random(0)
    words = [
        "'s",
        "'T",
        " the",
        " 2024",
        "한국어",
        "  ",
        "\n\n",
        "\r\n",
        "\u017f",
        "\u200b",
        "\u3000",
        "12",
        "½",
        "👩‍👧",
        ".",
        "_",
    ]
    for _ in range(count):
        yield "".join(dice.choices(words, k=dice.randrange(1, 12)))
        yield "".join(chr(dice.randrange(0xAC00, 0xD7A4)) for _ in range(dice.randrange(1, 12)))
        yield "".join(chr(dice.randrange(0x20, 0xD800)) for _ in range(dice.randrange(1, 12)))


def test_a_gguf_gives_back_the_tokenizer_it_was_made_of(trained):
    again = tokenizer_from_gguf(*parts(trained), "qwen2", trained.end, trained.chat_template)
    texts = list(strings(1000))
    assert again.encode_batch(texts) == trained.encode_batch(texts)
    assert (again.special, again.end, again.chat_template) == (trained.special, trained.end, trained.chat_template)


@pytest.mark.parametrize("pre", ["gpt-2", "smollm"])
def test_gpt2_pieces_are_those_of_the_library(trained, pre):
    tokens, merges, types = parts(trained)
    ours = tokenizer_from_gguf(tokens, merges, types, pre, trained.end, None)
    vocabulary = {token: id for id, token in enumerate(tokens)}
    theirs = tokenizers.Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    for text in strings(1000):
        assert ours.encode(text) == theirs.encode(text).ids


def test_llama_takes_a_whole_word_whatever_the_merges_say():
    tokens, types = ["a", "b", "c", "abc", "<end>"], [1, 1, 1, 1, 3]
    assert tokenizer_from_gguf(tokens, [], types, "llama-bpe", 4, None).encode("abc") == [3]
    assert tokenizer_from_gguf(tokens, [], types, "gpt-2", 4, None).encode("abc") == [0, 1, 2]


def test_llama_keeps_three_digits_together():
    ours = pre_tokenizers.Split(tokenizers.Regex(PATTERNS["llama-bpe"]), "isolated")
    assert [piece for piece, _ in ours.pre_tokenize_str("12345 개")] == ["123", "45", " 개"]


def test_words_a_user_defined_are_one_token_and_not_special():
    tokenizer = tokenizer_from_gguf(["a", "<생각>", "<end>"], [], [1, 4, 3], "gpt-2", 2, None, begin=2)
    assert tokenizer.encode("a<생각>a") == [0, 1, 0]
    assert tokenizer.decode([0, 1, 2]) == "a<생각>"
    assert tokenizer.begin == "<end>"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pre": "qwen22"}, "'qwen22' is not known. Did you mean 'qwen2'"),
        ({"pre": "deepseek-llm"}, "'deepseek-llm' is not known. Known:"),
        ({"end": 9}, "tokenizer is broken"),
        ({"token_types": [1]}, "tokenizer is broken"),
        ({"merges": ["ab"]}, "'ab' is not a merge"),
        ({"merges": ["a z"]}, "do not fit together"),
    ],
    ids=str,
)
def test_a_gguf_that_does_not_fit_together_is_named(changes, sentence):
    good = {"tokens": ["a", "<end>"], "merges": [], "token_types": [1, 3], "pre": "qwen2", "end": 1}
    with pytest.raises(UserError, match=sentence):
        tokenizer_from_gguf(**(good | changes), chat_template=None)


def write_ranks(tokenizer, path):
    spelled = [tokenizer.token_bytes(id) for id in range(tokenizer.size) if tokenizer.token_bytes(id)]
    path.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(spelled)))
    return path


def test_ranks_give_the_merges_back(trained, tmp_path):
    tokenizer = gpt2_tokenizer([write_ranks(trained, tmp_path / "own.tiktoken")])
    assert parts(tokenizer)[1] == parts(trained)[1]
    assert tokenizer.end == tokenizer.size - 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("YQ== 0\n한글\n", "line 2: not 'base64 rank'"), ("YQ== 0\nYWI= 1\n", "rank 1 is no merge")],
)
def test_broken_ranks_are_named(content, sentence, tmp_path):
    (tmp_path / "x.tiktoken").write_text(content)
    with pytest.raises(UserError, match=sentence):
        gpt2_tokenizer([tmp_path / "x.tiktoken"])


def test_files_of_another_kind_are_named(tmp_path):
    with pytest.raises(UserError, match=r"No vocabulary in \['x.txt'\]"):
        gpt2_tokenizer([tmp_path / "x.txt"])
    (tmp_path / "encoder.json").write_text("{}")
    (tmp_path / "vocab.bpe").write_bytes("말".encode("cp949"))
    with pytest.raises(UserError, match=r"vocab\.bpe is not UTF-8"):
        gpt2_tokenizer([tmp_path / "encoder.json", tmp_path / "vocab.bpe"])


@pytest.fixture(scope="module")
def gpt2(mirror) -> Tokenizer:
    return gpt2_tokenizer([mirror / "rasbt/gpt2_encoder.json", mirror / "rasbt/gpt2_vocab.bpe"])


@pytest.mark.shared
def test_gpt2_gives_the_ids_of_the_book(gpt2):
    assert gpt2.encode_template(BOOK) == [*BOOK_IDS, 13]
    assert gpt2.end not in gpt2.encode(BOOK)
    assert gpt2.decode(gpt2.encode(BOOK)) == BOOK


@pytest.mark.shared
def test_the_verdict_has_5145_tokens(gpt2, mirror):
    assert len(gpt2.encode((mirror / "rasbt/the-verdict.txt").read_text())) == 5145


@pytest.mark.shared
def test_gpt2_recovered_from_ranks_is_gpt2(gpt2, tmp_path):
    again = gpt2_tokenizer([write_ranks(gpt2, tmp_path / "gpt2.tiktoken")])
    assert parts(again) == parts(gpt2)
