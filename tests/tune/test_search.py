"""A search goes through its trials once, whoever is killed on the way and however many are at it."""

import math

import pytest
import yaml
from optuna.trial import Trial

from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.pipeline.recipe import load_recipe
from malmoi.tune.prepare import Wish, prepare
from malmoi.tune.result import print_result, write_result
from malmoi.tune.search import run
from malmoi.tune.space import Choices, Range, parse_space, parse_values
from malmoi.tune.study import Trials

RATE = "trainer.learning_rate=0.0005:0.4:log"
SPACE = [RATE, "rows=8,16,32"]


class Killed(BaseException):
    """Stands for whatever ends a process; nothing catches it."""


def searched(recipe, directory, **wish):
    """Search to the end; what came out."""
    search = prepare(recipe, Wish(**({"searches": SPACE, "trials": 8} | wish)), directory)
    return write_result(search, run(search), None)


def outcome(facts) -> list:
    """What does not tell the time."""
    return [(one["number"], one["state"], one["value"], one["values"], one["losses"]) for one in facts["trials"]]


def test_the_first_trial_is_the_recipe_and_the_best_one_is_better(recipe, tmp_path):
    facts = searched(recipe, tmp_path / "out")
    assert facts["trials"][0]["values"] == {"pretrain.trainer.learning_rate": 0.001, "pretrain.rows": 8}
    assert facts["first"] == pytest.approx(3 + 0.009**2 * 1e4 + 0.5)
    assert facts["best_value"] < facts["first"] - 0.4
    assert facts["best_values"]["pretrain.rows"] == 16


def test_a_recipe_that_is_not_among_what_is_tried_is_no_trial_to_compare_with(recipe, tmp_path, capsys):
    search = prepare(recipe, Wish(["rows=16,32"], trials=2), tmp_path / "out")
    facts = write_result(search, run(search), None)
    print_result(search, facts)
    assert facts["first"] is None
    assert "with the recipe as it is" not in capsys.readouterr().out


def test_a_search_took_as_much_memory_as_the_stage_that_took_most(recipe, disturb, tmp_path):
    disturb["step"] = lambda directory, step: b"".join([b"x" * (256 << 20)])
    searched(recipe, tmp_path / "out", trials=1)
    record = read_json(tmp_path / "out/trials/0000/pretrain/stage.json")
    assert read_json(tmp_path / "out/tune.json")["peak_memory"] == record["peak_memory"]


def test_the_best_recipe_is_one_that_runs(recipe, tmp_path):
    facts = searched(recipe, tmp_path / "out")
    tuned = load_recipe(facts["file"], [])
    assert tuned.about == "말모이"
    assert [step.name for step in tuned.steps] == [step.name for step in recipe.steps]
    assert tuned.entries["pretrain"]["rows"] == facts["best_values"]["pretrain.rows"]
    assert tuned.entries["corpus"] == recipe.entries["corpus"]


def test_what_trials_share_runs_once_and_what_comes_after_not_at_all(recipe, ran, tmp_path):
    searched(recipe, tmp_path / "out")
    assert ran.count("corpus") == 1
    assert not {"evaluate", "report"} & set(ran)


def test_only_the_best_keeps_its_weights(recipe, tmp_path):
    facts = searched(recipe, tmp_path / "out")
    kept = [path.parts[-4] for path in (tmp_path / "out" / "trials").glob("*/*/model/weights")]
    assert kept == [f"{facts['best']:04d}"]


@pytest.mark.parametrize("moments", [[(0, 1), (3, 6), (5, 2)], [(1, 12), (1, 12), (7, 2)]])
def test_killed_and_gone_on_ends_the_same(recipe, disturb, tmp_path, moments):
    untouched = searched(recipe, tmp_path / "untouched")
    left = list(moments)

    def kill(directory, step):
        if left and (int(directory.parts[-2]), step) == left[0]:
            left.pop(0)
            raise Killed

    disturb["step"] = kill
    for _ in moments:
        with pytest.raises(Killed):
            searched(recipe, tmp_path / "killed")
    again = searched(recipe, tmp_path / "killed")
    assert outcome(again) == outcome(untouched)
    assert (tmp_path / "killed/formula-tuned.yaml").read_text() == (
        tmp_path / "untouched/formula-tuned.yaml"
    ).read_text()


def test_a_finished_search_is_not_searched_again(recipe, ran, tmp_path):
    first = searched(recipe, tmp_path / "out")
    before = len(ran)
    assert outcome(searched(recipe, tmp_path / "out")) == outcome(first)
    assert len(ran) == before
    assert len(searched(recipe, tmp_path / "out", trials=10)["trials"]) == 10


def test_two_at_once_take_different_trials_and_leave_those_of_the_living_alone(recipe, tmp_path):
    space = parse_space(SPACE, recipe, "pretrain")
    one, other = (Trials(tmp_path, space, {"pretrain.rows": 8}, 0, False, True) for _ in range(2))
    with one.claimed(3) as mine, other.claimed(3) as theirs:
        assert (mine[0].number, theirs[0].number) == (0, 1)
        with one.claimed(2) as nothing:
            assert nothing is None
    with other.claimed(3) as taken_over:
        assert taken_over[0].number == 0
        assert taken_over[1] == mine[1]


