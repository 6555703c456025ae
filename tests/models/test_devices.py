"""Nothing that a model or an objective makes lies on another device than the model: shapes are computed, numbers not."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from malmoi.data.batch import TextBatch
from malmoi.models.registry import FAMILIES
from malmoi.objectives.causal import Causal

SHAPE = {"vocabulary": 41, "context": 16, "width": 16, "layers": 2}
MORE = {"gpt": {"heads": 2}, "encoder": {"heads": 2}, "encoder-decoder": {"heads": 2, "start": 0}}


@pytest.fixture
def elsewhere():
    """A device that this machine need not have."""
    with FakeTensorMode(), torch.no_grad():
        yield torch.device("cuda")


def model_on(device, family):
    config, build = FAMILIES[family]
    with torch.device("meta"):
        model = build(config(**SHAPE, **MORE.get(family, {}))).requires_grad_(False).eval()
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            held.update({name: torch.empty_like(one, device=device) for name, one in held.items() if one is not None})
    return model


@pytest.mark.parametrize("family", ["gpt", "lstm", "convolution", "state-space"])
def test_a_language_model_learns_and_writes_on_its_device(elsewhere, family):
    model = model_on(elsewhere, family)
    tokens = torch.zeros(2, 8, dtype=torch.int64)
    loss = Causal().loss(model, TextBatch(tokens, tokens).to(elsewhere))
    assert loss.total.device.type == loss.count.device.type == "cuda"
    cache = model.cache(2, 16)
    for _ in range(2):
        assert model(torch.zeros(2, 4, dtype=torch.int64, device=elsewhere), cache).device.type == "cuda"


def test_an_encoder_reads_on_its_device(elsewhere):
    model = model_on(elsewhere, "encoder")
    lengths = torch.full((2,), 8, device=elsewhere)
    assert model(torch.zeros(2, 8, dtype=torch.int64, device=elsewhere), lengths).device.type == "cuda"


def test_a_translator_reads_and_writes_on_its_device(elsewhere):
    model = model_on(elsewhere, "encoder-decoder")
    tokens = torch.zeros(2, 8, dtype=torch.int64, device=elsewhere)
    assert model.logits(tokens, torch.full((2,), 8, device=elsewhere), tokens).device.type == "cuda"
