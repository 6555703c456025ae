"""Two texts are read apart and compared token by token, whatever stands beside them in the batch."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.models.classifier import TextForm, UpperClassifier, new_classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.matches import Texts, matches
from malmoi.models.registry import build_model

PAIR = TextForm(pair=True)
PAIRS = [((5, 7, 9), (7, 5)), ((3,), (4, 8, 8, 6)), ((2, 2, 2, 2, 2), (1,))]


@pytest.fixture
def classifier(shake):
    body = build_model(EncoderConfig(vocabulary=31, context=24, width=32, layers=3, heads=4), seed=0)
    return shake(new_classifier(body, ["yes", "no"], 0, PAIR, "matches"))


def batch(pairs):
    """Tokens, lengths and segments as `LabelledBatch` has them."""
    rows = [torch.tensor([*first, *second]) for first, second in pairs]
    segments = [torch.tensor([0] * len(first) + [1] * len(second)) for first, second in pairs]
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True), torch.tensor([len(row) for row in rows]), pad(segments, batch_first=True)


def test_texts_come_apart_and_together_again():
    tokens, lengths, segments = batch(PAIRS)
    texts = Texts(lengths, segments)
    assert texts.lengths.tolist() == [3, 1, 5, 2, 4, 1]
    apart = texts.apart(tokens)
    expected = [first for first, _ in PAIRS] + [second for _, second in PAIRS]
    assert [tuple(row[:length].tolist()) for row, length in zip(apart, texts.lengths, strict=True)] == expected
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    assert torch.equal(texts.together(apart)[real], tokens[real])


def test_matches_are_the_mean_and_the_lowest_of_the_best_cosines(shake):
    states = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    found = matches(states, torch.tensor([3, 4]))
    wanted = []
    for one, other in ((states[0, :3], states[1]), (states[1], states[0, :3])):
        best = [max(float(F.cosine_similarity(token, match, dim=0)) for match in other) for token in one]
        wanted += [sum(best) / len(best), min(best)]
    torch.testing.assert_close(found, torch.tensor([wanted]))


@torch.no_grad()
def test_each_text_is_read_as_if_alone(classifier):
    alone = torch.cat([classifier(*batch([pair])) for pair in PAIRS])
    torch.testing.assert_close(classifier(*batch(PAIRS)), alone)
    first, second = (classifier.body(torch.tensor([text])) for text in PAIRS[0])
    padded = torch.cat([first, F.pad(second, (0, 0, 0, 1))])
    torch.testing.assert_close(classifier.score(matches(padded, torch.tensor([3, 2]))), alone[:1])


def test_upper_layers_on_stored_states_equal_the_whole(classifier):
    tokens, lengths, segments = batch(PAIRS)
    classifier(tokens, lengths, segments)[:, 0].sum().backward()
    expected = [parameter.grad.clone() for parameter in classifier.body.blocks[2].parameters()]
    classifier.zero_grad()
    with torch.no_grad():
        hidden = classifier.lower(tokens, lengths, segments, 2)
    UpperClassifier(classifier, 2)(hidden, lengths, segments)[:, 0].sum().backward()
    for parameter, gradient in zip(classifier.body.blocks[2].parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_one_text_matches_nothing():
    body = build_model(EncoderConfig(vocabulary=31, context=24, width=32, layers=1, heads=4), seed=0)
    with pytest.raises(UserError, match="there is one. Name the other one by pair"):
        new_classifier(body, ["yes", "no"], 0, TextForm(), "matches")
