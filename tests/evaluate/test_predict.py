"""A published classifier names the classes here that it names in transformers."""

import pytest
import torch
import transformers

from malmoi.evaluate.predict import encode_texts, predict
from malmoi.formats.checkpoint import load_checkpoint

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "warm", "film", "cold", "낱말", "##을", "모은", "사전"]
TEXTS = ["a warm film", "낱말을 모은 사전", "cold", "a cold cold cold film a warm warm warm film"]


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
    rows = encode_texts(checkpoint.tokenizer, TEXTS, checkpoint.classifier)
    assert [row.tolist() for row in rows] == [ids[ids != 0].tolist() for ids in batch["input_ids"]]
    torch.testing.assert_close(predict(checkpoint.classifier, rows), theirs(**batch).logits.softmax(-1))
