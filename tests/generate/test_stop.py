"""Stop strings, cut into pieces in every way."""

import itertools

import pytest

from malmoi.generate.stop import StopStrings


def run(pieces: list[str], strings: list[str]) -> tuple[str, bool]:
    stop = StopStrings(strings)
    text = "".join(stop.feed(piece) for piece in pieces)
    return text + stop.finish(), stop.found


def cuts(text: str):
    """Every way to cut a text into pieces."""
    for places in itertools.product([False, True], repeat=len(text) - 1):
        pieces, start = [], 0
        for place, cut in enumerate(places, start=1):
            if cut:
                pieces.append(text[start:place])
                start = place
        yield [*pieces, text[start:]]


@pytest.mark.parametrize(
    ("text", "strings", "expected"),
    [
        ("one END two", ["END"], ("one ", True)),
        ("말모이\n\n끝", ["\n\n"], ("말모이", True)),
        ("aab aac", ["aac"], ("aab ", True)),
        ("ababac", ["abac"], ("ab", True)),
        ("no stop EN", ["END"], ("no stop EN", False)),
        ("x]y}z", ["}", "]"], ("x", True)),
        ("STOP", ["STOP"], ("", True)),
        ("가나다라", [], ("가나다라", False)),
    ],
)
def test_the_answer_is_the_same_however_the_text_is_cut(text, strings, expected):
    for pieces in cuts(text):
        assert run(pieces, strings) == expected


def test_only_a_possible_beginning_is_held_back():
    stop = StopStrings(["\nUser:"])
    assert stop.feed("hello") == "hello"
    assert stop.feed("\nUs") == ""
    assert stop.feed("ed") == "\nUsed"


def test_nothing_follows_a_stop():
    stop = StopStrings(["."])
    assert [stop.feed("a.b"), stop.feed("c"), stop.finish()] == ["a", "", ""]
