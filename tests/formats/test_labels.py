"""Models that label words: transformers' read by us, and ours read by it, give the same scores."""

import json

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, load_model, save_checkpoint
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.models.token_labeller import TokenLabeller, WordForm
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 3}
CONFIGS = {
    "bert": transformers.BertConfig(**SIZES, intermediate_size=48, max_position_embeddings=24),
    "roberta": transformers.RobertaConfig(
        **SIZES, intermediate_size=48, max_position_embeddings=26, pad_token_id=1, type_vocab_size=1
    ),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=97, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=24, num_labels=3
    ),
}
SHAPE = {"vocabulary": 300, "context": 24, "width": 32, "layers": 2, "heads": 4}
CLASSES = ["이름", "곳", "O"]
TOKENS = torch.randint(3, 97, (3, 24), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([24, 5, 11])
REAL = torch.arange(24) < LENGTHS[:, None]
PADDED = TOKENS.masked_fill(~REAL, 1)


@pytest.fixture(scope="module")
def tokenizer():
    settings = TokenizerSettings(vocabulary=300, frame="bert")
    return train_tokenizer(["말모이는 낱말을 모은 사전이다. The fox asked the bear."] * 4, settings)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.no_grad()
def test_theirs_read_by_us(config, tmp_path, shake):
    theirs = shake(transformers.AutoModelForTokenClassification.from_config(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert isinstance(ours, TokenLabeller)
    wanted = theirs(PADDED, attention_mask=REAL.long()).logits
    torch.testing.assert_close(ours(TOKENS, LENGTHS)[REAL], wanted[REAL], rtol=1e-5, atol=1e-5)


def test_one_whose_family_has_none_is_refused(tmp_path):
    config = transformers.LongformerConfig(
        **SIZES, intermediate_size=48, max_position_embeddings=26, pad_token_id=1, attention_window=4
    )
    transformers.LongformerForTokenClassification(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="labels words, and malmoi has none of the family longformer"):
        load_model(tmp_path)


@torch.no_grad()
def test_ours_read_by_them(tokenizer, tmp_path, shake):
    ours = shake(TokenLabeller(build_model(EncoderConfig(**SHAPE), seed=0), CLASSES, form=WordForm(20)))
    save_checkpoint(tmp_path, ours, tokenizer, "")
    theirs = transformers.BertForTokenClassification.from_pretrained(tmp_path)
    assert list(theirs.config.id2label.values()) == CLASSES
    found = theirs(PADDED, attention_mask=REAL.long()).logits
    torch.testing.assert_close(ours(TOKENS, LENGTHS)[REAL], found[REAL], rtol=1e-5, atol=1e-5)
    assert load_checkpoint(tmp_path).headed(TokenLabeller).form == ours.form


@pytest.mark.parametrize("form", ["x", {"longest": "24"}, {"longest": 99}, {"joined": 1}])
def test_a_damaged_form_is_refused(form, tokenizer, tmp_path):
    save_checkpoint(tmp_path, TokenLabeller(build_model(EncoderConfig(**SHAPE), seed=0), CLASSES), tokenizer, "")
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"word_form": form}))
    with pytest.raises(UserError, match="word_form"):
        load_model(tmp_path)
