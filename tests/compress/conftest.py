"""A small model whose inputs are far from equal, and text for it to read."""

import pytest
import torch

from malmoi.compress.calibration import Calibration
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model

SHAPE = {
    "vocabulary": 290,
    "context": 24,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "key_value_heads": 2,
    "feed_forward": 96,
}


def random_model(**changes):
    """A model whose every matrix has directions of very different strength, as trained ones have."""
    model = build_model(GPTConfig(**SHAPE | changes), seed=0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                strength = torch.logspace(0, -2, parameter.shape[1])[
                    torch.randperm(parameter.shape[1], generator=random)
                ]
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3 * strength)
    return model.eval()


@pytest.fixture
def model():
    """See `random_model`."""
    return random_model()


@pytest.fixture
def calibration(tokenizer):
    """Sixteen rows of tokens, some of them of Korean text."""
    rows = torch.randint(290, (14, 24), generator=torch.Generator().manual_seed(0)).tolist()
    korean = tokenizer.encode_batch(["옛날 옛적에 숲에 여우가", "곰에게 물었습니다"])
    return Calibration([*rows, *(row[:24] for row in korean)])
