"""A model trained by several processes: equal to one, and what is refused."""

import os
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from malmoi.core.errors import UserError
from malmoi.layers.low_rank import apply_low_rank
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.parallel.begin import execution
from malmoi.parallel.distributed import DistributedExecution
from malmoi.parallel.execution import Execution, unchanged
from malmoi.parallel.layout import Layout, laid_out
from malmoi.parallel.spawn import ProcessFailed, run_on
from malmoi.pipeline.verify_parallel import MODELS, Texts, first_weights, verify
from malmoi.train.recompute import recomputing
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

TEXTS = Texts("gpt")
LAYERS = MODELS["gpt"][0].layers


def batch(share):
    whole = TEXTS.batch(0, share.slot)
    return whole.part(share.part, share.parts)


def model(*, adapted=False):
    gpt = build_model(MODELS["gpt"][0], seed=0)
    first_weights(gpt)
    if adapted:
        apply_low_rank(gpt, rank=2, seed=1)
        for name, parameter in gpt.named_parameters():
            if name.endswith("widen"):
                torch.nn.init.normal_(parameter, 0, 0.01, generator=torch.Generator().manual_seed(2))
    return gpt


def gradients(layout, options):
    """Name to whole gradient; all processes call it."""
    torch.set_num_threads(1)
    with laid_out(layout):
        run = execution(model(adapted=options.get("adapted", False)), Causal(), layout, slots=4)
        with recomputing(run.model, options.get("recompute", "")):
            run.backward(run.shares(4), batch, unchanged, options.get("scale", 1.0))
        return {name: whole(run, name, held.grad) for name, held in run.parameters.items()}


def whole(run, name, gradient):
    placed = run.placed(name, gradient)
    return (placed.full_tensor() if hasattr(placed, "full_tensor") else placed).numpy()


@pytest.mark.parametrize("options", [{"adapted": True}, {"recompute": "blocks"}, {"recompute": "feed_forward:2"}])
def test_gradients_of_what_is_applied_beside_a_layout_are_those_of_one_process(options):
    alone = gradients(Layout(), options)
    for layout in (Layout(tensor=2), Layout(shard=2)):
        together = run_on(2, gradients, layout, options)[0]
        assert together.keys() == alone.keys()
        for name, gradient in alone.items():
            assert np.linalg.norm(together[name] - gradient) < 1e-5 * np.linalg.norm(gradient), name


def test_losses_and_gradient_norms_are_those_of_one_process():
    found = verify(Layout(data=2), steps=3)
    assert found.parts is None
    assert max(found.loss, found.norm) < 1e-5


def wrong_gradients(layout):
    """As if a gradient that sees only a part of the sequence were forgotten to be added up."""
    from malmoi.parallel import distributed
    from malmoi.pipeline.verify_parallel import trace

    divide = distributed.divide_tensors
    distributed.divide_tensors = lambda *arguments: divide(*arguments)[:0]

    return trace(layout, "gpt", 3, "adamw")


def test_a_wrong_gradient_is_found_though_the_losses_look_alike():
    from malmoi.pipeline.verify_parallel import compare, trace

    alone, together = trace(Layout(), "gpt", 3, "adamw"), run_on(2, wrong_gradients, Layout(tensor=2))[0]
    assert compare(Layout(tensor=2), alone, together).parts == 1
    assert alone.losses[0] == pytest.approx(together.losses[0], rel=1e-6)


def compiled(layout, wanted="always", steps=3):
    """With blocks that are traced as for a compiler, which itself is left out."""
    from malmoi.pipeline import verify_parallel
    from malmoi.train import compilation

    compilation.Region.make = lambda region: torch.compile(region.forward, backend="eager")
    compilation.WORTH_TRYING, compilation.FASTER = 0.0, 1e9 if os.environ["RANK"] == "0" else 0.0
    verify_parallel.TrainerSettings = partial(TrainerSettings, compile=wanted)
    return verify_parallel.trace(layout, "gpt", steps, "adamw")


def with_compiled(layout):
    """The losses, and how many of the blocks were compiled in this process."""
    from malmoi.train import compilation

    made, leave = [], compilation.Region.leave
    compilation.Region.leave = lambda region: (made.append(region.compiled is not None), leave(region))
    return compiled(layout, "auto", 8).losses, sum(made)


