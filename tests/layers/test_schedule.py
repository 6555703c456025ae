"""How layers attend, as the configuration says it."""

import pytest
import torch

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.layers.mixes.hashed import Hashed
from malmoi.layers.mixes.registry import AUTO
from malmoi.layers.pattern import FULL
from malmoi.layers.patterns import Window
from malmoi.layers.schedule import LayerAttention, parse_layer
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model

SHAPE = {"vocabulary": 31, "context": 24, "width": 32, "layers": 4, "heads": 4}


@pytest.mark.parametrize(
    "text",
    ["full", "window(8)", "window(8) | global(0)", "hashed(rounds=2)", "linear", "linear(chunk=16)", "full by dense",
     "window(8) by blocked(chunk=4)", "causal & stride(4) by folded"],
)  # fmt: skip
def test_a_layer_is_its_text(text):
    assert str(parse_layer(text)) == text
    assert parse_layer(str(parse_layer(text))) == parse_layer(text)


def test_a_mix_alone_looks_at_everything():
    assert parse_layer("hashed(8, rounds=2, buckets=4)") == LayerAttention(FULL, Hashed(8, 2, 4))
    assert parse_layer("window(8)") == LayerAttention(Window(8), AUTO)


def test_a_schedule_repeats_over_the_layers():
    config = GPTConfig(**SHAPE, attention=["window(8)", "full"])
    assert [str(config.layer_attention(index)) for index in range(4)] == ["window(8)", "full"] * 2
    assert GPTConfig(**config.model_dump()) == config
    assert config.model_dump()["attention"] == ["window(8)", "full"]
    assert GPTConfig(**SHAPE, attention="window(8)").attention == (LayerAttention(Window(8)),)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attention": "window(0)"}, "'attention' in here: window\\(0\\): size must be at least 1"),
        ({"attention": "window(25)"}, "window\\(25\\) reaches beyond the context of 24"),
        ({"attention": "global(24)"}, "global\\(24\\) reaches beyond the context"),
        ({"attention": ["full", "widow(3)"]}, "Did you mean 'window'"),
        ({"attention": []}, "the list is empty"),
        ({"attention": 7}, "no attention pattern and no list"),
        ({"attention": ["full"] * 5}, "5 patterns are more than the 4 layers"),
        ({"attention": "documents"}, "needs separator"),
        ({"attention": "window(8) by folded"}, "folded cannot do the pattern causal & window\\(8\\)"),
        ({"attention": "hashed", "key_value_heads": 2}, "hashed cannot do grouped heads"),
        ({"attention": ["full", "linear"], "dropout": 0.1}, "linear cannot do dropout of its weights"),
        ({"attention": "hashed(buckets=6)"}, "no power of two"),
        ({"attention": "full by fast"}, "there is no 'fast'"),
        ({"attention": "full by"}, "missing at the end"),
    ],
)
def test_what_no_layer_can_compute_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        parse_settings(GPTConfig, SHAPE | fields, "here")


@pytest.mark.parametrize("attention", ["window(5)", ["blocks(6)", "stride(6)"], "hashed(4, buckets=4)", "linear(4)",
                                       "documents & window(6)", ["full", "window(4) | global(0)"]], ids=str)  # fmt: skip
def test_a_model_of_any_schedule_is_causal_and_learns(attention):
    model = build_model(GPTConfig(**SHAPE, attention=attention, separator=0), seed=1).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    tokens = torch.randint(31, (2, 24), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 15:] = (changed[:, 15:] + 1) % 31
    assert torch.equal(model.logits(tokens)[:, :15], model.logits(changed)[:, :15])
    model.logits(tokens).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


def test_documents_are_told_apart_by_their_first_token():
    model = build_model(GPTConfig(**SHAPE, attention="documents", separator=0), seed=1).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    one, other = [0, 5, 6, 7], [0, 8, 9]
    together = model.logits(torch.tensor([one + other]))
    positions_matter_not = model.logits(torch.tensor([[0, 1, 1, 1, *other]]))
    torch.testing.assert_close(together[:, 4:], positions_matter_not[:, 4:])


def test_more_heads_than_any_tensor_has():
    sizes = {"vocabulary": 8, "context": 8, "width": 8, "layers": 1, "heads": 10**30, "head_width": 2}
    with pytest.raises(ValueError, match="heads are more than any model has"):
        GPTConfig(**sizes)
