"""A model with another dropout is the model that was built with it."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.models.dropout import set_dropout
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.lstm import LSTMConfig
from malmoi.models.registry import build_model

SHAPE = {"vocabulary": 31, "context": 24, "width": 32, "layers": 2}
CONFIGS = {
    "encoder": EncoderConfig(**SHAPE, heads=4),
    "language model": GPTConfig(**SHAPE, heads=4),
    "lstm": LSTMConfig(**SHAPE),
}


def read_while_learning(model):
    torch.manual_seed(0)
    return model.train()(torch.arange(24)[None])


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.3), (0.3, 0.0)])
def test_it_leaves_out_what_the_model_built_with_it_does(kind, before, after):
    changed, built = (
        build_model(CONFIGS[kind].model_copy(update={"dropout": share}), seed=0) for share in (before, after)
    )
    set_dropout(changed, after)
    assert torch.equal(read_while_learning(changed), read_while_learning(built))
    assert changed.config == built.config


def test_a_way_to_compute_attention_without_dropout_gets_none():
    body = build_model(GPTConfig(**SHAPE, heads=4, attention="linear"), seed=0)
    with pytest.raises(UserError, match="linear cannot do dropout of its weights"):
        set_dropout(body, 0.1)
    assert body.config.dropout == 0
