"""A stream shows every character as soon as it is whole, and never half of one."""

import random

import pytest

from malmoi.tokenizers.spelling import byte_alphabet
from malmoi.tokenizers.stream import TextStream

ALPHABET = [*"한글값뷁힣ㅎㅏ각 ab\n", "👩‍👩‍👧", "🇰🇷", "é", "辭", "\u1112\u1161\u11ab"]


class Bytes:
    """A tokenizer whose token number n spells the n-th of some pieces of bytes."""

    def __init__(self, pieces):
        self.pieces = pieces

    def token_bytes(self, token):
        return self.pieces[token]


def stream(pieces):
    """What is shown after each piece, and at the end."""
    shown = TextStream(Bytes(pieces))
    return [shown.feed(token) for token in range(len(pieces))], shown.finish()


def split(data, dice):
    cuts = sorted(dice.sample(range(len(data) + 1), k=min(len(data), dice.randrange(1, 60))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(50))
def test_wherever_the_bytes_are_cut_the_text_is_whole(seed):
    dice = random.Random(seed)
    text = "".join(dice.choices(ALPHABET, k=40))
    pieces = split(text.encode(), dice)
    shown, rest = stream(pieces)
    assert ("".join(shown), rest) == (text, "")
    sent = b""
    for number, piece in enumerate(pieces):
        sent += piece
        whole = sent.decode("utf-8", errors="ignore")  # everything that is certain by now, nothing more
        assert "".join(shown[: number + 1]) == whole


@pytest.mark.parametrize("seed", range(50))
def test_any_bytes_at_all_give_what_decoding_them_at_once_gives(seed):
    dice = random.Random(seed)
    marks = [
        b"\xff",
        b"\xc0",
        b"\xed\xa0\x80",
        b"\xf5",
        b"\x80",
        b"\xea",
        "\uac12".encode(),
        b"a",
        b"\xf0\x9f",
        b"\xe0\x80",
    ]
    data = b"".join(dice.choices(marks, k=30))
    shown, rest = stream(split(data, dice))
    assert "".join(shown) + rest == data.decode("utf-8", errors="replace")


def test_a_byte_that_can_no_longer_become_valid_is_shown_at_once():
    assert stream([b"\xff"]) == (["\ufffd"], "")
    assert stream([b"\xea", b"a"]) == (["", "\ufffda"], "")
    assert stream([b"\xea\xb0"]) == ([""], "\ufffd")


def test_a_stream_of_tokens_is_the_decoded_text(tokenizer):
    text = "".join(random.Random(1).choices(ALPHABET, k=300))
    ids = tokenizer.encode(text)
    shown = TextStream(tokenizer)
    pieces = [shown.feed(token) for token in ids]
    assert len(ids) > len(text)
    assert "".join([*pieces, shown.finish()]) == tokenizer.decode(ids)
    assert not any("\ufffd" in piece for piece in pieces)


def test_the_byte_alphabet_spells_every_byte_once():
    assert sorted(byte_alphabet().values()) == list(range(256))
