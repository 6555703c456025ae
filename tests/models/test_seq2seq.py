"""Encoder-decoders: blind to padding and to what comes later, the same with and without their cache."""

import copy

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.layers.mixes.dense import Dense, Plain
from malmoi.models.initialize import initialize
from malmoi.models.registry import build_model, meta_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig

T5 = {
    "norm": "rms",
    "norm_first": True,
    "positions": "relative",
    "relative_buckets": 8,
    "relative_reach": 12,
    "bias": False,
    "scaled_attention": False,
    "scaled_embedding": False,
}
SHAPES = {
    "transformer": {},
    "marian": {"activation": "silu", "head_bias": True, "decoder_layers": 1},
    "t5": T5 | {"scaled_head": True, "head_width": 6, "decoder_layers": 3},
    "t5 v1.1": T5 | {"activation": "geglu_tanh", "tied": False},
    "pre-norm": {"norm_first": True, "activation": "swiglu"},
}
LENGTHS = torch.tensor([20, 1, 13])
REAL = torch.arange(20) < LENGTHS[:, None]


def config(**changes: object) -> EncoderDecoderConfig:
    shape = {"vocabulary": 31, "context": 24, "width": 32, "layers": 2, "heads": 4, "start": 0}
    return EncoderDecoderConfig(**(shape | changes))


@pytest.fixture
def shaken(shake):
    """Makes a small model without a zero in it, so that nothing can hide behind one."""
    return lambda **changes: shake(build_model(config(**changes), seed=3), deviation=0.2)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def model(request, shaken):
    return shaken(**request.param)


