"""The log-probabilities of a text."""

import pytest
import torch

from malmoi.generate.score import score


def test_scores_are_the_log_softmax_of_the_logits(model, tokenizer):
    tokens = tokenizer.encode("옛날 옛적에 a fox")
    with torch.no_grad():
        expected = model.logits(torch.tensor([tokens]))[0].log_softmax(-1)
    scores = score(model, tokens, top=3)
    assert [item.token for item in scores] == tokens
    assert scores[0].logprob is None
    for place, item in enumerate(scores[1:]):
        assert item.logprob == pytest.approx(float(expected[place, item.token]), abs=1e-5)
        assert list(item.top) == expected[place].topk(3).indices.tolist()
        assert item.token not in item.top or item.top[item.token] == item.logprob


def test_a_long_text_is_scored_like_a_short_one(model, tokenizer):
    tokens = [place % 300 for place in range(128)]
    assert [item.logprob for item in score(model, tokens)][1:40] == pytest.approx(
        [item.logprob for item in score(model, tokens[:40])][1:], abs=1e-5
    )


def test_nothing_has_no_scores(model):
    assert score(model, []) == []
