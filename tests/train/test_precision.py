"""The number format is chosen by measuring, and applied by autocast."""

import time
from functools import partial

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from malmoi.core.accelerator import product_dtype
from malmoi.data.batch import TextBatch
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.objectives.causal import Causal
from malmoi.objectives.objective import Loss
from malmoi.train import precision
from malmoi.train.precision import autocast, choose_precision
from malmoi.train.settings import TrainerSettings
from malmoi.train.state import Progress
from malmoi.train.trainer import Trainer

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


class Counting:
    """Rows that count up from anywhere: easy to learn, with something left to guess at the beginning of each."""

    def batch(self, step: int, slot: int) -> TextBatch:
        start = torch.randint(40, (8, 1), generator=torch.Generator().manual_seed(step))
        tokens = (start + torch.arange(17)) % 40
        return TextBatch(tokens[:, :-1], tokens[:, 1:])

    def validation(self):
        yield self.batch(10_000, 0)


def learned(precision, directory, objective=None, **changes):
    model = GPT(GPTConfig(vocabulary=40, context=16, width=32, layers=1, heads=2, tied=False))
    initialize(model, 0)
    settings = TrainerSettings(steps=60, optimizer="adamw", learning_rate=0.003, precision=precision, **changes)
    return Trainer(model, objective or Causal(), Counting(), settings, directory).run()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same training in float32."""
    return learned("float32", tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_shorter_format_learns_the_same_and_no_step_is_left_out(tmp_path, whole, precision):
    short = learned(precision, tmp_path)
    assert short.skipped == 0
    assert short.validation_loss == pytest.approx(whole.validation_loss, rel=0.01)


@pytest.mark.parametrize(("precision", "format"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_optimizers_compute_in_the_format_of_the_training(tmp_path, precision, format):
    seen = set()
    hook = register_optimizer_step_pre_hook(lambda *_: seen.add(product_dtype(torch.ones(1))))
    learned(precision, tmp_path)
    hook.remove()
    assert seen == {format}


def test_a_scale_that_is_too_high_is_found_in_a_few_steps_and_learning_goes_on(tmp_path, monkeypatch, whole):
    monkeypatch.setattr("malmoi.train.trainer.Progress", partial(Progress, scale=2.0**24))
    result = learned("float16", tmp_path)
    assert 0 < result.skipped <= 6
    assert whole.validation_loss < result.validation_loss < 2.5, "it learned in the steps that were left"


class Louder(Causal):
    """A loss so large that float16 needs a scale below 1."""

    def loss(self, model, batch) -> Loss:
        quiet = super().loss(model, batch)
        return Loss(quiet.total * 1e6, quiet.count)


def test_sums_that_are_too_large_for_float16_get_a_scale_below_one(tmp_path):
    result = learned("float16", tmp_path, Louder(), clip=0)
    assert 0 < result.skipped <= 8
    assert result.validation_loss < 2.5e6


def test_the_first_product_of_all_does_not_count(monkeypatch):
    product, calls = torch.Tensor.__matmul__, []

    def made_slowly(left, right):
        time.sleep(0 if calls else 0.3)
        calls.append(1)
        return product(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", made_slowly)
    assert precision.product_speed.__wrapped__(torch.device("cpu"), "float32") > 2 * 512**3 / 0.3
