"""Settings refuse what they do not know, and say what was meant."""

from pathlib import Path

import pytest
from pydantic import model_validator

from malmoi.core.config import Settings, apply_override, parse_settings, read_yaml
from malmoi.core.errors import UserError


class Inner(Settings):
    rate: float = 1.0


class Outer(Settings):
    steps: int
    inner: Inner = Inner()
    named: dict[str, Inner] = {}
    folder: Path | None = None

    @model_validator(mode="after")
    def _check(self):
        if self.steps < len(self.named):
            raise ValueError("named has more names than steps")
        return self


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match=r"'inner.rato' in here. Did you mean 'rate'"):
        parse_settings(Outer, {"steps": 1, "inner": {"rato": 2}}, "here")


def test_an_unknown_key_below_a_name_of_ones_own_names_the_nearest():
    with pytest.raises(UserError, match=r"'named.말.rato' in here. Did you mean 'rate'"):
        parse_settings(Outer, {"steps": 1, "named": {"말": {"rato": 2}}}, "here")


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="'steps' is missing in here"):
        parse_settings(Outer, {}, "here")


def test_a_wrong_type_names_key_and_value():
    with pytest.raises(UserError, match=r"'steps' in here.*It was 'many'"):
        parse_settings(Outer, {"steps": "many"}, "here")


def test_a_folder_that_is_called_like_a_number_is_asked_for_as_a_path():
    with pytest.raises(UserError, match=r"'folder' in here: 2026 is a number. Write \./2026"):
        parse_settings(Outer, {"steps": 1, "folder": 2026}, "here")


def test_what_is_wrong_with_several_settings_is_said_without_repeating_all_of_them():
    with pytest.raises(UserError, match=r"^In here: named has more names than steps\.$"):
        parse_settings(Outer, {"steps": 0, "named": {"말": {}}}, "here")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        ("a.b=말", "말"),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=true", True),
        ("a.b=1e-3", 0.001),
        ("a.b=[1", "[1"),
        ("a.b=2026-10-09", "2026-10-09"),
        ("a.b=2026-02-30", "2026-02-30"),
    ],
)
def test_an_override_is_read_as_yaml(text, value):
    values = {}
    apply_override(values, text)
    assert values == {"a": {"b": value}}


def test_an_override_through_a_value_is_refused():
    with pytest.raises(UserError, match="'a' is a value"):
        apply_override({"a": 1}, "a.b=2")


@pytest.mark.parametrize(("content", "message"), [("a: [", "not valid YAML"), ("- 1", "YAML mapping")])
def test_a_file_that_is_no_mapping_is_named(tmp_path, content, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_yaml(path)
