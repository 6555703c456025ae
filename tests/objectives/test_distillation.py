"""Learning from a teacher: at its borders it is what one knows."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, LabelledBatch, TextBatch
from malmoi.layers.rotary import rotary_table, rotate
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.lstm import LSTMConfig
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.objectives.classification import Classification
from malmoi.objectives.distillation import Distillation

SHAPE = {"vocabulary": 31, "context": 16, "width": 32, "heads": 4}
TOKENS = torch.randint(31, (3, 9), generator=torch.Generator().manual_seed(0))


def moved(model, seed):
    """The model with random numbers in place of its first ones, of which many are zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
    return model


def language_model(layers=2, seed=0):
    return moved(build_model(GPTConfig(**SHAPE, layers=layers), seed=0), seed)


def classifier(layers=2, seed=0):
    body = build_model(EncoderConfig(**SHAPE, layers=layers), seed=0)
    return moved(Classifier(body, ["좋음", "나쁨"]), seed)


def text_batch():
    targets = TOKENS[:, 1:].clone()
    targets[0, :3] = IGNORED
    return TextBatch(TOKENS[:, :-1], targets)


def labelled_batch():
    return LabelledBatch(TOKENS, torch.tensor([9, 4, 6]), torch.tensor([1, IGNORED, 0]))


CASES = pytest.mark.parametrize(
    ("make", "batch", "plain"),
    [(language_model, text_batch(), Causal()), (classifier, labelled_batch(), Classification())],
    ids=["text", "classes"],
)


@CASES
def test_without_a_teacher_it_is_plain_cross_entropy(make, batch, plain):
    student = make(seed=1)
    ours, theirs = Distillation(make(), alpha=0).loss(student, batch), plain.loss(student, batch)
    torch.testing.assert_close(ours.total, theirs.total)
    assert ours.count == theirs.count


@CASES
def test_nothing_is_to_be_learned_from_oneself(make, batch, plain):
    loss = Distillation(make(), alpha=1, hidden=1.0, attention=1.0, blocks=[0, 1]).loss(make(), batch)
    torch.testing.assert_close(loss.total, torch.zeros(()), atol=1e-4, rtol=0)


@CASES
def test_great_heat_makes_it_the_square_of_the_difference_of_scores(make, batch, plain):
    """Hinton and others 2015, section 2.1: the gradient of scores that have a mean of zero."""
    teacher, student = make(), make(seed=1)
    loss = Distillation(teacher, temperature=1e3, alpha=1).loss(student, batch)
    counted = (batch.targets if isinstance(batch, TextBatch) else batch.labels) != IGNORED

    def scores(model):
        if isinstance(batch, TextBatch):
            return model.logits(batch.tokens)[counted]
        return model(batch.tokens, batch.lengths)[counted]

    differences = [scores(model) - scores(model).mean(-1, keepdim=True) for model in (student, teacher)]
    wanted = F.mse_loss(differences[0], differences[1].detach(), reduction="sum") / 2 / differences[0].shape[-1]
    parameters = list(student.parameters())
    ours = torch.autograd.grad(loss.total, parameters, allow_unused=True)
    theirs = torch.autograd.grad(wanted, parameters, allow_unused=True)
    norm = torch.stack([one.norm() for one in theirs if one is not None]).norm()
    for one, other in zip(ours, theirs, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other, atol=float(norm) * 0.02, rtol=0.02)


@CASES
@pytest.mark.parametrize("what", ["hidden", "attention"])
def test_blocks_are_compared_with_those_that_are_named(make, batch, plain, what):
    teacher, student = make(layers=4), make(layers=2, seed=1)
    body = getattr(student, "body", student)
    source = getattr(teacher, "body", teacher)
    near, far = (Distillation(teacher, alpha=0, blocks=chosen, **{what: 1.0}) for chosen in ([0, 3], [1, 2]))
    assert near.loss(student, batch).total != far.loss(student, batch).total
    near.loss(student, batch).total.backward()
    assert all(parameter.grad is not None for parameter in body.blocks.parameters())
    assert all(parameter.grad is None for parameter in source.parameters())


