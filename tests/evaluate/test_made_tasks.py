import pytest

from malmoi.core.errors import UserError
from malmoi.evaluate.made_tasks import additions, misspellings

WORDS = ["mountain", "river", "forest", "winter", "summer", "harvest", "kingdom", "shepherd", "lantern", "window"]
KOREAN = ["여우가", "옛날에", "사냥꾼", "나무꾼", "호랑이", "도깨비", "어머니", "아버지", "할머니", "바닷가에"]


def test_additions_are_right_different_and_made_by_the_seed():
    made = additions(200, seed=1)
    assert all(eval(one.input) == int(one.output) for one in made)
    assert len({one.input for one in made}) == 200
    assert made == additions(200, seed=1) != additions(200, seed=2)
    with pytest.raises(UserError, match=r"8,100 additions"):
        additions(8_101, seed=1)


@pytest.mark.parametrize("words", [WORDS, KOREAN])
def test_a_misspelling_is_one_slip_away_from_a_real_word(words):
    made = misspellings([" ".join(words)] * 2, 5, seed=0)
    for one in made:
        assert one.output in words
        assert one.input not in words
        swapped = sorted(one.input) == sorted(one.output)
        left_out = len(one.input) == len(one.output) - 1
        assert swapped or left_out
        assert one.input[0] == one.output[0]
    assert made == misspellings([" ".join(words)] * 2, 5, seed=0)


def test_names_rare_and_short_words_are_left_alone():
    with pytest.raises(UserError, match=r"hold 0 words .* of 1"):
        misspellings(["Berlin Berlin seldom cat cat 여우 여우"], 1, seed=0)
