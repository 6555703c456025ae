"""The classifier looks at the token that stands for the text and never at the padding."""

import pytest
import torch

from malmoi.models.classifier import Classifier, TextForm, new_classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model

SHAPE = {"vocabulary": 31, "context": 24, "width": 32, "layers": 2, "heads": 4}
BODIES = {"language model": GPTConfig(**SHAPE, bigram_buckets=9), "encoder": EncoderConfig(**SHAPE)}


@pytest.mark.parametrize("pooling", ["token", "concat"])
@pytest.mark.parametrize("config", BODIES.values(), ids=BODIES.keys())
def test_padding_changes_nothing(config, pooling):
    body = build_model(config, seed=0)
    torch.nn.init.normal_(body.blocks[0].attention.output.weight)
    classifier = new_classifier(body, ["좋다", "나쁘다"], 0, TextForm(), pooling)
    rows = [torch.randint(31, (length,)) for length in (5, 12, 1)]
    lengths = torch.tensor([5, 12, 1])
    alone = torch.cat([classifier(row[None], torch.tensor([len(row)])) for row in rows])
    for padding in (0, 30):
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
        torch.testing.assert_close(classifier(padded, lengths), alone)


@pytest.mark.parametrize(
    ("config", "place"),
    [(GPTConfig(**SHAPE, pooling="concat"), -1), (EncoderConfig(**SHAPE, pooling="concat", pooler="none"), 0)],
    ids=BODIES.keys(),
)
def test_concatenated_are_one_token_the_mean_and_the_maximum(config, place):
    body = build_model(config, seed=0)
    tokens = torch.randint(31, (1, 7))
    states = body(tokens)
    read = body.pooled(body.through(body.embed(tokens)), torch.tensor([7]))
    torch.testing.assert_close(read, torch.cat([states[:, place], states.mean(1), states.amax(1)], -1))


def test_the_same_seed_gives_the_same_head():
    body = build_model(GPTConfig(vocabulary=31, context=24, width=32, layers=1, heads=4), seed=0)
    one, same, other = (Classifier(body, ["a", "b"], seed).score.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("segments", "bend"), [(2, "tanh"), (0, "relu")])
def test_an_encoder_without_a_pooler_gets_the_one_its_published_classifiers_have(segments, bend):
    config = EncoderConfig(**SHAPE, pooler="none", segments=segments)
    one, same = (new_classifier(build_model(config, seed=0), ["좋다", "나쁘다"], 1, TextForm()) for _ in range(2))
    assert one.body.config.pooler == bend
    assert torch.equal(one.body.pooler.weight, same.body.pooler.weight)
    assert one.body.pooler.weight.std() > 0.1


def test_a_text_that_is_classified_is_one_document():
    config = GPTConfig(**SHAPE, attention="documents", separator=0)
    alike = build_model(config.model_copy(update={"attention": GPTConfig(**SHAPE).attention}), seed=0)
    classifiers = [Classifier(body, ["좋다", "나쁘다"]) for body in (build_model(config, seed=0), alike)]
    tokens, lengths = torch.randint(1, 31, (2, 9)), torch.tensor([9, 4])
    one, same = (classifier(tokens, lengths) for classifier in classifiers)
    torch.testing.assert_close(one, same)
