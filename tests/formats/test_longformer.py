"""Longformer: their models read by us and back give the same states, words and classes, at any length."""

import pytest
import torch
import transformers

from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_model, save_checkpoint
from malmoi.formats.onnx_export import export_onnx
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model

CONFIG = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "attention_window": [8, 16],
    "type_vocab_size": 1,
}
TOKENS = torch.randint(3, 97, (3, 61), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([61, 2, 30])
REAL = torch.arange(61) < LENGTHS[:, None]
PADDED = TOKENS.masked_fill(~REAL, 1)
FIRST = (torch.arange(61) == 0).long().expand(3, -1)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_their_masked_words_read_by_us_and_back(tokenizer, shake, tmp_path):
    theirs = shake(transformers.LongformerForMaskedLM(transformers.LongformerConfig(**CONFIG)))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert [str(layer) for layer in ours.config.attention] == ["window(5)", "window(9)"]
    close(ours.logits(PADDED, LENGTHS)[REAL], theirs(PADDED, attention_mask=REAL.long()).logits[REAL])
    save_checkpoint(tmp_path / "ours", ours, tokenizer, "")
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    close(again(TOKENS).logits, theirs(TOKENS).logits)


@torch.no_grad()
def test_their_bare_encoder_with_its_first_token_global(tokenizer, shake, tmp_path):
    theirs = shake(transformers.LongformerModel(transformers.LongformerConfig(**CONFIG)))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    wanted = theirs(PADDED, attention_mask=REAL.long(), global_attention_mask=FIRST)
    hidden = ours(PADDED, LENGTHS)
    close(hidden[REAL], wanted.last_hidden_state[REAL])
    close(ours.pooled(hidden, LENGTHS), wanted.pooler_output)
    save_checkpoint(tmp_path / "ours", ours, tokenizer, "")
    again = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()
    close(again(TOKENS, global_attention_mask=FIRST)[0], theirs(TOKENS, global_attention_mask=FIRST)[0])


@torch.no_grad()
def test_their_classifier_read_by_us_and_back(tokenizer, shake, tmp_path):
    config = transformers.LongformerConfig(**CONFIG, id2label={0: "부정", 1: "긍정", 2: "neutral"})
    theirs = shake(transformers.LongformerForSequenceClassification(config))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert ours.classes == ["부정", "긍정", "neutral"]
    close(ours(PADDED, LENGTHS), theirs(PADDED, attention_mask=REAL.long()).logits)
    save_checkpoint(tmp_path / "ours", ours, tokenizer, "")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    close(again(TOKENS).logits, theirs(TOKENS).logits)


@pytest.mark.parametrize(
    "changes",
    [{"attention": "window(5)"}, {"attention": "window(5) | global(3)", "masked_head": False},
     {"attention": "window(5, dilation=2)"}, {"global_projections": False}],
    ids=str,
)  # fmt: skip
def test_what_a_longformer_cannot_say_is_written_in_our_own_words(changes, tokenizer, shake, tmp_path):
    shape = {"vocabulary": tokenizer.size, "context": 24, "width": 32, "layers": 2, "heads": 4, "segments": 1,
             "first_position": 2, "attention": "window(5)", "global_projections": True} | changes  # fmt: skip
    model = shake(build_model(EncoderConfig(**shape), seed=0))
    save_checkpoint(tmp_path, model, tokenizer, "")
    kind = transformers.PretrainedConfig.get_config_dict(tmp_path)[0]["model_type"]
    assert kind == ("longformer" if changes == {"attention": "window(5)"} else "malmoi")
    tokens = torch.randint(tokenizer.size, (2, 20))
    assert torch.equal(load_model(tmp_path)(tokens), model(tokens))


def test_a_longformer_does_not_go_to_onnx(tokenizer, tmp_path):
    shape = {"vocabulary": 97, "context": 24, "width": 32, "layers": 1, "heads": 4, "global_projections": True}
    with pytest.raises(UserError, match="A Longformer does not go to ONNX"):
        export_onnx(build_model(EncoderConfig(**shape), seed=0), tokenizer, tmp_path / "out")
