"""GPT: causal in every shape, the same with and without its cache, first weights that depend on nothing else."""

import copy

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.layers.cache import KeyValueCache
from malmoi.layers.mixes.dense import Dense, Plain
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.models.registry import build_model, meta_model

SHAPES = {
    "qwen3": {"key_value_heads": 2},
    "wide heads": {"key_value_heads": 1, "head_width": 24},
    "llama": {"query_key_norm": False, "tied": False},
    "gpt2": {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "query_key_norm": False},
    "gelu": {"activation": "gelu", "attention_bias": True},
    "fast": {"activation": "relu2", "tied": False, "short_convolution": 3, "bigram_buckets": 50},
    "hybrid": {"attention": ["window(5) | global(0)", "full"]},
    "reversible": {"reversible": True, "short_convolution": 3},
    "exact bigrams": {"bigram_buckets": 31 * 32, "short_convolution": 2, "key_value_heads": 2},
}


@pytest.fixture
def shaken(shake):
    """Makes a small model without a zero in it, so that nothing can hide behind one."""

    def make(**changes: object) -> GPT:
        shape = {"vocabulary": 31, "context": 24, "width": 32, "layers": 2, "heads": 4} | changes
        return shake(build_model(GPTConfig(**shape), seed=3), deviation=0.2)

    return make


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def model(request, shaken):
    return shaken(**request.param)


@pytest.fixture
def tokens():
    return torch.randint(31, (3, 20), generator=torch.Generator().manual_seed(1))


def test_nothing_looks_ahead(model, tokens):
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 31
    before, after = model.logits(tokens), model.logits(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().amax(dim=(0, 2)).min() > 1e-4  # and everything later does see it


@pytest.mark.parametrize("chunks", [[20], [1] * 20, [7, 1, 1, 11], [2, 18]], ids=str)
def test_with_the_cache_as_without(model, tokens, chunks):
    cache = KeyValueCache(model.config, rows=3, length=24)
    with torch.no_grad():
        whole = model.logits(tokens)
        parts = torch.cat([model.logits(part, cache) for part in tokens.split(chunks, dim=1)], dim=1)
    assert cache.length == 20
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=2e-5)


def test_a_cropped_cache_forgets(model, tokens):
    cache = KeyValueCache(model.config, rows=3, length=24)
    with torch.no_grad():
        model.logits(tokens, cache)
        cache.crop(9)
        again = model.logits(tokens.flip(1)[:, :5], cache)
        whole = model.logits(torch.cat([tokens[:, :9], tokens.flip(1)[:, :5]], dim=1))
    torch.testing.assert_close(again, whole[:, 9:], rtol=1e-4, atol=2e-5)


def test_too_long_a_text_says_both_numbers(tokens, shaken):
    model = shaken(context=16)
    with pytest.raises(UserError, match="20 tokens do not fit into the context of 16"):
        model(tokens)
    cache = KeyValueCache(model.config, rows=3, length=8)
    with pytest.raises(UserError, match="9 tokens do not fit into the context of 8"):
        model(tokens[:, :9], cache)


def test_a_tied_head_stays_tied():
    tied = build_model(GPTConfig(vocabulary=31, context=24, width=32, layers=1, heads=4), seed=0)
    for model in (tied, copy.deepcopy(tied), tied.to(torch.float64)):
        assert model.head.weight.data_ptr() == model.embedding.weight.data_ptr()
        assert "head.weight" not in model.state_dict()


def test_there_are_no_buffers(model):
    assert list(model.buffers()) == []


def test_every_parameter_gets_its_first_value(model):
    empty = meta_model(model.config).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in empty.parameters():
            parameter.fill_(torch.nan)
    initialize(empty, seed=5)
    assert all(parameter.isfinite().all() for parameter in empty.parameters())


def test_first_values_depend_on_seed_and_name_alone():
    config = GPTConfig(vocabulary=300, context=24, width=32, layers=2, heads=4)
    torch.manual_seed(1)
    one = build_model(config, seed=1).state_dict()
    torch.manual_seed(2)
    same = build_model(config.model_copy(update={"layers": 3, "vocabulary": 700}), seed=1).state_dict()
    other = build_model(config, seed=2).state_dict()
    assert torch.equal(one["blocks.1.attention.query.weight"], same["blocks.1.attention.query.weight"])
    assert torch.equal(one["embedding.weight"][:256], same["embedding.weight"][:256])  # the first block of rows
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])
    assert not torch.equal(one["blocks.0.attention.query.weight"], one["blocks.0.attention.key.weight"])


def test_token_embeddings_alone_begin_as_wide_as_asked():
    model = GPT(GPTConfig(vocabulary=300, context=64, width=64, layers=1, heads=2, positions="learned", tied=False))
    initialize(model, 0, embedding_deviation=1.0)
    spread = {name: float(getattr(model, name).weight.detach().std()) for name in ("embedding", "positions", "head")}
    assert spread == pytest.approx({"embedding": 1.0, "positions": 0.02, "head": 0.02}, rel=0.05)


def test_every_parameter_learns(model, tokens):
    model.logits(tokens).square().sum().backward()
    unmoved = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    rows_never_read = {"positions.weight"} if model.positions is not None else set()
    assert set(unmoved) <= rows_never_read


@pytest.mark.parametrize("mix", [Plain(), Dense()], ids=str)
def test_both_ways_to_attend_have_the_same_gradients(mix, tokens, shaken):
    reference = shaken(key_value_heads=2).double()
    model = copy.deepcopy(reference).float()
    for block in model.blocks:
        block.attention.mix = mix
    for each in (reference, model):
        each.logits(tokens).float().square().mean().backward()
    for wanted, got in zip(reference.parameters(), model.parameters(), strict=True):
        assert (wanted.grad - got.grad).norm() < 1e-4 * wanted.grad.norm()


def test_bfloat16_weights_and_autocast_run(model, tokens):
    whole = model.logits(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.logits(tokens)
    mixed.float().sum().backward()
    assert (mixed.float() - whole).norm() < 0.05 * whole.norm()
    low = copy.deepcopy(model).bfloat16()
    cache = KeyValueCache(low.config, rows=3, length=24, dtype=torch.bfloat16)
    with torch.no_grad():
        assert (low.logits(tokens, cache).float() - whole).norm() < 0.1 * whole.norm()
