"""Tasks from examples in the prompt: what is written, what a kill costs, and what is refused."""

import pytest

from malmoi.core.config import parse_settings
from malmoi.core.errors import UserError
from malmoi.core.files import read_json, read_json_lines
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.models.encoder_config import EncoderConfig
from malmoi.models.registry import build_model
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.stages import few_shot
from malmoi.pipeline.stages.few_shot import FewShotSettings

TASKS = {
    "감성": {"kind": "choice", "labels": {1: "좋음", 0: "나쁨"}, "template": "{input}: {output}\n"},
    "sums": {"kind": "answer", "make": "additions", "template": "{input} = {output}\n", "answer_tokens": 3},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory, make_model, tokenizer):
    directory = tmp_path_factory.mktemp("base") / "model"
    save_checkpoint(directory, make_model(), tokenizer, "")
    return directory


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("reviews") / "reviews.tsv"
    path.write_text("input\toutput\n" + "".join(f"영화 {number}\t{number % 2}\n" for number in range(30)))
    return path


@pytest.fixture
def settings(base, reviews):
    def settings(**changes):
        values = {"checkpoint": base, "file": reviews, "tasks": TASKS, "shots": [4, 0], "limit": 6}
        return parse_settings(FewShotSettings, values | changes, "here")

    return settings


def test_every_round_has_its_figures_with_intervals(settings, tmp_path):
    result = few_shot.run(settings(), tmp_path)
    assert result == read_json(tmp_path / "few_shot.json")
    for name, figures in (("감성", {"accuracy", "accuracy_by_character"}), ("sums", {"exact", "chrf"})):
        task = result["tasks"][name]
        assert task["items"] == 6
        assert list(task["scores"]) == ["0", "4"]
        for scores in task["scores"].values():
            assert set(scores) == figures | {"cut", "seconds"}
            assert all(scores[figure]["low"] <= scores[figure]["value"] <= scores[figure]["high"] for figure in figures)
    assert result["tasks"]["감성"]["labels"] == {"0": "나쁨", "1": "좋음"}
    assert result["tasks"]["감성"]["control"] >= 0.5
    assert len(list(read_json_lines(tmp_path / "items.jsonl"))) == 2 * 2 * 6


def test_a_killed_run_goes_on_behind_its_last_round(settings, tmp_path, monkeypatch):
    whole = few_shot.run(settings(), (tmp_path / "whole"))
    calls, ask = [], few_shot.ask

    def killed_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ask(*arguments)

    monkeypatch.setattr(few_shot, "ask", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        few_shot.run(settings(), tmp_path / "killed")
    again = few_shot.run(settings(), tmp_path / "killed")
    assert len(calls) == 3 + 2
    for result in (whole, again):
        for task in result["tasks"].values():
            for scores in task["scores"].values():
                del scores["seconds"]
    assert again == whole
    texts = [(tmp_path / name / "items.jsonl").read_text() for name in ("whole", "killed")]
    assert texts[0] == texts[1]


def test_misspellings_are_made_of_the_texts_of_a_column(settings, tmp_path):
    texts = tmp_path / "texts.csv"
    texts.write_text("제목,text\n" + 'x,"호랑이 도깨비 나무꾼 사냥꾼 할머니 바닷가에 여우가"\n' * 3)
    task = {"kind": "answer", "make": "misspellings", "answer_tokens": 2}
    result = few_shot.run(settings(file=texts, tasks={"slips": task}, shots=[1], limit=2), tmp_path)
    assert result["tasks"]["slips"]["items"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"a": {"kind": "choice", "inptu": "x"}}}, r"'tasks.a.inptu' in here. Did you mean 'input'"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": {"a/b": TASKS["sums"]}}, "a/b"),
        ({"shots": []}, "shots"),
        ({"tasks": {"a": {"kind": "choice", "template": "{input}: {output}"}}}, "line break"),
        ({"tasks": {"a": {"kind": "choice", "template": "{output} {input}\n"}}}, "then {output}"),
        ({"tasks": {"a": {"kind": "choice", "make": "additions"}}}, "no labels"),
        ({"tasks": {"a": {"kind": "choice", "input": "text"}}}, r"Task 'a': .* has no column 'text'"),
        ({"tasks": {"a": {"kind": "choice"}}, "shots": [30]}, r"Task 'a': 30 examples are too few to show 30"),
        ({"tasks": {"a": {"kind": "choice", "labels": {"0": ""}}}}, r"Task 'a': The choice '' is empty"),
        (
            {"tasks": {"a": {"kind": "choice", "source": "movie-snipets"}}},
            r"Task 'a': .* Did you mean 'movie-snippets'",
        ),
        ({"file": None}, r"Task '감성': It names no source"),
    ],
)
def test_what_cannot_be_is_said(settings, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        few_shot.run(settings(**changes), tmp_path)


def test_a_model_that_writes_no_text_is_refused(settings, tokenizer, make_model, tmp_path):
    encoder = build_model(EncoderConfig(vocabulary=tokenizer.size, context=32, width=16, layers=1, heads=2), seed=0)
    for name, model in (("classifier", Classifier(make_model(), ["나쁨", "좋음"])), ("encoder", encoder)):
        save_checkpoint(tmp_path / name, model, tokenizer, "")
        with pytest.raises(UserError, match=f"{name} and writes no text"):
            few_shot.run(settings(checkpoint=tmp_path / name), tmp_path)
    with pytest.raises(UserError, match=r"is no language model\. Take one that writes text"):
        few_shot.estimate(settings(checkpoint=tmp_path / "encoder"))


def test_a_dry_run_tells_what_it_takes(settings):
    few, many = (few_shot.estimate(settings(limit=limit)) for limit in (10, 100))
    assert 0 < few.seconds < many.seconds
    assert few_shot.estimate(settings(checkpoint="nowhere")).seconds is None


def test_the_shipped_recipe_is_read_and_its_tasks_can_be_changed():
    recipe = load_recipe("few-shot", ["few-shot.tasks.sentiment.limit=5"])
    settings = next(step.settings for step in recipe.steps if step.kind == "few-shot")
    assert settings.tasks["sentiment"].limit == 5
    assert {task.kind for task in settings.tasks.values()} == {"choice", "answer"}