def test_while_another_process_is_at_the_only_trial_nobody_says_that_it_failed(recipe, tmp_path):
    search = prepare(recipe, Wish(SPACE, trials=1), tmp_path / "out")
    first = {"pretrain.rows": 8}
    other = Trials(search.directory, search.space, first, seed=0, maximize=False, pruned=True)
    with other.claimed(1), pytest.raises(UserError, match=r"yet; another process is at trial 1\."):
        write_result(search, run(search), None)


def test_killed_between_telling_a_loss_and_judging_it_is_judged_again(recipe, tmp_path, monkeypatch):
    untouched = searched(recipe, tmp_path / "untouched")
    judge, killed = Trial.should_prune, []

    def kill(trial):
        verdict = judge(trial)
        if verdict and not killed:
            killed.append(trial.number)
            raise Killed
        return verdict

    monkeypatch.setattr(Trial, "should_prune", kill)
    with pytest.raises(Killed):
        searched(recipe, tmp_path / "killed")
    again = searched(recipe, tmp_path / "killed")
    assert again["trials"][killed[0]]["state"] == "stopped"
    assert outcome(again) == outcome(untouched)


def test_a_trial_that_falls_behind_is_stopped(recipe, tmp_path):
    facts = searched(recipe, tmp_path / "out")
    stopped = [one for one in facts["trials"] if one["state"] == "stopped"]
    assert stopped
    assert all(4 <= len(one["losses"]) < 12 for one in stopped)
    assert all(one["state"] == "finished" for one in searched(recipe, tmp_path / "all", prune=False)["trials"])


def test_a_training_that_diverges_is_a_trial_like_others(recipe, tmp_path):
    facts = searched(recipe, tmp_path / "out", searches=["trainer.learning_rate=0.001:100:log"], trials=6)
    diverged = [one for one in facts["trials"] if "not finite" in one["error"]]
    assert diverged
    assert all(one["state"] == "stopped" for one in diverged)


def test_a_training_that_ends_without_a_number_is_stopped_too(recipe, disturb, tmp_path):
    disturb["loss"] = lambda loss: math.nan if loss > 5 else loss
    facts = searched(recipe, tmp_path / "out", searches=["trainer.learning_rate=0.001:0.4:log"], trials=6, prune=False)
    states = [one["state"] for one in facts["trials"]]
    assert "stopped" in states
    assert "failed" not in states


def test_when_no_trial_comes_to_its_end_the_reason_is_said(recipe, tmp_path):
    with pytest.raises(UserError, match=r"No trial came to its end.*not finite.*smaller values"):
        searched(recipe, tmp_path / "out", searches=["trainer.learning_rate=0.6:0.9"], trials=3)


def fail_in(trials):
    def fail(directory, step):
        if int(directory.parts[-2]) in trials:
            raise UserError("디스크가 이상합니다.")

    return fail


def test_a_trial_that_fails_is_left_out(recipe, disturb, tmp_path):
    disturb["step"] = fail_in({2, 3})
    facts = searched(recipe, tmp_path / "out")
    assert [one["number"] for one in facts["trials"] if one["state"] == "failed"] == [2, 3]
    assert facts["trials"][2]["error"] == "디스크가 이상합니다."


@pytest.mark.parametrize("trials", [{0}, {3, 4, 5}])
def test_the_first_that_fails_and_three_in_a_row_end_the_search(recipe, disturb, tmp_path, trials):
    disturb["step"] = fail_in(trials)
    with pytest.raises(UserError, match="디스크"):
        searched(recipe, tmp_path / "out")
    disturb["step"] = fail_in(set())
    assert len(searched(recipe, tmp_path / "out")["trials"]) == 8


def test_another_figure_can_count_and_settings_of_earlier_stages_be_searched(recipe, ran, tmp_path):
    wish = {"searches": [RATE], "measure": "evaluate.bits_per_byte", "trials": 4}
    small = searched(recipe, tmp_path / "small", **wish)
    large = searched(recipe, tmp_path / "large", **wish, maximize=True)
    assert small["best_value"] == 2 * min(one["values"]["pretrain.trainer.learning_rate"] for one in small["trials"])
    assert large["best_value"] == 2 * max(one["values"]["pretrain.trainer.learning_rate"] for one in large["trials"])
    searched(recipe, tmp_path / "corpus", searches=["corpus.words=여우,곰"], measure="pretrain.rate", trials=2)
    assert ran[-4:] == ["corpus", "0000/pretrain", "corpus", "0001/pretrain"]


def test_time_that_is_up_ends_it_after_a_trial(recipe, tmp_path):
    assert 0 < len(searched(recipe, tmp_path / "out", minutes=0.001)["trials"]) < 8


