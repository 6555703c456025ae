"""The orders of a pipeline: what must hold of each, and PyTorch's own tables as the referee."""

import subprocess
import sys
from collections import Counter
from typing import get_args
from unittest import mock

import pytest
from torch.distributed.pipelining._schedule_visualizer import get_schedule_ops
from torch.distributed.pipelining.schedules import get_schedule_class

from malmoi.core.errors import UserError
from malmoi.parallel.layout import PipelineSchedule
from malmoi.parallel.schedule import Action, idle_share, order_of, simulate

SCHEDULES = get_args(PipelineSchedule)
SIZES = [(2, 4), (2, 6), (4, 4), (4, 8), (3, 9), (4, 10), (8, 16)]

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)
every_size = pytest.mark.parametrize(("processes", "micro_batches"), SIZES)


@every_size
@pytest.mark.parametrize(("schedule", "theirs"), [("gpipe", "GPipe"), ("1f1b", "1F1B")])
def test_one_chunk_a_process_goes_as_pytorch_executes_it(schedule, theirs, processes, micro_batches):
    kinds = {"forward_one_chunk": "forward", "backward_one_chunk": "backward"}
    executed = []
    for process in range(processes):
        stage = mock.MagicMock(stage_index=process, num_stages=processes)
        for ops in ("fwd_recv", "fwd_send", "bwd_recv", "bwd_send"):
            getattr(stage, f"get_{ops}_ops").return_value = []
        engine = get_schedule_class(theirs)(stage, micro_batches)
        engine._initialize_stage = mock.Mock()
        engine._step_microbatches()
        executed.append(
            [Action(kinds[call[0]], process, call[1][0]) for call in stage.method_calls if call[0] in kinds]
        )
    assert [list(actions) for actions in order_of(schedule, processes, micro_batches).actions] == executed


@every_size
@pytest.mark.parametrize(
    ("schedule", "theirs"), [("interleaved", "Interleaved1F1B"), ("zero-bubble", "InterleavedZeroBubble")]
)
def test_two_chunks_a_process_go_as_in_pytorchs_table(schedule, theirs, processes, micro_batches):
    kinds = {"F": "forward", "B": "backward", "I": "backward-input", "W": "backward-weight"}
    table = [
        [Action(kinds[one.computation_type.value], one.stage_index, one.microbatch_index) for one in actions if one]
        for actions in get_schedule_ops(theirs, processes, micro_batches)
    ]
    assert [list(actions) for actions in order_of(schedule, processes, micro_batches).actions] == table


@every_schedule
@every_size
def test_every_micro_batch_goes_once_forward_and_once_back_through_every_stage(schedule, processes, micro_batches):
    order = order_of(schedule, processes, micro_batches)
    kinds = ["forward", *(["backward-input", "backward-weight"] if schedule == "zero-bubble" else ["backward"])]
    wanted = Counter(
        Action(kind, stage, micro_batch)
        for kind in kinds
        for stage in range(processes * order.chunks)
        for micro_batch in range(micro_batches)
    )
    assert Counter(action for actions in order.actions for action in actions) == wanted


@every_schedule
@every_size
def test_nothing_starts_before_what_it_needs_has_ended(schedule, processes, micro_batches):
    order = order_of(schedule, processes, micro_batches)
    last = processes * order.chunks - 1
    timed = simulate(order)
    end = {(one.action.kind.removesuffix("-input"), one.action.stage, one.action.micro_batch): one.end for one in timed}
    early = []
    for one in timed:
        kind, stage, micro_batch = one.action.kind, one.action.stage, one.action.micro_batch
        if kind == "forward":
            needs = [("forward", stage - 1)] if stage else []
        elif kind == "backward-weight":
            needs = [("backward", stage)]
        else:
            needs = [("forward", stage), *([("backward", stage + 1)] if stage < last else [])]
        early += [one for needed in needs if one.start < end[*needed, micro_batch]]
    assert early == []


@every_size
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_idle_share_is_that_of_the_formula(schedule, processes, micro_batches):
    share = idle_share(simulate(order_of(schedule, processes, micro_batches)))
    assert share == pytest.approx((processes - 1) / (micro_batches + processes - 1))


@pytest.mark.parametrize(("processes", "micro_batches"), [(2, 4), (4, 4), (4, 8), (3, 9), (8, 16)])
def test_two_chunks_of_layers_shorten_the_waiting_as_the_formula_has_it(processes, micro_batches):
    share = idle_share(simulate(order_of("interleaved", processes, micro_batches)))
    assert share == pytest.approx((processes - 1) / (2 * micro_batches + processes - 1))


@every_size
def test_zero_bubble_waits_less_than_1f1b(processes, micro_batches):
    shares = [idle_share(simulate(order_of(one, processes, micro_batches))) for one in ("zero-bubble", "1f1b")]
    assert shares[0] < shares[1]


@every_size
def test_1f1b_holds_one_micro_batch_a_process_where_gpipe_holds_all(processes, micro_batches):
    held = {
        one: [order_of(one, processes, micro_batches).most_held(process) for process in range(processes)]
        for one in ("1f1b", "gpipe")
    }
    assert held == {"1f1b": [processes - process for process in range(processes)], "gpipe": [micro_batches] * processes}


@pytest.mark.parametrize(
    ("schedule", "micro_batches", "nearest"), [("1f1b", 2, "Take 4"), ("interleaved", 9, "Take 10"), ("zero-bubble", 11, "Take 12")]
)  # fmt: skip
def test_a_number_of_micro_batches_that_does_not_fit_is_refused_with_the_nearest_that_does(
    schedule, micro_batches, nearest
):
    with pytest.raises(UserError, match=nearest):
        order_of(schedule, 4, micro_batches)


def test_planning_a_pipeline_needs_no_torch():
    script = "import sys, malmoi.parallel.schedule\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
