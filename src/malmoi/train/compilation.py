"""Blocks that run compiled, where that pays within a training.

One block is compiled at a time, not the whole model: blocks of one kind share the code, so that the latency does not
grow with depth ("regional compilation" in the documentation of torch.compile).
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from malmoi.core.accelerator import synchronize, wants_static_shapes
from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, write_json
from malmoi.core.processes import is_first
from malmoi.parallel.execution import Execution
from malmoi.train.region import Region

Compile = Literal["auto", "always", "never"]

RECORD = "compile.json"

WORTH_TRYING = 600.0
"""Seconds that must be left of a training: compiling takes 20 to 45 of them on two cores, and saves 0 to 30 %."""

EAGER_STEPS = 5
"""Steps after which "auto" decides; what they took, but for the first, tells how long the rest will take."""

FASTER = 0.97
"""Compiled blocks have to take less than this share of the time of plain ones; less difference is noise."""

ROUNDS = 3

_BEGIN_ANEW = "Set compile=never, and begin anew: it rounds otherwise."


class Compilation:
    """Inside, the blocks of a model run compiled from some step on, if that is wanted or pays.

    A compiled block rounds otherwise. So the choice of "auto" is written down, and kept when a training goes on.

    Args:
        wanted: "always" from the second step on; "auto" after `EAGER_STEPS`, where much is left to do and the blocks
            are then measured to be faster; "never" leaves everything as it is.
        directory: gets `compile.json`, which says what was measured and chosen.
        step: after which the training goes on.
        execution: what trains the model. Where several processes do, the first one measures for all; "auto" compiles
            nothing where they are not alike, as a block of which others hold a part cannot be measured by itself.

    Raises:
        UserError: "always" is wanted and cannot be had.
    """

    def __init__(self, wanted: Compile, directory: Path, step: int, execution: Execution) -> None:
        if wanted == "always" and not execution.compiles:
            raise UserError(
                "compile=always: a zero-bubble pipeline goes back through a block in two parts, compiled code in one.",
                "Set schedule=1f1b, or compile=never.",
            )
        self._decides_after = {"always": 1, "auto": EAGER_STEPS if execution.alike else 0, "never": 0}[wanted]
        self._wanted, self._device, self._record = wanted, execution.device, directory / RECORD
        self._measures = wanted == "auto" or not execution.shared
        self._agree = execution.agree
        self._regions = [Region(block) for block in _blocks(execution.model)] if self._decides_after else []
        self._seconds: list[float] = []
        self._begins = False
        self._look_closely_before(step + 1)
        if step >= self._decides_after and self._regions and self._chosen(self._compiled_before):
            self._switch_on()

    def __enter__(self) -> Self:
        for region in self._regions:
            region.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Leave the blocks as they were.

        Raises:
            UserError: the compiler failed in the first step that was to be compiled.
        """
        for region in self._regions:
            region.leave()
        if not any(region.compiled for region in self._regions):
            return
        torch.compiler.reset()
        if self._begins and isinstance(error, torch._dynamo.exc.TorchDynamoException):
            raise UserError(f"This training has compiled blocks, and {_failed(error)}.", _BEGIN_ANEW) from None

    def after_step(
        self, step: int, seconds: float, left: int, inside: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Decide, when it is time.

        Args:
            step: steps done.
            seconds: of this one.
            left: steps still to do.
            inside: the number format of the forward pass.

        Raises:
            UserError: "always" is wanted and cannot be had.
        """
        self._begins = False
        if step > self._decides_after or not left:
            return
        self._seconds.append(seconds)
        self._look_closely_before(step + 1)
        if step < self._decides_after:
            return
        whole = statistics.median(self._seconds[1:] or self._seconds) * left
        chosen = self._chosen(lambda: self._compiled_before() if self._record.exists() else self._decide(whole, inside))
        for region in self._regions:
            region.call = None
        if chosen:
            self._switch_on()

    def takes_long(self, step: int) -> bool:
        """Whether something is compiled in this step, or after it to be measured."""
        return self._begins or step == self._decides_after

    def _chosen(self, choose: Callable[[], bool]) -> bool:
        """What the first process chooses; with "always" there is no choice, and each says what it lacks."""
        return self._agree(choose) if self._wanted == "auto" else choose()

    def _look_closely_before(self, step: int) -> None:
        """Hold what the blocks get in the step after which it is decided: that is memory, and wanted only there."""
        for region in self._regions:
            region.holds = step == self._decides_after

    def _decide(self, left: float, inside: Callable[[], AbstractContextManager[Any]]) -> bool:
        """Whether the rest of a training, so many seconds as it is, goes on compiled."""
        if self._wanted == "auto" and left < WORTH_TRYING:
            return False
        obstacle, found = self._obstacle(), None
        if self._measures and not obstacle:
            found = self._measured(inside)
            obstacle = found if isinstance(found, str) else ""
        if obstacle and self._wanted == "always":
            raise UserError(f"compile=always: {obstacle}.", "Set compile=never.")
        chosen = not obstacle and (self._wanted == "always" or (isinstance(found, _Seconds) and found.pays))
        reason = obstacle or str(found or "as the settings say")
        console.print(
            f"  blocks are {'' if chosen else 'not '}compiled: {reason}; about {left:,.0f} s are left", markup=False
        )
        if is_first():
            write_json(self._record, {"compiled": chosen, "reason": reason, "seconds_left": left})
        return chosen

    def _obstacle(self) -> str:
        """Why nothing can be compiled; "" if nothing is known to stand in the way."""
        if wants_static_shapes(self._device):
            return "this device compiles everything itself"
        if not any(region.call for region in self._regions):
            return "this model has no blocks that take hidden states and give hidden states"
        if self._wanted == "auto" and any(len(region.shapes) > 1 for region in self._regions):
            return "batches have different lengths, and each would be compiled anew"
        if any("forward" in vars(part) for region in self._regions for part in region.parts()):
            return "parts of a block are computed again, with random numbers that compiled code would not draw again"
        return _missing_compiler(self._device)

    def _measured(self, inside: Callable[[], AbstractContextManager[Any]]) -> _Seconds | str:
        """What the first and the last block take; or why they cannot be compiled."""
        called = [region for region in self._regions if region.call]
        ends = called if len(called) < 2 else [called[0], called[-1]]
        plain, compiled, latency = 0.0, 0.0, 0.0
        try:
            with console.status("compiling a block"):
                for region in ends:
                    made = region.make()
                    latency += self._timed(region, made, inside)
                    plain += min(self._timed(region, region.forward, inside) for _ in range(ROUNDS)) / len(ends)
                    compiled += min(self._timed(region, made, inside) for _ in range(ROUNDS)) / len(ends)
        except Exception as error:  # whatever a compiler may raise
            return _failed(error)
        return _Seconds(plain, compiled, latency)

    def _timed(
        self, region: Region, forward: Callable[..., Any], inside: Callable[[], AbstractContextManager[Any]]
    ) -> float:
        synchronize(self._device)
        started = time.perf_counter()
        region.run(forward, inside)
        synchronize(self._device)
        return time.perf_counter() - started

    def _compiled_before(self) -> bool:
        return self._wanted == "always" or (self._record.exists() and bool(read_json(self._record)["compiled"]))

    def _switch_on(self) -> None:
        missing = _missing_compiler(self._device)
        if missing:
            raise UserError(f"This training has compiled blocks, and {missing}.", f"Install one. {_BEGIN_ANEW}")
        for region in self._regions:
            region.compiled = region.compiled or region.make()
        self._begins = True


@dataclass(frozen=True)
class _Seconds:
    """What a block takes forward and backward, and how long compiling took."""

    plain: float
    compiled: float
    latency: float

    @property
    def pays(self) -> bool:
        """Whether compiled blocks are faster; the latency is past."""
        return self.compiled < FASTER * self.plain

    def __str__(self) -> str:
        return (
            f"one takes {1e3 * self.compiled:,.1f} ms instead of {1e3 * self.plain:,.1f}, "
            f"and compiling took {self.latency:.0f} s"
        )


def _blocks(model: nn.Module) -> list[nn.Module]:
    return [module for path, module in model.named_modules() if re.fullmatch(r"(?:.*\.)?blocks\.\d+", path)]


def _failed(error: BaseException) -> str:
    cause = getattr(error, "inner_exception", error)  # torch wraps what its backend raised
    lines = str(cause).strip().splitlines()
    return f"compiling a block failed ({type(cause).__name__}{': ' + lines[0][:200] if lines else ''})"


def _missing_compiler(device: torch.device) -> str:
    """What torch.compile needs for this device and does not find; "" where it finds all."""
    if device.type != "cpu":
        return ""
    compiler = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    return "" if shutil.which(compiler) else f"there is no C++ compiler ({compiler}) here"
