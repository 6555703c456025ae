"""The order of the data is a permutation that can be asked for any place."""

import numpy as np
import pytest

from malmoi.data.order import permute


def images(size: int, key: str = "0/tales/0") -> list[int]:
    return permute(np.arange(size, dtype=np.uint64), size, key).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 255, 1_000, 4_097])
def test_every_place_comes_once(size):
    assert sorted(images(size)) == list(range(size))


def test_one_place_alone_has_the_image_it_has_among_all():
    whole = images(777)
    assert [permute(np.array([place], dtype=np.uint64), 777, "0/tales/0")[0] for place in (0, 5, 776)] == [
        whole[place] for place in (0, 5, 776)
    ]


def test_another_key_is_another_order():
    assert images(1_000) != images(1_000, "0/tales/1")
    assert images(1_000) == images(1_000)


def test_the_order_is_shuffled():
    """Neighbours of a random permutation of n are n / 3 apart in the mean, and few places stay where they are."""
    order = np.array(images(3_000))
    assert 850 < np.abs(np.diff(order)).mean() < 1_150
    assert (order == np.arange(3_000)).sum() < 10


def test_the_order_never_changes_between_versions():
    assert images(10, "seed") == [0, 9, 4, 2, 1, 3, 8, 6, 7, 5]
