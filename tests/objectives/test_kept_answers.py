"""A teacher's answers, kept: what is learned from them is what the teacher would have said."""

import pytest
import torch
from torch.nn import functional as F

from malmoi.core.errors import UserError
from malmoi.data.batch import TextBatch
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.objectives.distillation import Distillation
from malmoi.objectives.kept_answers import Answers, KeptAnswers

VOCABULARY = 31
TOKENS = torch.randint(VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(0))
BATCH = TextBatch(TOKENS[:, :-1], TOKENS[:, 1:])


def logprobs(seed, classes=VOCABULARY):
    return F.log_softmax(3 * torch.randn(40, classes, generator=torch.Generator().manual_seed(seed)), -1)


def language_model(seed):
    model = build_model(
        GPTConfig(vocabulary=VOCABULARY, context=16, width=32, heads=4, layers=2, tied=False), seed=seed
    )
    torch.nn.init.normal_(model.head.weight, std=0.5, generator=torch.Generator().manual_seed(seed))
    return model


def test_with_all_classes_it_is_the_divergence():
    theirs, own = logprobs(0), logprobs(1)
    expected = F.kl_div(own, theirs, reduction="sum", log_target=True)
    torch.testing.assert_close(Answers.of(theirs, VOCABULARY).divergence(own), expected)


def test_the_others_count_as_one_class():
    theirs, own = logprobs(0), logprobs(1)
    kept = Answers.of(theirs, 4)

    def merged(one):
        rest = 1 - one.gather(1, kept.tokens).exp().sum(1, keepdim=True)
        return torch.cat([one.gather(1, kept.tokens), rest.log()], 1)

    expected = F.kl_div(merged(own), merged(theirs), reduction="sum", log_target=True)
    torch.testing.assert_close(kept.divergence(own), expected)


@pytest.mark.parametrize("count", [1, 8, 30])
def test_fewer_classes_apart_are_less_divergent_and_none_from_themselves(count):
    theirs, own = logprobs(0), logprobs(1)
    kept, whole = Answers.of(theirs, count), Answers.of(theirs, VOCABULARY)
    assert 0 < kept.divergence(own) <= whole.divergence(own)
    torch.testing.assert_close(kept.divergence(theirs), torch.zeros(()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_is_what_it_is_without_keeping(tmp_path, temperature):
    """But for numbers of sixteen bits."""
    student, teacher = language_model(1), language_model(2)
    asked = Distillation(teacher, temperature, alpha=1).loss(student, BATCH)
    kept = Distillation(teacher, temperature, alpha=1, kept=KeptAnswers(tmp_path, VOCABULARY)).loss(student, BATCH)
    torch.testing.assert_close(kept.total, asked.total, rtol=2e-3, atol=1e-3)


def test_a_batch_that_comes_again_is_answered_alike_and_without_the_teacher(tmp_path):
    student, teacher = language_model(1), language_model(2)
    objective = Distillation(teacher, alpha=1, kept=KeptAnswers(tmp_path, 8))
    first = objective.loss(student, BATCH)
    torch.nn.init.zeros_(teacher.head.weight)
    again = objective.loss(student, BATCH)
    assert torch.equal(first.total, again.total)
    assert len(list(tmp_path.iterdir())) == 1


def test_answers_know_nothing_of_states(tmp_path):
    with pytest.raises(UserError, match="states and attention are not"):
        Distillation(language_model(2), hidden=1.0, blocks=[0, 1], kept=KeptAnswers(tmp_path, 8))


def test_a_torn_file_is_asked_for_again(tmp_path):
    objective = Distillation(language_model(2), alpha=1, kept=KeptAnswers(tmp_path, 8))
    first = objective.loss(language_model(1), BATCH)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(objective.loss(language_model(1), BATCH).total, first.total)
