"""The training loop. It knows nothing of language, and nothing of what a model is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malmoi.core.accelerator import end_step
from malmoi.core.console import Advance, console, progress
from malmoi.core.errors import UserError
from malmoi.core.hashing import hash_value
from malmoi.data.batch import Batch, BatchSource
from malmoi.objectives.objective import Objective
from malmoi.parallel.distributed import execution
from malmoi.parallel.execution import Execution, FirstWeights, Share
from malmoi.parallel.layout import current_layout
from malmoi.parallel.layout_check import recomputes_too_often
from malmoi.parallel.watchdog import Watchdog
from malmoi.train.advice import Advisor, free_bytes
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.metrics import Metrics
from malmoi.train.optimizers import build_optimizers
from malmoi.train.precision import Precision, autocast, choose_precision
from malmoi.train.recompute import recomputing
from malmoi.train.schedules import factor
from malmoi.train.settings import TrainerSettings
from malmoi.train.signals import StopSignals
from malmoi.train.state import Progress, Trained, load_best, load_state, save_best, save_state, trainable
from malmoi.train.step_batches import StepBatches
from malmoi.train.watch import Watched, opened

PATIENCE = 10
"""Steps in a row that may be skipped because their gradient is not finite."""

SCALE_DOUBLES = 2_000
"""Steps after which the loss scale of float16 is tried higher; a gradient that overflows halves it again."""

CHECKPOINTS = "checkpoints"


class Diverged(UserError):
    """The gradient of a training is not finite any more."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to. Losses are means over the counted items; seconds count every attempt."""

    steps: int
    items: int
    seconds: float
    skipped: int
    precision: Precision
    validation_loss: float | None
    best_loss: float | None
    best_step: int


