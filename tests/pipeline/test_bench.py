"""Where the time of a step goes: all of it, in parts that have names."""

import pytest

from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.pipeline.bench import Shape, measure_speed, shape_of, step_operations
from malmoi.train.optimizers import OptimizerSettings


def test_the_parts_are_the_step():
    config = GPTConfig(vocabulary=64, context=32, width=32, layers=2, heads=2)
    speed = measure_speed(Shape(config, 32, 4, "float32", OptimizerSettings()), rounds=3)
    assert set(speed.parts) == {"data", "attention", "feed-forward", "head and loss", "optimizer", "rest"}
    assert min(speed.parts[name] for name in speed.parts if name != "rest") > 0
    assert sum(speed.parts.values()) == pytest.approx(speed.seconds, rel=0.5)
    assert speed.tokens == 128
    assert 0 < speed.share < 1


def test_operations_are_those_of_every_product():
    config = GPTConfig(vocabulary=10, context=8, width=4, layers=1, heads=1, feed_forward=8, tied=False)
    blocks = 4 * 4 * 4 + 3 * 4 * 8
    norms = sum((4, 4, 4, 4, 4))  # of the two halves, of queries, of keys, and the last
    assert step_operations(config, 2, 8) == 2 * 8 * (6 * (blocks + norms + 4 * 10) + 6 * 4 * 8)


def test_a_recipe_says_what_is_timed():
    shape = shape_of("shakespeare", ["pretrain.rows=4", "pretrain.trainer.precision=float32"])
    assert (shape.rows, shape.context, shape.config.width) == (4, 64, 128)
    assert shape.optimizer.matrix_learning_rate == 0.08


@pytest.mark.parametrize(("recipe", "message"), [
    ("spam", "pretrains nothing"),
    ("quickstart", r"Say one: pretrain.model.layers=6"),
])  # fmt: skip
def test_what_cannot_be_timed_is_said(recipe, message):
    with pytest.raises(UserError, match=message):
        shape_of(recipe, [])
