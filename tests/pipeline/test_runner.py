"""A run does what is not done yet, and nothing twice."""

import json

import pytest

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.pipeline import recipe as recipe_module
from malmoi.pipeline.recipe import load_recipe, shipped_recipes
from malmoi.pipeline.runner import run_recipe
from malmoi.pipeline.show import print_ending
from malmoi.pipeline.stage import Stage, StageInput


class CountSettings(Settings):
    words: str = "말모이"
    source: StageInput | None = None
    others: tuple[StageInput, ...] = ()


@pytest.fixture
def calls(monkeypatch):
    """Replace the stages by one that writes a file and remembers that it ran."""
    ran = []

    def run(settings, directory):
        ran.append(directory.name)
        earlier = (settings.source / "words.txt").read_text() if settings.source else ""
        (directory / "words.txt").write_text(earlier + settings.words)
        if settings.words == "fail":
            raise UserError("It failed.")
        return {"length": len(settings.words)}

    monkeypatch.setattr(recipe_module, "find_stage", lambda kind: Stage(CountSettings, run))
    return ran


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(
        "about: x\nstages:\n- {stage: corpus, name: first}\n- {stage: corpus, name: second, source: first}\n"
    )
    return path


def test_a_second_run_skips_everything(calls, recipe_file, tmp_path):
    for _ in range(2):
        run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert calls == ["first", "second"]


def test_a_changed_setting_runs_its_stage_and_what_depends_on_it(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    run_recipe(load_recipe(str(recipe_file), ["first.words=dictionary"]), tmp_path / "run")
    assert calls == ["first", "second", "first", "second"]
    assert (tmp_path / "run/second/words.txt").read_text() == "dictionary말모이"


def test_a_changed_setting_of_the_last_stage_leaves_the_first_alone(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    run_recipe(load_recipe(str(recipe_file), ["second.words=x"]), tmp_path / "run")
    assert calls == ["first", "second", "second"]


def test_an_earlier_result_is_set_aside_not_overwritten(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    run_recipe(load_recipe(str(recipe_file), ["second.words=x"]), tmp_path / "run")
    kept = list((tmp_path / "run/.previous").glob("second-*/words.txt"))
    assert [path.read_text() for path in kept] == ["말모이말모이"]


def test_what_only_a_killed_stage_needs_goes_when_it_is_done(calls, recipe_file, tmp_path):
    saved = tmp_path / "run/first/checkpoints/step-1/state"
    saved.parent.mkdir(parents=True)
    saved.write_text("x")
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert not saved.exists()
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert calls == ["first", "second"]


def test_a_failed_stage_leaves_the_finished_ones_done(calls, recipe_file, tmp_path):
    with pytest.raises(UserError):
        run_recipe(load_recipe(str(recipe_file), ["second.words=fail"]), tmp_path / "run")
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert calls == ["first", "second", "second"]


def test_a_lost_output_is_made_again(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    (tmp_path / "run/first/words.txt").unlink()
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert calls == ["first", "second", "first"]


def test_the_record_tells_settings_inputs_versions_time_memory_and_result(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    record = json.loads((tmp_path / "run/second/stage.json").read_text())
    assert record["result"] == {"length": 3}
    assert record["inputs"]["source"][0]["name"] == "first"
    assert record["peak_memory"] > 0
    assert {"settings", "versions", "seconds", "machine", "outputs"} <= set(record)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("first.wrods=x", "Did you mean 'words'"),
        ("frist.words=x", "Did you mean 'first'"),
        ("first.words=[1]", "'words'"),
        ("first.words", "key=value"),
    ],
)
def test_a_wrong_override_names_the_way_out(calls, recipe_file, override, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        load_recipe(str(recipe_file), [override])


def test_an_input_that_is_no_stage_and_no_path_is_named(calls, recipe_file, tmp_path):
    with pytest.raises(UserError, match=r"'fisrt'.*Did you mean 'first'"):
        run_recipe(load_recipe(str(recipe_file), ["second.source=fisrt"]), tmp_path / "run")


def test_an_unknown_recipe_is_named():
    with pytest.raises(UserError, match="Did you mean 'quickstart'"):
        load_recipe("quickstrat", [])


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid(name):
    assert load_recipe(name, []).steps


def test_two_runs_do_not_share_a_directory(calls, recipe_file, tmp_path):
    import filelock

    (tmp_path / "run").mkdir()
    with filelock.FileLock(tmp_path / "run/.lock"), pytest.raises(UserError, match="Another malmoi"):
        run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")


def test_the_ending_continues_a_prompt_of_the_run(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "samples.jsonl").write_text('{"step": 0, "prompt": "이 영화는", "text": ""}\n', encoding="utf-8")
    print_ending({"pretrain": tmp_path})
    assert f"malmoi generate {tmp_path} '이 영화는'" in capsys.readouterr().out
