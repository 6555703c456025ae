"""Which parameter is updated by which rule."""

import pytest

from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.train.muon import Muon
from malmoi.train.optimizers import OptimizerSettings, build_optimizers

RATES = {
    "embedding_learning_rate": 0.3,
    "head_learning_rate": 0.02,
    "learning_rate": 0.01,
    "matrix_learning_rate": 0.05,
}


def rules(model, **settings) -> dict[str, tuple[str, float, float]]:
    """Parameter name -> (optimizer, learning rate, weight decay)."""
    found = {}
    for optimizer in build_optimizers(model, OptimizerSettings(**settings)):
        for group in optimizer.param_groups:
            assert group["peak"] == group["lr"]
            for parameter in group["params"]:
                assert id(parameter) not in found
                found[id(parameter)] = (type(optimizer).__name__, group["lr"], group["weight_decay"])
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


@pytest.fixture
def gpt():
    config = GPTConfig(
        vocabulary=11, context=8, width=8, layers=1, heads=2, tied=False, short_convolution=3, bigram_buckets=20
    )
    return build_model(config, seed=0)


def test_every_parameter_has_one_rule(gpt):
    chosen = rules(gpt, **RATES, weight_decay=0.1, matrix_weight_decay=0.2)
    assert chosen.keys() == dict(gpt.named_parameters()).keys()
    assert chosen["embedding.weight"] == chosen["bigram.weight"] == ("AdamW", 0.3, 0.1)
    assert chosen["head.weight"] == ("AdamW", 0.02, 0.1)
    assert chosen["norm.weight"] == chosen["blocks.0.attention.query_norm.weight"] == ("AdamW", 0.01, 0.0)
    assert chosen["blocks.0.attention_convolution.weight"] == ("AdamW", 0.01, 0.0)
    matrices = [name for name, rule in chosen.items() if rule[0] == "Muon"]
    assert {chosen[name] for name in matrices} == {("Muon", 0.05, 0.2)}
    assert sorted(name.split(".")[-2] for name in matrices) == sorted(
        ["query", "key", "value", "output", "gate", "up", "down"]
    )


def test_adamw_can_have_all(gpt):
    assert {rule[0] for rule in rules(gpt, optimizer="adamw").values()} == {"AdamW"}


def test_frozen_parameters_have_none(gpt):
    gpt.embedding.requires_grad_(False)
    assert "embedding.weight" not in rules(gpt)


def test_muon_is_for_matrices_inside_blocks_only(gpt):
    gpt.blocks.requires_grad_(False)
    assert not any(isinstance(optimizer, Muon) for optimizer in build_optimizers(gpt, OptimizerSettings()))


def test_rates_fall_with_the_depth():
    config = GPTConfig(vocabulary=11, context=8, width=8, layers=3, heads=2, tied=False)
    chosen = rules(build_model(config, seed=0), **RATES, depth_decay=0.5)
    assert [chosen[f"blocks.{index}.attention.query.weight"][1] for index in range(3)] == [0.05 / 8, 0.05 / 4, 0.05 / 2]
    assert chosen["blocks.2.attention_norm.weight"][1] == 0.01 / 2
    assert chosen["embedding.weight"][1] == 0.3 / 16
    assert chosen["norm.weight"][1] == 0.01
    assert chosen["head.weight"][1] == 0.02
