"""Where a model is too large for one process each fills its part, with the numbers that one process would fill in."""

import pytest
import torch
from torch import nn

from malmoi.models.initialize import initialize
from malmoi.models.registry import build_model, meta_model
from malmoi.parallel.distributed import DistributedExecution
from malmoi.parallel.layout import Layout
from malmoi.parallel.spawn import run_on
from malmoi.pipeline.verify_parallel import MODELS


def fill(model: nn.Module) -> None:
    initialize(model, seed=7)


def held_bytes_and_weights(family, layouts):
    config, objective = MODELS[family]
    found = []
    for layout in layouts:
        model = meta_model(config)
        execution = DistributedExecution(model, objective, layout, fill)
        held = sum(parameter.nbytes for parameter in execution.parameters.values())
        execution.give_back()
        found.append((held, {name: weight.numpy() for name, weight in model.state_dict().items()}))
    return found


@pytest.mark.parametrize(("family", "processes", "layouts"), [
    ("gpt", 2, [Layout(data=2), Layout(shard=2), Layout(tensor=2), Layout(pipeline=2)]),
    ("gpt", 4, [Layout(shard=2, tensor=2), Layout(pipeline=2, tensor=2), Layout(data=2, shard=2)]),
    ("encoder", 2, [Layout(shard=2), Layout(tensor=2)]),
    ("encoder-decoder", 2, [Layout(tensor=2), Layout(pipeline=2)]),
])  # fmt: skip
def test_every_layout_begins_with_exactly_the_same_weights(family, processes, layouts):
    whole = build_model(MODELS[family][0], seed=7).state_dict()
    for _, weights in run_on(processes, held_bytes_and_weights, family, layouts)[-1]:
        assert weights.keys() == whole.keys()
        assert all(torch.equal(torch.from_numpy(weights[name]), weight) for name, weight in whole.items())


def test_a_process_has_memory_for_its_part_only():
    whole = sum(parameter.nbytes for parameter in build_model(MODELS["gpt"][0], seed=7).parameters())
    ((held, _),) = run_on(2, held_bytes_and_weights, "gpt", [Layout(shard=2)])[0]
    assert held < 0.51 * whole
