"""Images are scaled without losing what is on them, and split by class."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.data.images import check_room, few_of_each, scaled, split_images

LABELS = torch.tensor([0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1])


def test_scaling_up_and_down_gives_the_image_back():
    slope = torch.arange(0, 64, 8, dtype=torch.uint8) + torch.arange(8, dtype=torch.uint8)[:, None]
    large = scaled(slope[None, None], 28, 1)
    back = scaled(large, 8, 1)[0, 0].int()
    assert large.shape == (1, 1, 28, 28)
    assert (back - slope.int()).abs().amax() <= 2


def test_the_middle_square_is_taken():
    wide = torch.zeros(1, 1, 4, 10, dtype=torch.uint8)
    wide[..., 3:7] = 200
    assert scaled(wide, 4, 1).unique().tolist() == [200]


def test_colours_become_grey_and_grey_becomes_colours():
    red = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    red[:, 0] = 255
    assert scaled(red, 4, 1).unique().tolist() == [76]
    assert torch.equal(scaled(scaled(red, 4, 1), 4, 3)[:, 2], scaled(red, 4, 1)[:, 0])


def test_every_class_gives_its_share_and_no_image_is_on_both_sides():
    rest, held = split_images(LABELS, 0.2, seed=0, purpose="testing")
    assert sorted(rest + held) == list(range(15))
    assert LABELS[held].bincount().tolist() == [1, 2]
    assert split_images(LABELS, 0.2, seed=0, purpose="testing") == (rest, held)


def test_another_seed_and_another_purpose_draw_others():
    splits = [split_images(LABELS, 0.4, seed, purpose)[1] for seed, purpose in ((0, "a"), (1, "a"), (0, "b"))]
    assert splits[0] not in splits[1:]


def test_a_class_too_small_for_its_share_is_named():
    with pytest.raises(UserError, match="Class number 0 has 5 images; 1% of them are none"):
        split_images(LABELS, 0.01, seed=0, purpose="testing")


def test_a_few_of_each_class_are_drawn():
    assert LABELS[few_of_each(LABELS, 3, seed=0)].bincount().tolist() == [3, 3]
    with pytest.raises(UserError, match="has 5 images to learn from, not 6"):
        few_of_each(LABELS, 6, seed=0)


def test_more_images_than_memory_holds_are_refused():
    with pytest.raises(UserError, match="1,000,000,000 images of 224 x 224"):
        check_room(1_000_000_000, 224, 3)
