"""Grey pictures in tables of numbers, as texts of one character a pixel, so that a language model can draw."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from malmoi.core.errors import UserError
from malmoi.corpus.document import Document
from malmoi.corpus.readers.file import SourceFile

SHADES = " .,:;i1tfLCG08%#@"
"""From black to white, 17 steps as the pixels of scikit-learn's digits have; a terminal shows the picture."""


def read_pictures(file: SourceFile, width: int) -> Iterator[Document]:
    """A document of every row of pixels and a class: a line with the class, then one for each row of the picture.

    With the token that begins a text the first line is as long as the others, so that the tokens are a grid of
    `width` + 1 columns. What is no picture so wide is an empty document, so that the counts show it.

    Args:
        width: pixels in a row of the picture.

    Raises:
        UserError: the name of a class does not fit into the first line.
    """
    with file.lines() as lines:
        for number, row in enumerate(csv.reader(lines), start=1):
            *pixels, name = row or [""]
            head = f"{name:-^{width - 1}}"
            if len(head) >= width:
                raise UserError(
                    f"{file.path}: the class {name!r} in row {number} does not fit over a picture {width} wide.",
                    f"The last column is the class; set read.{file.source}.picture_width to the pixels in a row.",
                )
            try:
                yield file.document("\n".join([head, *_rows(pixels, width)]) + "\n", number)
            except (ValueError, OverflowError):  # the latter for an infinite pixel
                yield file.document("", number, unreadable="no picture")


def _rows(pixels: Sequence[str], width: int) -> Iterator[str]:
    if not pixels or len(pixels) % width:
        raise ValueError
    shades = "".join(SHADES[_shade(pixel)] for pixel in pixels)
    yield from (shades[start : start + width] for start in range(0, len(shades), width))


def _shade(pixel: str) -> int:
    shade = int(float(pixel))
    if not 0 <= shade < len(SHADES):
        raise ValueError
    return shade
