"""A run does what is not done yet, and nothing twice."""

import contextlib
import json
from pathlib import Path

import pytest

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.pipeline import recipe as recipe_module
from malmoi.pipeline.recipe import build_step, load_recipe, shipped_recipes
from malmoi.pipeline.runner import run_recipe, run_step
from malmoi.pipeline.show import print_ending, print_plan
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
        if settings.words == "refused":
            raise UserError("It cannot be.")
        earlier = (settings.source / "words.txt").read_text() if settings.source else ""
        (directory / "words.txt").write_text(earlier + settings.words)
        (directory / "checkpoints").mkdir(exist_ok=True)
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


def test_fit_lets_every_pretraining_fill_the_memory_unless_it_is_told_otherwise():
    fitted = load_recipe("families", ["lstm.memory=3"], fit=True)
    memory = {step.name: step.settings.memory for step in fitted.steps if step.kind == "pretrain"}
    assert memory["lstm"] == 3
    assert {memory[name] for name in memory if name != "lstm"} == {"available"}
    with pytest.raises(UserError, match="pretrains nothing.*Leave --fit out"):
        load_recipe("spam", [], fit=True)


def test_minutes_where_nothing_is_trained_from_scratch_are_refused():
    with pytest.raises(UserError, match="trains nothing from scratch.*Leave --minutes out"):
        load_recipe("spam", [], minutes=2)


def test_an_override_without_its_stage_is_written_out(recipe_file):
    recipe_file.write_text("stages:\n- {stage: corpus, folder: .}\n- {stage: pretrain, corpus: corpus, tokenizer: x}\n")
    with pytest.raises(UserError, match=r"Write pretrain.trainer.clip=0.5."):
        load_recipe(str(recipe_file), ["trainer.clip=0.5"])


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


def test_settings_as_before_bring_the_earlier_result_back(calls, recipe_file, tmp_path):
    for words in ("말모이", "x", "말모이"):
        run_recipe(load_recipe(str(recipe_file), [f"second.words={words}"]), tmp_path / "run")
    assert calls == ["first", "second", "second"]
    assert (tmp_path / "run/second/words.txt").read_text() == "말모이말모이"


def test_what_was_begun_with_settings_as_before_goes_on(calls, recipe_file, tmp_path):
    for words in ("fail", "x"):
        with contextlib.suppress(UserError):
            run_recipe(load_recipe(str(recipe_file), [f"second.words={words}"]), tmp_path / "run")
    with pytest.raises(UserError, match="It failed"):
        run_recipe(load_recipe(str(recipe_file), ["second.words=fail"]), tmp_path / "run")
    assert (tmp_path / "run/second/words.txt").read_text() == "말모이fail"
    assert json.loads((tmp_path / "run/second/stage.json").read_text())["attempts"] == 2


