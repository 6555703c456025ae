"""Scores of choices against one token at a time; tokens as lm-eval has them (benchmarks/lm_eval_agreement.py)."""

import pytest
import tokenizers
import torch
from tokenizers.processors import TemplateProcessing

from malmoi.core.errors import UserError
from malmoi.evaluate.multiple_choice import Question, ScoredQuestion, encode_choice, score_questions
from malmoi.tokenizers.roles import Roles
from malmoi.tokenizers.tokenizer import Tokenizer

EXAMPLES = "여우: fox\n곰: bear\n\n"
QUESTIONS = [
    Question(f"{EXAMPLES}숲: ", ["wood", "bear", "fox"]),
    Question(f"{EXAMPLES}fox: ", ["여우가", "곰에게 물었습니다", "숲"]),
    Question(f"{EXAMPLES}말모이", ["는 낱말", "a", "b"]),
    Question("", ["여우가 살았습니다", "x"]),
]


@torch.inference_mode()
def naive_logprob(model, context, choice):
    """Every token of the choice by a pass of its own."""
    total = 0.0
    for place, token in enumerate(choice):
        before = (context + choice[:place])[-model.config.context :]
        total += model.logits(torch.tensor([before]))[0, -1].double().log_softmax(-1)[token].item()
    return total


def test_agrees_with_one_token_at_a_time(model, tokenizer):
    scored = score_questions(model, tokenizer, QUESTIONS)
    for question, score in zip(QUESTIONS, scored, strict=True):
        pairs = [encode_choice(tokenizer, question.prompt, choice) for choice in question.choices]
        assert score.logprobs == pytest.approx([naive_logprob(model, *pair) for pair in pairs], abs=1e-4)
        assert score.cut == 0


def test_a_question_alone_scores_as_among_others(model, tokenizer):
    together = score_questions(model, tokenizer, QUESTIONS)
    for question, score in zip(QUESTIONS, together, strict=True):
        [alone] = score_questions(model, tokenizer, [question])
        assert alone.logprobs == pytest.approx(score.logprobs, abs=1e-4)


def test_what_choices_and_prompts_have_in_common_is_read_once(model, tokenizer):
    counted, done = [], []
    hook = model.register_forward_pre_hook(lambda _, inputs: counted.append(inputs[0].numel()))
    questions = [Question("긴 이야기가 앞에 있고 물음은 하나: ", list("abcdefgh"))] * 2
    score_questions(model, tokenizer, questions, lambda amount=1, text=None: done.append(amount))
    hook.remove()
    context, _ = encode_choice(tokenizer, questions[0].prompt, "a")
    assert sum(counted) < len(context) + 8
    assert sum(done) == 16


def test_blanks_at_the_end_of_the_prompt_belong_to_the_choice(tokenizer):
    for prompt, choice in (("곰에게 ", "bear"), ("곰에게", " bear")):
        context, ids = encode_choice(tokenizer, prompt, choice)
        assert tokenizer.decode(context) == "곰에게"
        assert tokenizer.decode(ids) == " bear"


def test_a_long_prompt_loses_its_beginning_and_says_so(make_model, tokenizer):
    model = make_model(context=16)
    long = Question("fox " * 40, ["bear", "여우"])
    short = Question("fox: ", ["bear", "여우"])
    cut, whole = score_questions(model, tokenizer, [long, short])
    context, ids = encode_choice(tokenizer, long.prompt, "bear")
    assert cut.logprobs[0] == pytest.approx(naive_logprob(model, (context + ids)[-17 : -len(ids)], ids), abs=1e-4)
    assert cut.cut > len(context) - 16
    assert whole.cut == 0


def test_the_longest_choice_does_not_win_by_character():
    score = ScoredQuestion([-4.0, -6.0], [2, 12])
    assert (score.chosen, score.chosen_by_character) == (0, 1)
    assert ScoredQuestion([-1.0, -1.0], [1, 1]).chosen == 0


@pytest.mark.parametrize(
    ("prompt", "choice", "message"),
    [("곰: ", "", "choice '' is empty"), ("곰:", "  ", "is empty"), ("곰", "여우" * 99, "context of 128")],
)
def test_choices_that_cannot_be_scored_are_named(model, tokenizer, prompt, choice, message):
    with pytest.raises(UserError, match=message):
        score_questions(model, tokenizer, [Question(prompt, ["좋음", choice])])


def test_a_vocabulary_that_opens_every_text_opens_prompts_too(tokenizer):
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(["<|begin|>"])
    begin = backend.token_to_id("<|begin|>")
    backend.post_processor = TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", begin)])
    opened = Tokenizer(backend, Roles(begin="<|begin|>"))
    assert opened.opening == [begin]
    assert encode_choice(opened, "숲: ", "여우")[0] == [begin, *tokenizer.encode("숲:")]
    assert tokenizer.opening == []
