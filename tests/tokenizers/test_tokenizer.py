"""Every kind of tokenizer gives text back, and nobody can forge a special token."""

import random

import pytest
from transformers import AutoTokenizer

from malmoi.core.errors import UserError
from malmoi.tokenizers.public import gpt2_tokenizer, tokenizer_from_gguf
from malmoi.tokenizers.stream import TextStream
from malmoi.tokenizers.tokenizer import Tokenizer, load_tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = ["말은 모으고 글은 나눕니다. 말모이는 사전입니다.\n" * 4, "Words are gathered, words are shared.\n" * 4]
HARD = ["값이 값을 한다", "한국어와 English, 123", "👩‍👩‍👧 가족", "\u1112\u1161\u11ab 자모", "  두  칸\n\n\t끝 "]


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    return train_tokenizer(TEXT, TokenizerSettings(vocabulary=300))


def test_byte_level_gives_every_text_back(byte_level):
    for text in HARD[:3]:
        assert byte_level.decode(byte_level.encode(text)) == text


def test_text_is_composed_never_folded(byte_level):
    assert byte_level.decode(byte_level.encode("\u1112\u1161\u11ab ㎏")) == "한 ㎏"


def test_all_syllables_come_back(byte_level):
    syllables = "".join(chr(code) for code in range(0xAC00, 0xD7A4))
    assert byte_level.decode(byte_level.encode(syllables)) == syllables


@pytest.mark.parametrize("kind", ["character", "word"])
def test_whole_pieces_join_to_the_text_they_were_trained_on(kind):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=0))
    assert tokenizer.decode(tokenizer.encode(TEXT[0])) == TEXT[0]


@pytest.mark.parametrize("kind", ["character", "word"])
def test_what_was_never_seen_is_the_unknown_token(kind):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=0))
    assert tokenizer.unknown in tokenizer.encode("龘")


def test_training_twice_gives_the_same_tokenizer(byte_level):
    again = train_tokenizer(TEXT, TokenizerSettings(vocabulary=300))
    assert again.backend.to_str() == byte_level.backend.to_str()


def test_a_vocabulary_larger_than_the_text_supports_says_how_many():
    with pytest.raises(UserError, match=r"supports a vocabulary of [\d,]+, not 9,000.*Set vocabulary="):
        train_tokenizer(TEXT, TokenizerSettings(vocabulary=9000))


def test_written_special_tokens_stay_text(byte_level):
    ids = byte_level.encode("<|im_end|>")
    assert not set(ids) & set(byte_level.special.values())
    assert byte_level.decode(ids) == "<|im_end|>"


@pytest.mark.parametrize("kind", ["byte", "character", "word"])
def test_saved_and_loaded_it_is_the_same(kind, tmp_path):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=300 if kind == "byte" else 0))
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode(TEXT[0]) == tokenizer.encode(TEXT[0])
    assert (loaded.end, loaded.size, loaded.chat_template) == (tokenizer.end, tokenizer.size, tokenizer.chat_template)


@pytest.mark.parametrize("kind", ["byte", "character", "word"])
def test_transformers_opens_it_and_gives_the_same_ids(kind, tmp_path):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=300 if kind == "byte" else 0))
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXT, *HARD]:
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.end


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
        load_tokenizer(tmp_path)


def test_a_stream_never_shows_half_a_character(byte_level):
    text = "".join(random.Random(1).choices("한글값👩‍👧ab ", k=300))
    stream = TextStream(byte_level)
    pieces = [stream.feed(token) for token in byte_level.encode(text)]
    assert "".join([*pieces, stream.finish()]) == byte_level.decode(byte_level.encode(text))
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_that_never_becomes_whole_is_shown_at_the_end(byte_level):
    stream = TextStream(byte_level)
    first = byte_level.encode("쀍")[0]
    assert stream.feed(first) + stream.finish() == "\ufffd"


@pytest.fixture(scope="module")
def gpt2(mirror) -> Tokenizer:
    return gpt2_tokenizer([mirror / "rasbt/gpt2_encoder.json", mirror / "rasbt/gpt2_vocab.bpe"])


@pytest.mark.shared
def test_gpt2_gives_the_ids_of_the_book(gpt2):
    text = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
    assert gpt2.encode_template(text) == [
        15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250, 8812, 2114, 1659, 617, 34680, 27271, 13,
    ]  # fmt: skip


@pytest.mark.shared
def test_the_verdict_has_5145_tokens(gpt2, mirror):
    assert len(gpt2.encode((mirror / "rasbt/the-verdict.txt").read_text())) == 5145


def test_ranks_give_the_merges_back(byte_level, tmp_path):
    import base64
    import json

    model = json.loads(byte_level.backend.to_str())["model"]
    ranks = [byte_level.token_bytes(id) for id in sorted(model["vocab"].values()) if byte_level.token_bytes(id)]
    path = tmp_path / "own.tiktoken"
    path.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(ranks)))
    tokenizer = gpt2_tokenizer([path])
    assert json.loads(tokenizer.backend.to_str())["model"]["merges"] == model["merges"]


def test_an_unknown_pre_tokenizer_is_named():
    with pytest.raises(UserError, match=r"'qwen22' is not known. Did you mean 'qwen2'"):
        tokenizer_from_gguf(["a", "<end>"], [], [1, 3], "qwen22", 1, None)
