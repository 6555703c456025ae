"""Matrices of whole numbers: what they hold, and that every way to multiply with one agrees."""

import copy

import pytest
import torch
from torch.nn import functional as F

from malmoi.compress.rounding import int4_matrix, int8_matrix
from malmoi.core.device import instruction_sets
from malmoi.core.errors import UserError
from malmoi.layers.matrices.int4 import Int4Matrix, Int4Settings
from malmoi.layers.matrices.int8 import Int8Settings
from malmoi.layers.matrices.matrix import stacked
from malmoi.layers.matrices.registry import empty_matrix

WEIGHT = torch.randn(48, 64, generator=torch.Generator().manual_seed(0))
HIDDEN = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(1))
MATRICES = {
    "int8": lambda: int8_matrix(WEIGHT, Int8Settings()),
    "int8-dynamic": lambda: int8_matrix(WEIGHT, Int8Settings(activations=True)),
    "int4": lambda: int4_matrix(WEIGHT, Int4Settings()),
}
every = pytest.mark.parametrize("name", MATRICES)


def relative(one, other):
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(("name", "largest"), [("int8", 0.01), ("int4", 0.1)])
def test_it_stands_for_the_weight(name, largest):
    assert relative(MATRICES[name]().dense(), WEIGHT) < largest


def test_what_has_sixteen_values_a_group_is_held_exactly():
    steps = torch.arange(16.0).repeat(48, 4) * 0.25 - 1
    assert torch.equal(int4_matrix(steps, Int4Settings()).dense(), steps)


@every
@pytest.mark.parametrize("rows", [1, 40])
def test_the_fast_product_is_the_slow_one(name, rows):
    matrix = MATRICES[name]()
    hidden = HIDDEN.view(-1, 64)[:1].expand(rows, -1) * torch.arange(1.0, rows + 1)[:, None]
    assert relative(matrix.multiply(hidden), F.linear(hidden, matrix.dense())) < 0.02


@pytest.mark.skipif("avx512_vnni" not in instruction_sets(), reason="the kernel has seven bits without VNNI")
def test_what_is_multiplied_keeps_eight_bits():
    matrix = MATRICES["int8-dynamic"]()
    exact = F.linear(HIDDEN, matrix.dense())
    rows = [matrix.multiply(row) for row in HIDDEN.view(-1, 1, 64)]
    assert relative(matrix.multiply(HIDDEN), exact) < 0.0085
    assert relative(torch.cat(rows).view(exact.shape), exact) < 0.0085


def test_a_row_is_rounded_by_itself():
    matrix = MATRICES["int8-dynamic"]()
    small, large = HIDDEN[:1, :1], torch.cat([HIDDEN[:1, :1], 1000 * HIDDEN[:1, 1:2]], dim=1)
    assert relative(matrix.multiply(large)[:, :1], matrix.multiply(small)) < 0.05


def test_without_the_kernels_the_product_is_the_same(monkeypatch):
    monkeypatch.delattr(torch, "_make_per_channel_quantized_tensor")
    matrix = MATRICES["int8-dynamic"]()
    assert relative(matrix.multiply(HIDDEN), F.linear(HIDDEN, matrix.dense())) < 0.02


@every
def test_gradients_are_those_of_the_dense_matrix(name):
    matrix = MATRICES[name]()
    through, dense = HIDDEN.clone().requires_grad_(), HIDDEN.clone().requires_grad_()
    matrix.multiply(through).square().sum().backward()
    F.linear(dense, matrix.dense()).square().sum().backward()
    assert torch.allclose(through.grad, dense.grad, rtol=1e-5, atol=1e-5)


@every
def test_rows_are_those_of_the_dense_matrix(name):
    matrix, index = MATRICES[name](), torch.tensor([[3, 0], [47, 3]])
    assert torch.equal(matrix.rows(index), matrix.dense()[index])


@every
def test_its_numbers_stay_when_the_model_changes_its_type(name):
    matrix = MATRICES[name]()
    before = copy.deepcopy(matrix.state_dict())
    after = matrix.bfloat16().state_dict()
    assert all(torch.equal(after[key], before[key]) and after[key].dtype == before[key].dtype for key in before)


def test_rows_that_are_no_whole_groups_are_refused():
    with pytest.raises(UserError, match="not whole groups of 32"):
        Int4Matrix(4, 40, Int4Settings())


def test_an_unknown_kind_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="int8"):
        empty_matrix("int9", 4, 4, {}, "config.json")


@every
def test_stacked_matrices_multiply_as_each_alone(name):
    ones = [MATRICES[name]() for _ in range(2)]
    ones[1].round(2 * WEIGHT.flip(0))
    alone = torch.cat([one.multiply(HIDDEN[:1, :1]) for one in ones], -1)
    assert torch.equal(stacked(ones).multiply(HIDDEN[:1, :1]), alone)


@every
def test_stacked_matrices_hold_nothing_twice_and_are_stacked_once(name):
    ones = [MATRICES[name]() for _ in range(3)]
    before = [{key: value.clone() for key, value in one.state_dict().items()} for one in ones]
    whole = stacked(ones)
    assert stacked(ones) is whole
    assert all(
        torch.equal(one.state_dict()[key], old[key]) for one, old in zip(ones, before, strict=True) for key in old
    )
    assert len({one.codes.untyped_storage().data_ptr() for one in (*ones, whole)}) == 1


@every
def test_replaced_numbers_are_stacked_anew(name):
    ones = [MATRICES[name]() for _ in range(2)]
    whole = stacked(ones)
    ones[1].round(0.5 * WEIGHT)
    assert stacked(ones) is not whole
    assert torch.equal(stacked(ones).dense(), torch.cat([one.dense() for one in ones]))
    assert stacked(ones[:1]) is ones[0]
    assert stacked([ones[1], ones[0]]) is not stacked(ones)


def test_matrices_of_two_kinds_are_not_stacked():
    assert stacked([MATRICES["int8"](), MATRICES["int4"]()]) is None
    assert stacked([MATRICES["int8"](), MATRICES["int8-dynamic"]()]) is None
