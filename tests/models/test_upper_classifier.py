"""Stored hidden states of frozen layers give what the whole classifier gives, gradients included."""

import pytest
import torch

from malmoi.models.classifier import Classifier, UpperClassifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model

ENCODER = EncoderConfig(vocabulary=250, context=16, width=32, layers=4, heads=4)


@pytest.mark.parametrize("kind", ["language model", "encoder"])
def test_upper_layers_on_stored_states_equal_the_whole(make_model, kind):
    body = make_model(layers=4) if kind == "language model" else build_model(ENCODER, seed=0)
    torch.nn.init.normal_(body.blocks[1].attention.output.weight)
    classifier = Classifier(body, ["나쁨", "좋음"])
    tokens, lengths = torch.randint(250, (3, 9)), torch.tensor([9, 4, 1])
    whole = classifier(tokens, lengths)
    whole.sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in classifier.body.blocks[2:].named_parameters()}
    classifier.zero_grad()
    with torch.no_grad():
        hidden = classifier.lower(tokens, lengths, None, 2)
    upper = UpperClassifier(classifier, 2)(hidden, lengths)
    upper.sum().backward()
    torch.testing.assert_close(upper, whole)
    for name, parameter in classifier.body.blocks[2:].named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
