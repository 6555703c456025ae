"""The number format is chosen by measuring, and applied by autocast."""

import pytest
import torch

from malmoi.train import precision
from malmoi.train.precision import autocast, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("speeds", "chosen"), [((100, 500), "bfloat16"), ((100, 3), "float32"), ((100, 110), "float32")]
)
def test_bfloat16_only_where_it_pays(monkeypatch, speeds, chosen):
    table = dict(zip(("float32", "bfloat16"), speeds, strict=True))
    monkeypatch.setattr(precision, "product_speed", lambda device, name: table[name])
    assert choose_precision(CPU) == chosen


def test_products_run_in_the_format_and_parameters_stay():
    linear = torch.nn.Linear(3, 3)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with autocast(CPU, name):
            assert linear(torch.ones(2, 3)).dtype == dtype
    assert linear.weight.dtype == torch.float32