def test_compiled_blocks_learn_the_same_in_several_processes():
    from malmoi.pipeline.verify_parallel import compare, trace

    alone = trace(Layout(), "gpt", 3, "adamw")
    for layout in (Layout(shard=2), Layout(tensor=2), Layout(context=2), Layout(pipeline=2)):
        assert compare(layout, alone, run_on(2, compiled, layout)[0]).parts is None


def test_what_the_first_process_measures_decides_for_all():
    from malmoi.pipeline.verify_parallel import trace

    (losses, first), (_, other) = run_on(2, with_compiled, Layout(data=2))
    assert first == other == LAYERS
    assert losses == pytest.approx(trace(Layout(), "gpt", 8, "adamw").losses, rel=1e-5)


def test_compiled_blocks_in_a_zero_bubble_pipeline_are_refused():
    with pytest.raises(ProcessFailed, match="goes back through a block in two parts"):
        run_on(2, compiled, Layout(pipeline=2, schedule="zero-bubble"))


@pytest.mark.parametrize(("layout", "message"), [
    (Layout(data=3), r"The layout data 3 takes 3 processes, and there are 1.*malmoi launch"),
    (Layout(tensor=2), "takes 2 processes, and there are 1"),
])  # fmt: skip
def test_a_wrong_number_of_processes_is_refused(layout, message):
    with pytest.raises(UserError, match=message):
        execution(model(), Causal(), layout, slots=1)


def refused(layout, rank_of_another):
    settings = TrainerSettings(steps=2, precision="float32", learning_rate=1e-3 * (1 + int(os.environ["RANK"]) * rank_of_another))  # fmt: skip
    with laid_out(layout):
        try:
            Trainer(model(), Causal(), TEXTS, settings, Path("unused"))
        except UserError as error:
            return str(error)
    return ""


def test_processes_with_different_settings_are_refused_on_every_process():
    assert run_on(2, refused, Layout(data=2), 1) == [
        "Process 1 has not the same settings as process 0. "
        "Give every process the same recipe, the same files and the same version."
    ] * 2  # fmt: skip


def test_a_layout_that_does_not_divide_the_heads_is_refused_with_the_nearest_that_does():
    assert "tensor=3 does not divide the 4 heads" in run_on(3, refused, Layout(tensor=3), 0)[1]


def odd_heads():
    config = GPTConfig(vocabulary=11, context=8, width=12, layers=1, heads=3)
    return DistributedExecution(build_model(config, seed=0), Causal(), Layout(tensor=2))


def test_what_cannot_be_divided_says_so():
    with pytest.raises(ProcessFailed, match="3 heads of blocks.0.attention cannot be divided among 2 processes"):
        run_on(2, odd_heads)


def test_one_process_is_an_ordinary_training():
    assert type(execution(model(), Causal(), Layout(), slots=1)) is Execution


class Exchanges(TorchDispatchMode):
    """Counts collective operations while it is entered."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.namespace == "c10d":
            self.counts[operation.name().removeprefix("c10d::").strip("_")] += 1
        return operation(*args, **(kwargs or {}))


def exchanges(layout):
    run = execution(model(), Causal(), layout, slots=4)
    run.backward(run.shares(4), batch, unchanged, 1.0)
    run.forget_gradients()
    with Exchanges() as counted:
        run.backward(run.shares(4), batch, unchanged, 1.0)
    return dict(counted.counts)


@pytest.mark.parametrize(("layout", "expected"), [
    # one bucket of gradients, and the sums of the losses
    (Layout(data=2), {"allreduce": 2}),
    # two micro-batches: every block forward and backward, the rest once; gradients in the last one only
    (Layout(shard=2), {"allgather_base": 2 * (2 * LAYERS + 1), "reduce_scatter_base": LAYERS + 1, "allreduce": 1}),
    # four: in and out of two layers of each block, forward and backward, and both ends of the stack;
    # the embedding, the loss's two, its gradient, and once the gradients that see a part of the sequence
    (Layout(tensor=2), {"allgather_base": 4 * (4 * LAYERS + 2), "reduce_scatter_base": 4 * 4 * LAYERS, "allreduce": 17}),
    # four: the keys and values of each block, and their gradients; the bucket and the sums
    (Layout(context=2), {"allgather_base": 4 * LAYERS, "reduce_scatter_base": 4 * LAYERS, "allreduce": 2}),
])  # fmt: skip
def test_a_step_exchanges_no_more_than_the_theory_says(layout, expected):
    assert run_on(2, exchanges, layout)[0] == expected
