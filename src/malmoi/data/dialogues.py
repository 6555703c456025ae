"""Dialogues from files: question and answer pairs, instructions, whole conversations."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from malmoi.core.compressed import kind_of
from malmoi.core.errors import UserError
from malmoi.corpus.decode import json_text
from malmoi.corpus.normalize import normalize
from malmoi.data.batch import IGNORED, TextBatch
from malmoi.data.table import json_records, read_text
from malmoi.tokenizers.chat import Message, encode_dialogue
from malmoi.tokenizers.tokenizer import Tokenizer

Dialogue = list[Message]


@dataclass(frozen=True)
class EncodedDialogue:
    """Ids of a dialogue, which of them are to be learned, and its first message."""

    ids: list[int]
    learned: list[bool]
    question: str


def read_dialogues(path: Path) -> list[Dialogue]:
    """The dialogues of one file, which may be compressed; messages in NFC, empty ones and null left out.

    | file | form |
    |---|---|
    | `.jsonl` | a line each: `{"messages": [...]}`, or one of the forms of `.json` |
    | `.json` | a list of `{"instruction", "input", "output"}` or `{"prompt", "response"}` |
    | `.csv` | columns Q and A, or prompt and response |
    | `.yml` | `conversations:` with lists of turns, the user's first; what is no list of texts is left out |

    Raises:
        UserError: the file is of another form; names the place.
    """
    readers = dict.fromkeys((".jsonl", ".ndjson"), _json_lines) | {".json": _json, ".csv": _table}
    readers |= dict.fromkeys((".yml", ".yaml"), _yaml)
    if kind_of(path) not in readers:
        raise UserError(f"{path} is no file of dialogues.", f"Known: {', '.join(readers)}.")
    dialogues = [_cleaned(dialogue) for dialogue in readers[kind_of(path)](path)]
    return [dialogue for dialogue in dialogues if len(dialogue) > 1 and dialogue[-1]["role"] == "assistant"]


def encode_dialogues(
    tokenizer: Tokenizer, dialogues: Sequence[Dialogue], longest: int, most: int
) -> tuple[list[EncodedDialogue], int]:
    """The first `most` dialogues of at most `longest` tokens, and how many longer ones were passed over for them.

    Those are left out, never cut in the middle of an answer.
    """
    encoded: list[EncodedDialogue] = []
    longer = 0
    for dialogue in dialogues:
        if len(encoded) == most:
            break
        one = EncodedDialogue(*encode_dialogue(tokenizer, dialogue), dialogue[0]["content"])
        if len(one.ids) > longest:
            longer += 1
        elif any(one.learned):
            encoded.append(one)
    return encoded, longer


def collate_dialogues(dialogues: Sequence[EncodedDialogue]) -> TextBatch:
    """A batch in which only learned tokens are targets."""
    length = max(len(dialogue.ids) for dialogue in dialogues) - 1
    tokens = torch.zeros(len(dialogues), length, dtype=torch.int64)
    targets = torch.full((len(dialogues), length), IGNORED)
    for row, dialogue in enumerate(dialogues):
        ids = torch.tensor(dialogue.ids)
        learned = torch.tensor(dialogue.learned)[1:]
        tokens[row, : len(ids) - 1] = ids[:-1]
        targets[row, : len(ids) - 1] = torch.where(learned, ids[1:], IGNORED)
    return TextBatch(tokens, targets)


def _cleaned(dialogue: Dialogue) -> Dialogue:
    cleaned = [{"role": message["role"], "content": normalize(message["content"])} for message in dialogue]
    return [message for message in cleaned if message["content"]]


def _turns(*contents: Any) -> Dialogue:
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": json_text(content)} for number, content in enumerate(contents)]


def _json_lines(path: Path) -> Iterator[Dialogue]:
    for number, record in json_records(path, read_text(path)):
        yield _record(record, f"{path}, line {number}")


def _json(path: Path) -> Iterator[Dialogue]:
    try:
        records = json.loads(read_text(path))
    except (RecursionError, ValueError) as error:  # numbers of thousands of digits are the latter
        raise UserError(f"{path}: not valid JSON ({error}).") from None
    if not isinstance(records, list):
        raise UserError(f"{path} is not a list of dialogues.")
    for number, record in enumerate(records, start=1):
        yield _record(record, f"{path}, item {number}")


def _record(record: Any, where: str) -> Dialogue:
    if not isinstance(record, dict):
        raise UserError(f"{where}: not a JSON object.")
    messages = record.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if not isinstance(message, dict) or {"role", "content"} - set(message):
                raise UserError(f"{where}: a message needs 'role' and 'content'.")
        return [{key: json_text(message[key]) for key in ("role", "content")} for message in messages]
    if {"prompt", "response"} <= set(record):
        return _turns(record["prompt"], record["response"])
    if {"instruction", "output"} <= set(record):
        question = "\n\n".join(filter(None, map(json_text, (record["instruction"], record.get("input")))))
        return _turns(question, record["output"])
    raise UserError(f"{where}: no dialogue.", "Give it 'messages', or 'prompt' and 'response'.")


def _table(path: Path) -> Iterator[Dialogue]:
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    names = rows.fieldnames or []
    pair = next((pair for pair in (("Q", "A"), ("prompt", "response")) if set(pair) <= set(names)), None)
    if pair is None:
        raise UserError(f"{path} has the columns {', '.join(names)}.", "Name them Q and A, or prompt and response.")
    try:
        yield from (_turns(row[pair[0]], row[pair[1]]) for row in rows)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: no table ({error}).", "Check the quotation marks.") from None


def _yaml(path: Path) -> Iterator[Dialogue]:
    try:
        content = yaml.load(read_text(path), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # No stays "No"
    except (RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict) or not isinstance(content.get("conversations"), list):
        raise UserError(f"{path} has no list 'conversations'.")
    for turns in content["conversations"]:
        if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns):
            yield _turns(*turns[: len(turns) // 2 * 2])
