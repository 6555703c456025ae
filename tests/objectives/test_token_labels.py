"""Every word has a label: read from files of two columns or made of spaced text, and learned without the padding."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.data.rows import Rows
from malmoi.data.token_labels import (
    LabelledWords,
    TokenLabelledBatch,
    collate_labelled_tokens,
    encode_labelled_words,
    label_names,
    read_labelled_words,
    spacing,
)
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.models.token_labeller import TokenLabeller
from malmoi.objectives.token_labels import TokenLabels
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

TEXTS = ["여우가 숲에 살았다.", "곰이 여우에게 물었다.", "The fox asked the bear.", "말모이는 낱말을 모은 사전이다."]
SHAPE = {"context": 32, "width": 32, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 2, TokenizerSettings(kind="byte", vocabulary=300, frame="bert"))


def test_the_loss_is_a_sum_over_known_labels():
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, IGNORED, 3], [0, IGNORED, IGNORED]])
    batch = TokenLabelledBatch(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 1]), labels)
    loss = TokenLabels().loss(lambda tokens, lengths: scores, batch)
    chosen = scores.log_softmax(-1)
    torch.testing.assert_close(loss.total, -(chosen[0, 0, 1] + chosen[0, 2, 3] + chosen[1, 0, 0]))
    assert int(loss.count) == 3


@torch.no_grad()
def test_states_that_are_known_have_the_same_loss(tokenizer, shake):
    labeller = shake(TokenLabeller(build_model(EncoderConfig(vocabulary=tokenizer.size, **SHAPE), seed=0), ["a", "b"]))
    encoded = encode_labelled_words(tokenizer, [LabelledWords(("여우가", "숲에"), ("a", "b"))], ["a", "b"], 32)
    batch = collate_labelled_tokens(encoded)
    states = labeller.body(batch.tokens, batch.lengths)
    one, other = TokenLabels().of_states(labeller, states, batch), TokenLabels().loss(labeller, batch)
    torch.testing.assert_close(one.total, other.total)


@torch.no_grad()
def test_padding_changes_nothing(tokenizer, shake):
    labeller = shake(TokenLabeller(build_model(EncoderConfig(vocabulary=tokenizer.size, **SHAPE), seed=0), ["a", "b"]))
    texts = [
        LabelledWords(("여우가", "숲에"), ("a", "b")),
        LabelledWords(("곰이", "여우에게", "물었다."), ("a", "b", "a")),
    ]
    encoded = encode_labelled_words(tokenizer, texts, ["a", "b"], 32)
    together = TokenLabels().loss(labeller, collate_labelled_tokens(encoded))
    alone = [TokenLabels().loss(labeller, collate_labelled_tokens([one])) for one in encoded]
    torch.testing.assert_close(together.total, sum(one.total for one in alone))
    assert int(together.count) == 5


def test_files_of_two_columns_are_read(tmp_path):
    path = tmp_path / "이름.conll"
    path.write_text("주시경이 B-PER\n엮었다 O\n\nThe DT O\nfox NN B-ANIMAL\n", encoding="utf-8")
    first, second = read_labelled_words(path)
    assert first == LabelledWords(("주시경이", "엮었다"), ("B-PER", "O"))
    assert second.labels == ("O", "B-ANIMAL")
    assert label_names([first, second]) == ["B-ANIMAL", "B-PER", "O"]


def test_a_word_without_a_width_gives_its_label_to_no_other(tmp_path):
    path = tmp_path / "이름.conll"
    path.write_text("여우가 O\n\u200b X\n곰에게 N\n", encoding="utf-8")
    (text,) = read_labelled_words(path)
    assert text == LabelledWords(("여우가", "곰에게"), ("O", "N"))


@pytest.mark.parametrize(("text", "message"), [("여우\n", "line 1: a word without"), ("\n\n", "no labelled words")])
def test_what_is_no_labelled_word_is_refused(tmp_path, text, message):
    (tmp_path / "이름.conll").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_labelled_words(tmp_path / "이름.conll")


def test_a_word_has_its_label_at_its_first_token(tokenizer):
    text = LabelledWords(("여우가", "숲에"), ("a", "b"))
    (encoded,) = encode_labelled_words(tokenizer, [text], ["a", "b"], 32)
    known = encoded.labels != IGNORED
    assert encoded.labels[known].tolist() == [0, 1]
    _, places = tokenizer.encode_with_places("여우가 숲에")
    starts = [places[place - 1][0] for place in known.nonzero().flatten().tolist()]
    assert starts[0] == 0
    assert starts[1] in (3, 4)


def test_every_text_tells_where_its_blanks_belong():
    made = spacing("여우가  숲에")
    assert "".join(made.words) == "여우가숲에"
    assert made.labels == ("goes on", "goes on", "ends", "goes on", "ends")


def test_it_learns_where_blanks_belong(tokenizer, tmp_path):
    characters = train_tokenizer(TEXTS, TokenizerSettings(kind="character", vocabulary=0))
    texts = [spacing(text) for text in TEXTS]
    classes = label_names(texts)
    encoded = encode_labelled_words(characters, texts, classes, 32)
    labeller = TokenLabeller(build_model(EncoderConfig(vocabulary=characters.size, **SHAPE), seed=0), classes)
    rows = Rows(encoded, encoded, lambda text: len(text.tokens), collate_labelled_tokens, 4)
    trainer = Trainer(labeller, TokenLabels(), rows, TrainerSettings(steps=60, optimizer="adamw"), tmp_path)
    trainer.run()
    assert trainer.validate()["validation_correct"] > 0.95


def test_a_language_model_is_refused():
    with pytest.raises(UserError, match="looks both ways"):
        TokenLabeller(build_model(GPTConfig(vocabulary=300, **SHAPE), seed=0), ["a"])
