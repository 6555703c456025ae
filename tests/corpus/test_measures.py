"""Measures against texts whose values are known by hand, and the fast ones against slow ones."""

import random

import pytest

from malmoi.corpus import measures
from malmoi.corpus.measures import Text


@pytest.mark.parametrize(
    ("measure", "text", "expected"),
    [
        (measures.words, "말모이는 낱말을 모은다", 3),
        (measures.mean_word, "가나다 abcde", 4),
        (measures.letters, "가나 12", 0.5),
        (measures.letters, "𝒜가", 0.5),
        (measures.symbols, "하나 | 둘 ...", 0.5),
        (measures.replaced, "가\ufffd나다", 0.25),
        (measures.short_lines, "짧은 줄\n\n이 줄은 스무 글자보다 훨씬 더 긴 줄입니다", 0.5),
        (measures.bullet_lines, "- 하나\n2. 둘\n셋\n넷", 0.5),
        (measures.ellipsis_lines, "그리고...\n끝", 0.5),
        (measures.sentence_ends, '그는 "왔다." 갔다. 3.5', 0.5),
        (measures.duplicate_lines, "같은 줄\n다른 줄\n같은 줄\n같은 줄", 0.5),
        (measures.lorem_ipsum, "Lorem ipsum 은 글이", 0.5),
        (measures.stop_words, "The house of stone", 0.5),
        (measures.particles, "여우가 곰에게 Python을 물었다. 왜", 3 / 5),
        (measures.distinct_words, "가 나 " * 50, 0.2),
        (measures.long_runs, "가 " + "a" * 60, 60 / 61),
        (measures.long_runs, "가나다라마바사" * 20, 0),
        (measures.top_gram(2), "가 나 다 가 나 라", 4 / 6),
        (measures.duplicate_grams(5), "가 나 다 라 마 가 나 다 라 마", 0.5),
        (measures.duplicate_grams(5), "가 나 다 라", 0),
    ],
)
def test_a_measure_is_what_one_counts_by_hand(measure, text, expected):
    assert measure(Text(text)) == pytest.approx(expected)


@pytest.mark.parametrize("size", [2, 4, 5])
def test_n_grams_are_equal_where_their_words_are(size):
    make = random.Random(size)
    text = Text(" ".join(make.choices(["가", "나", "ab", "c"], k=300)))
    slow = [tuple(text.words[at : at + size]) for at in range(len(text.words) - size + 1)]
    assert (
        len(set(zip(slow, text.grams[size].tolist(), strict=True)))
        == len(set(slow))
        == len(set(text.grams[size].tolist()))
    )


def test_duplicate_n_grams_are_counted_once_as_the_slow_way_does():
    text = Text(" ".join(random.Random(1).choices(["가", "나다", "abc"], k=200)))
    seen, covered = set(), set()
    for at in range(len(text.words) - 4):
        gram = tuple(text.words[at : at + 5])
        if gram in seen:
            covered |= set(range(at, at + 5))
        seen.add(gram)
    expected = sum(len(text.words[at]) for at in covered) / text.visible
    assert measures.duplicate_grams(5)(text) == pytest.approx(expected)