def test_by_default_rate_batch_and_decay_are_searched_around_the_recipe(recipe, tmp_path):
    facts = searched(recipe, tmp_path / "out", searches=[], trials=1)
    assert {key: space["text"] for key, space in facts["space"].items()} == {
        "pretrain.trainer.learning_rate": "0.0002 to 0.005, log",
        "pretrain.trainer.matrix_learning_rate": "0.004 to 0.1, log",
        "pretrain.rows": "4, 8, 16",
        "pretrain.trainer.matrix_weight_decay": "0 to 0.2",
    }
    assert list(facts["trials"][0]["values"].values()) == [0.001, 0.02, 8, 0.0]


@pytest.mark.parametrize(("text", "values"), [
    ("0.001:0.1", Range(0.001, 0.1)),
    ("1e-4:1e-2:log", Range(1e-4, 1e-2, log=True)),
    ("1:8", Range(1, 8, whole=True)),
    ("8,16,32", Choices((8, 16, 32))),
    ("[true, false]", Choices((True, False))),
    ("head,last:2,여우", Choices(("head", "last:2", "여우"))),
    ("{,@곰", Choices(("{", "@곰"))),
    ("1e-3,1e-2", Choices((0.001, 0.01))),
])  # fmt: skip
def test_ranges_and_choices_are_read(text, values):
    assert parse_values(text) == values


@pytest.mark.parametrize(("wish", "message"), [
    ({"searches": ["trainer.learnin_rate=0.1:0.2"]}, "'learnin_rate'.*Did you mean 'learning_rate'"),
    ({"searches": ["row=1,2"]}, "'row'.*Did you mean 'rows'"),
    ({"searches": ["rows=32:8"]}, "the wrong way round. Write 8:32"),
    ({"searches": ["trainer.learning_rate=0:0.1:log"]}, "no logarithm"),
    ({"searches": ["rows=eight:16"]}, "'eight'.*no number"),
    ({"searches": ["rows=8:16:lg"]}, "'lg'.*not known"),
    ({"searches": ["rows=8"]}, "nothing to choose from"),
    ({"searches": ["rows"]}, "says not what to try"),
    ({"searches": ["rows=여우,곰"]}, "'rows'"),
    ({"searches": ["trainer.learning_rate=-0.1:0.1"]}, "learning_rate"),
    ({"stage": "pretrian"}, "Did you mean 'pretrain'"),
    ({"stage": "corpus"}, "does not train.*pretrain"),
    ({"searches": ["corpus.words=a,b", "rows=4,8"]}, "Say what counts"),
    ({"searches": ["corpus.words=a,b"]}, "does not train"),
    ({"searches": ["evaluate.words=a,b"], "measure": "pretrain.rate"}, "'pretrain' is not made from 'evaluate'"),
    ({"measure": "evalute.bits_per_byte"}, "Did you mean 'evaluate'"),
    ({"measure": "evaluate.bits_per_bite", "trials": 1}, "Did you mean 'bits_per_byte'"),
    ({"measure": "corpus.note", "searches": ["corpus.words=a,b"]}, "no figure 'note'.*length"),
])  # fmt: skip
def test_what_cannot_be_searched_is_said(recipe, tmp_path, wish, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        searched(recipe, tmp_path / "out", **wish)


def test_a_directory_holds_one_search(recipe, tmp_path):
    searched(recipe, tmp_path / "out", trials=1)
    with pytest.raises(UserError, match="search of other settings"):
        searched(recipe, tmp_path / "out", searches=["rows=8,64"])


def test_more_trials_and_minutes_later_go_on_with_trials_of_the_same_length(recipe, tmp_path):
    timed = load_recipe(str(tmp_path / "formula.yaml"), ["pretrain.minutes=4"])
    first = prepare(timed, Wish(SPACE, trials=10, minutes=10), tmp_path / "out")
    later = prepare(timed, Wish(SPACE, trials=20, minutes=60), tmp_path / "out")
    assert first.short.entries["pretrain"]["minutes"] == pytest.approx(0.9)
    assert later.short.entries == first.short.entries
    assert later.whole.entries["pretrain"]["minutes"] == 4


def test_the_page_and_the_words_at_the_end(recipe, tmp_path, capsys):
    search = prepare(recipe, Wish(SPACE, trials=8), tmp_path / "out")
    facts = write_result(search, run(search), None)
    print_result(search, facts)
    printed, page = capsys.readouterr().out, (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert f"{facts['first']:.4f} with the recipe as it is" in printed
    assert f"malmoi run {facts['file']}" in printed.replace("\n", "")
    assert "설정마다 결과에 얼마나 영향을 주나" in page, "the recipe's own report is Korean"
    assert page.count('class="chart"') == 4
    assert "도중에 멈춤(마지막 손실)" in page, "those that were stopped stand among the trials too"
    assert read_json(tmp_path / "out/tune.json")["result"]["best"] == facts["best"]
    assert sum(facts["importance"].values()) == pytest.approx(1)
    assert yaml.safe_load((tmp_path / "out/formula-tuned.yaml").read_text())["stages"]