def test_what_only_a_killed_stage_needs_goes_when_it_is_done(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert not (tmp_path / "run/first/checkpoints").exists()


def test_a_folder_of_other_files_is_left_alone(calls, recipe_file, tmp_path):
    own = tmp_path / "run/first/checkpoints/weights.bin"
    own.parent.mkdir(parents=True)
    own.write_text("x")
    with pytest.raises(UserError, match="holds files that no stage"):
        run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert own.read_text() == "x"


def test_a_result_never_takes_the_place_of_what_it_is_made_of(calls, recipe_file, tmp_path):
    made = run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")["first"]
    step = build_step({"stage": "corpus", "source": str(made)}, "first", "a test")
    with pytest.raises(UserError, match="take the place of"):
        run_step(step, made, {}, "again")


@pytest.mark.parametrize("name", [".", "..", "../one"])
def test_a_result_never_takes_the_place_of_the_folder_one_is_in(calls, tmp_path, monkeypatch, name):
    (tmp_path / "one").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with pytest.raises(UserError, match="holds the folder that you are in"):
        run_step(build_step({"stage": "corpus"}, "one", "a test"), Path(name), {}, "first")


def test_a_stage_runs_once_at_a_time_in_its_folder(monkeypatch, tmp_path):
    def run(settings, directory):
        run_step(build_step({"stage": "corpus", "words": "x"}, "one", "a test"), directory, {}, "at the same time")

    monkeypatch.setattr(recipe_module, "find_stage", lambda kind: Stage(CountSettings, run))
    with pytest.raises(UserError, match="Another malmoi is running"):
        run_step(build_step({"stage": "corpus"}, "one", "a test"), tmp_path / "one", {}, "first")


def test_a_folder_that_cannot_be_made_is_said(calls, recipe_file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        run_recipe(load_recipe(str(recipe_file), []), tmp_path / "file/run")


def test_a_failed_stage_leaves_the_finished_ones_done(calls, recipe_file, tmp_path):
    with pytest.raises(UserError):
        run_recipe(load_recipe(str(recipe_file), ["second.words=fail"]), tmp_path / "run")
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    assert calls == ["first", "second", "second"]


def test_a_mistake_that_is_met_at_once_leaves_the_earlier_result_in_its_place(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    with pytest.raises(UserError, match="It cannot be"):
        run_recipe(load_recipe(str(recipe_file), ["second.words=refused"]), tmp_path / "run")
    assert (tmp_path / "run/second/words.txt").read_text() == "말모이말모이"


def test_what_a_failed_stage_has_written_stays(calls, recipe_file, tmp_path):
    run_recipe(load_recipe(str(recipe_file), []), tmp_path / "run")
    with pytest.raises(UserError, match="It failed"):
        run_recipe(load_recipe(str(recipe_file), ["second.words=fail"]), tmp_path / "run")
    assert (tmp_path / "run/second/words.txt").read_text() == "말모이fail"


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
        ("first.words", "'first.words' is not an override. Write it as STAGE.KEY=VALUE"),
        ("first", "'first' is not an override. Write it as STAGE.KEY=VALUE"),
        ("first=1", "'first=1' is not an override. Write it as STAGE.KEY=VALUE"),
        ("first=0.5", "'first=0.5' is not an override. Write it as STAGE.KEY=VALUE"),
    ],
)
def test_a_wrong_override_names_the_way_out(calls, recipe_file, override, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        load_recipe(str(recipe_file), [override])


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("quickstart", "pretrain.model.widht=3", "'widht' in 'model'.*Did you mean 'width'"),
        ("quickstart", "pretrain.model.heads=7", "even head width, not 27"),
        ("quickstart", "pretrain.mixture.wiki=3", "pretrain.mixture names the source 'wiki'.*mean 'wiki-excerpt'"),
        ("quickstart", "corpus.read.wiki.text=3", "corpus.read names the source 'wiki'.*mean 'wiki-excerpt'"),
        ("bert", "pretrain-encoder.model.widht=3", "'widht' in 'model'.*Did you mean 'width'"),
        ("bert", "pretrain-encoder.mixture.wiki=3", "pretrain-encoder.mixture names the source 'wiki'"),
        ("bert", "questions.model.widht=3", "There are a base and a model"),
        ("translate", "translator.heads=500", "heads=500 do not fit"),
    ],
)
def test_a_shape_or_a_source_that_cannot_be_is_told_before_anything_runs(recipe, override, message):
    with pytest.raises(UserError, match=message):
        load_recipe(recipe, [override])


def test_a_mistyped_shape_of_a_new_encoder_is_told_before_it_runs():
    with pytest.raises(UserError, match="'widht' in 'model'.*Did you mean 'width'"):
        build_step({"stage": "questions", "file": "asked.json", "model": {"widht": 64}}, "questions", "a test")


