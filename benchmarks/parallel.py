"""Several processes against one: how much faster two are than one, what they send each other, and whether kills matter.

python benchmarks/parallel.py scaling          weak scaling from one process to two, one thread each; 12M parameters
python benchmarks/parallel.py collectives      exchanges of one step, beside what the theory says
python benchmarks/parallel.py kills --kills 10 two processes, one of which is killed at a random moment
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, read_json_lines, write_json
from malmoi.core.hashing import hash_file
from malmoi.data.batch import TextBatch
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.initialize import initialize
from malmoi.models.registry import count_parameters, meta_model
from malmoi.objectives.causal import Causal
from malmoi.parallel.begin import execution
from malmoi.parallel.execution import Share, unchanged
from malmoi.parallel.layout import Layout
from malmoi.parallel.spawn import run_on
from malmoi.pipeline.verify_parallel import MODELS, Texts
from malmoi.train.optimizers import OptimizerSettings, build_optimizers

TWELVE_MILLION = GPTConfig(
    vocabulary=4_096, context=256, width=384, layers=6, heads=6, key_value_heads=6, feed_forward=1_024, tied=True
)
ROWS = 8
"""Of a process in a step: 2,048 tokens."""

KINDS = {"allreduce": "all_reduce", "_allgather_base": "all_gather", "_reduce_scatter_base": "reduce_scatter"}
"""Kinds of exchanges by what PyTorch calls them."""

RESULTS = Path(__file__).parent / "results" / "parallel.json"


def first_weights(model: nn.Module) -> None:
    """Of every model here."""
    initialize(model, seed=0)


def rows(number: int) -> TextBatch:
    """A micro-batch for one process."""
    generator = torch.Generator().manual_seed(number)
    tokens = torch.randint(0, TWELVE_MILLION.vocabulary, (ROWS, TWELVE_MILLION.context + 1), generator=generator)
    return TextBatch(tokens[:, :-1], tokens[:, 1:])


def step_seconds(layout: Layout, rounds: int) -> list[float]:
    """How long each of some steps takes, one micro-batch a process; all processes call it."""
    torch.set_num_threads(1)
    model = meta_model(TWELVE_MILLION)
    run = execution(model, Causal(), layout, slots=layout.replicas, first_weights=first_weights)
    optimizers = build_optimizers(model, OptimizerSettings(), run.parameters, run.matrices())
    seconds = []
    for _ in range(rounds + 1):
        started = time.monotonic()
        run.backward(run.shares(layout.replicas), lambda share: rows(share.slot), unchanged, 1.0)
        run.scale_gradients(1 / (layout.replicas * ROWS * TWELVE_MILLION.context))
        for optimizer in optimizers:
            optimizer.step()
        run.forget_gradients()
        seconds.append(time.monotonic() - started)
    return seconds[1:]


def scaling(rounds: int) -> dict[str, Any]:
    """Tokens a second of two processes over twice those of one, turn and turn about."""
    one, two = [], []
    for _ in range(3):
        one += run_on(1, step_seconds, Layout(), rounds)[0]
        two += run_on(2, step_seconds, Layout(data=2), rounds)[0]
    alone, together = statistics.median(one), statistics.median(two)
    print(
        f"{count_parameters(TWELVE_MILLION):,} parameters, {ROWS * TWELVE_MILLION.context:,} tokens a process and step"
    )
    print(f"one process {alone:.2f} s a step, two {together:.2f} s: efficiency {alone / together:.1%}")
    return {"one": one, "two": two, "efficiency": alone / together, "parameters": count_parameters(TWELVE_MILLION)}


def counted(layout: Layout) -> dict[str, int]:
    """The exchanges of one step with gradients, by kind; all processes call it."""
    torch.set_num_threads(1)
    model, texts = meta_model(MODELS["gpt"][0]), Texts("gpt")
    run = execution(model, Causal(), layout, slots=4, first_weights=first_weights)

    def batch(share: Share) -> Any:
        return texts.batch(0, share.slot).part(share.part, share.parts)

    run.backward(run.shares(4), batch, unchanged, 1.0)
    run.forget_gradients()
    with Exchanges() as exchanges:
        run.backward(run.shares(4), batch, unchanged, 1.0)
    return dict(sorted(exchanges.counts.items()))


class Exchanges(TorchDispatchMode):
    """Counts collective operations by kind while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass everything on."""
        if operation.namespace == "c10d":
            name = operation.name().removeprefix("c10d::").rstrip("_")
            self.counts[KINDS.get(name, name)] += 1
        return operation(*args, **(kwargs or {}))


def theory(layout: Layout) -> dict[str, int]:
    """The same by arithmetic: L layers, m micro-batches of this process, one bucket, one sum of total and count."""
    layers, own = MODELS["gpt"][0].depth, 4 // layout.replicas
    seen = layout.replicas * layout.context > 1
    sums = Counter({"all_reduce": int(seen)})
    if layout.data > 1 and layout.shard == 1:
        sums["all_reduce"] += 1  # the bucket
    if layout.shard > 1:
        # blocks forward and backward, the root once; its gradients and the blocks' in the last micro-batch
        sums["all_gather"] = own * (2 * layers + 1)
        sums["reduce_scatter"] = layers + 1
    if layout.tensor > 1:
        # attention and feed-forward of each block gather and scatter; the stack's end gathers; backward the partners,
        # and the stack's beginning gathers; the embedding's sum, the loss's two, and the sum of its gradient
        sums["all_gather"] += own * (2 * layers + 1 + 2 * layers + 1)
        sums["reduce_scatter"] += own * (2 * layers + 2 * layers)
        sums["all_reduce"] += own * (1 + 2 + 1) + 1
    if layout.context > 1:
        # each block's keys and values are gathered, whose gradients are scattered; and the bucket
        sums["all_gather"] += own * layers
        sums["reduce_scatter"] += own * layers
        sums["all_reduce"] += int(layout.shard == 1)
    if layout.pipeline > 1:
        # hidden states one way and gradients the other, for the first process; the tied table's gradient both ways;
        # the loss is told in two messages
        sums["send"], sums["recv"], sums["broadcast"] = own + 1, own + 1, 2
    return {name: count for name, count in sorted(sums.items()) if count}


def collectives() -> dict[str, Any]:
    """Counted and reckoned exchanges of every layout."""
    found = {}
    for layout in (Layout(data=2), Layout(shard=2), Layout(tensor=2), Layout(context=2), Layout(pipeline=2)):
        measured, reckoned = run_on(layout.processes, counted, layout)[0], theory(layout)
        print(f"{layout}: counted {measured}, reckoned {reckoned}{'' if measured == reckoned else '  DIFFERENT'}")
        found[str(layout)] = {"counted": measured, "reckoned": reckoned}
    return found


def train(directory: Path, steps: int) -> subprocess.Popen[bytes]:
    """Start the shakespeare recipe in two processes under torchrun, which starts all again when one dies."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "3", "-m", "malmoi", "run", "shakespeare", "--out", str(directory)]
    command += ["parallel.data=2", f"pretrain.steps={steps}", "pretrain.trainer.checkpoint_every=5"]
    command += ["pretrain.trainer.precision=float32", "pretrain.samples=0"]
    return subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def steps_done(directory: Path) -> int:
    """How many steps are on record."""
    path = directory / "pretrain" / "metrics.jsonl"
    return max((record["step"] for record in read_json_lines(path)), default=0) if path.exists() else 0


