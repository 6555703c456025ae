"""`malmoi launch`."""

import pytest


def test_files_are_written_and_the_command_that_takes_them_is_said(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run("launch", "shakespeare", "--on", "slurm", "--out", "실행 1")
    assert (code, "sbatch launch/shakespeare/slurm.sh" in printed) == (0, True)
    assert f"--out '{tmp_path}/실행 1'" in (tmp_path / "launch/shakespeare/slurm.sh").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--on", "kubernets"], "Did you mean 'kubernetes'"),
    (["--on", "slurm", "--nodes", "2"], "Set one, for example parallel.data=2"),
    (["--on", "skypilot"], "--storage=s3://NAME"),
    (["pretrain.contex=3"], "Did you mean 'context'"),
])  # fmt: skip
def test_mistakes_end_in_a_sentence(run, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = run("launch", "shakespeare", *arguments)
    assert (code, message in error) == (2, True)
    assert not list(tmp_path.iterdir())
