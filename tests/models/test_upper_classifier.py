"""Stored hidden states of frozen layers give what the whole classifier gives, gradients included."""

import torch

from malmoi.models.classifier import Classifier, UpperClassifier


def test_upper_layers_on_stored_states_equal_the_whole(make_model):
    classifier = Classifier(make_model(layers=4), ["나쁨", "좋음"])
    tokens, lengths = torch.randint(250, (3, 9)), torch.tensor([9, 4, 1])
    whole = classifier(tokens, lengths)
    whole.sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in classifier.body.blocks[2:].named_parameters()}
    classifier.zero_grad()
    with torch.no_grad():
        hidden = classifier.body.through(classifier.body.embed(tokens), end=2)
    upper = UpperClassifier(classifier, 2)(hidden, lengths)
    upper.sum().backward()
    torch.testing.assert_close(upper, whole)
    for name, parameter in classifier.body.blocks[2:].named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