def workers(parent: int) -> list[int]:
    """The processes that torchrun has started."""
    import psutil

    children = psutil.Process(parent).children(recursive=True)
    return [child.pid for child in children if "malmoi" in child.cmdline() and "run" in child.cmdline()]


def kills(count: int, steps: int) -> dict[str, Any]:
    """So many runs, one of whose two processes is killed in a random step; their weights beside a whole run's."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        if train(whole, steps).wait():
            raise SystemExit("the unbroken run failed")
        wanted = hash_file(whole / "pretrain" / "model" / "model.safetensors")
        record = []
        for number in range(count):
            directory, step, index = Path(folder, str(number)), chance.randrange(1, steps), chance.randrange(2)
            running = train(directory, steps)
            while steps_done(directory) < step and running.poll() is None:
                time.sleep(0.05)
            victims = workers(running.pid)
            os.kill(victims[index], 9)
            code = running.wait()
            model = directory / "pretrain" / "model" / "model.safetensors"
            equal = code == 0 and hash_file(model) == wanted
            attempts = read_json(directory / "pretrain" / "stage.json")["attempts"]
            record.append({"step": step, "process": index, "equal": equal, "attempts": attempts})
            print(f"process {index} killed after step {step}: {'equal' if equal else 'DIFFERENT'}, {attempts} attempts")
    return {"kills": record, "equal": sum(one["equal"] for one in record)}


def main() -> None:
    """Measure one thing and write it beside the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scaling", "collectives", "kills"])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "scaling":
        found = scaling(arguments.rounds)
    elif arguments.what == "collectives":
        found = collectives()
    else:
        found = kills(arguments.kills, arguments.steps)
    known = read_json(RESULTS) if RESULTS.exists() else {}
    write_json(RESULTS, known | {"machine": machine_facts(), "torch": torch.__version__, arguments.what: found})


if __name__ == "__main__":
    main()
