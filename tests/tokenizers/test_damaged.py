"""Whatever byte of a vocabulary's files is wrong: a tokenizer that works, or a sentence; never another error."""

import copy
import functools
import json
import random
import resource
import shutil

import pytest

from malmoi.core.errors import UserError
from malmoi.tokenizers.load import load_tokenizer

FILES = {
    "llama": ("tokenizer.model", 300),
    "t5": ("spiece.model", 300),
    "uncased": ("vocab.txt", 300),
    "wordpiece_json": ("tokenizer.json", 300),
    "llama_json": ("tokenizer.json", 100),
    "unigram_json": ("tokenizer.json", 100),
    "ranks": ("tokenizer.model", 100),
    "gpt2": ("merges.txt", 100),
    "roberta": ("vocab.json", 100),
    "qwen2": ("tokenizer_config.json", 100),
    "marian": ("source.spm", 300),
}
"""The file of a kind that is damaged, and how often."""
TEXTS = [
    "",
    " ",
    "말모이는 낱말을 모은 사전입니다. import\n",
    "값 ㎏ 龘 👩‍👧 <0x41> </s>[MASK]",
    "\0\U0010fffd ﬁ e\u0301",
]


def damaged(content: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, left out, doubled or put in, or the end cut off."""
    made = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 8])):
        made = made or bytearray(b"0")
        place = dice.randrange(len(made)) if dice.random() < 0.5 else dice.randrange(min(len(made), 400))
        size = dice.choice([1, 1, 2, 30])
        how = dice.randrange(6)
        if how < 2:
            made[place : place + size] = dice.randbytes(size)
        elif how == 2:
            del made[place : place + size]
        elif how == 3:
            made[place:place] = made[place : place + size]
        elif how == 4:
            made[place : place + 1] = dice.choice([b"9", b"-", b"\n", b"\xff", b"\0", b'"', b"\x80", b" ", b"{"])
        else:
            made[max(1, place) :] = b""
    return bytes(made)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gives_a_tokenizer_or_a_sentence(published, name, tmp_path):
    directory = shutil.copytree(published(name), tmp_path / name)
    file, times = FILES[name]
    path = directory / file
    content, dice, named = path.read_bytes(), random.Random(0), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(times):
        path.write_bytes(damaged(content, dice))
        try:
            use(load_tokenizer(directory))
        except UserError:
            named += 1
    assert named > 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


ABSURD = [
    None,
    -1,
    0,
    2**31,
    2**63,
    1e308,
    "",
    "x",
    "[UNK]",
    "\u2581",
    "(",
    "BPE",
    "Unigram",
    "Metaspace",
    [],
    {},
    True,
    [[]],
]


def places(content, path=()):
    """The paths of everything in a JSON value, but for most of a long list."""
    inner = (
        content.items() if isinstance(content, dict) else enumerate(content[:9]) if isinstance(content, list) else ()
    )
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize("name", ["wordpiece_json", "llama_json", "unigram_json"])
def test_a_file_that_says_something_absurd_gives_a_tokenizer_or_a_sentence(published, name, tmp_path):
    directory = shutil.copytree(published(name), tmp_path / name)
    path = directory / "tokenizer.json"
    whole, dice, named = json.loads(path.read_text()), random.Random(0), 0
    everything = [place for place in places(whole) if place[:2] != ("model", "vocab") or dice.random() < 0.02]
    for _ in range(100):
        content = copy.deepcopy(whole)
        *outer, last = dice.choice(everything)
        functools.reduce(lambda value, key: value[key], outer, content)[last] = dice.choice(ABSURD)
        path.write_text(json.dumps(content))
        try:
            use(load_tokenizer(directory))
        except UserError:
            named += 1
    assert 20 < named < 100


def use(tokenizer):
    special = set(tokenizer.special.values()) - {tokenizer.unknown}
    for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
        assert not special & set(ids)
        assert max(ids, default=0) < tokenizer.size
        assert tokenizer.encode_template(text) is not None
        assert isinstance(tokenizer.decode(ids), str)
    ids, segments = tokenizer.encode_wrapped(TEXTS[2], TEXTS[3])
    assert len(ids) == len(segments)
    assert max(ids) < tokenizer.size
