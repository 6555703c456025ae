"""Who computes what of a step."""

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED, TextBatch, alike
from malmoi.objectives.causal import Causal
from malmoi.parallel import execution
from malmoi.parallel.execution import dealt


@pytest.mark.parametrize(("slots", "count"), [(1, 1), (4, 2), (1, 2), (3, 2), (2, 8), (6, 4), (5, 3)])
def test_every_row_of_a_step_is_computed_once(slots, count):
    rows = 24
    seen = [
        (share.slot, row)
        for index in range(count)
        for share in dealt(slots, index, count)
        for row in range(rows)[share.part :: share.parts]
    ]
    assert sorted(seen) == [(slot, row) for slot in range(slots) for row in range(rows)]


@pytest.mark.parametrize(("slots", "count"), [(4, 2), (3, 2), (2, 8)])
def test_all_processes_have_equally_much_to_do(slots, count):
    assert len({len(dealt(slots, index, count)) for index in range(count)}) == 1


def text(rows, length):
    return TextBatch(torch.ones(rows, length, dtype=torch.int64), torch.ones(rows, length, dtype=torch.int64))


def test_the_parts_of_a_batch_are_all_of_it():
    batch = TextBatch(torch.arange(10).view(5, 2), torch.arange(10).view(5, 2))
    parts = torch.cat([batch.part(index, 2).tokens for index in range(2)])
    assert sorted(parts[:, 0].tolist()) == [0, 2, 4, 6, 8]


def test_a_batch_of_fewer_rows_than_processes_is_refused():
    with pytest.raises(UserError, match="2 rows cannot be dealt to 3 processes"):
        text(2, 4).part(0, 3)


def test_padding_is_never_learned():
    padded = text(2, 5).padded(4)
    assert padded.tokens.shape == padded.targets.shape == (2, 8)
    assert (padded.targets[:, 5:] == IGNORED).all()


def test_batches_are_padded_to_the_longest():
    assert [tuple(batch.tokens.shape) for batch in alike([text(2, 3), text(2, 7)])] == [(2, 7), (2, 7)]


def test_a_model_that_was_loaded_goes_to_the_device_as_one_that_is_filled(monkeypatch):
    monkeypatch.setattr(execution, "pick_device", lambda: torch.device("meta"))
    model = torch.nn.Linear(2, 2)
    run = execution.Execution(model, Causal())
    assert {one.device.type for one in run.parameters.values()} == {"meta"}
