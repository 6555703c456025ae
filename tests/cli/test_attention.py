"""`malmoi attention`: the picture, the proof and the cost of a pattern, and what is said of one that is none."""

import pytest
from typer.testing import CliRunner

from malmoi.cli.main import app
from malmoi.core.errors import UserError


def run(*words):
    return CliRunner().invoke(app, ["attention", *words], catch_exceptions=True)


def test_a_picture_in_text():
    shown = run("show", "window(2) | global(0)", "--length", "4").stdout.splitlines()
    assert shown[0] == "causal & (window(2) | global(0)), 4 tokens"
    assert shown[1:5] == ["■ · · ·", "■ ■ · ·", "■ ■ ■ ·", "■ · ■ ■"]


def test_a_picture_in_a_file(tmp_path):
    assert run("show", "causal & stride(3)", "--out", str(tmp_path / "그림.svg")).exit_code == 0
    drawing = (tmp_path / "그림.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg")
    assert "causal &amp; stride(3)" in drawing


@pytest.mark.parametrize("pattern", ["causal & (window(8) | global(0))", "stride(5)", "hashed(8, buckets=4)", "linear"])
def test_the_proof_of_a_pattern(pattern):
    found = run("verify", pattern)
    assert found.exit_code == 0
    assert "Within 1e-05 and 0.0001." in found.stdout


def test_a_way_that_is_wrong_is_found(monkeypatch):
    from malmoi.layers.mixes.blocked import Blocked

    right = Blocked.__call__
    monkeypatch.setattr(Blocked, "__call__", lambda self, heads: right(self, heads) * 1.001)
    found = run("verify", "window(8)")
    assert found.exit_code == 1
    assert "They do not agree." in found.stdout


def test_the_cost_of_a_pattern():
    found = run("bench", "window(16)", "--lengths", "256,1024", "--rounds", "1")
    assert found.exit_code == 0
    assert "1,024" in found.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "windw(3)"), "Did you mean 'window'"),
        (("show", "full", "--out", "picture.bmp"), "ends in .svg"),
        (("bench", "full", "--lengths", "many"), "no list of lengths"),
        (("bench", "full", "--lengths", "64,32"), "do not rise"),
    ],
)
def test_mistakes_are_sentences(words, sentence):
    found = run(*words)
    assert isinstance(found.exception, UserError)
    assert sentence in str(found.exception)
