"""`malmoi tune` and `malmoi bench train` from the command line: mistakes end in a sentence, before anything runs."""

import pytest


@pytest.mark.parametrize(("arguments", "message"), [
    (["tune", "shakespear"], "Did you mean 'shakespeare'"),
    (["tune", "shakespeare", "--search", "trainer.learnin_rate=0.1:0.2"], "Did you mean 'learning_rate'"),
    (["tune", "shakespeare", "--search", "trainer.learning_rate=0.2:0.1"], "the wrong way round. Write 0.1:0.2"),
    (["tune", "shakespeare", "--stage", "evaluat"], "Did you mean 'evaluate'"),
    (["tune", "shakespeare", "--measure", "evaluate.bits"], "no figure 'bits' in its result. It has: bits_per_byte"),
    (["tune", "shakespeare", "--language", "de"], "--language en or ko"),
    (["tune", "shakespeare", "--watch", "tensorbord"], "Did you mean 'tensorboard'"),
    (["run", "shakespeare", "--watch", "wand"], "Did you mean 'wandb'"),
    (["bench", "train", "spam"], "pretrains nothing"),
])  # fmt: skip
def test_mistakes_end_in_a_sentence(run, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*arguments)
    assert code == 2
    assert message in error
    assert not list(tmp_path.iterdir())


def test_without_optuna_the_way_to_get_it_is_said(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, error = run("tune", "shakespeare")
    assert (code, "pip install 'malmoi[tune]'" in error) == (2, True)


def test_where_the_time_goes_is_a_table_and_a_file(run, tmp_path):
    small = ["pretrain.model.width=16", "pretrain.context=16", "pretrain.rows=2", "pretrain.trainer.precision=float32"]
    code, printed, _ = run("bench", "train", "shakespeare", *small, "--rounds", "1", "--out", tmp_path / "speed.json")
    assert code == 0
    assert "of a matrix product here" in printed
    assert "head and loss" in printed
    assert (tmp_path / "speed.json").exists()
