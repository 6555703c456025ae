"""The stage that labels words: it learns, opens in transformers, and is asked by a command."""

import random

import pytest

from malmoi.cli.main import main
from malmoi.core.errors import UserError
from malmoi.core.files import read_json
from malmoi.formats.checkpoint import load_checkpoint
from malmoi.models.classifier import Classifier
from malmoi.pipeline.stages import label_words
from malmoi.pipeline.stages.label_words import LabelWordsSettings

WORDS = ("여우가", "숲에서", "말모이를", "읽었다.", "fox", "book")
LABELS = {"여우가": "ANIMAL", "fox": "ANIMAL"}
SHAPE = {"layers": 1, "width": 32, "heads": 2, "positions": "rotary"}
QUICK = {"model": SHAPE, "longest": 32, "rows": 8, "epochs": 6, "learning_rate": 0.01}


def texts():
    chance = random.Random(0)
    return [[*chance.choices(WORDS, k=4), str(number)] for number in range(120)]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A stage that learned which words are animals."""
    directory = tmp_path_factory.mktemp("names")
    lines = ("\n".join(f"{word} {LABELS.get(word, 'O')}" for word in text) for text in texts())
    (directory / "동물.conll").write_text("\n\n".join(lines), encoding="utf-8")
    settings = LabelWordsSettings(file=directory / "동물.conll", vocabulary=300, **QUICK)
    return directory, label_words.run(settings, directory)


@pytest.fixture(scope="module")
def blanks(tmp_path_factory):
    """A stage that learned where blanks belong."""
    directory = tmp_path_factory.mktemp("blanks")
    rows = (" ".join(text) for text in texts())
    (directory / "글.tsv").write_text("\n".join(["text", *rows]), encoding="utf-8")
    settings = LabelWordsSettings(file=directory / "글.tsv", spacing=True, vocabulary=64, **QUICK)
    return directory, label_words.run(settings, directory)


def asked(directory, text, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["malmoi", "predict", str(directory), text])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr()


def test_words_get_their_labels(names, monkeypatch, capsys):
    directory, facts = names
    assert facts["classes"] == ["ANIMAL", "O"]
    assert facts["f1"][0] > 0.95
    assert facts["control"].keys() <= facts.keys()
    _, written = asked(directory, "fox 숲에서 여우가", monkeypatch, capsys)
    assert written.out == "fox/ANIMAL 숲에서/O 여우가/ANIMAL\n"


def test_blanks_come_back(blanks, monkeypatch, capsys):
    directory, facts = blanks
    assert facts["accuracy"] > 0.95
    _, written = asked(directory, "여우가숲에서말모이를읽었다.", monkeypatch, capsys)
    assert written.out == "여우가 숲에서 말모이를 읽었다.\n"


def test_a_text_that_is_too_long_is_refused(blanks, monkeypatch, capsys):
    code, written = asked(blanks[0], "말모이를" * 9, monkeypatch, capsys)
    assert code == 2
    assert "Cut it into sentences" in written.err


def test_texts_are_kept_with_their_labels(names):
    for record in read_json(names[0] / "labelled.json"):
        assert len(record["words"]) == len(record["labels"]) == len(record["given"]) == len(record["counted"])


def test_it_labels_words_and_nothing_else(names):
    opened = load_checkpoint(names[0])
    for what in ("language_model", "backbone", "translator"):
        with pytest.raises(UserError):
            getattr(opened, what)
    with pytest.raises(UserError, match=r"not a classifier.*Use malmoi predict. Make one: malmoi classify --help"):
        opened.headed(Classifier)


def test_a_file_or_spacing_is_needed(tmp_path):
    with pytest.raises(UserError, match="Name one by file; with spacing=true, a source"):
        label_words.run(LabelWordsSettings(**QUICK), tmp_path)
