"""What is trained depends on the text alone, and what the text cannot support is said."""

import json

import pytest

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.tokenizers.patterns import QWEN2
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = ["말은 모으고 글은 나눕니다. 말모이는 사전입니다.\n" * 4, "Words are gathered, words are shared.\n" * 4]


def train(texts=TEXT, **settings):
    return train_tokenizer(texts, TokenizerSettings(**settings))


@pytest.mark.parametrize("settings", [{"vocabulary": 300}, {"kind": "character"}, {"kind": "word", "vocabulary": 0}])
def test_training_twice_gives_the_same_tokenizer(settings):
    assert train(**settings).backend.to_str() == train(**settings).backend.to_str()


def test_the_byte_level_kind_is_spelled_as_the_ecosystem_spells_it():
    content = json.loads(train(vocabulary=300).backend.to_str())
    split, byte_level = content["pre_tokenizer"]["pretokenizers"]
    assert content["normalizer"] == {"type": "NFC"}
    assert (split["pattern"], split["behavior"], split["invert"]) == ({"Regex": QWEN2}, "Isolated", False)
    assert (byte_level["type"], byte_level["add_prefix_space"], byte_level["use_regex"]) == ("ByteLevel", False, False)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("값이 12개", ["값이", " ", "1", "2", "개"]),
        ("it's  two\n\n", ["it", "'s", " ", " two", "\n\n"]),
        ("말모이(辭典)!", ["말모이", "(辭典", ")!"]),
    ],
)
def test_text_is_cut_before_merging(text, pieces):
    tokenizer = train(vocabulary=300)
    cut = tokenizer.backend.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in cut] == pieces


def test_characters_are_those_of_the_text_and_two_more():
    text = "ROMEO:\nBut, soft! 로미오"
    tokenizer = train([text], kind="character", vocabulary=0)
    assert tokenizer.size == len(set(text)) + 2
    assert tokenizer.decode(tokenizer.encode(text[::-1])) == text[::-1]


def test_a_smaller_vocabulary_keeps_the_most_frequent():
    tokenizer = train(["가가가나나다"], kind="character", vocabulary=4)
    assert [tokenizer.decode([token]) for token in tokenizer.encode("가나다")] == ["가", "나", ""]


def test_words_carry_their_space():
    tokenizer = train(["말은 모으고, 글은  나눈다\n"], kind="word", vocabulary=0)
    spelled = [tokenizer.decode([token]) for token in tokenizer.encode("글은 모으고,\n")]
    assert spelled[1:] == [" 모으고", ",", "\n"]
    assert tokenizer.encode("글은")[0] == tokenizer.unknown  # seen only behind a space


@pytest.mark.parametrize("kind", ["byte", "word"])
def test_a_vocabulary_larger_than_the_text_supports_says_how_many(kind):
    with pytest.raises(UserError, match=r"The text supports .*not 9,000.*Set vocabulary=\d+ or less") as caught:
        train(kind=kind, vocabulary=9000)
    possible = int(caught.value.way_out.split("=")[1].split()[0])
    assert train(kind=kind, vocabulary=possible).size == possible


@pytest.mark.parametrize(("kind", "vocabulary"), [("byte", 258), ("word", 2), ("character", 1)])
def test_a_vocabulary_too_small_says_what_it_needs(kind, vocabulary):
    with pytest.raises(UserError, match=r"too small. It needs \d+ ids or more"):
        train(kind=kind, vocabulary=vocabulary)


@pytest.mark.parametrize("kind", ["character", "word"])
def test_no_text_at_all(kind):
    with pytest.raises(UserError, match="no text to train"):
        train([""], kind=kind)


def test_a_negative_vocabulary_is_no_setting():
    with pytest.raises(UserError, match="vocabulary"):
        parse_settings(TokenizerSettings, {"vocabulary": -1}, "a test")


@pytest.mark.shared
def test_shakespeare_has_65_characters(mirror):
    text = (mirror / "tinyshakespeare/input.txt").read_text()
    tokenizer = train([text], kind="character", vocabulary=0)
    assert tokenizer.size == 65 + 2
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_encoders_vocabulary_frames_texts_as_bert_does(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = train(vocabulary=300, frame="bert")
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ids, segments = tokenizer.encode_wrapped("말은 모으고", "글은 나눕니다")
    assert theirs("말은 모으고", "글은 나눕니다")["input_ids"] == ids
    assert theirs("말은 모으고", "글은 나눕니다")["token_type_ids"] == segments
    assert theirs.mask_token_id == tokenizer.mask
    assert tokenizer.size == 300


def test_a_frame_is_for_bytes():
    with pytest.raises(ValueError, match="frame=bert is for kind=byte"):
        TokenizerSettings(kind="character", frame="bert")
