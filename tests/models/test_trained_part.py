"""One setting says what learns, of a language model and of an encoder alike."""

import pytest

from malmoi.core.errors import UserError
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.models.trained_part import freeze

SHAPE = {"vocabulary": 31, "context": 24, "width": 32, "layers": 3, "heads": 4}
BODIES = {"language model": GPTConfig(**SHAPE), "encoder": EncoderConfig(**SHAPE)}
POOLED = {"language model": {"norm"}, "encoder": {"pooler"}}
bodies = pytest.mark.parametrize("kind", BODIES)


def trained_parts(body) -> set[str]:
    """First and second word of the names of what learns."""
    names = [name for name, parameter in body.named_parameters() if parameter.requires_grad]
    return {".".join(name.split(".")[:2]) if name.startswith("blocks") else name.split(".")[0] for name in names}


@bodies
@pytest.mark.parametrize(("train", "blocks"), [("head", set()), ("last:2", {"blocks.1", "blocks.2"})])
def test_the_upper_layers_learn_with_what_stands_before_the_head(kind, train, blocks):
    body = build_model(BODIES[kind], seed=0)
    assert freeze(body, train, seed=0) == 3 - len(blocks)
    assert trained_parts(body) == POOLED[kind] | blocks


@bodies
def test_low_rank_differences_stand_in_every_layer_and_their_bases_stay(kind):
    body = build_model(BODIES[kind], seed=0)
    assert freeze(body, "lora:2", seed=0) == 0
    assert trained_parts(body) == POOLED[kind] | {"blocks.0", "blocks.1", "blocks.2"}
    learned = {name.rsplit(".", 1)[1] for name, one in body.blocks.named_parameters() if one.requires_grad}
    assert learned == {"narrow", "widen"}


@bodies
def test_all_is_all(kind):
    body = build_model(BODIES[kind], seed=0)
    assert freeze(body, "all", seed=0) == 0
    assert all(parameter.requires_grad for parameter in body.parameters())


@pytest.mark.parametrize("train", ["last:0", "last", "lora:0", "lora:x", "last:²", "everything", ""])
def test_anything_else_is_refused(train):
    with pytest.raises(UserError, match="last:N with N up to 3"):
        freeze(build_model(BODIES["encoder"], seed=0), train, seed=0)


def test_more_layers_than_there_are_are_refused():
    with pytest.raises(UserError, match="The base has 3 layers, fewer than train=last:4 trains"):
        freeze(build_model(BODIES["encoder"], seed=0), "last:4", seed=0)
