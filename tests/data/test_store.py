"""Documents become memory-mapped tokens, a file a source, whole or absent."""

import numpy as np
import pytest

from malmoi.corpus.document import Document
from malmoi.data.store import build_token_store, open_token_store, token_dtype

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


def test_sources_with_like_names_stay_apart(tokenizer, tmp_path):
    alike = [Document("The fox.", "my text"), Document("Who are you?", "my/text"), Document("A bear.", "my_text")]
    build_token_store(alike, 3, tokenizer, tmp_path / "store")
    store = open_token_store(tmp_path / "store")
    assert [tokenizer.decode(tokens) for tokens in store.values()] == ["The fox.", "Who are you?", "A bear."]


def test_nothing_in_nothing_out(tokenizer, tmp_path):
    build_token_store([], 0, tokenizer, tmp_path / "store")
    assert open_token_store(tmp_path / "store") == {}
