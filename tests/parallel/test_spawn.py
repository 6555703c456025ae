import pytest

from malmoi.parallel.spawn import ProcessFailed, run_on


def ranks_summed(more):
    import torch
    from torch import distributed

    total = torch.tensor(distributed.get_rank() + more)
    distributed.all_reduce(total)
    return distributed.get_rank(), total


def fails_on_the_last():
    from torch import distributed

    if distributed.get_rank() == 1:
        raise ValueError("숲")
    distributed.barrier()


def test_a_function_runs_in_every_process_and_they_can_talk():
    assert run_on(3, ranks_summed, 10) == [(0, 33), (1, 33), (2, 33)]


def test_the_failure_of_one_is_told():
    with pytest.raises(ProcessFailed, match=r"process 1:(.|\n)*ValueError: 숲"):
        run_on(2, fails_on_the_last)
