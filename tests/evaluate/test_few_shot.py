"""Prompts from examples: what is shown, what is asked, and what counts as right."""

from collections import Counter

import pytest

from malmoi.core.errors import UserError
from malmoi.data.examples import Example
from malmoi.evaluate.few_shot import Form, ask, make_task, plain

REVIEWS = [Example(f"영화 {number}", ("좋음", "나쁨", "보통")[number % 3]) for number in range(60)]
PAIRS = [Example(f"말 {number}", f"word {number}") for number in range(30)]
FORM = Form()


def test_the_template_is_filled_and_left_open_at_the_end():
    form = Form("글: {input}\n뜻: {output}\n", "뜻을 적으시오.")
    prompt = form.prompt([Example("{output} 여우", "fox")], "곰 {input}")
    assert prompt == "뜻을 적으시오.\n\n글: {output} 여우\n뜻: fox\n글: 곰 {input}\n뜻: "


def test_larger_prompts_begin_with_the_examples_of_the_smaller():
    task = make_task(REVIEWS, FORM, 10, 16, 0, {})
    one, four = (task.form.prompt(task.shown[:shots], "").removesuffix("Input: \nOutput: ") for shots in (1, 4))
    assert one
    assert four.startswith(one)


@pytest.mark.parametrize("labels", [None, {}])
def test_what_is_asked_is_never_shown(labels):
    task = make_task(REVIEWS, FORM, 100, 16, 3, labels)
    assert len(task.asked) == 60 - 16
    assert len(task.shown) == 16
    assert {one.input for one in task.asked}.isdisjoint(one.input for one in task.shown)


def test_labels_are_shown_in_turn():
    shown = make_task(REVIEWS, FORM, 10, 16, 0, {}).shown
    for turns in (3, 6, 15):
        assert set(Counter(one.output for one in shown[:turns]).values()) == {turns // 3}


def test_the_seed_alone_decides():
    assert make_task(PAIRS, FORM, 5, 4, 1) == make_task(PAIRS, FORM, 5, 4, 1) != make_task(PAIRS, FORM, 5, 4, 2)


@pytest.mark.parametrize(
    ("examples", "labels", "message"),
    [
        (PAIRS[:4], None, r"4 examples are too few to show 4"),
        (PAIRS[:4], {}, r"4 examples are too few"),
        (
            [Example("가", "하나"), Example("나", "하나"), *[Example(f"{n}", "하나") for n in range(9)]],
            {},
            "have 1 labels",
        ),
        ([Example(f"{number}", f"{number}") for number in range(70)], {}, "have 70 labels"),
        (REVIEWS, {"좋은": "good"}, r"names '좋은', which no example has. Did you mean '좋음'"),
    ],
)
def test_tasks_that_cannot_be_are_named(examples, labels, message):
    with pytest.raises(UserError, match=message):
        make_task(examples, FORM, 5, 4, 0, labels)


def test_a_label_that_occurs_once_is_shown_before_it_is_asked():
    rare = [*REVIEWS[:40], Example("하나뿐", "드묾")]
    for seed in range(20):
        task = make_task(rare, FORM, 100, 4, seed, {})
        assert "드묾" in {one.output for one in task.shown}
        assert list(task.labels) == ["나쁨", "드묾", "보통", "좋음"]


def test_labels_are_scored_and_answers_written(model, tokenizer):
    chosen = ask(model, tokenizer, make_task(REVIEWS, FORM, 6, 2, 0, {"좋음": "good"}), 2, 4)
    assert all(one.answer in ("좋음", "나쁨", "보통") for one in chosen)
    assert all(len(one.logprobs) == 3 and one.right == (one.answer == one.wanted) for one in chosen)
    done = []
    written = ask(
        model, tokenizer, make_task(PAIRS, FORM, 6, 1, 0), 1, 4, lambda amount=1, text=None: done.append(amount)
    )
    assert all("\n" not in one.answer and one.right_by_character is None for one in written)
    assert sum(done) == 6


def test_answers_do_not_depend_on_their_neighbours(model, tokenizer):
    task = make_task(PAIRS, FORM, 8, 2, 0)
    together = ask(model, tokenizer, task, 2, 6)
    for one, item in zip(together, task.asked, strict=True):
        alone = ask(model, tokenizer, type(task)([item], task.shown, FORM, {}), 2, 6)
        assert alone == [one]


def test_prompts_longer_than_the_context_are_cut_and_counted(make_model, tokenizer):
    model = make_model(context=24)
    for labels in (None, {}):
        counts = [
            [one.cut for one in ask(model, tokenizer, make_task(REVIEWS, FORM, 3, 4, 0, labels), shots, 4)]
            for shots in (0, 4)
        ]
        assert min(counts[1]) > max(counts[0])
    with pytest.raises(UserError, match=r"Answers of 24 tokens leave no room"):
        ask(model, tokenizer, make_task(PAIRS, FORM, 3, 1, 0), 1, 24)


def test_an_empty_label_is_named(model, tokenizer):
    with pytest.raises(UserError, match=r"choice '' is empty"):
        ask(model, tokenizer, make_task(REVIEWS, FORM, 3, 1, 0, {"좋음": ""}), 1, 4)


def test_blanks_case_and_spelling_in_parts_do_not_count():
    assert plain(" Die\u00a0 Maus ") == plain("die maus")
    assert plain("\u1112\u1161\u11ab글") == plain("한글")
