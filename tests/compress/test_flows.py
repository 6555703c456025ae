"""What flows into layers one after the other, behind those that were changed before."""

import copy

import pytest
import torch

from malmoi.compress.calibration import Calibration
from malmoi.compress.flows import flows
from malmoi.compress.gptq import gptq_matrix, wanted
from malmoi.compress.methods.int4 import Int4
from malmoi.compress.rounding import int4_matrix
from malmoi.layers.compressed import compressible, decompress, replace_weight
from malmoi.layers.matrices.int4 import Int4Settings
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model

SHAPES = {
    "a GPT": {},
    "blocks that cannot be parted": {"reversible": True},
    "documents": {"attention": ["documents"], "separator": 3},
}


def read_by(model, names, rows):
    """name -> (tokens, inputs) float32, what flows into the layers when the whole model reads all rows."""
    read = {name: [] for name in names}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _layer, inputs, name=name: read[name].append(inputs[0])
        )
        for name in names
    ]
    with torch.no_grad():
        for row in rows:
            model.logits(torch.tensor([row]))
    for hook in hooks:
        hook.remove()
    return {name: torch.cat([one.reshape(-1, one.shape[-1]) for one in parts]) for name, parts in read.items()}


def test_layers_come_in_the_order_of_the_model_and_with_those_that_read_the_same(model, calibration):
    block = [
        ["attention.query", "attention.key", "attention.value"],
        ["attention.output"],
        ["feed_forward.up", "feed_forward.gate"],
        ["feed_forward.down"],
    ]
    expected = [[f"blocks.{number}.{name}" for name in names] for number in (0, 1) for names in block]
    groups = [names for names, _ in flows(model, compressible(model), calibration)]
    assert groups == [["embedding"], *expected]


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_the_statistics_are_those_of_the_whole_model_changed_up_to_there(changes, make_model, calibration):
    model = make_model(**changes).eval()
    whole, names = copy.deepcopy(model), [name for name in compressible(model) if name.startswith("blocks.")]
    for together, flow in flows(model, names, calibration):
        now, before = (read_by(one, together[:1], calibration.rows)[together[0]] for one in (model, whole))
        assert torch.allclose(flow.statistic.products, now.t() @ now / len(now), atol=1e-4)
        assert torch.allclose(flow.crossed, before.t() @ now / len(now), atol=1e-4)
        for name in together:
            replace_weight(model, name, int4_matrix(compressible(model)[name].weight.detach(), Int4Settings()))


def test_an_encoder_is_read_as_well(calibration):
    model = build_model(EncoderConfig(vocabulary=290, context=24, width=32, layers=2, heads=2), seed=0)
    (_, ids), (names, flow) = flows(model, ["embedding", "blocks.1.attention.query"], calibration)
    assert ids is None
    assert names == ["blocks.1.attention.query"]
    assert flow.statistic.tokens == sum(map(len, calibration.rows))


def test_a_layer_wants_the_weight_that_gives_what_it_gave(model, calibration):
    """By least squares over all tokens, but for what keeps the products invertible."""
    whole, name = copy.deepcopy(model), "blocks.1.feed_forward.down"
    for together, flow in flows(model, compressible(model), calibration):
        weight = compressible(model)[together[0]].weight.detach()
        if together == [name]:
            made = wanted(weight, flow)
            break
        for one in together:
            replace_weight(model, one, int4_matrix(compressible(model)[one].weight.detach(), Int4Settings()))
    now, before = (read_by(one, [name], calibration.rows)[name] for one in (model, whole))
    best = torch.linalg.lstsq(now, before @ weight.t()).solution.t()
    lost, least = (torch.linalg.norm(now @ one.t() - before @ weight.t()) for one in (made, best))
    assert lost < 1.05 * least


def test_numbers_that_lie_on_a_grid_stay_there_and_need_no_text(model):
    Int4(rounding="nearest").apply(model, Calibration())
    decompress(model)
    before = copy.deepcopy(model)
    Int4().apply(model, Calibration())
    for name, layer in compressible(before).items():
        assert torch.equal(model.get_submodule(name).weight, layer.weight)


def test_layers_rounded_one_after_the_other_lose_less_than_each_by_itself(model):
    rows = torch.randint(290, (200, 24), generator=torch.Generator().manual_seed(0)).tolist()
    calibration, names = Calibration(rows), [name for name in compressible(model) if name.startswith("blocks.")]
    together, alone = copy.deepcopy(model), copy.deepcopy(model)
    Int4(layers=["blocks.*"]).apply(together, calibration)
    for name, statistic in calibration.statistics(model, names).items():
        weight = compressible(alone)[name].weight.detach()
        replace_weight(alone, name, gptq_matrix(weight, Int4Settings(), statistic))
    tokens = torch.randint(290, (100, 24), generator=torch.Generator().manual_seed(1))
    lost = [torch.linalg.norm(one(tokens) - model(tokens)) for one in (together, alone)]
    assert lost[0] < 0.95 * lost[1]
