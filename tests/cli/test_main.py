"""What ends a command without being a mistake of malmoi's is a sentence."""

import errno

import pytest

import malmoi
from malmoi.cli import main
from malmoi.core.console import console


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_whatever_meets_it_first(monkeypatch, capsys, number):
    def writes():
        raise OSError(number, "full", "runs/events.tfevents")

    monkeypatch.setattr(main, "app", writes)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert "The disk is full: runs/events.tfevents could not be written. Free some space" in capsys.readouterr().err


def test_another_error_of_the_system_is_not_called_so(monkeypatch):
    def writes():
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(main, "app", writes)
    with pytest.raises(OSError, match="broken"):
        main.main()


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"malmoi {malmoi.__version__}\n", "")


def test_what_a_recipe_is_about_stands_below_itself_where_a_line_ends(run, monkeypatch):
    monkeypatch.setattr(console, "width", 60)
    lines = run("recipes")[1].splitlines()
    second = next(number for number, line in enumerate(lines) if line.startswith("quickstart ")) + 1
    assert lines[second].startswith(" " * 10)
    assert max(map(len, lines)) <= 60
