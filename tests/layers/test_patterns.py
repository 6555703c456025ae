"""Patterns against their formulas, as text and back, and what they refuse."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.layers.pattern import FULL
from malmoi.layers.pattern_text import parse_pattern
from malmoi.layers.patterns import CAUSAL, Documents, Global, Stride, Window

FORMULAS = {
    "full": lambda q, k: True,
    "causal": lambda q, k: k <= q,
    "window(3)": lambda q, k: abs(q - k) < 3,
    "window(3, dilation=2)": lambda q, k: abs(q - k) in (0, 2, 4),
    "stride(4)": lambda q, k: (q - k) % 4 == 0,
    "blocks(4)": lambda q, k: q // 4 == k // 4,
    "fixed(4)": lambda q, k: k % 4 == 3,
    "fixed(4, summary=2)": lambda q, k: k % 4 >= 2,
    "global(0, 5)": lambda q, k: q in (0, 5) or k in (0, 5),
    "causal & window(3)": lambda q, k: 0 <= q - k < 3,
    "causal & (window(3) | global(0))": lambda q, k: k <= q and (q - k < 3 or k == 0),
    "causal & window(3) | global(0)": lambda q, k: 0 <= q - k < 3 or k == 0 or q == 0,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_a_pattern_is_its_formula_and_its_text(text):
    pattern = parse_pattern(text)
    wanted = torch.tensor([[FORMULAS[text](q, k) for k in range(11)] for q in range(11)])
    assert torch.equal(pattern.dense(11, 11), wanted)
    assert torch.equal(pattern.dense(3, 11), wanted[8:])
    assert str(pattern) == text
    assert parse_pattern(str(pattern)) == pattern


@pytest.mark.parametrize("text", FORMULAS)
def test_a_pattern_knows_how_far_it_reaches(text):
    pattern, places = parse_pattern(text), torch.arange(11)
    distance = places - places[:, None]
    near = (distance >= -pattern.back) & (distance <= pattern.ahead)
    everywhere = torch.isin(places, torch.tensor(pattern.globals, dtype=torch.int64))
    assert not (pattern.dense(11, 11) & ~near & ~everywhere & ~everywhere[:, None]).any()
    if pattern.sees_itself:
        assert pattern.dense(11, 11).diagonal().all()


def test_documents_differ_by_row():
    pattern = CAUSAL & Documents()
    mask = pattern.dense(4, 4, documents=torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]))
    assert mask.shape == (2, 4, 4)
    assert mask[:, 3].tolist() == [[False, False, True, True], [False, True, True, True]]
    with pytest.raises(UserError, match="which document each token belongs to"):
        pattern.dense(4, 4)


def test_two_strided_hops_reach_every_earlier_token():
    strided = [(CAUSAL & one).dense(16, 16).long() for one in (Window(4), Stride(4))]
    assert torch.equal((strided[1] @ strided[0]) > 0, CAUSAL.dense(16, 16))


def test_everything_adds_nothing():
    assert (CAUSAL & FULL, FULL & CAUSAL) == (CAUSAL, CAUSAL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("window(0)", "window\\(0\\): size must be at least 1. A window counts the token itself"),
        ("stride(0)", "size must be at least 1"),
        ("global(5, 3)", "do not rise"),
        ("global(3, 3)", "do not rise"),
        ("global()", "names no positions"),
        ("global(one)", "'one' stands where a number should"),
        ("fixed(2, summary=3)", "no 3 last tokens"),
        ("widow(3)", "Did you mean 'window'"),
        ("window", "window needs its size"),
        ("window(3, 1, 1)", "takes 2 numbers, not 3"),
        ("window(3, reach=1)", "knows no 'reach', but size, dilation"),
        ("window(3", "\\) is missing|, is missing"),
        ("window(3) |", "a pattern is missing at the end"),
        ("window(3) 4", "'4' is too much"),
        ("window(-3)", "'-' at character 8 has no meaning"),
        ("창(3)", "'창' at character 1 has no meaning"),
        ("", "a pattern is missing at the end"),
        ("(" * 190, "missing at the end"),
        ("window(3) | " * 50, "characters is none"),
    ],
)
def test_what_is_no_pattern_is_refused_in_a_sentence(text, words):
    with pytest.raises(UserError, match=words):
        parse_pattern(text)


def test_global_positions_are_checked_where_they_are_made():
    with pytest.raises(UserError, match="below 0"):
        Global((-1, 2))
