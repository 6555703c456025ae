"""Harmful words by stem; decent words that begin like them stay, and one word decides nothing."""

import base64

import pytest

from malmoi.corpus.document import Document
from malmoi.corpus.harmful import HarmfulFilter, harmful_words
from malmoi.corpus.step import Verdict
from malmoi.corpus.words import word_lists

KOREAN, ENGLISH = (base64.b64decode(word).decode() for word in ("7JSo67Cc", "c2hpdA=="))  # as in words.yaml


@pytest.mark.parametrize("ending", ["", "이다", "이라고", "들은", "!"])
def test_inflected_words_are_found(ending):
    assert len(harmful_words(f"너는 {KOREAN}{ending} 그만해")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "시발점에서 시발역까지",
        "끝까지 보지 못하고, 보지 않고, 해 보지도 않고",
        "잠을 자지 못했다",
        "자위대와 자위권",
        "Scunthorpe United, Shittim wood, pussycat, flame retardants",
    ],
)
def test_decent_words_are_no_match(text):
    assert harmful_words(text) == []


def test_every_exception_begins_with_its_stem():
    wrong = [
        decent
        for stem, exceptions in word_lists().harmful.items()
        for decent in exceptions
        if not decent.startswith(base64.b64decode(stem).decode())
    ]
    assert wrong == []


def test_a_long_text_may_quote_a_word_and_a_page_of_them_is_dropped():
    novel = "그는 조용히 웃으며 길을 걸었다. " * 30 + f'"{KOREAN}" 하고 그가 말했다.'
    page = f"{KOREAN} {ENGLISH} 진짜 " * 10
    assert HarmfulFilter()(Document(novel, "source")).text == novel
    assert HarmfulFilter()(Document(page, "source")) == Verdict("harmful words", 0.6333, "<= 0.01")
