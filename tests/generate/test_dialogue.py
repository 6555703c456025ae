"""What a dialogue remembers."""

import pytest

from malmoi.core.errors import UserError
from malmoi.generate.dialogue import Dialogue
from malmoi.generate.generator import complete
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


def test_a_base_model_goes_on_with_a_text_behind_its_begin_token(make_model, shake, llama_tokenizer, monkeypatch):
    monkeypatch.setattr(llama_tokenizer, "chat_template", None)
    model, settings = shake(make_model(vocabulary=llama_tokenizer.size), 0.5), SamplingSettings(temperature=1, seed=2)
    expected = complete(model, llama_tokenizer, "여우가", settings).text
    assert hear(Dialogue(model, llama_tokenizer, settings), "여우가") == expected


def test_an_answer_is_the_text_of_its_tokens_without_the_space_before_it(make_model, llama_tokenizer):
    model, spaced = make_model(vocabulary=llama_tokenizer.size), 0
    for seed in range(12):
        dialogue = Dialogue(model, llama_tokenizer, SamplingSettings(temperature=1, seed=seed, maximum_tokens=12))
        pieces = list(dialogue.answer("여우?"))
        written = [piece.token for piece in pieces]
        answer = "".join(piece.text for piece in pieces)
        assert answer == dialogue.messages[-1]["content"] == llama_tokenizer.decode(written)
        spaced += llama_tokenizer.token_bytes(written[0]).startswith(b" ")
    assert spaced
