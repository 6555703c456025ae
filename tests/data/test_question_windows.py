"""Windows hold all of a passage, and an answer at the tokens that stand for it."""

import unicodedata

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.data.question_windows import QuestionForm, Windows, learning_windows, tokens_of
from malmoi.data.questions import Question, Span
from malmoi.data.span_batch import NOWHERE, collate_windows
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer
from malmoi.tokenizers.wordpiece import wordpiece
from malmoi.tokenizers.wrapping import BERT, wrap_bert

PASSAGE = "Once a fox lived in the wood. 옛날 옛적에 숲에 여우가 살았습니다. 여우가 곰에게 물었습니다."


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([PASSAGE, "누가 숲에 살았나?"] * 4, TokenizerSettings(vocabulary=300, frame="bert"))


@pytest.fixture
def question():
    start = PASSAGE.index("여우가 살")
    return Question("누가 숲에 살았나?", PASSAGE, (Span(start, start + 2),))


def test_a_window_is_the_question_and_a_stretch_of_the_passage(tokenizer, question):
    (window,) = Windows(tokenizer, QuestionForm(longest=200)).of(question)
    ids, segments = tokenizer.encode_wrapped(question.text, PASSAGE)
    assert (window.tokens.tolist(), window.segments.tolist()) == (ids, segments)


def test_windows_overlap_and_hold_every_token_of_the_passage(tokenizer, question):
    windows = Windows(tokenizer, QuestionForm(longest=36, stride=8)).of(question)
    tokens, _ = tokenizer.encode_with_places(PASSAGE)
    seen = set()
    for number, window in enumerate(windows):
        part = window.tokens[window.first : window.first + len(window.places)].tolist()
        assert part == tokens[8 * number : 8 * number + len(part)]
        assert len(window.tokens) <= 36
        seen |= set(range(8 * number, 8 * number + len(part)))
    assert seen == set(range(len(tokens)))


def test_the_answer_is_where_the_window_holds_it_whole(tokenizer, question):
    windows = Windows(tokenizer, QuestionForm(longest=36, stride=8)).of(question)
    assert NOWHERE in {window.answer for window in windows}
    for window in (window for window in windows if window.answer != NOWHERE):
        first, last = (place - window.first for place in window.answer)
        assert PASSAGE[window.places[first][0] : window.places[last][1]].strip().startswith("여우")


def test_an_answer_may_end_within_a_token():
    assert tokens_of(Span(3, 5), [(0, 3), (3, 6), (6, 8)]) == (1, 1)
    assert tokens_of(Span(9, 10), [(0, 3)]) is None


def test_an_answer_in_letters_of_hangul_is_found_in_its_syllables():
    letters = sorted(set(unicodedata.normalize("NFD", "여우가숲에살았다")))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{one}" for one in letters)]
    backend = wordpiece({word: number for number, word in enumerate(words)}, "[UNK]", {}, "here")
    wrap_bert(backend, BERT.roles, {})
    backend.add_special_tokens(words[:5])
    (window,) = Windows(Tokenizer(backend, BERT.roles), QuestionForm(longest=64)).of(
        Question("여우", "숲에 여우가 살았다.", (Span(3, 5),))
    )
    first, last = (place - window.first for place in window.answer)
    assert (window.places[first][0], window.places[last][1]) == (3, 5)
    assert len(window.places) > 11  # ㅅㅜㅍㅇㅔ and so on


def test_marks_say_what_kind_of_word_a_token_belongs_to(tokenizer, question):
    (window,) = Windows(tokenizer, QuestionForm(longest=200, marks=True)).of(question)
    kinds = {
        PASSAGE[start:end].strip(): int(kind)
        for (start, end), kind in zip(window.places, window.segments[window.first :].tolist(), strict=False)
    }
    assert max(window.segments[: window.first]) == 0
    assert any(kind > 3 for text, kind in kinds.items() if text.startswith("숲"))


def test_a_batch_looks_for_answers_in_the_passage_and_at_the_first_token(tokenizer, question):
    windows = Windows(tokenizer, QuestionForm(longest=48, stride=20)).of(question)
    batch = collate_windows(windows)
    for row, window in enumerate(windows):
        inside = batch.inside[row].nonzero().flatten().tolist()
        assert inside == [0, *range(window.first, window.first + len(window.places))]
    torch.testing.assert_close(batch.starts, torch.tensor([window.answer[0] for window in windows]))


def test_one_window_is_learned_from_and_sometimes_an_empty_one(tokenizer, question):
    windows = Windows(tokenizer, QuestionForm(longest=36, stride=8)).of(question)
    counts = [[window.answer != NOWHERE for window in learning_windows(windows, number)] for number in range(4)]
    assert counts == [[True, False], [True], [True], [True]]


def test_a_window_without_room_is_refused(tokenizer):
    with pytest.raises(UserError, match="Raise longest"):
        Windows(tokenizer, QuestionForm(longest=8))
