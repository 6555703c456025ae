"""One token more by the short way, against the blocks' own."""

import copy

import pytest
import torch
from safetensors.torch import save

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.methods.int8 import Int8
from malmoi.layers.compressed import compressed_layers
from malmoi.models import gpt
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model

SHAPES = {
    "qwen3": {"key_value_heads": 2},
    "llama": {"query_key_norm": False, "tied": False},
    "gpt2": {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "query_key_norm": False},
    "qwen2": {"query_key_norm": False, "attention_bias": True, "key_value_heads": 2},
    "squared": {"activation": "relu2", "head_width": 16},
}
KINDS = {
    "float32": lambda model: None,
    "bfloat16": lambda model: model.bfloat16(),
    "int4": lambda model: Int4(rounding="nearest").apply(model, Calibration()),
    "int8": lambda model: Int8().apply(model, Calibration()),
    "int8-dynamic": lambda model: Int8(activations=True, smoothed=False).apply(model, Calibration()),
}
NEAR = {"float32": 1e-5, "bfloat16": 0.03, "int4": 0.03, "int8": 0.03, "int8-dynamic": 0.1}
TOKENS = torch.randint(0, 48, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def shaken(shake):
    def make(**changes):
        shape = {"vocabulary": 48, "context": 24, "width": 64, "layers": 2, "heads": 4, "feed_forward": 96} | changes
        return shake(build_model(GPTConfig(**shape), seed=3), deviation=0.2).eval()

    return make


@torch.inference_mode()
def one_by_one(model, tokens, read=4):
    """(rows, tokens behind the first, width), and the cache."""
    cache = model.cache(*tokens.shape)
    model(tokens[:, :read], cache)
    return torch.cat([model(tokens[:, place, None], cache) for place in range(read, tokens.shape[1])], 1), cache


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 3])
def test_steps_compute_what_the_blocks_do(shape, kind, rows, shaken, monkeypatch):
    model = shaken(**SHAPES[shape])
    KINDS[kind](model)
    short, cache = one_by_one(model, TOKENS[:rows])
    assert len(cache.steps) == 2
    monkeypatch.setattr(gpt, "steps", lambda *_: [])
    blocks, _ = one_by_one(model, TOKENS[:rows])
    assert short.dtype == blocks.dtype
    assert float((short - blocks).norm() / blocks.norm()) < NEAR[kind]


@pytest.mark.parametrize("plain", ["query", "value", "output", "gate", "down"])
def test_one_layer_may_be_held_otherwise_than_the_next(plain, shaken, monkeypatch):
    model = shaken()
    KINDS["int4"](model)
    layers = {name: layer for name, layer in compressed_layers(model).items() if name.endswith(plain)}
    for name, layer in layers.items():
        linear = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
        linear.weight.data = layer.weight
        model.set_submodule(name, linear)
    assert len(layers) == 2
    short, _ = one_by_one(model, TOKENS)
    monkeypatch.setattr(gpt, "steps", lambda *_: [])
    blocks, _ = one_by_one(model, TOKENS)
    assert float((short - blocks).norm() / blocks.norm()) < NEAR["int4"]


def test_steps_read_a_cache_of_eight_bits(shaken, monkeypatch):
    model = shaken()
    model.use_int8_cache()
    short, cache = one_by_one(model, TOKENS)
    assert len(cache.steps) == 2
    monkeypatch.setattr(gpt, "steps", lambda *_: [])
    assert torch.allclose(short, one_by_one(model, TOKENS)[0], atol=0.02)


@pytest.mark.parametrize(
    "shape", [{"attention": ["window(5)", "full"]}, {"short_convolution": 3}, {"attention": ["linear"]}], ids=str
)
def test_what_steps_cannot_do_is_left_to_the_blocks(shape, shaken):
    assert one_by_one(shaken(**shape), TOKENS)[1].steps == []


def test_a_watched_block_computes_itself(shaken):
    model, seen = shaken(), []
    model.blocks[0].feed_forward.up.register_forward_hook(lambda *_: seen.append(1))
    one_by_one(model, TOKENS)
    assert len(seen) == 1 + 8


@pytest.mark.parametrize("kind", ["int4", "int8"])
def test_what_has_written_is_copied_and_saved_as_before(kind, shaken):
    model = shaken()
    KINDS[kind](model)
    saved = save(model.state_dict())
    written = one_by_one(model, TOKENS)[0]
    assert save(model.state_dict()) == saved
    assert torch.equal(one_by_one(copy.deepcopy(model), TOKENS)[0], written)
