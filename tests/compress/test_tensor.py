"""A train of small tensors for a matrix: as many numbers as the formula says, and the matrix itself at full rank."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from malmoi.compress.calibration import Calibration
from malmoi.compress.methods.tensor import Tensor
from malmoi.compress.tensor_train import largest_rank, tensor_train
from malmoi.core.errors import UserError
from malmoi.data.batch import TextBatch
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.layers.matrices.tensor_train import TensorTrainSettings, bases, divisors, full_ranks
from malmoi.objectives.causal import Causal

TOKENS = torch.randint(290, (2, 12), generator=torch.Generator().manual_seed(3))


def weight(outputs, inputs):
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0))


def size(train):
    return sum(core.numel() for core in train.cores)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("shape", "length"), [((290, 32), 3), ((64, 96), 2), ((31, 24), 4), ((290, 7), 3)])
def test_the_full_rank_is_the_matrix_itself(shape, length, weighted):
    matrix, worth = weight(*shape), torch.linspace(1, 100, shape[0]) if weighted else None
    train = tensor_train(matrix, TensorTrainSettings(rank=max(full_ranks(*shape, length)), length=length), worth)
    torch.testing.assert_close(train.dense(), matrix, rtol=1e-5, atol=1e-5)


def test_no_tensor_is_much_larger_than_another():
    train = tensor_train(40 * weight(290, 32), TensorTrainSettings(rank=8))
    sizes = [float(core.detach().square().mean().sqrt()) for core in train.cores]
    assert max(sizes) < 8 * min(sizes)


@pytest.mark.parametrize("rank", [4, 8, 16])
def test_the_numbers_are_those_of_the_formula(rank):
    train = tensor_train(weight(512, 2048), TensorTrainSettings(rank=rank))
    rows, columns, ranks = (8, 8, 8), (8, 16, 16), (1, rank, rank, 1)
    assert size(train) == sum(ranks[k] * rows[k] * columns[k] * ranks[k + 1] for k in range(3))


@pytest.mark.parametrize("rank", [1, 5, 28])
@pytest.mark.parametrize("count", [3, 100])
def test_rows_and_products_are_those_of_the_dense_matrix(rank, count):
    train = tensor_train(weight(290, 32), TensorTrainSettings(rank=rank))
    index = torch.randint(290, (count, 2), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(train.rows(index), train.dense()[index])
    hidden = weight(count, 32)
    torch.testing.assert_close(train.multiply(hidden), F.linear(hidden, train.dense()), rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_dense_matrix():
    train = tensor_train(weight(290, 32), TensorTrainSettings(rank=6))
    wanted = torch.autograd.grad(train.dense()[TOKENS].square().sum(), list(train.cores))
    ours = torch.autograd.grad(train.rows(TOKENS).square().sum(), list(train.cores))
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_higher_rank_is_nearer():
    matrix = weight(128, 64)
    errors = [
        float((matrix - tensor_train(matrix, TensorTrainSettings(rank=rank)).dense()).detach().norm())
        for rank in (2, 8, 24)
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(("number", "length"), [(32_000, 3), (50_257, 3), (290, 2), (7, 3), (1, 2)])
def test_bases_are_nearly_equal_and_waste_little(number, length):
    found = bases(number, length)
    assert number <= math.prod(found) <= 1.1 * number + length
    assert math.prod(divisors(number, length)) == number


def test_a_share_of_the_numbers_is_kept(model, tokenizer, tmp_path):
    before = model.embedding.weight.numel()
    Tensor(keep=0.25).apply(model, Calibration())
    assert 0.2 * before < size(model.embedding.matrix) <= 0.25 * before
    assert model.head.weight.shape == (290, 32)  # still tied
    save_checkpoint(tmp_path / "model", model, tokenizer, "")
    loaded = load_checkpoint(tmp_path / "model").language_model
    assert torch.equal(loaded.logits(TOKENS), model.logits(TOKENS))


def test_tokens_that_are_read_keep_most(model):
    before, plain = model.embedding.weight.detach().clone(), copy.deepcopy(model)
    Tensor(keep=0.25).apply(plain, Calibration())
    Tensor(keep=0.25).apply(model, Calibration([list(range(40))] * 100))
    lost, lost_plain = ((before - one.embedding.weight)[:40].norm() for one in (model, plain))
    assert lost < 0.8 * lost_plain


def test_the_train_learns(model):
    Tensor(keep=0.25).apply(model, Calibration())
    Causal().loss(model, TextBatch(TOKENS[:, :-1], TOKENS[:, 1:])).total.backward()
    assert all(core.grad.any() for core in model.embedding.matrix.cores)


def test_feed_forward_layers_can_be_trains_too(model):
    Tensor(layers=["blocks.*.feed_forward.*"], keep=0.9).apply(model, Calibration())
    assert model.logits(TOKENS).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 10_000}, "embedding is 290 x 32: .* rank 10,000 .* Take a rank from 1 to"),
        ({"keep": 0.001}, "no smaller form .* Raise keep"),
    ],
)
def test_ranks_that_cannot_be_are_refused(model, settings, words):
    with pytest.raises(UserError, match=words):
        Tensor(**settings).apply(model, Calibration())


def test_the_largest_rank_fits_and_the_next_does_not():
    rank = largest_rank(290, 32, 3, 2000)
    fits, too_many = (size(tensor_train(weight(290, 32), TensorTrainSettings(rank=one))) for one in (rank, rank + 1))
    assert fits <= 2000 < too_many
