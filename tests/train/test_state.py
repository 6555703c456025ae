"""A saved state is complete or absent, and a torn one is recognised."""

import errno

import pytest
import torch

from malmoi.core.errors import UserError
from malmoi.train.optimizers import OptimizerSettings, build_optimizers
from malmoi.train.state import Progress, Trained, load_state, save_state


def trained(seed: int = 0, steps: int = 3):
    torch.manual_seed(seed)
    model = torch.nn.ModuleDict({"blocks": torch.nn.Sequential(torch.nn.Linear(4, 4)), "head": torch.nn.Linear(4, 2)})
    optimizers = build_optimizers(model, OptimizerSettings())
    for _ in range(steps):
        model["head"](model["blocks"](torch.randn(3, 4))).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return model, optimizers


def tensors(model, optimizers):
    states = [
        value for optimizer in optimizers for state in optimizer.state.values() for _, value in sorted(state.items())
    ]
    return [*(parameter.detach() for parameter in model.parameters()), *states]


def test_what_is_loaded_is_what_was_saved(tmp_path):
    model, optimizers = trained()
    saved = Progress(step=7, items=70, skipped=1, scale=8.0, best_loss=1.5, best_step=4)
    save_state(tmp_path, Trained(model, optimizers), saved)
    other, others = trained(seed=5, steps=0)
    assert load_state(tmp_path, Trained(other, others)) == saved
    for one, two in zip(tensors(model, optimizers), tensors(other, others), strict=True):
        assert torch.equal(one, two)
        assert one.dtype == two.dtype


def test_only_the_newest_two_are_kept(tmp_path):
    model, optimizers = trained()
    for step in (1, 2, 30):
        save_state(tmp_path, Trained(model, optimizers), Progress(step=step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000030"]


def test_a_state_that_says_what_nobody_knows_is_passed_over(tmp_path, capsys):
    model, optimizers = trained()
    save_state(tmp_path, Trained(model, optimizers), Progress(step=7))
    (facts,) = tmp_path.glob("step-*/state.json")
    facts.write_text(facts.read_text().replace('"step"', '"stride"', 1))
    assert load_state(tmp_path, Trained(model, optimizers)) is None
    assert "torn (state.json)" in " ".join(capsys.readouterr().out.split())


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("tear", [cut, flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_torn_state_is_passed_over(tmp_path, file, tear):
    model, optimizers = trained()
    for step in (1, 2):
        save_state(tmp_path, Trained(model, optimizers), Progress(step=step))
    tear(tmp_path / "step-00000002" / file)
    progress = load_state(tmp_path, Trained(*trained()))
    assert progress is not None
    assert progress.step == 1


def test_of_the_only_state_torn_it_is_said_that_there_is_no_other(tmp_path, capsys):
    save_state(tmp_path, Trained(*trained()), Progress(step=1))
    (tmp_path / "step-00000001" / "state.json").unlink()
    assert load_state(tmp_path, Trained(*trained())) is None
    assert "beginning again" in " ".join(capsys.readouterr().out.split())


def test_nothing_to_go_on_from(tmp_path):
    assert load_state(tmp_path / "absent", Trained(*trained())) is None


def test_a_full_disk_leaves_the_state_before_it(tmp_path, monkeypatch):
    model, optimizers = trained()
    save_state(tmp_path, Trained(model, optimizers), Progress(step=1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("malmoi.core.tensor_file.open", full, raising=False)
    with pytest.raises(UserError, match="The disk is full"):
        save_state(tmp_path, Trained(model, optimizers), Progress(step=2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    model, optimizers = trained()
    save_state(tmp_path, Trained(model, optimizers), Progress(step=1))
    (tmp_path / ".step-00000002.4711.tmp").mkdir()
    load_state(tmp_path, Trained(model, optimizers))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_state_of_another_model_is_named(tmp_path):
    model, optimizers = trained()
    save_state(tmp_path, Trained(model, optimizers), Progress(step=1))
    other = torch.nn.ModuleDict({"head": torch.nn.Linear(4, 3)})
    with pytest.raises(UserError, match="belongs to another model"):
        load_state(tmp_path, Trained(other, build_optimizers(other, OptimizerSettings())))


def with_norm(steps: int):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    for _ in range(steps):
        model(torch.randn(5, 4))
    return model


@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_of_batch_norms_go_on_too(tmp_path, frozen):
    model, other = with_norm(3).requires_grad_(not frozen), with_norm(0).requires_grad_(not frozen)
    save_state(tmp_path, Trained(model, []), Progress(step=3))
    load_state(tmp_path, Trained(other, []))
    assert torch.equal(model[1].running_mean, other[1].running_mean)
    assert torch.equal(model[1].running_var, other[1].running_var)
    assert int(other[1].num_batches_tracked) == 3
