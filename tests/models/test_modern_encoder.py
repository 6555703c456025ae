"""The encoder with rotary positions and a gated feed-forward layer."""

import pytest
import torch

from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

SHAPE = {"vocabulary": 270, "context": 24, "width": 32, "layers": 2, "heads": 4}
MODERN = {"positions": "rotary", "activation": "swiglu"}
TOKENS = torch.randint(270, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder(shake):
    return shake(build_model(EncoderConfig(**SHAPE, **MODERN), seed=0)).eval()


@torch.no_grad()
def test_padding_changes_nothing(encoder):
    padded = torch.nn.functional.pad(TOKENS, (0, 5), value=7)
    torch.testing.assert_close(encoder(padded, torch.tensor([12, 12]))[:, :12], encoder(TOKENS), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_order_counts_without_a_table_of_positions(encoder):
    assert encoder.positions is None
    assert not torch.allclose(encoder(TOKENS)[:, 0], encoder(TOKENS.flip(1))[:, -1], atol=1e-3)


@torch.no_grad()
def test_documents_in_one_row_are_read_as_if_each_had_its_own(shake):
    encoder = shake(build_model(EncoderConfig(**SHAPE, **MODERN, attention=["documents"]), seed=0)).eval()
    documents = torch.tensor([[0] * 5 + [1] * 7] * 2)
    apart = torch.cat([encoder(TOKENS[:, :5]), encoder(TOKENS[:, 5:])], dim=1)
    torch.testing.assert_close(encoder(TOKENS, documents=documents), apart, rtol=1e-5, atol=1e-5)


def test_a_way_to_attend_that_cannot_leave_padding_out_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="hashed cannot do padding"):
        EncoderConfig(**SHAPE, attention=["hashed(4, buckets=4)"])


@torch.no_grad()
def test_it_is_saved_whole(encoder, tmp_path):
    tokenizer = train_tokenizer(["말모이는 낱말을 모은 사전이다."] * 2, TokenizerSettings(vocabulary=270, frame="bert"))
    save_checkpoint(tmp_path, encoder, tokenizer, "")
    again = load_checkpoint(tmp_path)
    assert again.model.config == encoder.config
    assert "only malmoi opens it" in again.card
    torch.testing.assert_close(again.model.logits(TOKENS), encoder.logits(TOKENS))


def test_a_gated_layer_is_two_thirds_as_wide():
    assert EncoderConfig(**SHAPE, **MODERN).feed_forward == 128
    assert EncoderConfig(**SHAPE | {"width": 192}, **MODERN).feed_forward == 512


def test_an_odd_head_cannot_turn():
    with pytest.raises(ValueError, match="even head width, not 9"):
        EncoderConfig(**SHAPE | {"width": 36}, positions="rotary")
