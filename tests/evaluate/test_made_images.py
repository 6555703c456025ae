"""Figures of made images know copies from originals, and variety from its lack."""

import torch

from malmoi.data.images import ImageSet
from malmoi.evaluate.made_images import gaussian_images, mean_images, score_made
from malmoi.models.image_classifier import new_image_classifier
from malmoi.models.image_cnn import CNNConfig
from malmoi.models.image_registry import build_image_model

PIXELS = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LEARNED = ImageSet(PIXELS, torch.arange(20) % 2, ["a", "b"], [str(number) for number in range(20)])
JUDGE = new_image_classifier(build_image_model(CNNConfig(size=8, filters=(2, 2), width=4), 0), ["a", "b"], 0)


def test_copies_are_real_and_at_no_distance():
    score = score_made(JUDGE, PIXELS, PIXELS, sure=0.5)
    assert (score.real, score.variety, score.nearest) == (1, 1, 0)


def test_the_same_image_again_and_again_is_real_and_covers_no_other():
    score = score_made(JUDGE, PIXELS[:1].expand(6, -1, -1, -1), PIXELS, sure=0.5)
    assert score.real == 1
    assert round(score.variety, 6) == 1 / 20


def test_what_is_far_from_everything_is_not_real():
    score = score_made(JUDGE, torch.zeros_like(PIXELS), PIXELS, sure=0.5)
    assert (score.real, score.variety) == (0, 0)


def test_distance_is_the_root_of_the_mean_square():
    black, grey = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.full((4, 1, 8, 8), 51, dtype=torch.uint8)
    assert abs(score_made(JUDGE, black, grey, sure=0.5).nearest - 0.2) < 1e-6


def test_no_image_is_sure_beyond_a_probability_of_one():
    score = score_made(JUDGE, PIXELS, PIXELS, sure=1.1)
    assert score.sure == 0
    assert sum(score.shares) == 1


def test_controls_have_as_many_of_every_class_with_its_means():
    drawn, means = gaussian_images(LEARNED, 401, seed=0), mean_images(LEARNED, 401, seed=0)
    assert len(drawn) == len(means) == 401
    assert len(means.unique(dim=0)) == 2
    assert abs(drawn.float().mean() - PIXELS.float().mean()) < 10
    assert torch.equal(drawn, gaussian_images(LEARNED, 401, seed=0))


def test_one_image_alone_has_no_neighbours():
    score = score_made(JUDGE, PIXELS[:1], PIXELS, sure=0.5)
    assert (score.real, round(score.variety, 6)) == (1, 1 / 20)


def test_of_many_images_that_stand_class_by_class_all_classes_are_compared():
    black, white = torch.zeros(400, 1, 8, 8, dtype=torch.uint8), torch.full((400, 1, 8, 8), 255, dtype=torch.uint8)
    score = score_made(JUDGE, white, torch.cat([black, white]), sure=0.5)
    assert score.real == 1
    assert abs(score.variety - 0.5) < 0.01
