"""Questions are read as SQuAD writes them, and an answer that is not where it should be is refused."""

import json
import unicodedata
from dataclasses import replace

import pytest

from malmoi.core.errors import UserError
from malmoi.data.cloze_questions import cloze_questions
from malmoi.data.question_words import character_kinds, words
from malmoi.data.questions import Question, QuestionSplitSettings, Span, read_questions, split_questions

PASSAGE = "말모이는 1910년에 주시경이 엮은 사전이다. 원고만 남았다."


def squad(path, context=PASSAGE, text="주시경", start=12, **more):
    one = {
        "id": "첫-1",
        "question": "누가 말모이를 엮었나?",
        "answers": [{"text": text, "answer_start": start}],
        **more,
    }
    content = {"data": [{"title": "말모이", "paragraphs": [{"context": context, "qas": [one]}]}]}
    text = json.dumps(content, ensure_ascii=False, indent=1)
    path.write_text(text.replace("\ud800", r"\ud800"), encoding="utf-8")
    return path


def test_an_answer_is_read_with_its_place(tmp_path):
    (question,) = read_questions(squad(tmp_path / "one.json"))
    assert (question.answer_texts, question.answers, question.article) == (["주시경"], (Span(12, 15),), "말모이")


def test_places_follow_the_text_into_nfc(tmp_path):
    apart = unicodedata.normalize("NFD", PASSAGE)
    name = unicodedata.normalize("NFD", "주시경")
    (question,) = read_questions(squad(tmp_path / "one.json", apart, name, apart.index(name)))
    assert (question.passage, question.answer_texts) == (PASSAGE, ["주시경"])


def test_blanks_around_an_answer_are_not_part_of_it(tmp_path):
    (question,) = read_questions(squad(tmp_path / "one.json", text=" 주시경", start=11))
    assert question.answers == (Span(12, 15),)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"start": 11}, r"one\.json, line \d+, question '첫-1': the answer '주시경' .* character 11 .*at 12: set"),
        ({"text": "최현배"}, r"question '첫-1': the answer '최현배' .*is_impossible"),
        ({"start": -3}, "character -3"),
        ({"start": "14"}, "answer_start, a number"),
        ({"text": ""}, "needs a text"),
        ({"question": 3}, "no text 'question'"),
        ({"answers": None}, "no list 'answers'"),
        ({"question": "누가 \ud800"}, "half of a surrogate pair"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, answer, message):
    with pytest.raises(UserError, match=message):
        read_questions(squad(tmp_path / "one.json", **answer))


@pytest.mark.parametrize(
    "content", ["{", "[" * 100_000, "[]", '{"data": []}', '{"data": [{"paragraphs": [{"qas": [{}]}]}]}']
)
def test_a_file_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "one.json").write_text(content)
    with pytest.raises(UserError, match=r"one\.json"):
        read_questions(tmp_path / "one.json")


def test_a_question_may_have_no_answer(tmp_path):
    (question,) = read_questions(squad(tmp_path / "one.json", is_impossible=True))
    assert question.answers == ()


@pytest.fixture
def many():
    return [
        Question(f"{number}번은 무엇인가?", f"{passage}번 글에 {number} 있다.", (Span(0, 1),), f"{number}", "글")
        for passage in range(40)
        for number in (passage, passage + 100)
    ]


def test_no_passage_is_in_two_parts(many):
    splits = split_questions(many, QuestionSplitSettings())
    train, validation, test = ({one.passage for one in part} for part in vars(splits).values())
    assert min(len(train), len(validation), len(test)) > 0
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_a_made_unanswerable_question_has_a_passage_without_the_answer(many):
    splits = split_questions(many, QuestionSplitSettings(unanswerable=1))
    names = {one.name: one for one in many}
    made = [one for part in vars(splits).values() for one in part if not one.answers]
    assert len(made) > 30
    assert all(names[one.name.removesuffix("/other")].answer_texts[0] not in one.passage for one in made)


def test_limits_count_questions_that_have_an_answer(many):
    splits = split_questions(many, QuestionSplitSettings(unanswerable=1, limit=9, test_limit=5))
    assert [sum(bool(one.answers) for one in part) for part in (splits.train, splits.test)] == [9, 5]
    assert any(not one.answers for one in splits.test)


def test_a_part_that_stays_empty_is_refused(many):
    with pytest.raises(UserError, match="none is left to"):
        split_questions(many[:2], QuestionSplitSettings())


def test_questions_none_of_which_has_an_answer_are_refused(many):
    unanswered = [replace(question, answers=()) for question in many]
    with pytest.raises(UserError, match="questions to learn from has an answer"):
        split_questions(unanswered, QuestionSplitSettings())


def test_forms_of_a_word_have_one_stem():
    stems = [word.stem for word in words("주시경이 주시경의 1910년 surrendered surrender")]
    assert stems == ["주시", "주시", "1910", "년", "surre", "surre"]


def test_words_of_the_question_are_marked_and_places_near_them():
    far = "여우가 숲에서 살았다. " * 8
    kinds = character_kinds("누가 말모이를 엮었나?", far + PASSAGE)
    marked = {(far + PASSAGE)[place] for place, kind in enumerate(kinds) if kind >= 3}
    assert marked == set("말모이는")  # 엮은 and 엮었나 share but one syllable
    assert kinds[0] == 0
    assert kinds[len(far) + 12] == 2


def test_made_questions_leave_out_their_answer_and_are_the_same_again():
    passage = "1910년에 주시경이 말모이라는 사전을 엮었지만 원고만 남았다. 여우가 곰에게 숲에서 물었다."
    made = cloze_questions([passage], 9, "ko", seed=0)
    assert made == cloze_questions([passage], 9, "ko", seed=0)
    assert "주시경" in [one.answer_texts[0] for one in made]
    assert all(one.answer_texts[0] not in one.text for one in made)
