"""Words are hidden as wholes, as often as asked for, and the same ones for the same key."""

import numpy as np
import pytest

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.data.masking import Masker, Words
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXTS = [
    "여우가 곰에게 물었습니다. 너는 누구냐? 말모이는 낱말을 모은다는 뜻입니다.\n" * 3,
    "The fox said to the bear: who are you? Words are gathered.\n" * 3,
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, TokenizerSettings(vocabulary=300, frame="bert"))


def rows(tokenizer, text: str, count: int = 1) -> np.ndarray:
    return np.array([tokenizer.encode_wrapped(text)[0]] * count)


def words(tokenizer, ids, begins) -> list[str]:
    starts = np.flatnonzero(begins)
    return [tokenizer.decode(part.tolist()) for part in np.split(ids, starts[1:])]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("여우가 곰에게 물었습니다.", ["", "여우가", " 곰에게", " 물었습니다", ".", ""]),
        ('"말모이"는 값이 3개...', ["", '"', "말모이", '"', "는", " 값이", " 3개", "...", ""]),
        ("The foxes, who?", ["", "The", " foxes", ",", " who", "?", ""]),
        ("뷁쉙 a", ["", "뷁쉙", " a", ""]),  # syllables that the vocabulary spells in bytes
    ],
)
def test_a_word_reaches_from_a_space_or_a_sign_to_the_next(tokenizer, text, wanted):
    ids = rows(tokenizer, text)
    assert words(tokenizer, ids[0], Words(tokenizer).begin(ids)[0]) == wanted


def test_words_of_wordpiece_are_told_by_their_spelling(tmp_path):
    from malmoi.tokenizers.load import load_tokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "##es", "여우", "##가", "!"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"strip_accents": false}')
    tokenizer = load_tokenizer(tmp_path)
    ids = rows(tokenizer, "the foxes! 여우가")
    assert [vocabulary[id] for id in ids[0]][2:4] == ["fox", "##es"]
    assert Words(tokenizer).begin(ids)[0].tolist() == [True, True, True, False, True, True, False, True]


def test_a_word_is_hidden_with_all_its_tokens(tokenizer):
    ids = rows(tokenizer, TEXTS[0], 20)
    begins = Words(tokenizer).begin(ids)
    targets = Masker(tokenizer).hide(ids, "0/1/2").targets
    number = begins.ravel().cumsum()
    for word in np.unique(number):
        chosen = targets.ravel()[number == word] != IGNORED
        assert chosen.all() or not chosen.any()


def test_the_shares_are_those_of_bert(tokenizer):
    ids = rows(tokenizer, "".join(TEXTS), 400)
    seen, targets = Masker(tokenizer).hide(ids, "")
    chosen = targets != IGNORED
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    assert (seen[chosen] == tokenizer.mask).mean() == pytest.approx(0.8, abs=0.02)
    assert (seen[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.02)
    assert (seen[~chosen] == ids[~chosen]).all()
    assert (targets[chosen] == ids[chosen]).all()


def test_special_tokens_are_neither_hidden_nor_put_in(tokenizer):
    ids = rows(tokenizer, TEXTS[1], 50)
    special = np.isin(ids, list(tokenizer.special.values()))
    seen, targets = Masker(tokenizer, share=0.99).hide(ids, "")
    assert (seen[special] == ids[special]).all()
    assert (targets[special] == IGNORED).all()
    assert not np.isin(seen[~special], [id for id in tokenizer.special.values() if id != tokenizer.mask]).any()


def test_what_is_hidden_is_a_function_of_the_key(tokenizer):
    ids, masker = rows(tokenizer, TEXTS[0], 4), Masker(tokenizer)
    one, same, other = (masker.hide(ids, key) for key in ("7/0/0", "7/0/0", "7/1/0"))
    assert (one.tokens == same.tokens).all()
    assert (one.targets != other.targets).any()


def test_a_vocabulary_without_a_mask_is_refused():
    plain = train_tokenizer(TEXTS, TokenizerSettings(vocabulary=300))
    with pytest.raises(UserError, match="no token that hides a word. Train one with frame=bert"):
        Masker(plain)
