"""Dialogues of every form become messages, and only answers become targets."""

import gzip
import json

import pytest

from malmoi.core.errors import UserError
from malmoi.data.batch import IGNORED
from malmoi.data.dialogues import collate_dialogues, encode_dialogues, read_dialogues

PAIR = [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "반갑습니다."}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", json.dumps({"messages": PAIR})),
        ("b.jsonl", json.dumps({"prompt": "안녕?", "response": "반갑습니다."})),
        ("a.json", json.dumps([{"instruction": "안녕?", "input": "", "output": "반갑습니다."}])),
        ("a.csv", "Q,A,label\n안녕?,반갑습니다.,0\n"),
        ("a.yml", "categories: [인사]\nconversations:\n- - 안녕?\n  - 반갑습니다.\n"),
    ],
)
def test_every_form_is_read(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_dialogues(tmp_path / name) == [PAIR]


@pytest.mark.parametrize("name", ["a.json.gz", "A.JSONL.gz"])
def test_compressed_dialogues_are_read(tmp_path, name):
    content = json.dumps({"messages": PAIR})
    (tmp_path / name).write_bytes(gzip.compress((f"[{content}]" if "json." in name else content).encode()))
    assert read_dialogues(tmp_path / name) == [PAIR]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prompt": 1}\n', "line 1: no dialogue"),
        ("a.jsonl", "{oops\n", "line 1: not valid JSON"),
        ("a.json", "{}", "not a list"),
        ("a.csv", "question,answer\n", "Name them Q and A"),
        ("a.yml", "a: [", "not valid YAML"),
        ("a.yml", "conversations: " + "[" * 5_000 + "]" * 5_000, "not valid YAML"),
        ("a.txt", "hello", "no file of dialogues"),
    ],
)
def test_another_form_names_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_dialogues(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"prompt": "안녕?", "response": null}'),
        ("a.json", '[{"instruction": null, "output": "반갑습니다."}]'),
        ("a.jsonl", json.dumps({"messages": [PAIR[0], {"role": "assistant", "content": None, "tool_calls": []}]})),
        ("a.yml", "conversations:\n-\n- 22\n- 안녕?\n- - 안녕?\n  -\n"),
    ],
)
def test_nothing_is_learned_where_nothing_is_said(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_dialogues(tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"prompt": "말\\ud83d", "response": "글\\udc00"}'),
        ("a.json", '[{"instruction": "말\\ud83d", "output": "글\\udc00"}]'),
    ],
)
def test_half_of_a_surrogate_pair_is_replaced(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert [message["content"] for message in read_dialogues(tmp_path / name)[0]] == ["말\ufffd", "글\ufffd"]


def test_words_of_yaml_are_taken_as_they_are_written(tmp_path):
    (tmp_path / "a.yml").write_text("conversations:\n- - 1.50?\n  - No\n")
    assert [message["content"] for message in read_dialogues(tmp_path / "a.yml")[0]] == ["1.50?", "No"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"prompt": ' + "1" * 10_000 + "}"], ids=["nested", "long number"])
def test_json_beyond_all_reason_names_the_line(tmp_path, content):
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": PAIR}) + "\n" + content)
    with pytest.raises(UserError, match="line 2: not valid JSON"):
        read_dialogues(tmp_path / "a.jsonl")


def test_targets_are_the_answer_and_its_end(tokenizer):
    batch = collate_dialogues(encode_dialogues(tokenizer, [PAIR, [*PAIR, *PAIR]], longest=200, most=2)[0])
    learned = batch.targets[0][batch.targets[0] != IGNORED].tolist()
    assert tokenizer.decode(learned) == "반갑습니다."
    assert learned[-1] == tokenizer.special["<|im_end|>"]


def test_a_dialogue_that_is_too_long_is_left_out_whole_and_counted(tokenizer):
    long = [PAIR[0], {"role": "assistant", "content": "반갑습니다. " * 50}]
    encoded, longer = encode_dialogues(tokenizer, [long, PAIR, long, PAIR, long, PAIR], longest=100, most=2)
    assert [dialogue.question for dialogue in encoded] == ["안녕?", "안녕?"]
    assert longer == 2
