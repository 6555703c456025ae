"""What is reckoned from a loss."""

import math

import pytest

from malmoi.train.result import perplexity


@pytest.mark.parametrize(("loss", "expected"), [(math.log(7), 7), (None, None), (1_000.0, None), (math.nan, None)])
def test_perplexity_is_none_where_no_number_can_say_it(loss, expected):
    assert perplexity(loss) == (expected and pytest.approx(expected))
