"""What others are told of a training: every number, no text, and nothing that leaves the machine unasked."""

import os
import sys
import types
from importlib.machinery import ModuleSpec

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import read_json_lines
from malmoi.train.watch import find_watchers, watching

PRIVATE = "환자 기록: 홍길동"


class Recorded(types.ModuleType):
    """Stands for the package of a service; remembers every call with its named arguments."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments, **named):
            self.calls.append((name, arguments, named))
            return self

        return call

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.calls.append(("closed", (), {}))

    def named(self, name: str) -> dict:
        return next(named for called, _, named in self.calls if called == name)


@pytest.fixture
def service(monkeypatch, tmp_path):
    """Puts a recorded package in place of a service's."""
    services = ("WANDB", "MLFLOW", "TRACKIO")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(services)}
    monkeypatch.setattr(os, "environ", kept | {"HOME": str(tmp_path)})

    def put(name: str) -> Recorded:
        package = Recorded(name)
        monkeypatch.setitem(sys.modules, name, package)
        return package

    return put


def test_tensorboard_gets_every_number_once_also_after_a_kill(make_trainer, line, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class KilledAt(line):
        def batch(self, step, slot):
            if step == 9:
                raise KeyboardInterrupt
            return super().batch(step, slot)

    with watching(*find_watchers(["tensorboard"])):
        with pytest.raises(KeyboardInterrupt):
            make_trainer(source=KilledAt(), checkpoint_every=4, validate_every=3).run()
        make_trainer(checkpoint_every=4, validate_every=3).run()
    events = EventAccumulator(str(tmp_path / ".watch" / "tensorboard"))
    events.Reload()
    for name in ("loss", "validation_loss"):
        told = [(event.step, pytest.approx(event.value, rel=1e-6)) for event in events.Scalars(name)]
        assert told == [(r["step"], r[name]) for r in read_json_lines(tmp_path / "metrics.jsonl") if name in r]


@pytest.mark.parametrize(("name", "opens", "tells", "ends"), [
    ("wandb", "init", "log", "finish"),
    ("trackio", "init", "log", "finish"),
    ("mlflow", "start_run", "log_metrics", "closed"),
])  # fmt: skip
def test_a_service_gets_numbers_and_settings_and_is_closed(make_trainer, service, name, opens, tells, ends):
    package = service(name)
    with watching(*find_watchers([name])):
        make_trainer(steps=2).run()
    told = [(arguments[0], named["step"]) for called, arguments, named in package.calls if called == tells]
    assert [step for _, step in told] == [1, 2, 2]
    assert all(isinstance(value, float) for values, _ in told for value in values.values())
    assert package.calls[-1][0] == ends
    assert any(called == opens for called, *_ in package.calls)


def test_a_warning_is_text_and_stays(make_trainer, service, monkeypatch):
    package = service("trackio")
    monkeypatch.setattr("malmoi.train.advice.Advisor.after_step", lambda self, step, loss, norm: [PRIVATE])
    with watching(*find_watchers(["trackio"])):
        make_trainer(steps=2).run()
    assert PRIVATE not in str(package.calls)


def test_weights_and_biases_is_offline_and_gathers_nothing_unless_somebody_logged_in(
    make_trainer, service, monkeypatch, tmp_path
):
    package = service("wandb")
    with watching(*find_watchers(["wandb"])):
        make_trainer(steps=1, directory=tmp_path / "a").run()
        assert package.named("init")["mode"] == "offline"
        assert package.named("Settings")["console"] == "off"
        assert package.named("Settings")["disable_git"] is True
        package.calls.clear()
        (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
        (tmp_path / ".netrc").chmod(0o600)
        make_trainer(steps=1, directory=tmp_path / "b").run()
    assert package.named("init")["mode"] is None
    assert "secret" not in str(package.calls)


def test_telemetry_of_mlflow_is_off(make_trainer, service):
    service("mlflow")
    with watching(*find_watchers(["mlflow"])):
        make_trainer(steps=1).run()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize(("name", "message"), [
    ("tensorbord", "Did you mean 'tensorboard'"),
    ("trackio", "pip install trackio"),
])  # fmt: skip
def test_what_cannot_watch_is_said_before_anything_is_trained(monkeypatch, name, message):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=message):
        find_watchers([name])


def test_nobody_watches_when_nobody_was_asked(make_trainer, tmp_path):
    make_trainer(steps=1).run()
    assert not (tmp_path / ".watch").exists()
