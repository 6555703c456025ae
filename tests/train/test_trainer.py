"""The loop: sums divided once, steps that are refused, states to go on from."""

import errno
import math
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.core.files import read_json_lines
from malmoi.train import saving
from malmoi.train.samples import Samples


class Killed(BaseException):
    """Stands for whatever ends a process; nothing catches it."""


class KilledAt:
    """A source whose training is killed when it asks for a step."""

    def __init__(self, source, step: int) -> None:
        self.source, self.step = source, step

    def batch(self, step: int, slot: int):
        if step == self.step:
            raise Killed
        return self.source.batch(step, slot)

    def validation(self):
        return self.source.validation()


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def curve(directory) -> list[dict]:
    """The record without what tells the time."""
    timers = {"seconds", "processor_seconds", "tokens_per_second"}
    return [{k: v for k, v in line.items() if k not in timers} for line in read_json_lines(directory / "metrics.jsonl")]


def trained(make_trainer, **settings):
    trainer = make_trainer(**settings)
    trainer.run()
    return weights(trainer)


def test_it_learns(make_trainer):
    trainer = make_trainer(steps=300, learning_rate=0.03)
    before = trainer.validate()["validation_loss"]
    result = trainer.run()
    assert result.validation_loss < 0.01 * before
    assert (result.steps, result.items, result.skipped) == (300, 2_400, 0)


def test_accumulated_unequal_batches_are_one_large_batch(make_trainer, line, tmp_path):
    whole = trained(make_trainer, source=line((8,)), directory=tmp_path / "one")
    parts = trained(make_trainer, source=line((5, 1, 2)), slots=3, directory=tmp_path / "many")
    torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-5)


