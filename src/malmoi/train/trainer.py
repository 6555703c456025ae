"""The training loop. It knows nothing of language, and nothing of what a model is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from malmoi.core.console import Advance, console, progress, verbatim
from malmoi.core.errors import UserError
from malmoi.core.hashing import hash_value
from malmoi.data.batch import Batch, BatchSource
from malmoi.objectives.objective import Objective
from malmoi.parallel.begin import execution
from malmoi.parallel.execution import Execution, FirstWeights, Share
from malmoi.parallel.layout import current_layout
from malmoi.parallel.layout_check import recomputes_too_often
from malmoi.parallel.watchdog import Watchdog
from malmoi.train.advice import Advisor, free_bytes
from malmoi.train.allocator import keep_freed_memory
from malmoi.train.compilation import Compilation
from malmoi.train.metrics import Metrics
from malmoi.train.optimizers import build_optimizers
from malmoi.train.pace import Pace
from malmoi.train.precision import Precision, autocast, choose_precision
from malmoi.train.recompute import check_recompute, recomputing
from malmoi.train.result import TrainingResult
from malmoi.train.room import check_room
from malmoi.train.samples import NO_SAMPLES, Samples
from malmoi.train.saving import SaveClock
from malmoi.train.settings import TrainerSettings
from malmoi.train.signals import StopSignals
from malmoi.train.state import Progress, Trained, load_best, load_state, save_best, save_state, trainable
from malmoi.train.step_batches import StepBatches
from malmoi.train.update import Updates
from malmoi.train.watch import Watched, opened

CHECKPOINTS = "checkpoints"


class Trainer:
    """Trains the parameters of `model` that want a gradient, and goes on by itself from `directory/checkpoints`.

    Args:
        directory: gets `metrics.jsonl` and `checkpoints/`.
        samples: what is made on the way.
        first_weights: fills `model`, which has shapes but no memory; each process has memory for its part only.

    Raises:
        UserError: the layout does not fit the model, or by an estimate the training does not fit into memory in it.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        source: BatchSource,
        settings: TrainerSettings,
        directory: Path,
        samples: Samples = NO_SAMPLES,
        first_weights: FirstWeights | None = None,
    ) -> None:
        self.model, self.source, self._objective = model, source, objective
        self._pace = Pace(settings)
        check_recompute(model, settings.recompute)
        layout = current_layout()
        if recomputes_too_often(layout, settings.recompute):
            raise UserError(
                "A zero-bubble pipeline would compute what is not kept many times.",
                "Set schedule=1f1b, or recompute=''.",
            )
        shapes = {name: tuple(one.shape) for name, one in model.named_parameters()}
        self._bytes = sum(parameter.nbytes for parameter in trainable(model).values())
        check = partial(check_room, model, objective, source, settings)
        self._execution = execution(model, objective, layout, settings.slots, first_weights, check)
        self.device = self._execution.device
        self.precision: Precision = (
            self._execution.agree(lambda: choose_precision(self.device))
            if settings.precision == "auto"
            else settings.precision
        )
        self._directory, self._states, self._samples = directory, directory / CHECKPOINTS, samples
        parameters, matrices = self._execution.parameters, self._execution.matrices()
        self._optimizers = build_optimizers(model, settings, parameters, matrices)
        self._trained = Trained(model, self._optimizers, parameters, self._execution.placed)
        self._updates = Updates(self._execution, self._optimizers, settings, self._states)
        self._writer = self._execution.state_writer()
        self._execution.check_same(
            lambda: {
                "settings": hash_value(settings.model_dump(mode="json")),
                "model": hash_value(shapes),
                "data": source.batch(0, 0).digest(),
            }
        )
        self._advisor = Advisor(settings, lambda: free_bytes(directory))
        self._validation: float | None = None

    @property
    def settings(self) -> TrainerSettings:
        """Those that hold now: with `minutes`, the number of steps changes while they are done."""
        return self._pace.settings

    def run(self) -> TrainingResult:
        """Train to the end.

        Raises:
            Diverged: the gradient was not finite too often.
            UserError: the disk is full, or compiled blocks are wanted and cannot be had. The last state is kept.
            StageDone: see `Execution.end`.
        """
        keep_freed_memory()
        done = self._go_on()
        self._pace.go_on(done)
        settings = self._advisor.settings = self.settings
        if done.step == 0 and self._shows(0):
            self._samples.make(0)
        compilation = Compilation(settings.compile, self._directory, done.step, self._execution)
        with (
            compilation,
            recomputing(self._execution.model, settings.recompute),
            opened(Watched(self._directory, lambda: self.settings.model_dump(), done.step)) as listeners,
            progress("training", settings.steps) as advance,
            StopSignals() as stop,
            self._execution.watchdog() as watchdog,
        ):
            metrics = Metrics(self._directory, done.step, listeners)
            if done.step == 0:
                self._say(self._advisor.before_first_step(), 0, metrics)
            self._say(self._advisor.before_saving(3 * self._bytes), done.step, metrics)
            self._all_steps(done, metrics, compilation, advance, stop, watchdog)
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
        self,
        done: Progress,
        metrics: Metrics,
        compilation: Compilation,
        advance: Advance,
        stop: StopSignals,
        watchdog: Watchdog,
    ) -> None:
        """Every step that is not done yet, with what is due after it; ends early, all saved, when asked to."""
        execution = self._execution
        before, started, clock = done.seconds, time.monotonic(), SaveClock()
        steps, shares = self._pace.steps_from(done.step), execution.shares(self.settings.slots)
        advance(done.step)
        with StepBatches(self.source, shares, steps, self.settings.seed, self.device) as batches:
            for step in self._pace.steps_from(done.step):
                watchdog.phase("training", step, patient=compilation.takes_long(step + 1))
                seconds = self._one_step(step, done, partial(batches.take, step), metrics, advance)
                compilation.after_step(step + 1, seconds, self.settings.steps - step - 1, self._format)
                done.step, done.seconds = step + 1, before + time.monotonic() - started
                self._say(watchdog.step(done.step, execution.own_seconds), done.step, metrics)
                if self._pace.after_step(done, seconds, execution.agree):
                    self._advisor.settings = self.settings
                    advance(0, total=done.steps)
                every, last = self.settings.checkpoint_every, done.step == self.settings.steps
                turn = _due(done.step, every) if every else clock.due()
                asked, turn = execution.anywhere(stop.received is not None, turn)
                if last or _due(done.step, self.settings.validate_every):
                    watchdog.phase("validation", step, patient=True)
                    self._validate_and_record(done, metrics)
                if last:
                    execution.give_back()
                if self._shows(done.step):
                    watchdog.phase("samples", step, patient=True)
                    self._samples.make(done.step)
                if last or asked or (turn and not done.refused):
                    watchdog.phase("saving", step, patient=True)
                    clock.restart(self._save(done, metrics))
                if asked and not last:
                    self.close()
                    stop.end(done.step)

    def _shows(self, step: int) -> bool:
        """Whether samples are due, and the whole model is here to make them."""
        steps = self.settings.steps
        return self._samples.due(step, steps) and (step == steps or not self._execution.divided)

    def _save(self, done: Progress, metrics: Metrics) -> float:
        """Returns the seconds it took."""
        started = time.monotonic()
        self._say(self._advisor.before_saving(3 * self._bytes), done.step, metrics)
        save_state(self._states, self._trained, done, self._writer)
        return time.monotonic() - started

    def _one_step(
        self, step: int, done: Progress, batch: Callable[[Share], Batch], metrics: Metrics, advance: Advance
    ) -> float:
        """Returns the seconds it took."""
        started, worked, execution = time.monotonic(), time.process_time(), self._execution
        rate = self._updates.set_learning_rates(step, self.settings.steps)
        sums = execution.backward(execution.shares(self.settings.slots), batch, self._format, done.loss_scale)
        count = sums.count
        norm = self._updates.apply(step, count, done)
        done.items += count
        seconds = time.monotonic() - started
        loss = sums.total / count if count else math.nan
        metrics.write(
            step + 1,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_per_second=count / seconds,
            processor_seconds=time.process_time() - worked,
            seconds=done.seconds + seconds,
        )
        self._say(self._advisor.after_step(step + 1, loss, norm), step + 1, metrics)
        advance(1, f"loss {loss:.3f}, {count / seconds:,.0f}/s")
        return seconds

    def _format(self) -> AbstractContextManager[Any]:
        return autocast(self.device, self.precision)

    def _validate_and_record(self, done: Progress, metrics: Metrics) -> None:
        values = self.validate()
        if not values:
            return
        metrics.write(done.step, **values)
        self._validation = loss = values["validation_loss"]
        if not math.isfinite(loss):
            return
        if done.best_loss is None or loss < done.best_loss:
            done.best_loss, done.best_step = loss, done.step
            if self.settings.keep_best:
                save_best(self._states, self._trained, done.step, self._writer)
        self._say(self._advisor.after_validation(done.step, loss, done.best_loss), done.step, metrics)

    def _say(self, warnings: list[str], step: int, metrics: Metrics) -> None:
        for warning in warnings:
            console.print(f"  [yellow]{verbatim(warning)}[/yellow]")
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
