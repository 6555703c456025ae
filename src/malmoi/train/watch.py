"""Others that watch a training: TensorBoard, Weights & Biases, MLflow, trackio, each told what the record is told.

They get numbers and settings, never text, and everything stays on this machine unless its user has logged in to a
service or named a server in that package's own environment variables.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import netrc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from malmoi.core.errors import UserError, nearest
from malmoi.core.processes import is_first

PROJECT = "malmoi"

OWN = ".watch"
"""Hidden folder of a training's directory for what watchers write there: it is no output of a stage."""


class Watched(NamedTuple):
    """A training as it is told to a watcher.

    Attributes:
        directory: that it writes into; the last two parts are its name.
        settings: gives those of the trainer as they hold now; the number of steps may change.
        after: steps done before, 0 unless a killed training goes on.
    """

    directory: Path
    settings: Callable[[], Mapping[str, Any]]
    after: int

    @property
    def name(self) -> str:
        """Such as quickstart/pretrain."""
        return "/".join(self.directory.resolve().parts[-2:])


Listener: TypeAlias = Callable[[int, Mapping[str, Any]], None]
"""Called with every record: the step after which it was made, and its values."""

Watcher: TypeAlias = Callable[[Watched], AbstractContextManager[Listener]]
"""Opened when a training begins or goes on, closed when it ends."""

_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("watchers", default=())


@contextlib.contextmanager
def watching(*watchers: Watcher) -> Iterator[None]:
    """Every training inside is watched by these, beside those that watch already."""
    token = _watchers.set((*_watchers.get(), *watchers))
    try:
        yield
    finally:
        _watchers.reset(token)


@contextlib.contextmanager
def opened(watched: Watched) -> Iterator[Sequence[Listener]]:
    """The listeners of all that watch now."""
    with ExitStack() as stack:
        watchers = _watchers.get() if is_first() else ()
        yield [stack.enter_context(watcher(watched)) for watcher in watchers]


def find_watchers(names: Sequence[str]) -> list[Watcher]:
    """The watchers of these names.

    Raises:
        UserError: one is not known, or its package is not installed.
    """
    for name in names:
        if name not in WATCHERS:
            raise UserError(
                f"Nothing called {name!r} can watch.", nearest(name, WATCHERS) or f"Known: {', '.join(WATCHERS)}."
            )
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"Watching by {name} needs the package {name}, which is not installed.",
                f"Install it with: pip install {name}",
            )
    return [WATCHERS[name] for name in names]


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a record; a warning is text, and stays."""
    return {
        name: float(value) for name, value in values.items() if isinstance(value, (int, float)) and math.isfinite(value)
    }


@contextlib.contextmanager
def tensorboard(watched: Watched) -> Iterator[Listener]:
    """Event files that `tensorboard --logdir runs` finds."""
    from torch.utils.tensorboard import SummaryWriter

    directory = watched.directory / OWN / "tensorboard"
    writer = SummaryWriter(str(directory), purge_step=watched.after + 1)

    def listen(step: int, values: Mapping[str, Any]) -> None:
        for name, value in numbers(values).items():
            writer.add_scalar(name, value, step)

    with contextlib.closing(writer):
        yield listen


@contextlib.contextmanager
def wandb(watched: Watched) -> Iterator[Listener]:
    """A run of Weights & Biases, offline unless somebody has logged in here.

    What it otherwise gathers by itself (console output, code, git remotes, host, packages) is switched off.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    directory = watched.directory / OWN
    directory.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        project=PROJECT,
        name=watched.name,
        config=dict(watched.settings()),
        dir=str(directory),
        mode=None if _logged_in() else "offline",
        settings=settings,
    )
    try:
        yield lambda step, values: run.log(numbers(values), step=step)
    finally:
        run.finish()


@contextlib.contextmanager
def mlflow(watched: Watched) -> Iterator[Listener]:
    """A run of MLflow, in its own file here unless MLFLOW_TRACKING_URI names a server."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=watched.name):
        mlflow.log_params(dict(watched.settings()))
        yield lambda step, values: mlflow.log_metrics(numbers(values), step=step)


@contextlib.contextmanager
def trackio(watched: Watched) -> Iterator[Listener]:
    """A run of trackio, on this machine unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names another place."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import trackio

    trackio.init(
        project=PROJECT,
        name=watched.name,
        config=dict(watched.settings()),
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    try:
        yield lambda step, values: trackio.log(numbers(values), step=step)
    finally:
        trackio.finish()


WATCHERS: Mapping[str, Watcher] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
    "trackio": trackio,
}
"""By the names of their packages."""


def _logged_in() -> bool:
    """Whether a key of Weights & Biases lies where its own login puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].rstrip("/")
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
