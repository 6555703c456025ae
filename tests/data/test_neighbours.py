"""Vectors from counting: alike for tokens that stand among the same others, in either language."""

import numpy as np
import pytest
import torch

from malmoi.data.neighbours import WINDOW, neighbour_vectors

END, SIZE = 0, 40


def documents(*rows):
    return np.concatenate([np.array([*row, END], dtype=np.uint16) for row in rows])


def likeness(vectors, one, other):
    return float(torch.cosine_similarity(vectors[one], vectors[other], dim=0))


def mixed_text():
    """Tokens 2 and 3 stand among 10 to 14, token 4 among 20 to 24."""
    chance = np.random.default_rng(0)
    around = {2: 10, 3: 10, 4: 20}
    rows = []
    for _ in range(300):
        middle = int(chance.choice(list(around)))
        first = around[middle]
        rows.append([*chance.integers(first, first + 5, 2), middle, *chance.integers(first, first + 5, 2)])
    return documents(*rows)


def test_tokens_with_the_same_neighbours_are_alike():
    vectors = neighbour_vectors([mixed_text()], SIZE, 8, END, seed=0)
    assert vectors.shape == (SIZE, 8)
    assert likeness(vectors, 2, 3) > 0.9
    assert likeness(vectors, 2, 4) < 0.2


def test_products_are_the_information_that_was_counted():
    text = mixed_text()
    vectors = neighbour_vectors([text], SIZE, SIZE, END, seed=0)
    expected = np.zeros((SIZE, SIZE))
    numbers = np.cumsum(text == END)
    for here in range(len(text)):
        for there in range(max(0, here - WINDOW), min(len(text), here + WINDOW + 1)):
            if here != there and END not in text[[here, there]] and numbers[here] == numbers[there]:
                expected[text[here], text[there]] += 1
    alone = expected.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nan_to_num(np.log(expected * expected.sum() / np.outer(alone, alone)), neginf=0).clip(0)
    values, directions = np.linalg.eigh(information)
    absolute = torch.from_numpy(directions @ np.diag(np.abs(values)) @ directions.T).float()
    products = vectors @ vectors.mT
    torch.testing.assert_close(products / products.norm(), absolute / absolute.norm(), rtol=1e-3, atol=1e-4)


def test_what_has_no_neighbours_is_zero_and_the_rest_has_a_size_of_one():
    vectors = neighbour_vectors([mixed_text(), documents([7])], SIZE, 8, END, seed=0)
    assert not vectors[[END, 7, 39]].any()
    assert vectors.square().mean().sqrt() == pytest.approx(1, abs=0.01)


def test_the_same_text_gives_the_same_numbers():
    one, other = (neighbour_vectors([mixed_text()], SIZE, 8, END, seed=3) for _ in range(2))
    assert torch.equal(one, other)


def test_a_text_of_one_token_and_a_small_vocabulary_are_nothing_special():
    assert not neighbour_vectors([documents([5])], SIZE, 64, END, seed=0).any()


def test_korean_words_of_one_kind_are_alike():
    sentences = ["여우 가 숲 에서 달렸다", "늑대 가 숲 에서 달렸다", "사과 는 달고 맛있다", "배 는 달고 맛있다"] * 20
    names = ["", *dict.fromkeys(" ".join(sentences).split())]
    text = documents(*([names.index(word) for word in sentence.split()] for sentence in sentences))
    vectors = neighbour_vectors([text], len(names), 6, END, seed=0)
    fox, wolf, apple = (names.index(word) for word in ("여우", "늑대", "사과"))
    assert likeness(vectors, fox, wolf) > 0.9
    assert likeness(vectors, fox, apple) < 0.2
