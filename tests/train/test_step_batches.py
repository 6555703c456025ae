"""Batches prepared one step ahead are those that are made when they are due."""

import threading

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.parallel.execution import Share, dealt
from malmoi.train.step_batches import StepBatches

CPU = torch.device("cpu")


@pytest.mark.parametrize(("index", "count"), [(0, 1), (0, 2), (1, 2), (2, 4)])
def test_every_process_gets_its_own_rows_of_every_step(line, index, count):
    source, shares = line((8, 6)), dealt(2, index, count)
    with StepBatches(source, shares, range(3, 6), 0, CPU) as batches:
        for step in range(3, 6):
            for share in shares:
                expected = source.batch(step, share.slot).part(share.part, share.parts)
                assert batches.take(step, share).digest() == expected.digest()


def test_chance_in_a_micro_batch_does_not_depend_on_when_it_was_prepared(line):
    with StepBatches(line(), [Share(0)], range(5), 7, CPU) as batches:
        drawn = [(batches.take(step, Share(0)), torch.rand(2))[1] for step in range(5)]
    with StepBatches(line(), [Share(0)], range(4, 5), 7, CPU) as batches:
        torch.rand(3)
        batches.take(4, Share(0))
        assert torch.equal(torch.rand(2), drawn[4])


class Torn:
    """A source that cannot be read from step 4 on."""

    def __init__(self, source) -> None:
        self.source, self.threads = source, set()

    def batch(self, step, slot):
        self.threads.add(threading.current_thread())
        if step >= 4:
            raise UserError("The file ends in the middle.", "Copy it again.")
        return self.source.batch(step, slot)

    def validation(self):
        return self.source.validation()


def test_a_source_that_fails_ends_the_training_at_the_step_it_is_wanted_for(make_trainer, line, tmp_path):
    source = Torn(line())
    with pytest.raises(UserError, match="ends in the middle"):
        make_trainer(source=source, checkpoint_every=1).run()
    assert max((tmp_path / "checkpoints").iterdir()).name == "step-00000004"
    assert source.threads
    assert not any(thread.is_alive() for thread in source.threads)
