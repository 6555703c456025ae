"""Encoders: transformers' models read by us, and ours read by it, give the same states, logits and classes."""

import json

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, load_model, save_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.models.encoder import NoHead
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

BERT = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
CONFIGS = {
    "bert": transformers.BertConfig(**BERT, layer_norm_eps=1e-3, hidden_act="gelu_new"),
    "roberta": transformers.RobertaConfig(**BERT | {"max_position_embeddings": 26}, pad_token_id=1, type_vocab_size=1),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=97, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=24, activation="relu"
    ),
}
OURS = {
    "bert": {"segments": 2},
    "bert without a pooler": {"pooler": "none", "activation": "relu"},
    "roberta": {"segments": 1, "first_position": 2, "norm_epsilon": 1e-5},
    "distilbert": {"segments": 0, "pooler": "none"},
}
TOKENS = torch.randint(3, 97, (3, 24), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([24, 2, 11])
REAL = torch.arange(24) < LENGTHS[:, None]
PADDED = TOKENS.masked_fill(~REAL, 1)  # what RoBERTa takes for padding
families = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["말모이는 낱말을 모은 사전이다."] * 2, TokenizerSettings(kind="byte", vocabulary=270))


@families
@torch.no_grad()
def test_their_masked_words_read_by_us(config, tmp_path, shake):
    theirs = shake(transformers.AutoModelForMaskedLM.from_config(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    wanted = theirs(PADDED, attention_mask=REAL.long(), output_hidden_states=True)
    close(ours(PADDED, LENGTHS)[REAL], wanted.hidden_states[-1][REAL])
    close(ours.logits(PADDED, LENGTHS)[REAL], wanted.logits[REAL])
    close(ours.logits(TOKENS), theirs(TOKENS).logits)


@families
@torch.no_grad()
def test_their_bare_encoders_read_by_us_and_back(config, tokenizer, tmp_path, shake):
    theirs = shake(transformers.AutoModel.from_config(config))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours.head, NoHead)
    close(ours(PADDED, LENGTHS)[REAL], theirs(PADDED, attention_mask=REAL.long())[0][REAL])
    save_checkpoint(tmp_path / "ours", ours, tokenizer, "")
    again = transformers.AutoModel.from_pretrained(tmp_path / "ours")
    close(again(TOKENS)[0], theirs(TOKENS)[0])


@families
@torch.no_grad()
def test_their_classifiers_read_by_us_and_back(config, tokenizer, tmp_path, shake):
    names = {0: "부정", 1: "긍정", 2: "neutral"}
    theirs = transformers.AutoModelForSequenceClassification.from_config(config)
    theirs.config.id2label, theirs.config.num_labels = names, 3
    theirs = shake(type(theirs)(theirs.config))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert ours.classes == list(names.values())
    close(ours(PADDED, LENGTHS), theirs(PADDED, attention_mask=REAL.long()).logits)
    save_checkpoint(tmp_path / "ours", ours, tokenizer, "")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    close(again(TOKENS).logits, theirs(TOKENS).logits)


@torch.no_grad()
def test_segments_tell_two_texts_apart(tmp_path, shake):
    theirs = shake(transformers.BertModel(CONFIGS["bert"]))
    theirs.save_pretrained(tmp_path)
    segments = (torch.arange(24) > 9).long().expand(3, -1)
    close(load_model(tmp_path)(TOKENS, segments=segments), theirs(TOKENS, token_type_ids=segments)[0])


@torch.no_grad()
def test_the_published_form_of_bert_has_a_head_more(tmp_path, shake):
    theirs = shake(transformers.BertForPreTraining(CONFIGS["bert"]))
    theirs.save_pretrained(tmp_path)
    close(load_model(tmp_path).logits(TOKENS), theirs(TOKENS).prediction_logits)


@pytest.mark.parametrize("changes", OURS.values(), ids=OURS.keys())
@torch.no_grad()
def test_our_encoders_read_by_them(changes, tokenizer, tmp_path, shake):
    shape = {"vocabulary": tokenizer.size, "context": 24, "width": 32, "layers": 2, "heads": 4} | changes
    ours = shake(build_model(EncoderConfig(**shape), seed=0))
    save_checkpoint(tmp_path, ours, tokenizer, "# 시험")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    close(theirs(TOKENS).logits, ours.logits(TOKENS))
    again = load_checkpoint(tmp_path).model
    assert again.config == ours.config
    close(again.logits(TOKENS), ours.logits(TOKENS))


@torch.no_grad()
def test_nothing_is_dropped_where_their_class_has_no_place_for_it(tokenizer, tmp_path, shake):
    shape = {"vocabulary": tokenizer.size, "context": 24, "width": 32, "layers": 2, "heads": 4}
    ours = shake(build_model(EncoderConfig(**shape, segments=0, pooler="relu"), seed=0))
    save_checkpoint(tmp_path, ours, tokenizer, "")
    again = load_checkpoint(tmp_path)
    assert "only malmoi opens it" in again.card
    close(again.model.pooled(TOKENS, LENGTHS), ours.pooled(TOKENS, LENGTHS))


@torch.no_grad()
def test_an_encoder_that_nobody_else_has_stays_ours(tokenizer, tmp_path, shake):
    shape = {"vocabulary": tokenizer.size, "context": 24, "width": 32, "layers": 2, "heads": 4, "pooler": "none"}
    ours = shake(Classifier(build_model(EncoderConfig(**shape), seed=0), ["a", "b"]))
    save_checkpoint(tmp_path, ours, tokenizer, "")
    again = load_checkpoint(tmp_path)
    assert "only malmoi opens it" in again.card
    close(again.model(TOKENS, LENGTHS), ours(TOKENS, LENGTHS))


def test_an_encoder_writes_no_text(tokenizer, tmp_path):
    shape = {"vocabulary": tokenizer.size, "context": 24, "width": 32, "layers": 2, "heads": 4}
    save_checkpoint(tmp_path, build_model(EncoderConfig(**shape), seed=0), tokenizer, "")
    with pytest.raises(UserError, match="is an encoder and writes no text"):
        _ = load_checkpoint(tmp_path).language_model


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"position_embedding_type": "relative_key"}, "relative positions"),
        ({"is_decoder": True}, "a decoder"),
        ({"hidden_act": "silu"}, "activation"),
        ({"num_attention_heads": 5}, "do not divide"),
        ({"max_position_embeddings": None}, "wrong type"),
        ({"max_position_embeddings": 48}, "positions.*of another shape|another shape"),
    ],
    ids=str,
)
def test_what_we_do_not_have_is_refused(change, sentence, tmp_path):
    transformers.BertModel(CONFIGS["bert"]).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=sentence):
        load_model(tmp_path)
