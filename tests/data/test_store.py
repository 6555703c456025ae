"""Documents become memory-mapped tokens, a file a source, whole or absent."""

from pathlib import Path

import numpy as np
import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.data.store import build_token_store, join_token_stores, open_token_store, token_dtype
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXTS = {"tales": ["The fox said to the bear: who are you?", "Once upon a time."], "옛이야기": ["여우가 살았습니다."]}


def documents():
    return [Document(text, source) for source, texts in TEXTS.items() for text in texts]


def test_every_document_is_there_and_ends_with_the_end_token(tokenizer, tmp_path):
    build_token_store(documents(), 3, tokenizer, tmp_path / "store")
    store = open_token_store(tmp_path / "store")
    assert list(store) == list(TEXTS)
    for source, texts in TEXTS.items():
        expected = [token for text in texts for token in [*tokenizer.encode(text), tokenizer.end]]
        assert store[source].tolist() == expected


def test_ids_take_two_bytes_where_they_fit():
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32


def test_a_store_that_stands_is_not_built_again(tokenizer, tmp_path):
    build_token_store(documents(), 3, tokenizer, tmp_path / "store")
    build_token_store(iter(()), 0, tokenizer, tmp_path / "store")
    assert len(open_token_store(tmp_path / "store")["tales"]) > 0


def test_a_reader_that_fails_leaves_nothing_behind(tokenizer, tmp_path):
    def failing():
        yield documents()[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        build_token_store(failing(), 3, tokenizer, tmp_path / "store")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_is_a_sentence(tokenizer, tmp_path):
    def reader():
        (temporary,) = tmp_path.iterdir()
        (temporary / "0.bin").symlink_to("/dev/full")
        yield Document("여우가 살았습니다. " * 2000, "tales")

    with pytest.raises(UserError, match=r"The disk is full: .*store could not be written"):
        build_token_store(reader(), 1, tokenizer, tmp_path / "store")


def test_sources_with_like_names_stay_apart(tokenizer, tmp_path):
    alike = [Document("The fox.", "my text"), Document("Who are you?", "my/text"), Document("A bear.", "my_text")]
    build_token_store(alike, 3, tokenizer, tmp_path / "store")
    store = open_token_store(tmp_path / "store")
    assert [tokenizer.decode(tokens) for tokens in store.values()] == ["The fox.", "Who are you?", "A bear."]


def test_nothing_in_nothing_out(tokenizer, tmp_path):
    build_token_store([], 0, tokenizer, tmp_path / "store")
    assert open_token_store(tmp_path / "store") == {}


@pytest.fixture
def store(tokenizer, tmp_path):
    build_token_store(documents(), 3, tokenizer, tmp_path / "store")
    return tmp_path / "store"


def test_a_source_of_several_stores_is_one(tokenizer, store, tmp_path):
    more = [Document("A bear slept in the wood.", "tales"), Document("낱말을 모은다.", "사전")]
    build_token_store(more, 2, tokenizer, tmp_path / "more")
    opened = [open_token_store(store), open_token_store(tmp_path / "more", tokenizer)]
    joined = join_token_stores([*opened, opened[0]])
    assert list(joined) == ["tales", "옛이야기", "사전"]
    whole = np.concatenate([one["tales"] for one in (*opened, opened[0])])
    assert len(joined["tales"]) == len(whole)
    for start in range(-5, len(whole), 7):
        for stop in (start + 1, start + 9, start + len(opened[0]["tales"]) + 3, None):
            assert joined["tales"][start:stop].tolist() == whole[start:stop].tolist()
    assert np.asarray(joined["tales"]).tolist() == whole.tolist()
    assert joined["사전"][-1:].tolist() == [tokenizer.end]


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda store: (store / "1.bin").write_bytes((store / "1.bin").read_bytes()[:-3]), "1.bin with the tokens"),
    (lambda store: (store / "0.bin").unlink(), "0.bin with the tokens of 'tales' has 0 bytes where"),
    (lambda store: (store / "index.json").write_text('{"dtype": "object", "tokens": {}}'), "is not the index of a token"),
    (lambda store: (store / "index.json").write_text("[]"), "is not the index of a token store"),
    (lambda store: (store / "index.json").unlink(), "There is no file"),
])  # fmt: skip
def test_a_damaged_store_is_named(store, spoil, message):
    spoil(store)
    with pytest.raises(UserError, match=message):
        open_token_store(store)


def test_the_tokens_of_another_tokenizer_are_refused(store):
    other = train_tokenizer(iter(["another text altogether"]), TokenizerSettings(kind="byte", vocabulary=262))
    with pytest.raises(UserError, match="made by another tokenizer"):
        open_token_store(store, other)
