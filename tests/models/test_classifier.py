"""The classifier looks at the last real token and never at the padding."""

import torch

from malmoi.models.classifier import Classifier
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model


def test_padding_changes_nothing():
    body = build_model(GPTConfig(vocabulary=31, context=24, width=32, layers=2, heads=4, bigram_buckets=9), seed=0)
    torch.nn.init.normal_(body.blocks[0].attention.output.weight)
    classifier = Classifier(body, ["좋다", "나쁘다"])
    rows = [torch.randint(31, (length,)) for length in (5, 12, 1)]
    lengths = torch.tensor([5, 12, 1])
    alone = torch.cat([classifier(row[None], torch.tensor([len(row)])) for row in rows])
    for padding in (0, 30):
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
        torch.testing.assert_close(classifier(padded, lengths), alone)


def test_the_same_seed_gives_the_same_head():
    body = build_model(GPTConfig(vocabulary=31, context=24, width=32, layers=1, heads=4), seed=0)
    one, same, other = (Classifier(body, ["a", "b"], seed).score.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