class Trainer:
    """Trains the parameters of `model` that want a gradient, and goes on by itself from `directory/checkpoints`.

    Args:
        directory: gets `metrics.jsonl` and `checkpoints/`.
        on_checkpoint: called with the number of steps done, before the first step and before every state is saved;
            after a kill it may be called again with the same number. Where processes share the weights it is called
            at the end only.
        first_weights: fills `model`, which has shapes but no memory; each process has memory for its part only.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        source: BatchSource,
        settings: TrainerSettings,
        directory: Path,
        on_checkpoint: Callable[[int], None] = lambda step: None,
        first_weights: FirstWeights | None = None,
    ) -> None:
        self.model, self.source, self.settings, self._objective = model, source, settings, objective
        layout = current_layout()
        if recomputes_too_often(layout, settings.recompute):
            raise UserError(
                "A zero-bubble pipeline would compute what is not kept many times.",
                "Set schedule=1f1b, or recompute=''.",
            )
        shapes = {name: tuple(one.shape) for name, one in model.named_parameters()}
        self._bytes = sum(parameter.nbytes for parameter in trainable(model).values())
        self._execution = execution(model, objective, layout, settings.slots, first_weights)
        self.device = self._execution.device
        self.precision: Precision = (
            self._execution.agree(lambda: choose_precision(self.device))
            if settings.precision == "auto"
            else settings.precision
        )
        self._directory, self._states, self._on_checkpoint = directory, directory / CHECKPOINTS, on_checkpoint
        parameters, matrices = self._execution.parameters, self._execution.matrices()
        self._optimizers = build_optimizers(model, settings, parameters, matrices)
        self._trained = Trained(model, self._optimizers, parameters, self._execution.placed)
        self._writer = self._execution.state_writer()
        self._execution.check_same(
            lambda: {
                "settings": hash_value(settings.model_dump(mode="json")),
                "model": hash_value(shapes),
                "data": source.batch(0, 0).digest(),
            }
        )
        self._advisor = Advisor(settings.steps, settings.clip, settings.keep_best, lambda: free_bytes(directory))
        self._validation: float | None = None
        self._refused = 0

    def run(self) -> TrainingResult:
        """Train to the end.

        Raises:
            Diverged: the gradient was not finite too often.
            UserError: the disk is full. The last saved state is kept in both cases.
            StageDone: see `Execution.end`.
        """
        keep_freed_memory()
        settings = self.settings
        done = self._go_on()
        if done.step == 0 and not self._execution.divided:
            self._on_checkpoint(0)
        with (
            recomputing(self._execution.model, settings.recompute),
            opened(Watched(self._directory, settings.model_dump(), done.step)) as listeners,
            progress("training", settings.steps) as advance,
            StopSignals() as stop,
            self._execution.watchdog() as watchdog,
        ):
            self._all_steps(done, Metrics(self._directory, done.step, listeners), advance, stop, watchdog)
            watchdog.phase("last validation", done.step, patient=True)
            validation = self._finish(done)
        self._execution.end()
        self._execution = Execution(self.model, self._objective)
        return TrainingResult(
            done.step,
            done.items,
            done.seconds,
            done.skipped,
            self.precision,
            validation,
            done.best_loss,
            done.best_step,
        )

    def close(self) -> None:
        """Wait for what is still being written."""
        if self._writer is not None:
            self._writer.wait()

    def validate(self) -> dict[str, float]:
        """Mean loss and metrics over all held-out batches, as a sum divided once; empty when nothing is held out.

        All processes call it together before `run` ends; afterwards each has the whole model, and does it alone.
        """
        sums = self._execution.validate(self.source.validation(), self._format)
        if not sums.count:
            return {}
        metrics = {f"validation_{name}": value / sums.count for name, value in sums.metrics.items()}
        return {"validation_loss": sums.total / sums.count, **metrics}

    def _go_on(self) -> Progress:
        """The newest saved state, or a beginning."""
        done = load_state(self._states, self._trained, self._execution.agree)
        threads = torch.get_num_threads()
        if done is None:
            return Progress(precision=self.precision, threads=threads)
        self.precision = done.precision
        if done.threads != threads:
            console.print(
                f"  [yellow]going on with {threads} threads after {done.threads}: the last bits of the weights will "
                f"differ from those of a run that was not interrupted[/yellow]"
            )
        return done

    def _all_steps(
        self, done: Progress, metrics: Metrics, advance: Advance, stop: StopSignals, watchdog: Watchdog
    ) -> None:
        """Every step that is not done yet, with what is due after it; ends early, all saved, when asked to."""
        settings, execution = self.settings, self._execution
        before, started = done.seconds, time.monotonic()
        steps, shares = range(done.step, settings.steps), execution.shares(settings.slots)
        advance(done.step)
        with StepBatches(self.source, shares, steps, settings.seed, self.device) as batches:
            for step in steps:
                watchdog.phase("training", step)
                self._one_step(step, done, partial(batches.take, step), metrics, advance)
                done.step, done.seconds = step + 1, before + time.monotonic() - started
                self._say(watchdog.step(done.step, execution.own_seconds), done.step, metrics)
                asked = execution.any(stop.received is not None)
                last = done.step == settings.steps
                if last or _due(done.step, settings.validate_every):
                    watchdog.phase("validation", step, patient=True)
                    self._validate_and_record(done, metrics)
                if last or asked or _due(done.step, settings.checkpoint_every):
                    watchdog.phase("saving", step, patient=True)
                    self._save(done, metrics, last)
                if asked and not last:
                    self.close()
                    stop.end(done.step)

    def _save(self, done: Progress, metrics: Metrics, last: bool) -> None:
        if last:
            self._execution.give_back()
        if last or not self._execution.divided:
            self._on_checkpoint(done.step)
        self._say(self._advisor.before_saving(3 * self._bytes), done.step, metrics)
        save_state(self._states, self._trained, done, self._writer)

    def _one_step(
        self, step: int, done: Progress, batch: Callable[[Share], Batch], metrics: Metrics, advance: Advance
    ) -> None:
        started, settings = time.monotonic(), self.settings
        rate = self._set_learning_rates(step)
        execution = self._execution
        factor = done.scale if self.precision == "float16" else 1.0
        sums = execution.backward(execution.shares(settings.slots), batch, self._format, factor)
        count = sums.count
        norm = self._scale_gradients(count, factor)
        if math.isfinite(norm):
            for optimizer in self._optimizers:
                optimizer.step()
            end_step(self.device)
            self._refused = 0
            if self.precision == "float16" and (step + 1) % SCALE_DOUBLES == 0:
                done.scale *= 2
        else:
            self._refuse(step, done)
        execution.forget_gradients()
        done.items += count
        seconds = time.monotonic() - started
        loss = sums.total / max(1, count)
        metrics.write(
            step + 1,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm if math.isfinite(norm) else None,
            tokens_per_second=count / seconds,
            seconds=done.seconds + seconds,
        )
        self._say(self._advisor.after_step(step + 1, loss, norm), step + 1, metrics)
        advance(1, f"loss {loss:.3f}, {count / seconds:,.0f}/s")

    def _format(self) -> AbstractContextManager[Any]:
        return autocast(self.device, self.precision)

    def _scale_gradients(self, count: int, scale: float) -> float:
        """Turn gradients of a sum into those of a mean, clipped; returns the norm before clipping."""
        divisor = max(1, count) * scale
        norm = self._execution.gradient_norm() / divisor
        clip = self.settings.clip
        if math.isfinite(norm):
            self._execution.scale_gradients((clip / norm if clip and norm > clip else 1.0) / divisor)
        return norm

    def _set_learning_rates(self, step: int) -> float:
        settings = self.settings
        multiplier = factor(
            step,
            settings.steps,
            schedule=settings.schedule,
            warm_up=settings.warm_up,
            cool_down=settings.cool_down,
            final=settings.final,
        )
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * multiplier
        return settings.learning_rate * multiplier

    def _refuse(self, step: int, done: Progress) -> None:
        done.skipped += 1
        if self.precision == "float16" and done.scale > 1:
            done.scale /= 2
            return
        self._refused += 1
        if self._refused >= PATIENCE:
            raise Diverged(
                f"The gradient was not finite in {PATIENCE} steps in a row, up to step {step + 1}.",
                f"Lower learning_rate and matrix_learning_rate, or set precision=float32; the last good state is in "
                f"{self._states}.",
            )

    def _validate_and_record(self, done: Progress, metrics: Metrics) -> None:
        values = self.validate()
        if not values:
            return
        metrics.write(done.step, **values)
        self._validation = values["validation_loss"]
        if done.best_loss is None or self._validation < done.best_loss:
            done.best_loss, done.best_step = self._validation, done.step
            if self.settings.keep_best:
                save_best(self._states, self._trained, done.step, self._writer)
        self._say(self._advisor.after_validation(done.step, self._validation, done.best_loss), done.step, metrics)

    def _say(self, warnings: list[str], step: int, metrics: Metrics) -> None:
        for warning in warnings:
            console.print(f"  [yellow]{warning}[/yellow]")
            metrics.write(step, warning=warning)

    def _finish(self, done: Progress) -> float | None:
        """Take the best weights if they are wanted; returns the validation loss of what the model ends with."""
        if self._validation is None:
            self._validation = self.validate().get("validation_loss")
        self.close()
        if self.settings.keep_best and done.best_loss is not None:
            load_best(self._states, self._trained, done.best_step)
            self._validation = done.best_loss
        self._execution.give_back()
        self.model.eval()
        return self._validation


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
