"""What norms give to layers is brought nearer to one size before it is rounded, and the model computes what it did."""

import copy

import pytest
import torch

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.int8 import QUANTIZED, Int8
from malmoi.compress.methods.prune import Prune
from malmoi.compress.smoothing import smooth
from malmoi.compress.step import chosen
from malmoi.core.errors import UserError
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from tests.compress.conftest import random_model

TOKENS = torch.randint(290, (2, 12), generator=torch.Generator().manual_seed(3))
SHAPES = {
    "Qwen3": {},
    "Llama": {"query_key_norm": False, "tied": True},
    "GPT-2": {"norm": "layer", "positions": "learned", "activation": "gelu", "bias": True, "key_value_heads": 4},
    "shared keys": {"attention": "hashed(4, buckets=4)", "key_value_heads": 4},
    "reversible": {"reversible": True},
}


def smoothed(model, calibration):
    made = copy.deepcopy(model)
    smooth(made, chosen(made, [], QUANTIZED), calibration)
    return made


@torch.no_grad()
def with_outliers(model):
    """Computes the same, but one channel behind every norm is a hundred times as large."""
    for block in model.blocks:
        attention, feed = block.attention, block.feed_forward
        for norm, readers in (
            (block.attention_norm, (attention.query, attention.key, attention.value)),
            (block.feed_forward_norm, (feed.gate, feed.up)),
        ):
            norm.weight[5] *= 100
            for layer in readers:
                layer.weight[:, 5] /= 100
    return model


@torch.no_grad()
def lost(model, exact):
    return float((model.logits(TOKENS) - exact.logits(TOKENS)).norm() / exact.logits(TOKENS).norm())


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_the_model_computes_what_it_did(shape, calibration):
    model = random_model(**SHAPES[shape])
    made = smoothed(model, calibration)
    torch.testing.assert_close(made.logits(TOKENS), model.logits(TOKENS), rtol=1e-3, atol=1e-3)
    for norm in ("attention_norm", "feed_forward_norm"):
        assert not torch.equal(made.blocks[0].get_submodule(norm).weight, model.blocks[0].get_submodule(norm).weight)


def test_a_convolution_behind_the_norm_leaves_it_alone(calibration):
    model = random_model(short_convolution=3)
    Int8(activations=True).apply(model, calibration)
    assert torch.equal(model.blocks[0].attention_norm.weight, random_model().blocks[0].attention_norm.weight)


def test_an_encoder_whose_norms_give_to_the_residual_stream_is_rounded_as_it_is(calibration):
    shape = {"vocabulary": 290, "context": 24, "width": 32, "layers": 2, "heads": 4, "feed_forward": 64}
    model = build_model(EncoderConfig(**shape), seed=0).eval()
    before = copy.deepcopy(model)
    Int8(activations=True).apply(model, calibration)
    assert torch.equal(model.blocks[0].attention_norm.weight, before.blocks[0].attention_norm.weight)


def test_inputs_and_weights_share_what_is_large(model, calibration):
    made = smoothed(with_outliers(model), calibration)
    layer = made.blocks[1].feed_forward
    (statistic,) = calibration.statistics(made, ["blocks.1.feed_forward.gate"]).values()
    largest = torch.cat([layer.gate.weight, layer.up.weight]).abs().amax(0)
    ratio = statistic.norms / largest
    torch.testing.assert_close(ratio / ratio.mean(), torch.ones(len(ratio)), rtol=1e-3, atol=1e-3)


def test_large_inputs_spoil_the_others_less(model, calibration):
    exact = with_outliers(model)
    plain, made = copy.deepcopy(exact), copy.deepcopy(exact)
    Int8(activations=True, smoothed=False).apply(plain, Calibration())
    Int8(activations=True).apply(made, calibration)
    assert lost(made, exact) < 0.3 * lost(plain, exact)


def test_layers_that_are_not_named_stay_as_they_are(model, calibration):
    before = copy.deepcopy(model)
    Int8(activations=True, layers=["blocks.0.attention.query", "blocks.1.*"]).apply(model, calibration)
    for name in ("attention_norm.weight", "attention.key.weight", "feed_forward.up.weight"):
        assert torch.equal(model.blocks[0].get_parameter(name), before.blocks[0].get_parameter(name))


def test_zeros_stay(model, calibration):
    Prune(importance="magnitude").apply(model, Calibration())
    zeros = model.blocks[0].feed_forward.up.weight == 0
    Int8(activations=True).apply(model, calibration)
    assert float(model.blocks[0].feed_forward.up.weight[zeros].abs().max()) == 0


def test_without_text_it_is_refused(model):
    with pytest.raises(UserError, match="Name a corpus"):
        Int8(activations=True).apply(model, Calibration())
