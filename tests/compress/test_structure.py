"""Parts of a model are taken away: what is left is a plain, smaller one of the same family."""

import pytest
import torch

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.methods.structure import Structure
from malmoi.compress.smaller import spread
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from tests.compress.conftest import random_model

TOKENS = torch.randint(290, (2, 12), generator=torch.Generator().manual_seed(3))


def as_if_missing(model, heads=(), inner=()):
    """The logits with the outputs of these query heads and inner places of every block set to zero."""
    with torch.no_grad():
        for block in model.blocks:
            size = block.attention.head_width
            for head in heads:
                block.attention.output.weight[:, head * size : (head + 1) * size] = 0
            block.feed_forward.down.weight[:, list(inner)] = 0
        return model.logits(TOKENS)


def test_what_does_nothing_goes_and_nothing_changes(model):
    before = as_if_missing(model, heads=(2, 3), inner=range(40, 72))
    Structure(heads=0.5, feed_forward=1 / 3, importance="magnitude").apply(model, Calibration())
    assert (model.config.heads, model.config.key_value_heads, model.config.feed_forward) == (2, 1, 64)
    torch.testing.assert_close(model.logits(TOKENS), before)


def test_what_is_left_makes_up_for_what_goes(model, calibration):
    """Two inner places that are always equal are as good as one."""
    with torch.no_grad():
        for block in model.blocks:
            for layer in (block.feed_forward.gate, block.feed_forward.up):
                layer.weight[32:64] = layer.weight[:32]
        before = model.logits(TOKENS)
        Structure(feed_forward=1 / 3).apply(model, calibration)
        assert model.config.feed_forward == 64
        torch.testing.assert_close(model.logits(TOKENS), before, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("importance", ["inputs", "magnitude"])
def test_the_layer_that_does_least_goes(model, calibration, importance):
    with torch.no_grad():
        for end in (model.blocks[0].attention.output, model.blocks[0].feed_forward.down):
            end.weight.zero_()
        before = model.logits(TOKENS)
    Structure(depth=0.5, importance=importance).apply(model, calibration)
    assert model.config.layers == len(model.blocks) == 1
    torch.testing.assert_close(model.logits(TOKENS), before)


def test_it_is_a_plain_checkpoint_of_the_family(calibration, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = random_model(layers=4)
    Structure(heads=0.5, feed_forward=0.3, depth=0.5).apply(model, calibration)
    save_checkpoint(tmp_path / "model", model, tokenizer, "")
    assert read_json(tmp_path / "model" / "config.json")["model_type"] == "qwen3"
    ours = model.logits(TOKENS)
    assert torch.equal(load_checkpoint(tmp_path / "model").language_model.logits(TOKENS), ours)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")(TOKENS).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def test_layers_that_attend_in_turn_keep_their_own_way(calibration):
    model = random_model(layers=4, attention=["full", "window(4)"])
    Structure(depth=0.25).apply(model, calibration)
    rebuilt = build_model(model.config, seed=0)
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt.logits(TOKENS), model.logits(TOKENS))


def test_encoders_lose_width_and_layers():
    config = EncoderConfig(vocabulary=290, context=24, width=32, layers=2, heads=4)
    encoder = build_model(config, seed=0)
    calibration = Calibration(TOKENS.tolist())
    Structure(feed_forward=0.5, depth=0.5).apply(encoder, calibration)
    assert encoder(TOKENS).shape == (2, 12, 32)
    assert (encoder.config.feed_forward, encoder.config.layers) == (64, 1)
    with pytest.raises(UserError, match="encoder's heads .* Leave heads out"):
        Structure(heads=0.5).apply(encoder, calibration)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "nothing away"),
        ({"heads": 0.2}, "heads=0.2 of 2 key/value heads would take none of them. One is 0.5"),
        ({"depth": 0.9}, "depth=0.9 of 2 layers would take all"),
    ],
)
def test_impossible_shares_are_refused(model, calibration, settings, words):
    with pytest.raises(UserError, match=words):
        Structure(**settings).apply(model, calibration)


def test_what_is_compressed_is_not_cut(model, calibration):
    Int8().apply(model, calibration)
    with pytest.raises(UserError, match="smaller first"):
        Structure(heads=0.5).apply(model, calibration)


def test_layers_are_taken_from_the_whole_depth():
    assert spread(6, 3) == [0, 2, 5]
    assert spread(12, 6) == [0, 2, 4, 7, 9, 11]
    assert spread(5, 1) == [0]
    with pytest.raises(UserError, match="from 1 to 5"):
        spread(5, 6)
