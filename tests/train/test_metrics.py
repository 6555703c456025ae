"""The curve of a killed run is that of an untouched one."""

from malmoi.core.files import read_json_lines
from malmoi.train.metrics import FILE, Metrics


def test_lines_after_the_state_are_cut(tmp_path):
    first = Metrics(tmp_path, after=0)
    for step in range(1, 6):
        first.write(step, loss=1 / step)
    with open(tmp_path / FILE, "a") as file:
        file.write('{"step": 6, "lo')
    again = Metrics(tmp_path, after=3)
    again.write(4, loss=0.25)
    assert [record["step"] for record in read_json_lines(tmp_path / FILE)] == [1, 2, 3, 4]


def test_a_kill_while_cutting_loses_nothing(tmp_path, monkeypatch):
    first = Metrics(tmp_path, after=0)
    for step in range(1, 6):
        first.write(step, loss=1 / step)
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        Metrics(tmp_path, after=3)
    except KeyboardInterrupt:
        monkeypatch.undo()
    assert [record["step"] for record in read_json_lines(tmp_path / FILE)] == [1, 2, 3, 4, 5]


def test_a_new_run_starts_a_new_curve(tmp_path):
    Metrics(tmp_path, after=0).write(1, loss=2.0)
    Metrics(tmp_path, after=0)
    assert list(read_json_lines(tmp_path / FILE)) == []