@pytest.fixture
def source():
    return torch.randint(31, (3, 20), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def target():
    return torch.randint(31, (3, 16), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_the_target_does_not_look_ahead(model, source, target):
    changed = target.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 31
    before, after = model.logits(source, LENGTHS, target), model.logits(source, LENGTHS, changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] - after[:, 9:]).abs().amax(dim=(0, 2)).min() > 1e-4  # and everything later does see it


@torch.no_grad()
def test_the_source_is_seen_whole_and_its_padding_never(model, source, target):
    padded = source.masked_fill(~REAL, 30)
    first, last = source.clone(), source.clone()
    first[:, 0], last[0, 19] = (source[:, 0] + 1) % 31, (source[0, 19] + 1) % 31
    logits = model.logits(source, LENGTHS, target)
    assert torch.equal(model.logits(padded, LENGTHS, target), logits)
    assert (model.logits(first, LENGTHS, target) - logits).abs().amax(dim=(1, 2)).min() > 1e-4
    assert (model.logits(last, LENGTHS, target) - logits)[0].abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_a_padded_source_is_the_source_alone(model, source, target):
    alone = model.logits(source[2:, :13], None, target[2:])
    torch.testing.assert_close(model.logits(source, LENGTHS, target)[2:], alone, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("chunks", [[16], [1] * 16, [7, 1, 1, 7]], ids=str)
@torch.no_grad()
def test_with_the_cache_as_without(model, source, target, chunks):
    cache, memory = model.cache(rows=3, length=16), model.encode(source, LENGTHS)
    parts = [model.head(model.decode(part, memory, LENGTHS, cache)) for part in target.split(chunks, dim=1)]
    assert cache.length == 16
    torch.testing.assert_close(torch.cat(parts, 1), model.logits(source, LENGTHS, target), rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_keys_and_values_of_the_source_are_computed_once(model, source, target):
    cache, memory = model.cache(rows=3, length=16), model.encode(source, LENGTHS)
    model.decode(target[:, :3], memory, LENGTHS, cache)
    kept = [value for pair in cache.sources for value in pair]
    model.decode(target[:, 3:], memory, LENGTHS, cache)
    assert len(kept) == 2 * model.config.decoder_layers
    assert all(now is then for now, then in zip([value for pair in cache.sources for value in pair], kept, strict=True))


@torch.no_grad()
def test_a_cropped_cache_forgets(model, source, target):
    cache, memory = model.cache(rows=3, length=24), model.encode(source, LENGTHS)
    model.decode(target, memory, LENGTHS, cache)
    cache.crop(9)
    again = model.decode(target.flip(1)[:, :5], memory, LENGTHS, cache)
    whole = model(source, LENGTHS, torch.cat([target[:, :9], target.flip(1)[:, :5]], dim=1))
    torch.testing.assert_close(again, whole[:, 9:], rtol=1e-4, atol=2e-5)


def test_too_long_a_text_says_both_numbers(source, target, shaken):
    model = shaken(context=18)
    with pytest.raises(UserError, match="20 tokens do not fit into the context of 18"):
        model(source, LENGTHS, target)
    with pytest.raises(UserError, match="20 tokens do not fit into the context of 18"):
        model(target, None, source)
    cache = model.cache(rows=3, length=8)
    with pytest.raises(UserError, match="9 tokens do not fit into the context of 8"):
        model(target, None, target[:, :9], cache)


def test_one_embedding_serves_source_target_and_head():
    model = build_model(config(), seed=0)
    for each in (model, copy.deepcopy(model), model.to(torch.float64)):
        assert each.head.weight.data_ptr() == each.embedding.weight.data_ptr()
        assert [name for name, value in each.named_parameters() if value.shape == (31, 32)] == ["embedding.weight"]


def test_there_are_no_buffers(model):
    assert list(model.buffers()) == []


def test_every_parameter_gets_its_first_value(model):
    empty = meta_model(model.config).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in empty.parameters():
            parameter.fill_(torch.nan)
    initialize(empty, seed=5)
    assert all(parameter.isfinite().all() for parameter in empty.parameters())


def test_every_parameter_learns(model, source, target):
    model.logits(source, LENGTHS, target).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("mix", [Plain(), Dense()], ids=str)
@pytest.mark.parametrize("shape", ["transformer", "t5"])
def test_both_ways_to_attend_have_the_same_gradients(mix, shape, source, target, shaken):
    reference = shaken(**SHAPES[shape]).double()
    model = copy.deepcopy(reference).float()
    for block in (*model.encoder.blocks, *model.decoder.blocks):
        block.attention.mix = mix
    for each in (reference, model):
        each.logits(source, LENGTHS, target).float().square().mean().backward()
    for wanted, got in zip(reference.parameters(), model.parameters(), strict=True):
        # A bias of the keys moves all products of a query alike, so its gradient is zero but for rounding.
        assert (wanted.grad - got.grad).norm() < 1e-4 * wanted.grad.norm() + 1e-6


def test_bfloat16_weights_and_autocast_run(model, source, target):
    near = 0.05 if model.config.scaled_attention else 0.15  # products that are not scaled round more coarsely
    whole = model.logits(source, LENGTHS, target)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.logits(source, LENGTHS, target)
    mixed.float().sum().backward()
    assert (mixed.float() - whole).norm() < near * whole.norm()
    low = copy.deepcopy(model).bfloat16()
    with torch.no_grad():
        logits = low.logits(source, LENGTHS, target, low.cache(rows=3, length=16))
    assert (logits.float() - whole).norm() < 2 * near * whole.norm()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"start": 31}, "not in a vocabulary of 31"),
        ({"never": [3, 40]}, "not in a vocabulary of 31"),
        ({"heads": 64}, "do not fit into a width"),
        ({"width": 33, "heads": 3}, "even width"),
        (T5 | {"relative_buckets": 2}, "greater than or equal to 4"),
        (T5 | {"relative_buckets": 32, "relative_reach": 16}, "not more than half"),
        ({"tied": False, "head_bias": True}, "of a tied head"),
        ({"activation": "tanh"}, "activation"),
    ],
    ids=str,
)
def test_a_shape_that_cannot_be(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        config(**change)
