"""The modern shape of translators, and the form in which it is published."""

import copy

import pytest
import torch

from malmoi.models.registry import build_model
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.seq2seq_shapes import SHAPES, as_published

SOURCE, TARGET = (torch.randint(31, (3, length), generator=torch.Generator().manual_seed(length)) for length in (20, 9))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_what_is_published_is_the_same_function(shape, shake):
    sizes = {"vocabulary": 31, "context": 24, "width": 32, "layers": 2, "heads": 4, "start": 0}
    model = shake(build_model(EncoderDecoderConfig(**sizes, **SHAPES[shape]), seed=3), deviation=0.2)
    before = copy.deepcopy(model.state_dict())
    lengths = torch.tensor([20, 1, 13])
    published = as_published(model, beams=4)
    torch.testing.assert_close(
        published.logits(SOURCE, lengths, TARGET), model.logits(SOURCE, lengths, TARGET), rtol=1e-4, atol=2e-5
    )
    assert published.config.beams == 4
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
