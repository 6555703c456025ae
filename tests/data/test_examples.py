import json

import pytest

from malmoi.core.errors import UserError
from malmoi.data.examples import Example, read_examples
from malmoi.data.label_tables import TableSettings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.tsv", "output\tinput\nfox\t여우\nbear\t곰\nwolf\t여우\n"),
        ("pairs.csv", 'input,output\n여우,fox\n"곰",bear\n'),
        ("pairs.jsonl", '{"input": "여우", "output": "fox"}\n{"input": "곰", "output": "bear\\n"}\n'),
    ],
)
def test_every_table_gives_each_input_once(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_examples(tmp_path / name) == [Example("여우", "fox"), Example("곰", "bear")]


def test_text_is_composed_and_on_one_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"input": "\u1112\u1161\u11ab\n글 ", "output": "Hangul"}))
    assert read_examples(path) == [Example("한 글", "Hangul")]


def test_a_catalogue_of_translations_reads_in_either_direction(tmp_path):
    path = tmp_path / "ko.json"
    catalogue = {
        "": {"language": "ko"},
        "menu\x04Save": ["저장"],
        "Close": "닫기",
        "Tab": [""],
        "%1 tab": ["탭 %1개", "x"],
    }
    path.write_text(json.dumps(catalogue))
    forth = read_examples(path, TableSettings(text="message", label="translation"))
    back = read_examples(path, TableSettings(text="translation", label="message"))
    assert forth == [Example("Save", "저장"), Example("Close", "닫기"), Example("%1 tab", "탭 %1개")]
    assert back == [Example(one.output, one.input) for one in forth]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pairs.tsv", "question\tanswer\n여우\tfox\n", r"no column 'input'"),
        ("pairs.jsonl", '{"input": "여우"}\n', r"line 1: needs the keys 'input' and 'output'"),
        ("pairs.json", '{"Save": "저장"}', r"no column 'input'. A catalogue has: message, translation"),
        ("pairs.json", "[]", "not a catalogue"),
    ],
)
def test_files_without_the_columns_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_examples(tmp_path / name)


def test_a_catalogue_without_translations_is_named(tmp_path):
    (tmp_path / "ko.json").write_text('{"Save": [""]}')
    with pytest.raises(UserError, match="has no translation"):
        read_examples(tmp_path / "ko.json", TableSettings(text="message", label="translation"))
