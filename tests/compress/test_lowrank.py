"""Two thin matrices for one: what is lost is the least that can be, and stacks with fewer bits."""

import pytest
import torch

from malmoi.compress.calibration import Calibration
from malmoi.compress.low_rank import factors, share_out
from malmoi.compress.methods.int8 import Int8
from malmoi.compress.methods.lowrank import LowRank
from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.compressed import compressed_layers, compressible, decompress

TOKENS = torch.randint(290, (2, 12), generator=torch.Generator().manual_seed(3))


def linear(model):
    return {name: layer.weight.detach() for name, layer in compressible(model).items() if name.startswith("blocks")}


def output_error(weight, matrix, statistic):
    """Mean square error of what the layer makes of the inputs that were seen."""
    lost = (weight - matrix.dense()).double()
    return (lost @ statistic.products.double() * lost).sum()


def test_no_layer_loses_more_than_by_the_plain_decomposition(model, calibration):
    weights = linear(model)
    statistics = calibration.statistics(model, weights)
    for name, weight in weights.items():
        known = statistics[name]
        plain, whitened = factors(weight, 8), factors(weight, 8, known)
        assert output_error(weight, whitened, known) <= output_error(weight, plain, known) * (1 + 1e-6)


def test_the_plain_decomposition_is_the_nearest_in_its_numbers(model):
    weight = linear(model)["blocks.0.feed_forward.up"]
    lost = torch.linalg.svdvals(weight)[8:].square().sum()
    torch.testing.assert_close((weight - factors(weight, 8).dense()).square().sum(), lost)


@pytest.mark.parametrize("whitened", [True, False])
def test_the_full_rank_is_the_matrix_itself(model, calibration, whitened):
    statistics = calibration.statistics(model, linear(model))
    for name, weight in linear(model).items():
        matrix = factors(weight, min(weight.shape), statistics[name] if whitened else None)
        torch.testing.assert_close(matrix.dense(), weight)
        torch.testing.assert_close(matrix.multiply(weight), weight @ weight.t(), rtol=1e-4, atol=1e-5)


def test_layers_share_what_is_kept(model, calibration):
    before = {name: weight.numel() for name, weight in linear(model).items()}
    LowRank(keep=0.5).apply(model, calibration)
    after = sum(parameter.numel() for name, parameter in model.named_parameters() if name.startswith("blocks"))
    norms = sum(
        parameter.numel() for name, parameter in model.named_parameters() if "norm" in name and "blocks" in name
    )
    assert 0.48 * sum(before.values()) < after - norms <= 0.5 * sum(before.values())
    assert len({layer.matrix.settings.rank for layer in compressed_layers(model).values()}) > 2


def test_a_layer_whose_errors_cost_nothing_keeps_least(calibration, model):
    with torch.no_grad():
        model.blocks[0].attention.output.weight.zero_()  # so that nobody hears of query, key and value
    LowRank(keep=0.5).apply(model, calibration)
    assert model.blocks[0].attention.value.matrix.settings.rank == 1
    assert all(parameter.grad is None for parameter in model.parameters())


def test_ranks_that_are_shared_out_lose_the_least():
    """Against all pairs of ranks of two small layers."""
    first = torch.tensor([9.0, 4.0, 1.0, 0.5]).double(), torch.tensor([2.0, 1.5, 0.2, 0.1]).double()
    found = share_out({"a": (first[0], 8, 8), "b": (first[1], 8, 8)}, 0.5)
    choices = [
        (float(first[0][a:].sum() + first[1][b:].sum()), a, b)
        for a in range(1, 4)
        for b in range(1, 4)
        if 16 * (a + b) <= 0.5 * 128
    ]
    assert (found["a"], found["b"]) == min(choices)[1:]


def test_nothing_that_may_be_kept_is_left_unspent():
    """At any price the large layer is whole or keeps one direction; the small one gets what is left."""
    large, small = torch.tensor([9.0] + [1.0] * 15).double(), torch.linspace(8, 1, 8).double() / 100
    found = share_out({"large": (large, 16, 16), "small": (small, 8, 8)}, 0.7)
    spent = sum(
        size * size if rank is None else 2 * size * rank for size, rank in ((16, found["large"]), (8, found["small"]))
    )
    assert 0.7 * 320 - 32 < spent <= 0.7 * 320


def test_every_layer_keeps_the_same_share_where_that_is_asked_for(model, calibration):
    before = {name: weight.numel() for name, weight in linear(model).items()}
    LowRank(keep=0.5, shared=False).apply(model, calibration)
    for name, layer in compressed_layers(model).items():
        size = sum(parameter.numel() for parameter in layer.parameters())
        assert 0.5 * before[name] - sum(layer.weight.shape) < size <= 0.5 * before[name]


def test_both_matrices_learn(model, calibration):
    LowRank(shared=False).apply(model, calibration)
    model.logits(TOKENS).sum().backward()
    matrix = model.blocks[0].attention.query.matrix
    assert matrix.narrow.weight.grad.any()
    assert matrix.widen.weight.grad.any()


def test_fewer_bits_stack_on_it_and_are_stored(model, calibration, tokenizer, tmp_path):
    LowRank(keep=0.6, layers=["blocks.0.*", "embedding"]).apply(model, calibration)
    LowRank(keep=0.4, layers=["blocks.1.*"]).apply(model, calibration)
    Int8(activations=False).apply(model, Calibration())
    assert isinstance(compressed_layers(model)["blocks.1.attention.query.matrix.widen"].weight, torch.Tensor)
    with torch.no_grad():
        before = model.logits(TOKENS)
        save_checkpoint(tmp_path / "model", model, tokenizer, "")
        loaded = load_checkpoint(tmp_path / "model").language_model
        assert torch.equal(loaded.logits(TOKENS), before)
        decompress(loaded)
        assert not compressed_layers(loaded)
        torch.testing.assert_close(loaded.logits(TOKENS), before, rtol=1e-4, atol=1e-4)


def test_embeddings_make_only_the_rows_that_are_asked_for(model):
    LowRank(layers=["embedding"], rank=5).apply(model, Calibration())
    matrix = model.embedding.matrix
    torch.testing.assert_close(matrix.rows(TOKENS), matrix.dense()[TOKENS])
    assert model.head.weight.shape == (290, 32)  # still tied


def test_a_rank_above_the_full_one_is_refused_before_anything_changes(model, calibration):
    with pytest.raises(UserError, match="blocks.0.attention.query is 32 x 32: .* rank 33 .* from 1 to 15"):
        LowRank(rank=33).apply(model, calibration)
    assert not compressed_layers(model)


def test_a_second_time_is_refused(model, calibration):
    LowRank().apply(model, calibration)
    with pytest.raises(UserError, match="is held as factors already"):
        LowRank(keep=0.5).apply(model, calibration)


def test_a_pattern_that_finds_no_layer_is_refused(model, calibration):
    with pytest.raises(UserError, match="no layer 'block.0.attention.query'.*Did you mean"):
        LowRank(layers=["block.0.attention.query"]).apply(model, calibration)
