"""A published classifier names the classes here that it names in transformers."""

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.data.labelled import LabelledText
from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.classifier import Classifier, TextForm
from malmoi.tokenizers.framing import shorten

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "warm", "film", "cold", "낱말", "##을", "모은", "사전"]
TEXTS = ["a warm film", "낱말을 모은 사전", "cold", "a cold cold cold film a warm warm warm film", ""]


@pytest.fixture
def published(tmp_path):
    """A random BERT with two classes, as transformers saves it."""
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=10, **sizes)
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path)
    return tmp_path


@torch.no_grad()
def test_the_special_tokens_of_the_family_stand_around_a_text(published):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(published).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(published)
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=10, return_tensors="pt")
    checkpoint = load_checkpoint(published)
    rows = encode_texts(checkpoint.tokenizer, [LabelledText(text, "") for text in TEXTS], checkpoint.headed(Classifier))
    assert [row.tokens.tolist() for row in rows] == [ids[ids != 0].tolist() for ids in batch["input_ids"]]
    torch.testing.assert_close(predict(checkpoint.headed(Classifier), rows), theirs(**batch).logits.softmax(-1))


@torch.no_grad()
def test_a_pair_stands_in_the_form_of_the_family_and_the_longer_text_is_cut(published):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(published).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(published)
    texts, others = TEXTS[:4], ["cold", "a warm film", TEXTS[3], TEXTS[3]]
    batch = tokenizer(texts, others, padding=True, truncation=True, max_length=10, return_tensors="pt")
    checkpoint = load_checkpoint(published)
    checkpoint.headed(Classifier).form = TextForm(pair=True)
    asked = [LabelledText(text, "", other) for text, other in zip(texts, others, strict=True)]
    rows = encode_texts(checkpoint.tokenizer, asked, checkpoint.headed(Classifier))
    assert [row.tokens.tolist() for row in rows] == [ids[ids != 0].tolist() for ids in batch["input_ids"]]
    torch.testing.assert_close(predict(checkpoint.headed(Classifier), rows), theirs(**batch).logits.softmax(-1))


@pytest.mark.parametrize("room", range(2, 12))
def test_two_texts_are_cut_to_what_there_is_room_for(room):
    for first in range(8):
        for second in range(8):
            one, other = map(len, shorten([[0] * first, [0] * second], room))
            assert one + other == min(first + second, room)
            assert one == first or one >= other - 1
            assert other == second or other >= one - 1


def test_texts_that_nobody_taught_to_stand_together_are_refused(make_model, tokenizer):
    classifier = Classifier(make_model(), ["a", "b"], form=TextForm(pair=True))
    with pytest.raises(UserError, match="does not tell how two texts stand together"):
        encode_texts(tokenizer, [LabelledText("여우", "", "곰")], classifier)
