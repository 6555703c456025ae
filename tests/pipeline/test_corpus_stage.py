"""A folder of anybody's text becomes a corpus."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from malmoi.core.errors import UserError
from malmoi.core.hashing import hash_path
from malmoi.corpus import clean
from malmoi.corpus.build import build_corpus
from malmoi.corpus.steps import make_steps
from malmoi.corpus.store import read_documents
from malmoi.pipeline import corpus_files
from malmoi.pipeline.asked_questions import read_splits as read_asked
from malmoi.pipeline.corpus_config import load_corpus_config
from malmoi.pipeline.corpus_settings import CorpusSettings
from malmoi.pipeline.labelled_texts import read_splits
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.stages.corpus import run


def test_a_folder_is_read_with_its_subfolders_and_what_cannot_be_read_is_listed(tmp_path):
    folder, out = tmp_path / "texts", tmp_path / "out"
    (folder / "깊은").mkdir(parents=True)
    out.mkdir()
    (folder / "깊은" / "한글.txt").write_bytes("윈도에서 저장한 오래된 한글 문서입니다.".encode("cp949"))
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\x00")
    result = run(CorpusSettings(folder=folder, held_out=0), out)
    assert [document.text for document in read_documents(out, "train")] == ["윈도에서 저장한 오래된 한글 문서입니다."]
    assert result["unreadable"] == {str(folder / "photo.jpg"): "unknown kind of file"}


def test_files_of_one_name_are_told_apart(tmp_path):
    folder = tmp_path / "texts"
    for name in ("가", "나"):
        write(folder / name, index=f"{name}에 있는, 스무 글자가 넘는 한국어 문장입니다.")
    run(CorpusSettings(folder=folder, held_out=0), tmp_path / "out")
    identifiers = {document.identifier for document in read_documents(tmp_path / "out", "train")}
    assert identifiers == {"가/index.txt#1", "나/index.txt#1"}


def test_names_in_an_old_encoding_do_not_stop_a_folder(tmp_path):
    folder = write(tmp_path / "texts", a="이것은 스무 글자가 넘는 한국어 문장입니다.")
    for suffix, text in ((".txt", "이것도 스무 글자가 넘는 한국어 문장입니다."), (".csv", "id,price"), (".pdf", "no")):
        (folder / os.fsdecode(f"이름{suffix}".encode("cp949"))).write_text(text)
    result = run(CorpusSettings(folder=folder, held_out=0), tmp_path / "out")
    assert result["kept"] == 2
    assert set(result["unreadable"]) == {f"{folder}/\\xc0̸\\xa7{suffix}" for suffix in (".csv", ".pdf")}


def test_pages_are_no_unreadable_files_where_nothing_can_be_extracted(tmp_path):
    write(tmp_path / "texts", a="이것은 스무 글자가 넘는 한국어 문장입니다.").joinpath("b.html").write_text("<p>쪽")
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\nfrom malmoi.pipeline.corpus_settings import CorpusSettings\nfrom malmoi.pipeline.stages.corpus import run\n"
        "run(CorpusSettings(folder='texts'), Path('out'))\n"  # not below if __name__ == "__main__"
    )
    source = str(Path(corpus_files.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": source}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "NoExtraction: The process that takes the text out of pages does not start." in done.stderr


def test_names_of_files_are_printed_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "texts/[draft] 글[", text="이것은 스무 글자가 넘는 한국어 문장입니다.")
    (folder / "x.bin").write_bytes(b"\xff\xd8\x00")
    run(CorpusSettings(folder="texts", held_out=0), tmp_path / "out")
    assert "not read texts/[draft] 글[/x.bin: unknown kind" in capsys.readouterr().out


def test_a_table_without_text_and_hidden_files_do_not_stop_a_folder(tmp_path):
    folder, out = tmp_path / "texts", tmp_path / "out"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main, 숨은 파일")
    (folder / "a.txt").write_text("이것은 스무 글자가 넘는 한국어 문장입니다.")
    (folder / "prices.csv").write_text("id,price\n1,2\n")
    result = run(CorpusSettings(folder=folder), out)
    assert result["read"] == result["kept"] == 1
    assert "no column that looks like text" in result["unreadable"][str(folder / "prices.csv")]


def test_a_single_short_text_is_split_at_its_tail(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("말모이는 우리말을 모은 것이다. " * 20)
    result = run(CorpusSettings(folder=tmp_path / "texts", held_out=0.1), tmp_path / "out")
    assert 0 < result["held_out_bytes"] < 0.2 * result["bytes"]
    assert list(read_documents(tmp_path / "out", "train"))


def test_what_stages_made_in_a_folder_is_no_text_of_it(tmp_path):
    folder = tmp_path / "texts"
    (folder / "runs/texts/corpus").mkdir(parents=True)
    (folder / "a.txt").write_text("이것은 스무 글자가 넘는 한국어 문장입니다.")
    before = hash_path(folder)
    (folder / "runs/texts/corpus/stage.json").write_text("{}")
    (folder / "runs/texts/corpus/card.md").write_text("이것은 사람이 쓴 글이 아닙니다. 스무 글자가 넘습니다.")
    assert run(CorpusSettings(folder=folder), tmp_path / "out")["read"] == 1
    assert hash_path(folder) == before


@pytest.mark.parametrize(("name", "message"), [(None, "no file of text"), ("a.txt", "Nothing is left of 0 documents")])
def test_a_folder_without_text_says_so(tmp_path, name, message):
    (tmp_path / "texts").mkdir()
    if name:
        (tmp_path / "texts" / name).write_text("")
    with pytest.raises(UserError, match=message):
        run(CorpusSettings(folder=tmp_path / "texts"), tmp_path)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def lines(count):
    return "\n".join(f"{number}번째로 모은 낱말은 사전의 {number}쪽에 실려 있다." for number in range(count))


def test_a_rule_that_drops_nearly_everything_is_said_loudly_with_the_likely_cause(tmp_path):
    folder = write(tmp_path / "texts", a=lines(200) + "\n" + "하나만 아주 긴 글이다. " * 40)
    settings = CorpusSettings(folder=folder, read={"folder": {"split": "line"}}, minimum_characters=100)
    assert run(settings, tmp_path / "out")["warnings"] == [
        "'too short' dropped 99.5% of 201 documents; most likely what is read as one document is a line (set "
        "read.SOURCE.split=file) or a cell of the wrong column of a table (set read.SOURCE.text=COLUMN), or lower "
        "minimum_characters."
    ]
    assert "- 'too short' dropped 99.5%" in (tmp_path / "out" / "card.md").read_text()


def test_a_korean_corpus_without_hangul_names_the_cause(tmp_path):
    folder = write(tmp_path / "texts", a="This text is in English, whatever was said about it. " * 3)
    with pytest.raises(UserError, match="There is no Hangul in the text"):
        run(CorpusSettings(folder=folder, languages=["ko"]), tmp_path / "out")


def test_a_test_set_that_cannot_be_read_does_not_pass_unnoticed(tmp_path):
    fetched = tmp_path / "fetch"
    fetched.mkdir()
    write(fetched / "tales", train=lines(20), exam="")
    files = [{"path": str(fetched / "tales" / f"{name}.txt")} for name in ("train", "exam")]
    manifest = {"sources": [{"name": "tales", "licence": "MIT", "files": files}]}
    (fetched / "manifest.json").write_text(json.dumps(manifest))
    settings = CorpusSettings(fetch=fetched, sources=["tales/train.txt"], exclude=["tales/exam.txt"])
    with pytest.raises(UserError, match="is to be excluded, cannot be read: empty file"):
        run(settings, tmp_path / "out")


def test_a_test_set_of_one_s_own_never_gets_in(tmp_path):
    folder = write(
        tmp_path / "texts", a="이 글은 시험에 나오지 않는다. " * 9, copied=f"시험지를 옮겨 적었다.\n{lines(3)}"
    )
    exam = write(tmp_path / "exam", test=lines(3)) / "test.txt"
    assert run(CorpusSettings(folder=folder, exclude_files=[exam]), tmp_path / "out")["dropped"]["contaminated"] == 1


def test_a_card_says_that_nothing_is_known_to_decontaminate_against(tmp_path):
    folder = write(tmp_path / "texts", a=lines(20))
    run(CorpusSettings(folder=folder), tmp_path / "plain")
    assert "- decontaminate: against nothing" in (tmp_path / "plain" / "card.md").read_text()


def test_a_source_of_which_something_is_excluded_is_not_read_for_that(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(f"folders: [{tmp_path}]\nexclude: [shakespeare/input.txt]\n")
    fetch, corpus_step, _ = load_corpus_config(str(config), []).steps
    assert fetch.settings.sources == ["shakespeare"]
    assert corpus_step.settings.sources == []


def test_a_language_that_nobody_knows_is_named(tmp_path):
    folder = write(tmp_path / "texts", a=lines(20))
    with pytest.raises(UserError, match="There is no language 'kor'. Write ko, en"):
        run(CorpusSettings(folder=folder, languages=["kor"]), tmp_path / "out")


def test_several_folders_are_sources_whose_mixture_is_reported(tmp_path):
    folders = [write(tmp_path / name, text=lines(300).replace("사전", name)) for name in ("책", "web")]
    settings = CorpusSettings(
        folders=folders,
        read={name: {"split": "line"} for name in ("책", "web")},
        mixture={"책": 3, "web": 1},
        tokens=1_500,
    )
    result = run(settings, tmp_path / "out")
    shares = json.loads((tmp_path / "out" / "mixture.json").read_text())
    assert set(result["dropped"]) == {"surplus"}
    assert shares["책"]["share"] == pytest.approx(0.75)
    assert shares["책"]["tokens"] == result["sources"]["책"]["bytes"] / 4 == pytest.approx(1_125, rel=0.02)
    assert shares["책"]["epochs"] == pytest.approx(1, rel=0.02)
    assert "| 책 | yours |" in (tmp_path / "out" / "card.md").read_text()


def test_folders_of_one_name_are_all_read(tmp_path):
    names = ("책/texts", "web/texts", "folder")
    folders = [write(tmp_path / name, text=lines(20).replace("사전", name)) for name in names]
    own = write(tmp_path / "own", text=lines(20))
    result = run(CorpusSettings(folders=folders, folder=own, held_out=0), tmp_path / "out")
    assert result["read"] == 4
    assert set(result["sources"]) == {*names}


def test_one_large_file_is_shared_by_workers_without_a_trace_in_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_files, "GROUP_BYTES", 1_000)
    monkeypatch.setattr(clean, "DOCUMENTS", 16)
    (tmp_path / "texts").mkdir()
    records = [json.dumps({"text": line}, ensure_ascii=False) for line in lines(100).splitlines()]
    (tmp_path / "texts" / "a.jsonl").write_text("\n".join(records))
    for workers in (1, 3):
        files = corpus_files.files_of(CorpusSettings(folder=tmp_path / "texts"))
        assert corpus_files.group_files(files, workers)[0].stripes == workers
    run(CorpusSettings(folder=tmp_path / "texts", workers=1), tmp_path / "one")
    sources = corpus_files.group_files(files, 3)
    build_corpus(sources, tmp_path / "three", CorpusSettings(folder=tmp_path / "texts", workers=1))
    assert (tmp_path / "one/train.parquet").read_bytes() == (tmp_path / "three/train.parquet").read_bytes()


def test_the_shipped_examples_name_rules_that_there_are():
    recipe = load_corpus_config("gpt3-mixture", [])
    assert [step.kind for step in recipe.steps] == ["fetch", "corpus", "report"]
    assert len(make_steps(recipe.steps[1].settings)) == 5


def fetched_source(directory, name, text):
    """A fetch stage with a source `reviews` of one file."""
    (directory / "reviews").mkdir(parents=True)
    (directory / "reviews" / name).write_text(text)
    files = [{"path": str(directory / "reviews" / name)}]
    manifest = {"sources": [{"name": "reviews", "licence": "MIT", "files": files}]}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def answer(passage, text):
    """Where an answer stands, as SQuAD says it."""
    return {"text": text, "answer_start": passage.index(text)}


def corpus_of_recipe(directory, *stages):
    """What a corpus as the first stage of a recipe keeps and drops, and the settings of the second one."""
    recipe = directory / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"stages": list(stages)}))
    steps = load_recipe(str(recipe), []).steps
    result = run(steps[0].settings, directory / "out")
    kept = {document.text for split in ("train", "held_out") for document in read_documents(directory / "out", split)}
    return kept, result["dropped"], steps[1].settings


def test_what_other_stages_of_the_recipe_are_tested_on_never_gets_into_the_corpus(tmp_path):
    reviews = [f"{number}번째로 본 영화입니다. 배우들의 연기가 참 좋았습니다." for number in range(60)]
    table = "".join(f"{review}\t{number % 2}\n" for number, review in enumerate(reviews))
    fetched = str(fetched_source(tmp_path / "fetch", "all.tsv", f"text\tlabel\n{table}"))
    classify = {"stage": "classify", "fetch": fetched, "source": "reviews", "limit": 9}
    kept, dropped, settings = corpus_of_recipe(tmp_path, {"stage": "corpus", "fetch": fetched}, classify)
    tested = {text.text for text in read_splits(settings).test}
    assert tested
    assert tested == set(reviews) - kept
    assert dropped["excluded"] == len(tested)


def test_a_file_of_one_s_own_that_a_stage_is_tested_on_is_known_too(tmp_path):
    reviews = [f"{number}번째로 본 영화입니다. 배우들의 연기가 참 좋았습니다." for number in range(60)]
    table = tmp_path / "reviews.tsv"
    table.write_text("text\tlabel\n" + "".join(f"{one}\t{number % 2}\n" for number, one in enumerate(reviews)))
    folder = write(tmp_path / "texts", a="\n".join(reviews))
    read = {"folder": {"split": "line"}}
    classify = {"stage": "classify", "file": str(table)}
    kept, _, settings = corpus_of_recipe(tmp_path, {"stage": "corpus", "folder": str(folder), "read": read}, classify)
    assert {text.text for text in read_splits(settings).test} == set(reviews) - kept


def test_passages_and_questions_to_be_tested_on_never_get_in_either(tmp_path):
    asked = {f"{n}번째 여우는 숲에 살며 밤에만 나온다.": f"{n}번째 여우는 어디에 살며 언제 나오나?" for n in range(40)}
    paragraphs = [
        {"context": passage, "qas": [{"id": question, "question": question, "answers": [answer(passage, "숲에")]}]}
        for passage, question in asked.items()
    ]
    squad = json.dumps({"data": [{"title": "여우", "paragraphs": paragraphs}]}, ensure_ascii=False)
    fetched = str(fetched_source(tmp_path / "fetch", "asked.json", squad))
    folder = str(write(tmp_path / "texts", a="\n".join([*asked, *asked.values()])))
    corpus = {
        "stage": "corpus",
        "fetch": fetched,
        "sources": [],
        "folder": folder,
        "read": {"folder": {"split": "line"}},
    }
    questions = {"stage": "questions", "fetch": fetched, "source": "reviews"}
    kept, _, settings = corpus_of_recipe(tmp_path, corpus, questions)
    tested = {text for one in read_asked(settings, 0)[0].test for text in (one.passage, one.text)}
    assert tested
    assert not tested & kept
    assert len(kept) == len({*asked, *asked.values()} - tested)


def test_the_likely_cause_is_that_of_the_rule_that_dropped_most(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "short.txt").write_text("말모이는 사전의 이름이다. 사람들이 모았다.")
    with pytest.raises(UserError, match="words 1. Most likely what is read as one document is a line"):
        run(CorpusSettings(folder=folder, languages=["ko"], rules=True), tmp_path / "out")
    (folder / "short.txt").write_text("")
    with pytest.raises(UserError, match="None of the files has any text"):
        run(CorpusSettings(folder=folder), tmp_path / "out")
