"""Answers are scored as SQuAD and KorQuAD score them; the threshold gives up what is worth giving up."""

import pytest
import torch

from malmoi.data.question_windows import QuestionForm, Windows
from malmoi.data.questions import Question, Span
from malmoi.data.span_batch import collate_windows
from malmoi.evaluate.answer_overlap import answer_f1, exact_match
from malmoi.evaluate.question_answers import (
    Found,
    answer_figures,
    best_threshold,
    certainty,
    find_answers,
    without_particle,
)
from malmoi.evaluate.sliding_window import SlidingWindow, fit_sliding_window
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.models.span_finder import SpanFinder
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

PASSAGE = "The fox asked the bear. 여우가 숲에서 곰을 만났다. 말모이는 주시경이 1910년에 엮었다."


@pytest.mark.parametrize(
    ("answer", "wanted", "unit", "match", "f1"),
    [
        ("The Fox!", ["fox"], "word", 1, 1),
        ("a red fox", ["the fox", "bear"], "word", 0, 2 / 3),
        ("", [], "word", 1, 1),
        ("fox", [], "word", 0, 0),
        ("“여우”가", ["여우가"], "character", 0, 6 / 8),  # KorQuAD knows these marks for letters
        ("'여우'", ["여우"], "character", 1, 1),
        ("주시경이", ["주시경"], "character", 0, 6 / 7),
        ("주시경이", ["주시경"], "word", 0, 0),
        ("《말모이》 사전", ["말모이사전"], "character", 0, 1),
    ],
)
def test_answers_are_compared_as_the_data_sets_do(answer, wanted, unit, match, f1):
    assert exact_match(answer, wanted, unit) == match
    assert answer_f1(answer, wanted, unit) == pytest.approx(f1)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([PASSAGE] * 4, TokenizerSettings(vocabulary=300, frame="bert"))


@pytest.fixture(scope="module")
def finder(tokenizer, shake):
    shape = {"layers": 1, "heads": 2, "width": 16, "context": 96, "masked_head": False}
    body = build_model(EncoderConfig(vocabulary=tokenizer.size, **shape), seed=0)
    return shake(SpanFinder(body, QuestionForm(longest=40, stride=10, longest_answer=6)), 0.5)


def test_the_best_span_is_that_of_trying_all(finder, tokenizer):
    question = Question("누가 엮었나?", PASSAGE[:60])
    (found,) = find_answers(finder, tokenizer, [question])
    tried = []
    for window in Windows(tokenizer, finder.form).of(question):
        batch = collate_windows([window])
        scores = finder(batch.tokens, batch.lengths, batch.segments)[0].detach()
        for first in range(len(window.places)):
            for last in range(first, min(first + 6, len(window.places))):
                total = scores[window.first + first, 0] + scores[window.first + last, 1] - scores[0].sum()
                start, end = window.places[first][0], window.places[last][1]
                start += len(question.passage[start:end]) - len(question.passage[start:end].lstrip())
                tried.append((float(total), without_particle(question.passage, Span(start, end))))
    assert found.score == pytest.approx(max(tried)[0], abs=1e-4)
    assert found.text == max(tried)[1] == question.passage[found.span.start : found.span.end]


@pytest.mark.parametrize(
    ("passage", "span", "answer"),
    [
        ("말모이는 주시경이 엮었다.", Span(5, 9), "주시경"),
        ("말모이는 주시경이 엮었다.", Span(5, 8), "주시경"),
        ("1910년에 엮었다.", Span(0, 6), "1910년"),
        ("비가 온다.", Span(0, 2), "비가"),  # two syllables stay at least
        ("사과나무를 심었다.", Span(0, 2), "사과"),  # within a word no particle stands
        ("the fox", Span(4, 7), "fox"),
    ],
)
def test_a_korean_answer_is_given_without_its_particle(passage, span, answer):
    assert without_particle(passage, span) == answer


def test_company_changes_no_answer(finder, tokenizer):
    questions = [Question("누가 엮었나?", PASSAGE), Question("Who asked the bear?", PASSAGE[:23])]
    alone = [find_answers(finder, tokenizer, [one])[0] for one in questions]
    for ours, together in zip(alone, find_answers(finder, tokenizer, questions), strict=True):
        assert ours.text == together.text
        assert ours.score == pytest.approx(together.score, abs=1e-4)


@pytest.fixture
def answered():
    """Three right answers, of which one is unsure, and two to questions that have none."""
    right = Question("누가?", PASSAGE, (Span(24, 26),))
    none = Question("언제?", PASSAGE)
    scores = [(right, 5.0), (right, 3.0), (right, -2.0), (none, 1.0), (none, -4.0)]
    return [one for one, _ in scores], [Found("여우", Span(24, 26), score) for _, score in scores]


def test_the_threshold_leaves_unanswered_what_has_no_answer(answered):
    threshold = best_threshold(*answered, "character")
    figures = answer_figures(*answered, threshold, "character")
    assert threshold == 2.0 or threshold == -3.0  # both give four of five
    assert figures["f1_given"] == pytest.approx(0.8)
    assert (figures["exact_match"], figures["f1"]) == (1, 1)


def test_without_unanswerable_questions_all_answers_are_given(answered):
    questions, found = answered[0][:3], answered[1][:3]
    figures = answer_figures(questions, found, best_threshold(questions, found, "word"), "word")
    assert figures["wrongly_unanswered"] == 0
    assert "left_unanswered" not in figures


def test_answers_of_one_score_are_given_together_or_not_at_all():
    """Shares of words are often equal: of three with the score 1 one is right, which no threshold picks out."""
    right, none = Question("누가?", PASSAGE, (Span(24, 26),)), Question("언제?", PASSAGE)
    questions = [right, none, none, right]
    found = [Found("여우", Span(24, 26), score) for score in (1.0, 1.0, 1.0, 0.5)]
    reached = {
        threshold: answer_figures(questions, found, threshold, "character")["f1_given"]
        for threshold in (0.0, 0.75, 2.0)
    }
    chosen = answer_figures(questions, found, best_threshold(questions, found, "character"), "character")["f1_given"]
    assert chosen == max(reached.values())


def test_certainty_is_half_at_the_threshold():
    assert certainty(2.0, 2.0) == 0.5
    assert torch.isfinite(torch.tensor(certainty(-float("inf"), 0.0)))


def test_the_control_answers_where_the_words_of_the_question_stand():
    window = SlidingWindow(frozenset(), 12, 4)
    assert window.answer(Question("말모이를 엮은 사람이 1910년에 누구인가?", PASSAGE)).text == "주시경"
    assert window.answer(Question("누가?", "")).text == ""


def test_its_settings_are_those_that_answer_best():
    asked = "말모이는 누가 1910년에 엮었나?"
    known = Question(asked, PASSAGE, (Span(PASSAGE.index("주시경"), PASSAGE.index("이 1910")),))
    others = [Question("?", f"{letter} 나무") for letter in "가나다라마바사아자차카타파하거너더러머버서어"]
    fitted = fit_sliding_window([known, *others], "character")
    assert fitted.answer(known).text == "주시경"
