"""Muon against its definition: the nearest orthogonal matrix by singular values."""

import pytest
import torch

from malmoi.train.muon import Muon, orthogonalize

SHAPES = [(6, 6), (4, 9), (9, 4), (1, 5)]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_become_near_one_and_vectors_stay(shape):
    matrices = random(3, *shape)
    result = orthogonalize(matrices)
    assert result.shape == matrices.shape
    for matrix, made in zip(matrices, result, strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        kept = values > 0.05 * values.max()
        along = (left.T @ made @ right.T).diagonal()
        assert ((along[kept] > 0.6) & (along[kept] < 1.3)).all()
        rest = left.T @ made @ right.T - torch.diag(along)
        assert rest.abs().max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_in_the_format_of_the_training(shape):
    matrices = random(3, *shape)
    with torch.autocast("cpu", torch.bfloat16):
        short = orthogonalize(matrices)
    assert short.dtype == torch.float32
    assert torch.equal(short, short.bfloat16().float())
    torch.testing.assert_close(short, orthogonalize(matrices), atol=0.1, rtol=0)


def test_many_steps_of_the_slow_way_agree():
    """Björck and Bowie's cubic converges to U V^T exactly; Jordan's quintic points the same way."""
    matrix = random(5, 8)
    x = matrix / matrix.norm()
    for _ in range(40):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(x, left @ right, atol=1e-4, rtol=0)
    made = orthogonalize(matrix[None])[0]
    assert torch.nn.functional.cosine_similarity(made.flatten(), x.flatten(), 0) > 0.97


@pytest.mark.parametrize("rank", [3, 16])
def test_flat_matrices_are_iterated_on_their_gram_matrix_to_the_same_end(rank):
    flat = random(2, 16, rank) @ random(2, rank, 64) + 1e-4 * random(2, 16, 64)
    small, exact = orthogonalize(flat), orthogonalize(flat.double())  # in float64 the matrix itself is iterated on
    torch.testing.assert_close(small.double(), exact, atol=1e-4, rtol=0)
    assert torch.equal(orthogonalize(flat.mT), small.mT)


def test_a_stack_is_each_matrix_alone():
    stack = random(4, 7, 5)
    torch.testing.assert_close(orthogonalize(stack), torch.cat([orthogonalize(m[None]) for m in stack]))


def test_zero_stays_zero():
    assert orthogonalize(torch.zeros(2, 3, 4)).abs().max() == 0


def test_a_step_is_the_written_out_rule():
    parameter = torch.nn.Parameter(random(6, 4))
    optimizer = Muon([parameter], learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    momentum, expected = torch.zeros(6, 4), parameter.detach().clone()
    for step in range(3):
        gradient = random(6, 4) * (step + 1) + step
        parameter.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        direction = 0.1 * gradient + 0.9 * momentum
        update = orthogonalize(direction[None])[0] * (6 / 4) ** 0.5
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * update
        torch.testing.assert_close(parameter.detach(), expected)


def test_matrices_of_one_shape_are_updated_as_each_alone():
    together = [torch.nn.Parameter(random(6, 4) + shift) for shift in range(3)]
    alone = [torch.nn.Parameter(parameter.detach().clone()) for parameter in together]
    optimizers = [Muon(together, 0.1), *(Muon([parameter], 0.1) for parameter in alone)]
    for number, parameter in enumerate((*together, *alone)):
        parameter.grad = random(6, 4) * (number % 3 + 1) + number % 3
    for optimizer in optimizers:
        optimizer.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_parameters_without_gradient_stay():
    parameter = torch.nn.Parameter(random(3, 3))
    before = parameter.detach().clone()
    Muon([parameter], 0.1, weight_decay=1).step()
    assert torch.equal(parameter.detach(), before)
