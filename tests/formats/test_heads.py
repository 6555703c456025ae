"""A new kind of head is a class, a `Head` and its place in `HEADS`: saved, loaded, asked for and refused by them alone."""

import json

import pytest
import torch
from torch import nn

from malmoi.core.errors import UserError
from malmoi.formats import heads
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.formats.head import BESIDE_TOKENS, Head, encoder_beneath, of_tokens
from malmoi.formats.weights import open_weights
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.headed import Headed
from malmoi.models.registry import build_model
from malmoi.models.span_finder import SpanFinder
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer


class Stresser(Headed):
    """Says how much stress each token bears."""

    def __init__(self, body, marks):
        super().__init__()
        self.body, self.marks = body, marks
        self.stress = nn.Linear(body.config.width, 1)

    def forward(self, tokens, lengths):
        return self.stress(self.body(tokens, lengths))


STRESSES = Head(
    model=Stresser,
    words="one that stresses words",
    verb="stress",
    stage="stresses",
    ending="ForStress",
    table=of_tokens({"accent.weight": "stress.weight", "accent.bias": "stress.bias"}),
    left_out=BESIDE_TOKENS,
    body=encoder_beneath,
    put_on=lambda body, fields, where: Stresser(body, fields["stress_marks"]),
    fields=lambda model: {"stress_marks": model.marks},
)
SHAPE = {"vocabulary": 280, "context": 24, "width": 32, "layers": 2, "heads": 4}


@pytest.fixture
def opened(tmp_path, monkeypatch, shake):
    monkeypatch.setattr(heads, "HEADS", (*heads.HEADS, STRESSES))
    tokenizer = train_tokenizer(["말모이는 낱말을 모은 사전이다."] * 4, TokenizerSettings(vocabulary=280, frame="bert"))

    def save_and_open(**shape):
        model = shake(Stresser(build_model(EncoderConfig(**SHAPE | shape), seed=0), marks="ˈˌ"))
        save_checkpoint(tmp_path, model, tokenizer, "")
        return model, load_checkpoint(tmp_path)

    return save_and_open


@pytest.mark.parametrize("shape", [{}, {"positions": "rotary", "activation": "swiglu"}], ids=["of bert", "our own"])
@torch.no_grad()
def test_it_comes_back(shape, opened):
    model, checkpoint = opened(**shape)
    again = checkpoint.headed(Stresser)
    assert again.marks == "ˈˌ"
    tokens = torch.arange(24)[None]
    torch.testing.assert_close(again(tokens, torch.tensor([24])), model(tokens, torch.tensor([24])), rtol=0, atol=0)


def test_its_parts_have_the_names_of_the_family(opened, tmp_path):
    opened()
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForStress"]
    with open_weights(tmp_path) as weights:
        assert {"accent.weight", "accent.bias"} <= set(weights.shapes)


def test_who_asks_for_another_head_is_told_which_command_asks_this_one(opened):
    _, checkpoint = opened()
    with pytest.raises(UserError, match=r"not one that finds answers.*Use malmoi stress. Make one: malmoi questions"):
        checkpoint.headed(SpanFinder)
