"""What a dialogue remembers."""

import pytest

from malmoi.core.errors import UserError
from malmoi.generate.dialogue import Dialogue
from malmoi.generate.sampling import SamplingSettings

SHORT = SamplingSettings(temperature=0, maximum_tokens=4)


def hear(dialogue: Dialogue, text: str) -> str:
    return "".join(piece.text for piece in dialogue.answer(text))


def test_turns_are_remembered(model, tokenizer):
    dialogue = Dialogue(model, tokenizer, SHORT, system="짧게 답하세요.")
    answer = hear(dialogue, "안녕?")
    assert dialogue.messages == [
        {"role": "system", "content": "짧게 답하세요."},
        {"role": "user", "content": "안녕?"},
        {"role": "assistant", "content": answer},
    ]
    assert dialogue.take_back() == "안녕?"
    assert hear(dialogue, "안녕?") == answer
    dialogue.reset()
    assert dialogue.messages == []
    assert dialogue.take_back() is None


def test_an_answer_that_is_stopped_stays_as_far_as_it_was_heard(model, tokenizer):
    dialogue = Dialogue(model, tokenizer, SHORT)
    pieces = dialogue.answer("hi")
    heard = next(pieces).text
    pieces.close()
    assert dialogue.messages[-1] == {"role": "assistant", "content": heard}


def test_the_oldest_turns_are_forgotten_when_the_context_is_full(model, tokenizer):
    dialogue = Dialogue(model, tokenizer, SHORT, system="s")
    for _ in range(6):
        hear(dialogue, "abc")
    assert dialogue.forgotten > 0
    assert len(dialogue.messages) == 13


def test_a_message_longer_than_the_context_is_refused_and_not_remembered(model, tokenizer):
    dialogue = Dialogue(model, tokenizer, SHORT)
    with pytest.raises(UserError, match="at most 128"):
        hear(dialogue, "긴 이야기 " * 100)
    assert dialogue.messages == []
