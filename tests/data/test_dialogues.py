"""Dialogues of every form become messages, and only answers become targets."""

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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prompt": 1}\n', "line 1: no dialogue"),
        ("a.jsonl", "{oops\n", "line 1: not valid JSON"),
        ("a.json", "{}", "not a list"),
        ("a.csv", "question,answer\n", "Name them Q and A"),
        ("a.yml", "a: [", "not valid YAML"),
        ("a.txt", "hello", "no file of dialogues"),
    ],
)
def test_another_form_names_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_dialogues(tmp_path / name)


def test_targets_are_the_answer_and_its_end(tokenizer):
    batch = collate_dialogues(encode_dialogues(tokenizer, [PAIR, [*PAIR, *PAIR]], longest=200))
    learned = batch.targets[0][batch.targets[0] != IGNORED].tolist()
    assert tokenizer.decode(learned) == "반갑습니다."
    assert learned[-1] == tokenizer.special["<|im_end|>"]


def test_a_dialogue_that_is_too_long_is_left_out_whole(tokenizer):
    assert encode_dialogues(tokenizer, [PAIR], longest=5) == []
