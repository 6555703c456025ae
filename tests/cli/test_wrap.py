"""Words at the terminal's edge."""

import pytest
from rich.cells import cell_len

from malmoi.cli.wrap import WordWrap

TEXT = "The quick brown fox\njumps over  the lazy dog. 말모이는 낱말을 모은다는 뜻입니다. averyveryverylongwordindeed"


def wrapped(text: str, width: int, size: int) -> str:
    wrap = WordWrap(width)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return "".join(wrap.feed(piece) for piece in pieces) + wrap.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_no_line_is_too_wide_and_no_word_is_lost(size):
    lines = wrapped(TEXT, 20, size).split("\n")
    assert all(cell_len(line) <= 20 or " " not in line for line in lines)
    assert " ".join(lines).split() == TEXT.split()
    assert wrapped(TEXT, 20, size) == wrapped(TEXT, 20, 1)


def test_hangul_takes_two_columns():
    assert wrapped("가나다 라마바", 12, 1) == "가나다\n라마바"
    assert wrapped("가나다 라마바", 13, 1) == "가나다 라마바"


def test_indentation_and_empty_lines_stay():
    assert wrapped("a\n\n  b", 40, 1) == "a\n\n  b"
