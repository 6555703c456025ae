"""`malmoi corpus` as a user runs it: a file becomes a corpus, seen before and explained after."""

import json
import os
import subprocess
import sys

import pytest

from malmoi.cli.main import main
from malmoi.corpus.store import read_documents

PROSE = (
    "말모이는 우리말을 모아 만든 첫 번째 사전의 이름이다. 여러 사람이 오랫동안 낱말을 모으고 뜻을 풀이하였으나 끝내 책으로 "
    "나오지는 못하였다. 그래도 그 원고가 남아서 뒤에 나온 사전의 바탕이 되었고, 지금도 박물관에서 그 글씨를 볼 수 있다. "
    "사람들은 이 이야기를 영화로도 만들었으며, 낱말 하나하나를 지키려 한 이들의 마음을 다시 생각하게 되었다. "
)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the command line in a folder of its own; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["malmoi", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(
            PROSE + f"이 글은 {number}번째 쪽에서 옮겨 적었고, 문의는 a{number}@example.kr로 하면 된다."
        )
    (folder / "spam.txt").write_text("카지노 대출 할인 쿠폰 바카라 토토 무료 홍보 " * 30)
    (tmp_path / "mine.yaml").write_text("folder: texts\nlanguages: [ko]\nnear_duplicates: 0\nheld_out: 0\n")
    return tmp_path / "mine.yaml"


def test_a_file_becomes_a_corpus_with_a_card_and_a_report(run, config, tmp_path):
    code, out, _ = run("corpus", "build", "mine.yaml")
    made = tmp_path / "runs" / "mine"
    texts = list(read_documents(made / "corpus", "train"))
    assert code == 0, out
    assert len(texts) == 6
    assert "a0@example.kr" not in texts[0].text
    assert len(texts[0].metadata["sha256"]) == 64
    assert "| folder | yours | 7 | 6 |" in (made / "corpus" / "card.md").read_text()
    assert "spam.txt#1" in (made / "report" / "report.html").read_text()


NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    open(PATH, "a").write(f"{arguments}\\n")
    raise OSError("the network is closed")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""


def test_the_command_and_its_children_ask_nobody_on_the_network(config, tmp_path):
    """Every Python process that the command starts has sockets that raise."""
    paragraphs = "".join(f"<p>{number}. {PROSE}</p>" for number in range(3))
    (tmp_path / "texts" / "page.html").write_text(f"<html><body>{paragraphs}</body></html>", encoding="cp949")
    (tmp_path / "texts" / "english.txt").write_text(
        "It was a dark night, and the rain fell on the roof of the house. " * 9
    )
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "sitecustomize.py").write_text(f"PATH = {str(tmp_path / 'asked')!r}\n{NO_NETWORK}")
    path = os.pathsep.join([str(tmp_path / "closed"), *filter(None, sys.path)])
    words = ["corpus", "build", "mine.yaml", "languages=[ko,en]", "workers=2", "rules=false"]
    command = [sys.executable, "-c", "from malmoi.cli.main import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    texts = [document.text for document in read_documents(tmp_path / "runs" / "mine" / "corpus", "train")]
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "asked").exists()
    assert [any(start in text for text in texts) for start in ("2. 말모이는", "It was a dark")] == [True, True]


def test_preview_shows_each_rule_without_building(run, config, tmp_path):
    code, out, _ = run("corpus", "preview", "mine.yaml")
    assert code == 0
    assert "6 of 7 documents would be kept." in out
    assert "spam.txt#1" in out
    assert not (tmp_path / "runs").exists()


def test_preview_goes_on_with_the_files_that_have_more(run, config, tmp_path):
    records = [json.dumps({"text": f"{PROSE} {number}"}, ensure_ascii=False) for number in range(40)]
    (tmp_path / "texts" / "many.jsonl").write_text("\n".join(records))
    _, out, _ = run("corpus", "preview", "mine.yaml", "near_duplicates=0", "--documents", "30")
    assert "of 30 documents would be kept." in out


def test_preview_names_what_it_cannot_read(run, config, tmp_path):
    (tmp_path / "texts" / "torn.parquet").write_bytes(b"PAR1")
    assert "not read" in run("corpus", "preview", "mine.yaml")[1]


def test_preview_drops_what_is_to_be_excluded(run, config, tmp_path):
    (tmp_path / "exam.txt").write_text((tmp_path / "texts" / "0.txt").read_text())
    _, out, _ = run("corpus", "preview", "mine.yaml", "exclude_files=[exam.txt]")
    assert "excluded" in out


def test_explain_says_which_rule_with_value_and_limit(run, config, tmp_path):
    run("corpus", "build", "mine.yaml")
    row = json.loads((tmp_path / "runs/mine/corpus/examples.json").read_text())
    rule, (example,) = next(iter(row.items()))
    _, out, _ = run("corpus", "explain", "spam.txt#1")
    assert f"folder/spam.txt#1 was dropped: {rule} {example['value']}, limit {example['limit']}" in out
    assert "0.txt#1 is in train.parquet" in run("corpus", "explain", "folder/0.txt#1")[1]


def test_explain_finds_nothing_wrong_with_a_text_that_was_kept(run, config, tmp_path):
    addresses = " ".join(f"a{number}@example.kr로 물었다." for number in range(60))
    (tmp_path / "texts" / "letters.txt").write_text(PROSE + addresses)
    run("corpus", "build", "mine.yaml")
    _, out, _ = run("corpus", "explain", "letters.txt#1")
    assert "letters.txt#1 is in train.parquet" in out
    assert "broken" not in out


def test_explain_names_the_document_that_stays_instead(run, config):
    run("corpus", "build", "mine.yaml", "near_duplicates=0.5")
    assert "folder/0.txt#1 stays." in run("corpus", "explain", "3.txt#1")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "nowhere.yaml"], "There is no file nowhere.yaml. Examples: gpt3-mixture."),
        (["build", "mine.yaml", "near_duplicate=0.9"], "Unknown setting 'near_duplicate' in mine.yaml. Did you mean 'near_duplicates'?"),
        (["build", "mine.yaml", "exclude=[~/exam.txt]"], "~/exam.txt is no SOURCE/FILE; files of your own go into 'exclude_files'."),
        (["explain", "없는.txt#1", "--corpus", "."], ". is no corpus"),
        (["folder=nowhere"], "folder=nowhere: there is no such file or folder. Check the path."),
    ],
)  # fmt: skip
def test_mistakes_end_in_a_sentence(run, config, arguments, message):
    code, _, error = run("corpus", *arguments)
    assert code == 2
    assert message in error


def test_settings_without_a_verb_are_those_of_the_stage(run, config, tmp_path):
    code, _, _ = run("corpus", "folder=texts", "--out", "plain")
    assert code == 0
    assert (tmp_path / "plain" / "train.parquet").is_file()