def test_a_step_is_adamw_on_the_mean_with_clipping(make_trainer, line):
    trainer = make_trainer(steps=3, clip=0.5, learning_rate=0.1)
    from torch.nn.utils import clip_grad_norm_

    reference = make_trainer().model
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.1 * (1.0, 1.0, 2 / 3)[step]
        points = line().batch(step, 0)
        (reference(points.inputs) - points.outputs).square().mean().backward()
        clip_grad_norm_(reference.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    trainer.run()
    expected = torch.cat([parameter.detach().flatten() for parameter in reference.parameters()])
    torch.testing.assert_close(weights(trainer), expected, atol=1e-5, rtol=1e-4)


def test_validation_is_one_sum_over_all_held_out_points(make_trainer, line):
    trainer = make_trainer()
    batches = list(line().validation())
    inputs, outputs = torch.cat([b.inputs for b in batches]), torch.cat([b.outputs for b in batches])
    with torch.no_grad():
        errors = (trainer.model.eval()(inputs) - outputs).square()
    measured = trainer.validate()
    assert measured["validation_loss"] == pytest.approx(float(errors.mean()), rel=1e-5)
    assert measured["validation_close"] == pytest.approx(float((errors < 1).float().mean()))


def test_a_step_that_is_not_finite_is_left_out_and_counted(make_trainer, line, tmp_path):
    trainer = make_trainer(source=line(spoiled=range(3, 5)))
    result = trainer.run()
    assert result.skipped == 2
    assert torch.isfinite(weights(trainer)).all()
    spoiled = [record for record in curve(tmp_path) if record.get("gradient_norm", 0) is None]
    assert [(record["step"], record["loss"]) for record in spoiled] == [(4, None), (5, None)]


def test_too_many_such_steps_end_the_run_and_the_last_good_state_stays(make_trainer, line, tmp_path):
    trainer = make_trainer(source=line(spoiled=range(6, 99)), steps=99, checkpoint_every=4, learning_rate=0.01)
    with pytest.raises(UserError, match=r"not finite in 10 steps in a row.*learning_rate"):
        trainer.run()
    assert torch.isfinite(weights(trainer)).all()


def refused(trainer) -> str:
    """What is said where every step is left out."""
    with pytest.raises(UserError) as raised:
        trainer.run()
    return str(raised.value)


@pytest.mark.parametrize("every", [1, 4])
def test_while_steps_are_left_out_nothing_is_saved(make_trainer, line, tmp_path, every):
    settings = {"source": line(spoiled=range(8, 99)), "steps": 99, "checkpoint_every": every}
    again = [refused(make_trainer(**settings)) for _ in range(3)]
    newest = max((tmp_path / "checkpoints").iterdir())
    assert newest.name == "step-00000008"
    assert again == [again[0]] * 3
    assert f"the last good state is {newest}." in again[0]


def test_where_nothing_was_saved_no_state_is_named(make_trainer, line):
    assert refused(make_trainer(source=line(spoiled=range(99)), steps=99)).endswith("or set precision=float32.")


def test_steps_left_out_are_counted_on_after_a_stop(make_trainer, line, tmp_path):
    source = line(spoiled=range(4, 99))

    class Asks:
        """Asks the process to stop while steps are left out."""

        def batch(self, step, slot):
            if step == 9:
                signal.raise_signal(signal.SIGTERM)
            return source.batch(step, slot)

        validation = source.validation

    with pytest.raises(SystemExit):
        make_trainer(source=Asks(), steps=99).run()
    assert "up to step 14" in refused(make_trainer(source=source, steps=99))


def test_without_a_number_of_steps_states_are_saved_by_the_clock(make_trainer, line, monkeypatch, tmp_path):
    monkeypatch.setattr(saving, "SAVED_AFTER", 0.0)
    monkeypatch.setattr(saving, "SHARE", math.inf)
    with pytest.raises(Killed):
        make_trainer(source=KilledAt(line(), 7)).run()
    assert max((tmp_path / "checkpoints").iterdir()).name == "step-00000007"


def test_states_that_take_long_to_save_are_saved_less_often(monkeypatch):
    times = iter([100.0, 100.0, 150.0, 290.0, 310.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    clock = saving.SaveClock()
    clock.restart(took=10.0)
    assert [clock.due() for _ in range(3)] == [False, False, True]


def test_a_full_disk_is_a_sentence_and_the_state_before_it_stays(make_trainer, monkeypatch, tmp_path):
    calls = []

    def second_time_full(*arguments):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open(*arguments)

    monkeypatch.setattr("malmoi.core.tensor_file.open", second_time_full, raising=False)
    with pytest.raises(UserError, match="The disk is full"):
        make_trainer(checkpoint_every=4).run()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("states", ["float32", "bfloat16", "8-bit"])
@pytest.mark.parametrize("killed_at", [0, 1, 5, 8, 11])
def test_killed_and_gone_on_is_untouched(make_trainer, line, tmp_path, killed_at, optimizer, states):
    settings = {"dropout": 0.3, "checkpoint_every": 4, "validate_every": 3, "optimizer": optimizer, "slots": 2}
    settings |= {"state_precision": states}
    settings |= {"warm_up": 2, "weight_decay": 0.1, "keep_best": True}
    source = line((3, 5))
    untouched = trained(make_trainer, source=source, directory=tmp_path / "untouched", **settings)
    with pytest.raises(Killed):
        make_trainer(source=KilledAt(source, killed_at), directory=tmp_path / "killed", **settings).run()
    torch.rand(7)  # chance drawn elsewhere must not matter
    again = trained(make_trainer, source=source, directory=tmp_path / "killed", **settings)
    assert torch.equal(untouched, again)
    assert curve(tmp_path / "untouched") == curve(tmp_path / "killed")


def test_a_finished_run_ends_at_once_with_the_same_result(make_trainer):
    first = make_trainer(validate_every=4)
    one = first.run()
    second = make_trainer(validate_every=4, source=KilledAt(first.source, 0))
    assert second.run() == one
    assert torch.equal(weights(first), weights(second))


def test_the_best_weights_can_be_kept(make_trainer, tmp_path):
    trainer = make_trainer(steps=40, learning_rate=0.9, validate_every=1, keep_best=True, cool_down=0.0)
    result = trainer.run()
    losses = [record["validation_loss"] for record in curve(tmp_path) if "validation_loss" in record]
    assert result.best_step < 40, "this learning rate is meant to overshoot"
    assert result.validation_loss == result.best_loss == min(losses)
    assert trainer.validate()["validation_loss"] == pytest.approx(min(losses))


class SpoiledOnce:
    """Its first validation is not finite."""

    def __init__(self, source) -> None:
        self.source, self.spoiled = source, math.nan

    def batch(self, step: int, slot: int):
        return self.source.batch(step, slot)

    def validation(self):
        for points in self.source.validation():
            yield replace(points, outputs=points.outputs * self.spoiled)
        self.spoiled = 1.0


def test_a_validation_that_is_not_finite_is_never_the_best(make_trainer, line, tmp_path):
    trainer = make_trainer(source=SpoiledOnce(line()), validate_every=3, keep_best=True)
    result = trainer.run()
    losses = [record["validation_loss"] for record in curve(tmp_path) if "validation_loss" in record]
    assert losses[0] is None
    assert result.best_loss == result.validation_loss == min(losses[1:])


def test_weights_that_are_best_no_more_are_removed_at_once(make_trainer, tmp_path):
    make_trainer(steps=30, learning_rate=0.01, validate_every=1, keep_best=True, checkpoint_every=99).run()
    assert len(list((tmp_path / "checkpoints").glob("best-*"))) == 1


def test_best_weights_survive_a_kill_while_they_are_replaced(make_trainer, tmp_path):
    settings = {"steps": 40, "learning_rate": 0.9, "validate_every": 1, "keep_best": True, "cool_down": 0.0}
    untouched = trained(make_trainer, directory=tmp_path / "a", checkpoint_every=10, **settings)
    trained(make_trainer, directory=tmp_path / "b", checkpoint_every=10, **settings)
    shutil.rmtree(max((tmp_path / "b" / "checkpoints").glob("step-*")))
    assert torch.equal(untouched, trained(make_trainer, directory=tmp_path / "b", checkpoint_every=10, **settings))


def test_frozen_parameters_are_neither_trained_nor_saved(make_trainer, tmp_path):
    from safetensors import safe_open

    trainer = make_trainer()
    trainer = make_trainer(frozen=("0.weight", "0.bias"))
    before = trainer.model[0].weight.clone()
    trainer.run()
    assert torch.equal(before, trainer.model[0].weight)
    (saved,) = (tmp_path / "checkpoints").glob("step-*")
    with safe_open(saved / "state.safetensors", "pt") as file:
        assert not [name for name in file.keys() if name.startswith("model.0")]  # noqa: SIM118


def test_samples_are_made_on_the_way(make_trainer):
    told = []
    make_trainer(samples=Samples(4, told.append)).run()
    assert told == [0, 4, 8, 12]


def test_saving_and_samples_do_not_change_the_training(make_trainer, tmp_path):
    plain = trained(make_trainer, dropout=0.3, directory=tmp_path / "a")
    watched = trained(
        make_trainer,
        dropout=0.3,
        directory=tmp_path / "b",
        checkpoint_every=3,
        validate_every=2,
        samples=Samples(5, lambda step: torch.rand(step + 1)),
    )
    assert torch.equal(plain, watched)


def test_losses_are_recorded_after_every_step(make_trainer, tmp_path):
    make_trainer(steps=3).run()
    records = curve(tmp_path)
    assert [record["step"] for record in records] == [1, 2, 3, 3]
    assert all(math.isfinite(record["loss"]) for record in records[:3])
