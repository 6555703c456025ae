"""The memory that `malmoi plan` expects of small models beside what a training step on the CPU really holds.

Every storage that an operation makes is counted from its birth to its end: parameters, gradients and the optimizers'
states by walking over them, activations as what a forward pass leaves alive.

    python benchmarks/plan_memory.py
"""

from __future__ import annotations

import itertools
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from malmoi.core.files import write_json
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.presets import preset
from malmoi.parallel.layout import Layout
from malmoi.pipeline.planning.job import Job
from malmoi.pipeline.planning.memory import as_dict, process_memory
from malmoi.pipeline.trial_step import TrialStep
from malmoi.train.optimizers import OptimizerSettings
from malmoi.train.recompute import recomputing

RESULTS = Path(__file__).parent / "results" / "plan-memory.json"

SHAPES = {
    "qwen3-shaped, 6 x 192": (GPTConfig(vocabulary=2_048, context=256, width=192, layers=6, heads=6), 4, 256),
    "qwen3-shaped, 4 x 128, 2 key heads, own head": (
        GPTConfig(vocabulary=4_096, context=512, width=128, layers=4, heads=4, key_value_heads=2, tied=False),
        2,
        512,
    ),
    "gpt-2-shaped, 4 x 128": (
        preset("gpt2").model_copy(
            update={
                "vocabulary": 3_001,
                "context": 256,
                "width": 128,
                "layers": 4,
                "heads": 4,
                "key_value_heads": 4,
                "head_width": 32,
                "feed_forward": 512,
            }
        ),
        8,
        256,
    ),
}


class Alive(TorchDispatchMode):
    """Bytes of all storages that were made inside and still exist, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.most = 0
        self._known: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.meet(tensor)
        return result

    def meet(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor, if it is a new one."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known[storage._cdata] = weakref.finalize(storage, self._end, storage._cdata, storage.nbytes())
            self.bytes += storage.nbytes()
            self.most = max(self.most, self.bytes)

    def _end(self, key: int, size: int) -> None:
        self.bytes -= size
        del self._known[key]


def measure(config: GPTConfig, rows: int, length: int, **settings: Any) -> dict[str, int]:
    """Bytes of the second step of a training; the first one makes the optimizers' states."""
    optimizer = OptimizerSettings(optimizer=settings["optimizer"])
    step = TrialStep(config, length, rows, settings["precision"], optimizer, settings["recompute"])
    step.micro_batch()
    step.update()
    model = step.model
    alive = Alive()
    for parameter in model.parameters():
        alive.meet(parameter)
    parameters = alive.bytes
    with alive, recomputing(model, step.recompute):
        loss = step.loss()
        activations = alive.bytes - parameters
        loss.backward()
    gradients = sum(parameter.grad.nbytes for parameter in model.parameters() if parameter.grad is not None)
    states = sum(
        value.nbytes
        for optimizer_ in step._optimizers
        for state in optimizer_.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    return {
        "parameters": parameters,
        "gradients": gradients,
        "states": states,
        "activations": activations,
        "peak": alive.most + states,
    }


def main() -> None:
    """Print and write a line for every shape and setting."""
    torch.set_num_threads(1)
    lines = []
    for name, precision, recompute, optimizer in itertools.product(
        SHAPES, ("float32", "bfloat16"), ("", "blocks", "feed_forward"), ("adamw", "muon")
    ):
        config, rows, length = SHAPES[name]
        settings = {"precision": precision, "recompute": recompute, "optimizer": optimizer}
        measured = measure(config, rows, length, **settings)
        job = Job(
            config,
            Layout(),
            rows,
            rows,
            length,
            precision,
            recompute,
            OptimizerSettings(optimizer=optimizer),  # type: ignore
            device="cpu",
        )
        planned = as_dict(process_memory(job, 0))
        off = {part: planned[part] / measured[part] - 1 for part in measured}
        lines.append({"model": name, **settings, "measured": measured, "planned": planned, "off": off})
        print(f"{name:45} {precision:9} {recompute or '-':13} {optimizer:6}", end="")
        print(" ".join(f"{part} {share:+.1%}" for part, share in off.items()))
    worst = {part: max((line["off"][part] for line in lines), key=abs) for part in lines[0]["off"]}
    print("furthest off:", ", ".join(f"{part} {share:+.1%}" for part, share in worst.items()))
    write_json(RESULTS, {"worst": worst, "lines": lines})


if __name__ == "__main__":
    main()
