from typer.testing import CliRunner

from malmoi.cli.main import app


def test_plan_prints_memory_time_and_how_far_off_it_is(tmp_path):
    words = ["plan", "gpt3-125m", "--hardware", "8xH100", "--tokens", "10B", "--layout", "data=8", "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "계획.html")])
    assert done.exit_code == 0
    assert "125,226,240 parameters" in done.output
    assert "not on it" in done.output
    assert (tmp_path / "계획.html").stat().st_size > 2_000