def test_the_distance_of_states_is_a_share_of_the_teachers_numbers():
    teacher, student, batch = language_model(layers=1), language_model(layers=1, seed=1), text_batch()
    plain = Distillation(teacher, alpha=0).loss(student, batch)
    loss = Distillation(teacher, alpha=0, hidden=2.0, blocks=[0]).loss(student, batch)
    own, theirs = (model.through(model.embed(batch.tokens)).tolist() for model in (student, teacher))
    wanted = 0.0
    for row, place in (batch.targets != IGNORED).nonzero().tolist():
        pairs = list(zip(own[row][place], theirs[row][place], strict=True))
        wanted += 2 * sum(abs(one - other) for one, other in pairs) / sum(abs(other) for _, other in pairs)
    assert (loss.total - plain.total).item() == pytest.approx(wanted, rel=1e-4)


def test_the_distance_of_attention_is_that_of_the_scores_before_the_softmax():
    """Against the products written out, of a block with grouped heads and rotary positions."""
    shape = SHAPE | {"layers": 1, "key_value_heads": 2}
    teacher, student = (moved(build_model(GPTConfig(**shape), seed=0), seed) for seed in (0, 1))
    batch, plain = text_batch(), Distillation(teacher, alpha=0)
    loss = Distillation(teacher, alpha=0, attention=1.0, blocks=[0]).loss(student, batch)
    own, theirs = (scores(model, batch.tokens) for model in (student, teacher))
    length = batch.tokens.shape[1]
    visible = torch.ones(length, length).tril()
    each = ((own - theirs).square().mean(1) * visible).sum(-1) / visible.sum(-1)
    wanted = each[batch.targets != IGNORED].sum()
    torch.testing.assert_close(loss.total - plain.loss(student, batch).total, wanted, rtol=1e-4, atol=1e-4)


def scores(model, tokens):
    """(rows, heads, length, length) of the first block."""
    block, rotary = model.blocks[0], rotary_table(0, tokens.shape[1], 8, 10_000.0, torch.float32, torch.device("cpu"))
    attention, hidden = block.attention, block.attention_norm(model.embedding(tokens))
    query = attention.query_norm(attention.query(hidden).unflatten(-1, (4, 8)))
    key = attention.key_norm(attention.key(hidden).unflatten(-1, (2, 8))).repeat_interleave(2, dim=2)
    query, key = (rotate(one, rotary).transpose(1, 2) for one in (query, key))
    return query @ key.transpose(-1, -2) / 8**0.5


def test_attention_is_as_before_when_nobody_watches():
    student = language_model(seed=1)
    before = [block.attention.mix for block in student.blocks]
    Distillation(language_model(), attention=1.0, blocks=[0, 1]).loss(student, text_batch())
    assert [block.attention.mix for block in student.blocks] == before


def test_a_teacher_without_attention_has_none_to_teach():
    teacher = build_model(LSTMConfig(vocabulary=31, context=16, width=32, layers=2), seed=0)
    with pytest.raises(UserError, match="no attention.*Set attention=0"):
        Distillation(teacher, attention=1.0, blocks=[0, 1])


def test_a_teacher_that_hands_on_a_state_teaches_what_its_blocks_give():
    config = LSTMConfig(vocabulary=31, context=16, width=32, layers=2)
    teacher, student = build_model(config, seed=0), build_model(config, seed=1)
    inside = Distillation(teacher, alpha=0, hidden=1.0, blocks=[0, 1])
    assert inside.loss(student, text_batch()).total > Distillation(teacher, alpha=0).loss(student, text_batch()).total


def test_the_teacher_is_left_as_it_is():
    teacher = language_model()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    loss = Distillation(teacher).loss(language_model(seed=1), text_batch())
    loss.total.backward()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_what_is_counted_is_told_apart():
    loss = Distillation(language_model()).loss(language_model(seed=1), text_batch())
    both = 0.5 * loss.metrics["cross_entropy"] + 0.5 * 4 * loss.metrics["divergence"]
    torch.testing.assert_close(loss.total.detach(), both)


def test_blocks_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="no blocks"):
        Distillation(language_model(), hidden=1.0, blocks=[0, 2])