@pytest.mark.parametrize("go", [run_recipe, print_plan])
def test_an_input_that_is_no_stage_and_no_path_is_named_before_anything_runs(calls, recipe_file, tmp_path, go):
    with pytest.raises(UserError, match=r"'fisrt'.*Did you mean 'first'"):
        go(load_recipe(str(recipe_file), ["second.source=fisrt"]), tmp_path / "run")
    assert not calls


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("stage: 3", "Entry 1 of 'stages' in .* has no 'stage'"),
        ("stage: [corpus]", "Entry 1 of 'stages' in .* has no 'stage'"),
        ("stage: corpus, name: ../up", "called '../up'"),
        ("stage: corpus, name: 말.모이", "called '말.모이'"),
    ],
)
def test_an_entry_that_is_no_stage_or_has_no_name_of_a_folder_is_said(recipe_file, entry, message):
    recipe_file.write_text(f"stages:\n- {{{entry}}}\n")
    with pytest.raises(UserError, match=message):
        load_recipe(str(recipe_file), [])


def test_a_folder_that_does_not_exist_is_no_recipe(tmp_path):
    with pytest.raises(UserError, match=r"There is no folder .*/nowhere\. Check the path"):
        load_recipe(str(tmp_path / "nowhere"), [])


def test_an_unknown_recipe_is_named():
    with pytest.raises(UserError, match="Did you mean 'quickstart'"):
        load_recipe("quickstrat", [])


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid(name):
    assert load_recipe(name, []).steps


@pytest.mark.parametrize("name", ["notes #2", "a: b", "folder"])
def test_a_folder_is_the_one_that_is_named_whatever_its_name(tmp_path, name):
    (tmp_path / name).mkdir()
    recipe = load_recipe(str(tmp_path / name), [])
    assert recipe.name == name
    assert recipe.steps[0].settings.folder == tmp_path / name


def test_a_folder_hides_no_shipped_recipe(tmp_path, monkeypatch):
    (tmp_path / "shakespeare").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "folder" not in load_recipe("shakespeare", []).entries["corpus"]
    assert load_recipe("./shakespeare", []).steps[0].settings.folder == tmp_path / "shakespeare"


def test_a_recipe_of_ones_own_may_be_called_folder(calls, recipe_file):
    own = recipe_file.rename(recipe_file.with_name("folder.yaml"))
    assert load_recipe(str(own), []).name == "folder"


def test_minutes_take_the_place_of_what_the_recipe_says_and_not_of_what_is_asked_for(tmp_path):
    recipe = load_recipe(str(tmp_path), ["pretrain.tokens=5000"], minutes=1)
    assert recipe.entries["pretrain"]["minutes"] == 1
    assert recipe.entries["pretrain"]["tokens"] == 5000
    assert "steps" not in load_recipe("verdict", [], minutes=1).entries["pretrain"]


@pytest.mark.parametrize(
    ("recipe", "sentences"),
    [
        ("spam", ["kB, less", "Not counted, for it is not known yet: the time of fetch, classify, report."]),
        ("shakespeare", ["Below a minute for pretrain.", "the time of fetch, corpus, tokenizer, evaluate, report."]),
    ],
)
def test_a_plan_says_small_times_and_sizes_and_what_it_does_not_count(recipe, sentences, tmp_path, capsys):
    plan = load_recipe(recipe, ["pretrain.steps=1"] if recipe == "shakespeare" else [])
    print_plan(plan, tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert [sentence for sentence in sentences if sentence not in said] == []


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


def test_the_ending_names_the_script_where_the_shell_does_not_find_malmoi(tmp_path, monkeypatch, capsys):
    script = tmp_path / ".venv/bin/malmoi"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    (tmp_path / "wrong.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(script.with_name("python")))
    for path, expected in (("", ".venv/bin/malmoi"), (str(script.parent), "malmoi")):
        monkeypatch.setenv("PATH", path)
        print_ending({"digits": Path()})
        assert f"  {expected} predict . picture.png" in capsys.readouterr().out
