"""Where the time of a step goes: all of it, in parts that have names."""

from contextlib import nullcontext

import pytest

from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.pipeline.bench import Shape, measure_speed, shape_of, step_operations
from malmoi.pipeline.recipe import build_recipe, load_recipe
from malmoi.pipeline.runner import run_recipe
from malmoi.train.settings import TrainerSettings

TINY = GPTConfig(vocabulary=64, context=32, width=32, layers=2, heads=2)
RECIPE = """stages:
- {stage: corpus, folder: FOLDER}
- {stage: tokenizer, corpus: corpus, kind: character, vocabulary: 0}
- {stage: pretrain, corpus: corpus, tokenizer: tokenizer, model: {layers: 1, width: 32, heads: 2},
   trainer: {slots: 3, recompute: blocks, compile: never, precision: float32}}
"""


@pytest.mark.parametrize("trainer", [{}, {"slots": 3}, {"recompute": "blocks"}, {"slots": 2, "recompute": "attention"}])
def test_the_parts_are_the_step(trainer):
    trainer = TrainerSettings(steps=1, **trainer)
    speed = measure_speed(Shape(TINY, 32, 4, "float32", trainer), rounds=3)
    assert set(speed.parts) == {"data", "attention", "feed-forward", "head and loss", "optimizer", "rest"}
    assert min(speed.parts[name] for name in speed.parts if name != "rest") > 0
    assert sum(speed.parts.values()) == pytest.approx(speed.seconds, rel=0.5)
    assert speed.tokens == trainer.slots * 128
    assert 0 < speed.share < 1


def test_what_is_computed_again_and_compiled_is_timed_as_it_trains(monkeypatch):
    used = []
    monkeypatch.setattr("malmoi.pipeline.bench.recomputing", lambda model, what: used.append(what) or nullcontext())
    monkeypatch.setattr("malmoi.train.region.torch.compile", lambda forward: used.append("compiled") or forward)
    shape = Shape(TINY, 32, 4, "float32", TrainerSettings(steps=1, recompute="blocks", compile="always"))
    assert "blocks" in measure_speed(shape, rounds=1).parts
    assert used[0] == "blocks"
    assert "compiled" in used


def test_the_recipes_own_tokenizer_says_how_large_the_model_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "글").mkdir()
    (tmp_path / "글/a.txt").write_text("말모이는 낱말을 모은다는 뜻입니다. 여우가 곰에게 물었습니다. " * 20)
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.replace("FOLDER", str(tmp_path / "글")))
    recipe = load_recipe(str(path), [])
    assumed = shape_of(str(path), [])
    assert (assumed.config.vocabulary, "vocabulary of 4,096 is assumed" in capsys.readouterr().out) == (4096, True)
    made = {name: recipe.entries[name] for name in ("corpus", "tokenizer")}
    run_recipe(build_recipe("mine", "", made, "mine.yaml"), tmp_path / "runs" / "mine")
    capsys.readouterr()
    known = shape_of(str(path), [])
    assert (known.config.vocabulary < 60, capsys.readouterr().out) == (True, "")
    assert (known.trainer.slots, known.trainer.recompute, known.trainer.compile) == (3, "blocks", "never")


def test_operations_are_those_of_every_product():
    config = GPTConfig(vocabulary=10, context=8, width=4, layers=1, heads=1, feed_forward=8, tied=False)
    blocks = 4 * 4 * 4 + 3 * 4 * 8
    norms = sum((4, 4, 4, 4, 4))  # of the two halves, of queries, of keys, and the last
    assert step_operations(config, 2, 8) == 2 * 8 * (6 * (blocks + norms + 4 * 10) + 6 * 4 * 8)


def test_a_recipe_says_what_is_timed():
    shape = shape_of("shakespeare", ["pretrain.rows=4", "pretrain.trainer.precision=float32"])
    assert (shape.rows, shape.context, shape.config.width) == (4, 64, 128)
    assert shape.trainer.matrix_learning_rate == 0.08


@pytest.mark.parametrize(("recipe", "message"), [
    ("spam", "pretrains nothing"),
    ("quickstart", r"Say one: pretrain.model.layers=6"),
])  # fmt: skip
def test_what_cannot_be_timed_is_said(recipe, message):
    with pytest.raises(UserError, match=message):
        shape_of(recipe, [])
