"""What `malmoi STAGE --settings` says: every setting of every stage, in words."""

from pathlib import Path
from typing import Literal

import pytest

from malmoi.core.config import Settings
from malmoi.pipeline.kinds import STAGES
from malmoi.pipeline.settings_words import describe_settings
from malmoi.pipeline.show import print_settings
from malmoi.pipeline.stage import StageInput, find_stage


class Base(Settings):
    """Settings.

    Attributes:
        rows: of a step; a long sentence that
            goes on in the next line.
    """

    rows: int = 16


class Example(Base):
    """Settings of an example.

    Attributes:
        corpus: where the text is.
        low, high: ends of a range.
        kind: 낱말이나 글자.
    """

    corpus: StageInput
    low: float | None = None
    high: float = 0.5
    kind: Literal["word", "character"] = "word"
    files: list[Path] = []


def test_values_defaults_and_what_they_do_are_said():
    found = {setting.name: setting[1:] for setting in describe_settings(Example)}
    assert found["corpus"] == ("stage or path", "?", "where the text is.")
    assert found["low"] == ("number", "", "ends of a range.")
    assert found["high"] == ("number", "0.5", "ends of a range.")
    assert found["kind"] == ("word or character", "word", "낱말이나 글자.")
    assert found["files"] == ("list, each path", "", "")
    assert found["rows"] == ("whole number", "16", "of a step; a long sentence that goes on in the next line.")


def test_own_settings_come_first():
    assert [setting.name for setting in describe_settings(Example)][-1] == "rows"


@pytest.mark.parametrize("kind", STAGES)
def test_every_setting_of_every_stage_is_explained(kind, capsys):
    unexplained = [setting.name for setting in describe_settings(find_stage(kind).settings) if not setting.about]
    assert unexplained == []
    print_settings(kind)
    printed = capsys.readouterr().out
    assert "<class" not in printed
    assert "object at" not in printed
