"""Near duplicates: the estimate follows theory, planted copies are found, and nothing else is."""

import random

import numpy as np
import pytest

from malmoi.corpus.duplicates import BANDS, ROWS, band_keys, first_of_equal, jaccard, near_duplicates, signature
from malmoi.corpus.shingles import characters, mix_bits, runs, shingles

WORDS = [f"{beginning}{middle}{end}" for beginning in ("말", "글", "솜", "달") for middle in "가나다라마바사아" for end in
         ("을", "이", "에서", "까지", "")]  # fmt: skip


def similarity(one, other):
    return jaccard(*map(np.unique, shingles([one, other])))


def find(texts, threshold=0.8):
    keys = band_keys(texts)
    return near_duplicates(
        (keys[:, band] for band in range(BANDS)), np.arange(len(texts)), texts.__getitem__, threshold
    )


def write(make, count):
    return " ".join(make.choices(WORDS, k=count))


def test_the_estimate_is_within_three_sigma_of_theory():
    """Binomial: of the squared deviations over the variance the mean is 1, and 0.3 % are beyond three sigma."""
    make = np.random.default_rng(7)
    deviations = []
    for _ in range(400):
        size = int(make.integers(50, 500))
        items = make.integers(0, 1 << 64, size, dtype=np.uint64)
        shared = int(size * make.uniform(0.1, 0.9))
        middle = (shared + size) // 2
        one, other = items[:middle], np.concatenate([items[:shared], items[middle:]])
        estimate, true = (signature(one) == signature(other)).mean(), shared / size
        deviations.append((estimate - true) / np.sqrt(true * (1 - true) / (BANDS * ROWS)))
    assert abs(np.mean(deviations)) < 3 / np.sqrt(400)
    assert np.mean(np.square(deviations)) == pytest.approx(1, abs=0.25)
    assert np.mean(np.abs(deviations) > 3) < 0.02


def test_planted_copies_are_found_and_nothing_else():
    make = random.Random(3)
    texts = [write(make, 120) for _ in range(300)]
    for original in range(60):
        words = texts[original].split()
        words[make.randrange(len(words))] = "바꾼말"
        texts.append(" ".join(words))
    found = find(texts)
    assert {number: like.first for number, like in found.items()} == {300 + number: number for number in range(60)}


def test_what_is_like_what_is_like_the_first_belongs_to_it():
    make = random.Random(5)
    words = [write(make, 1) + str(number) for number in range(200)]
    chain = [" ".join(words[start : start + 150]) for start in (0, 9, 18)]
    assert similarity(chain[0], chain[2]) < 0.8 < similarity(chain[0], chain[1])
    assert {number: like.first for number, like in find(chain).items()} == {1: 0, 2: 0}


def test_a_shared_band_without_similarity_is_no_duplicate():
    columns = (np.zeros(2, np.uint64) for _ in range(BANDS))
    assert near_duplicates(columns, np.arange(2), ["하나의 글이다", "아주 다른 말이다"].__getitem__, 0.8) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("분석 은 말모이 에서 시작 했다. " * 9, "분석은 말모이에서 시작했다. " * 9),
        ("Gathered WORDS make a dictionary for everyone", "gathered words  make a\ndictionary for everyone"),
        ("한글", "한글"),
    ],
)
def test_spacing_of_korean_case_and_composition_do_not_matter(one, other):
    assert similarity(one, other) == 1


def test_particles_change_few_shingles_of_characters():
    text = " ".join(f"학교{number}에서 친구를 만나" for number in range(60))
    assert similarity(text, text.replace("친구를", "친구", 5)) > 0.85


def test_runs_are_the_same_wherever_they_stand():
    items = mix_bits(characters("가나다라마바사아자차카타파하"))
    for length in (1, 3, 14):
        slow = [runs(items[start : start + length], length)[0] for start in range(len(items) - length + 1)]
        assert runs(items, length).tolist() == slow


def test_many_texts_at_a_time_have_the_shingles_of_each():
    texts = ["말은 모으고 글은 나눕니다 그리고 또", "", "gathered words make a dictionary for everyone", "é une", "말"]
    alone = [shingles([text])[0].tolist() for text in texts]
    assert [one.tolist() for one in shingles(texts)] == alone


def test_a_text_shorter_than_a_shingle_is_one():
    assert [len(one) for one in shingles(["말모이", "two words", ""])] == [1, 1, 0]


def test_the_first_of_equal_digests_stays():
    digests = np.array([b"b" * 16, b"a" * 16, b"b" * 16, b"a" * 15 + b"\0"], "S16")
    assert first_of_equal(digests).tolist() == [0, 1, 0, 3]


def test_pages_of_one_template_are_not_compared_all_with_all():
    texts = [
        f"{number}번 글은 {'가나다라마바사'[number % 7] * 30} 따로 쓴 글이다 {number * 7919}" for number in range(300)
    ]
    asked = []

    def text(number):
        asked.append(number)
        return texts[number]

    keys = np.zeros(len(texts), np.uint64)
    near_duplicates(iter([keys]), np.arange(len(texts)), text, 1.0)
    assert len(asked) < 300 * 17
