"""The loss of classes of images is the sum of the logarithms; movement is for training alone."""

import torch
from torch import nn

from malmoi.data.batch import IGNORED
from malmoi.data.images import ImageBatch
from malmoi.objectives.image_class import ImageClass, moved_images

IMAGES = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def flat_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 2))


def test_it_is_a_sum_over_known_labels():
    model, batch = flat_model(), ImageBatch(IMAGES, torch.tensor([0, 1, IGNORED]))
    loss = ImageClass().loss(model, batch)
    logarithms = torch.log_softmax(model(IMAGES), -1)
    torch.testing.assert_close(loss.total, -logarithms[0, 0] - logarithms[1, 1])
    right = (logarithms.argmax(-1)[:2] == torch.tensor([0, 1])).sum()
    assert (int(loss.count), int(loss.metrics["correct"])) == (2, int(right))


def test_images_move_only_while_a_model_trains():
    model, batch = flat_model(), ImageBatch(IMAGES, torch.tensor([0, 1, 1]))
    still = ImageClass().loss(model, batch).total
    moved = ImageClass(moved=0.2).loss(model, batch).total
    watched = ImageClass(moved=0.2).loss(model.eval(), batch).total
    assert not torch.equal(moved, still)
    torch.testing.assert_close(watched, still)


def test_no_movement_leaves_every_pixel_where_it_is():
    torch.testing.assert_close(moved_images(IMAGES, 0.0), IMAGES, atol=1e-5, rtol=0)


def test_chance_decides_and_the_seed_decides_chance():
    moved = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        moved.append(moved_images(IMAGES, 0.1))
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
