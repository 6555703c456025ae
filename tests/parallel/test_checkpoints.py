"""What some processes save, any other number of them goes on from."""

import math
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from malmoi.core.files import read_json_lines
from malmoi.core.hashing import hash_file
from malmoi.core.processes import is_first
from malmoi.models.registry import build_model
from malmoi.parallel import checkpoint
from malmoi.parallel.layout import Layout, laid_out
from malmoi.parallel.spawn import ProcessFailed, run_on
from malmoi.pipeline.verify_parallel import MODELS, Texts
from malmoi.train import saving
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

STEPS = 9
SETTINGS = TrainerSettings(
    steps=STEPS, slots=4, learning_rate=1e-3, matrix_learning_rate=2e-3, precision="float32", cool_down=0,
    checkpoint_every=3, validate_every=3, keep_best=True,
)  # fmt: skip
LAYOUTS = {
    "one": Layout(),
    "shard": Layout(shard=2),
    "two by two": Layout(shard=2, tensor=2),
    "four": Layout(shard=4),
    "pipeline": Layout(pipeline=2, data=2),
}


class Stopped(Exception):
    pass


class StopsAt(Texts):
    """As if the processes were killed in this step."""

    def __init__(self, step: int) -> None:
        super().__init__("gpt")
        self._step = step

    def batch(self, step, slot):
        if step == self._step:
            raise Stopped
        return super().batch(step, slot)


def train(directory: Path, layout: Layout, stop: int):
    """Losses of the steps that were done in all, and the weights; up to a step in which all are stopped."""
    torch.set_num_threads(1)
    model = build_model(MODELS["gpt"][0], seed=0)
    with laid_out(layout):
        trainer = Trainer(model, MODELS["gpt"][1], StopsAt(stop), SETTINGS, directory)
        try:
            trainer.run()
        except Stopped:
            trainer.close()
    if not is_first():
        return None
    records = list(read_json_lines(directory / "metrics.jsonl"))
    return [record["loss"] for record in records if "loss" in record], model.state_dict()


def trained(directory: Path, layout: Layout, stop: int = STEPS):
    if layout.processes == 1:
        return train(directory, layout, stop)
    return run_on(layout.processes, train, directory, layout, stop)[0]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("unbroken"), LAYOUTS["one"])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Directories of trainings that were stopped in the seventh step, by the layout they ran in."""
    directories = {}
    for name in ("one", "shard", "pipeline"):
        directories[name] = tmp_path_factory.mktemp("stopped") / "run"
        trained(directories[name], LAYOUTS[name], stop=7)
    return directories


@pytest.mark.parametrize(("begun", "gone_on"), [
    ("shard", "four"), ("shard", "two by two"), ("shard", "one"), ("one", "two by two"), ("pipeline", "shard"),
])  # fmt: skip
def test_a_training_goes_on_in_another_layout_as_if_it_had_not_been_stopped(
    stopped, unbroken, tmp_path, begun, gone_on
):
    run = tmp_path / "run"
    shutil.copytree(stopped[begun], run)
    losses, weights = trained(run, LAYOUTS[gone_on])
    assert losses == pytest.approx(unbroken[0], rel=1e-6)
    for name, weight in unbroken[1].items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-6)


def test_two_then_one_then_four_processes_see_the_same_rows_in_the_same_order(unbroken, tmp_path):
    trained(tmp_path / "run", LAYOUTS["shard"], stop=4)
    trained(tmp_path / "run", LAYOUTS["one"], stop=7)
    losses, _ = trained(tmp_path / "run", LAYOUTS["four"])
    assert losses == pytest.approx(unbroken[0], rel=1e-6)


def killed_while_saving(directory: Path) -> None:
    """A training of which process 1 dies in the background when it has written its tensors of the second state."""

    def hash_or_die(file: Path) -> str:
        if file.parent.name == ".step-00000006.tmp" and not is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        return hash_file(file)

    checkpoint.hash_file = hash_or_die
    train(directory, LAYOUTS["shard"], STEPS)


def test_a_save_that_is_killed_leaves_the_former_whole(unbroken, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ProcessFailed, match="process 1 died"):
        run_on(2, killed_while_saving, run)
    states = sorted(path.name for path in (run / "checkpoints").glob("*step-*"))
    losses, _ = trained(run, LAYOUTS["one"])
    assert states == [".step-00000006.tmp", "step-00000003"]
    assert losses == pytest.approx(unbroken[0], rel=1e-6)


def test_no_state_is_a_pickle(stopped):
    files = [file for file in (stopped["shard"] / "checkpoints").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".safetensors", ".json"}


def by_the_clock(directory: Path, layout: Layout) -> None:
    """Only in one process it is always time to save."""
    saving.SAVED_AFTER, saving.SHARE = (0.0, math.inf) if is_first() else (math.inf, 1.0)
    with laid_out(layout):
        model, objective = build_model(MODELS["gpt"][0], seed=0), MODELS["gpt"][1]
        settings = SETTINGS.model_copy(update={"checkpoint_every": 0, "keep_best": False})
        Trainer(model, objective, Texts("gpt"), settings, directory).run()


def test_processes_agree_when_to_save(tmp_path):
    run_on(2, by_the_clock, tmp_path, LAYOUTS["shard"])
    states = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert states == ["step-00000008", "step-00000009"]
